"""cut from the command line."""

from pathlib import Path

import pytest


@pytest.fixture
def counts(run, square_file: Path, tmp_path: Path) -> Path:
    """A simulated measurement of the tiny study."""
    path = tmp_path / "counts.h5"
    assert run("simulate", square_file, "far", "--noise", 30, "-o", path).status == 0
    return path


def test_cut(run, counts: Path, square_file: Path, weights: Path, tmp_path: Path) -> None:
    figure = tmp_path / "cut.png"
    words = ["cut", counts, "--study", square_file, "--along", "h", "--along", "energy"]
    found = run(*words, "--at", "k=-0.3..0.3", "--weights", weights, "-o", figure, "--json")
    one, two = found.json["cuts"]
    assert (one["along"], one["unit"], one["ei_meV"]) == ("h", "r.l.u.", 50)
    assert one["at"]["k"] == [-0.3, 0.3] and one["chosen"] == ["energy"] and two["chosen"] == ["h"]
    assert one["candidates"].keys() == {"near", "far"} == found.json["parameters"].keys()
    assert len(one["positions"]) == len(one["data"]) == len(one["candidates"]["far"]["values"]) == 12
    assert two["positions"] == [12.5, 27.5] and figure.stat().st_size > 10_000
    said = run(*words, "--weights", weights).out
    assert "along h (r.l.u.): Ei 50 meV" in said and "chosen where the candidates differ most" in said


def test_candidates_at_given_parameters(run, counts: Path, square_file: Path) -> None:
    words = ["cut", counts, "--study", square_file, "--along", "h", "--json"]
    found = run(*words).json
    assert found["parameters"]["far"] == {"J1": -2.0, "J2": -1.5}
    assert "no weights ship for study square: candidates are at the reference values" in found["warning"]
    other = run(*words, "--set", "far.J1=-2.9", "--set", "near.D=-0.2").json
    assert other["parameters"] == {"near": {"J": -4.0, "D": -0.2}, "far": {"J1": -2.9, "J2": -1.5}}
    assert other["warning"] is None
    assert other["cuts"][0]["candidates"]["far"]["chi_square"] > found["cuts"][0]["candidates"]["far"]["chi_square"]


def test_bad_input(refuse, counts: Path, square_file: Path, tmp_path: Path) -> None:
    words = ["cut", counts, "--study", square_file, "--along"]
    assert "it has h, k, diagonal, antidiagonal, energy" in refuse(*words, "path")
    assert "give NAME=LOW..HIGH" in refuse(*words, "h", "--at", "k=0.5")
    assert "give NAME=LOW..HIGH" in refuse(*words, "h", "--at", "k=1..0")
    assert "cannot be taken at `h`" in refuse(*words, "h", "--at", "h=0..1", "--json")
    assert "no run with Ei = 3 meV" in refuse(*words, "h", "--ei", 3)
    assert "give MODEL.NAME=VALUE, such as near.J=1" in refuse(*words, "h", "--set", "J=1")
    assert "model near has no parameter x" in refuse(*words, "h", "--set", "near.x=1")
    assert "has no model x" in refuse(*words, "h", "--set", "x.J=1")
    assert "must end in" in refuse(*words, "h", "-o", tmp_path / "a.txt")
    assert "--along" in refuse("cut", counts, "--study", square_file)
