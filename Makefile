PYTHON ?= python3

VENV := .venv
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev

.DEFAULT_GOAL := help
.PHONY: help setup test test-browser browser docs demo app lint clean

help:
	@echo "make setup   create $(VENV) and install magnoscope with what its tests need"
	@echo "make test    run the tests"
	@echo "make test-browser   those of the web page alone, in Chromium, which is installed where that can be done"
	@echo "make demo    run the demonstration (offline, under two minutes)"
	@echo "make app     the web page on this machine"
	@echo "make docs    the site of the documentation, in build/site"
	@echo "make lint    ruff and mypy"
	@echo "make clean   remove $(VENV), caches and build output"
	@echo "PYTHON=...   the Python (3.11 or newer) that $(VENV) is made from"

setup: $(INSTALLED)

# Redone only when a dependency can have changed; the package itself is installed in editable form.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --no-input -c constraints.txt -e '.[test]'
	@touch $@

$(INSTALLED_DEV): $(INSTALLED)
	$(VENV)/bin/python -m pip install --no-input -c constraints.txt -e '.[dev]'
	@touch $@

# Without a browser the tests of the page are skipped, except in continuous integration.
test: setup
	@./tests/browser/install-chromium.sh || [ -z "$$CI" ]
	$(VENV)/bin/python -m pytest

browser:
	@./tests/browser/install-chromium.sh

test-browser: setup browser
	$(VENV)/bin/python -m pytest tests/browser

docs: setup
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --strict --quiet --site-dir build/site

app: setup
	$(VENV)/bin/magnoscope app

demo: setup
	$(VENV)/bin/magnoscope demo

lint: $(INSTALLED_DEV)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

clean:
	rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
