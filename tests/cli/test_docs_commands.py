"""Every command that the documentation prints is one that the command line takes; those of the tutorial are run.

Commands of the other pages are run where that costs little (`test_docs_files.py`, `test_page.py`) and else parsed, as
typed: the command must exist, know each of the options, and take their values. Lines with placeholders in capitals or
square brackets are a command's form: its options must exist.
"""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from magnoscope.cli import app

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
NOT_RUN = {"report": "takes the time of Shapley shares: test_report.py", "app": "serves until stopped: tests/browser"}
"""Commands of the tutorial that are run elsewhere."""


def printed(page: Path) -> list[str]:
    """Commands in a page's blocks, fenced or indented, without comments and what follows in columns."""
    out, fenced = [], False
    for line in page.read_text("utf-8").splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif (fenced or line.startswith("    ")) and (found := re.match(r"\s*(?:\$ )?(magnoscope [a-z].*)", line)):
            out.append(re.split(r"\s{3,}|\s+# ", found[1])[0])
    return out


COMMANDS = [(page.relative_to(ROOT), line) for page in PAGES for line in printed(page)]


def command_of(words: list[str]) -> tuple[Any, list[str]]:
    """The command that words name, and what follows."""
    found: Any = typer.main.get_command(app)
    while words and getattr(found, "commands", None) is not None:
        assert words[0] in found.commands, words
        found, words = found.commands[words[0]], words[1:]
    return found, words


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=lambda value: str(value)[:50])
def test_printed_commands_are_taken(page: Path, line: str) -> None:
    words = shlex.split(line)[1:]
    command, rest = command_of([w.split("|")[0] for w in words[:2]] + words[2:])
    known = {name for p in command.params for name in (*p.opts, *p.secondary_opts)} | {"--help"}
    form = re.search(r"\[|\b[A-Z]{2,}\b|\.\.\.| S\b", line)
    if form:
        named = set(re.findall(r"(?<![\w-])(--?[a-z][\w-]*)", line))
        assert named <= known, (page, named - known)
        return
    # patterns stand for files, as a shell would put them
    command.make_context("magnoscope", [w.replace("*", "x") for w in rest])


def test_all_pages_are_looked_at() -> None:
    assert len(COMMANDS) > 50 and len({page for page, _ in COMMANDS}) >= 10


@pytest.mark.slow
def test_tutorial(run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = printed(ROOT / "docs" / "tutorial.md")
    names = [shlex.split(line)[1] for line in lines]
    assert names == ["demo", "simulate", "classify", "explain", "cut", "report", "app"]
    for name, line in zip(names, lines, strict=True):
        if name in NOT_RUN:
            continue
        outcome = run(*shlex.split(line)[1:])
        assert outcome.status == 0, (line, outcome.err)
        if name in ("demo", "classify"):
            assert "label: goodenough" in outcome.out
    assert {p.name for p in tmp_path.glob("*.png")} == {"magnoscope-demo.png", "why.png", "cut.png"}
