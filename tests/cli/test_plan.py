"""plan from the command line."""

from pathlib import Path

import pytest


def test_plan(run, square_file: Path, tmp_path: Path) -> None:
    figure = tmp_path / "plan.png"
    words = ["plan", square_file, "--model", "near", "--set", "J=-3.5", "--draws", 1, "--time", 2]
    found = run(*words, "--run", "50,200", "--run", "35,200", "-o", figure, "--json").json
    assert {row["ei_meV"] for row in found["runs"]} == {50, 35} and figure.stat().st_size > 10_000
    assert sum(row["share_of_time"] for row in found["runs"]) == pytest.approx(1)
    assert found["pairs"][0]["parameters"] == {"J": -3.5, "D": -0.1} and len(found["slices"]) == 4
    shares = [row["share"] for row in found["slices"]]
    assert shares == sorted(shares, reverse=True) and sum(shares) == pytest.approx(1)
    assert found["median"]["best_times"] >= found["median"]["equal_times"] * 0.999


def test_plan_in_words(run, square_file: Path) -> None:
    said = run("plan", square_file, "--at", "reference", "--draws", 1)
    assert "Ei 50 meV, 200 Hz" in said.out and "best share of the time 100%" in said.out
    assert "near 1 of 1 against far" in said.err


def test_bad_input(refuse, square_file: Path, tmp_path: Path) -> None:
    assert "has no model nothing" in refuse("plan", square_file, "--model", "nothing", "--json")
    assert "for one model at its reference alone" in refuse("plan", square_file, "--set", "J=-3")
    assert "is not understood" in refuse("plan", square_file, "--run", "50")
    assert "is not understood" in refuse("plan", square_file, "--run", "nan,200", "--json")
    assert "600 Hz" in refuse("plan", square_file, "--run", "5,600")
    assert "must end in .png" in refuse("plan", square_file, "-o", tmp_path / "plan.txt")
    assert "there is no study nothing" in refuse("plan", "nothing")
