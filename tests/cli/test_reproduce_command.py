"""The published study beside ours through the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from magnoscope.cli import reproduce
from magnoscope.reproduce.published import published
from magnoscope.studies import load_study

Refuse = Callable[..., str]


def test_a_small_study(run, monkeypatch: pytest.MonkeyPatch, square_file: Path, tmp_path: Path) -> None:
    numbers = published(load_study("pcsmo"))
    monkeypatch.setattr(reproduce, "published", lambda study: numbers)
    out = tmp_path / "out"
    found = run("reproduce", "-o", out, "--study", square_file, "--points", "16,24", "--json").json
    names = {path.name for path in out.iterdir()}
    assert {"table.md", "table.json", "figure-1.png", "figure-2.png", "band-edges.png"} == names
    assert json.loads((out / "table.json").read_text()) == found["rows"]
    told = {row["what"]: row for row in found["rows"]}
    missing = told["dense on montecarlo: accuracy"]
    assert missing["ours"] == "" and "magnoscope train dense square-montecarlo.zarr -o weights/dense" in missing["how"]
    cost = told["CPU time an image: Monte Carlo, every point diagonalised"]
    assert cost["ours"].endswith(" s") and cost["published"] == "720 min"
    assert "**missing**" in (out / "table.md").read_text()


def test_what_cannot_be_reproduced(refuse: Refuse, square_file: Path, tmp_path: Path) -> None:
    said = refuse("reproduce", "-o", tmp_path / "out", "--study", square_file, "--json")
    assert "no published numbers ship for study square" in said
    assert "is not understood; give whole numbers" in refuse("reproduce", "-o", tmp_path / "out", "--points", "a")
    assert "there is no folder" in refuse("reproduce", "-o", tmp_path / "out", "--weights-folder", tmp_path / "no")
    (tmp_path / "file").touch()
    assert "is a file; name a folder" in refuse("reproduce", "-o", tmp_path / "file")
    assert not (tmp_path / "out").exists()
