"""fit and compare from the command line."""

from collections.abc import Callable
from pathlib import Path

import pytest

Refuse = Callable[..., str]


@pytest.fixture
def counts(run, square_file: Path, tmp_path: Path) -> Path:
    """A simulated measurement of the tiny study."""
    path = tmp_path / "counts.h5"
    settings = ["--set", "J1=-2.4", "--set", "J2=-1.3", "--noise", 30]
    assert run("simulate", square_file, "far", *settings, "-o", path).status == 0
    return path


def test_fit(run, counts: Path, square_file: Path, tmp_path: Path) -> None:
    figure = tmp_path / "fit.png"
    words = ["fit", counts, "--study", square_file, "--model", "far", "--draws", 8]
    found = run(*words, "-o", figure, "--json").json
    assert found["model"] == "far" and figure.stat().st_size > 10_000
    for name, truth in (("J1", -2.4), ("J2", -1.3)):
        row = found["parameters"][name]
        assert abs(row["mean"] - truth) < 4 * row["error"]
        assert row["interval_90"][0] <= row["interval_68"][0] < row["interval_68"][1] <= row["interval_90"][1]
        assert row["error"] >= row["statistical_error"] > 0
    assert len(found["correlation"]) == 2 and found["correlation"][0][0] == pytest.approx(1)
    assert [s["energy_meV"] for s in found["slices"]] == [[5.0, 20.0], [20.0, 35.0]]
    assert found["warning"] is None and found["simulations"] > 8
    said = run(*words)
    assert "chi-square" in said.out and "J1" in said.out and "descents" in said.err


def test_compare(run, counts: Path, square_file: Path, tmp_path: Path) -> None:
    figure = tmp_path / "compare.png"
    found = run("compare", counts, "--study", square_file, "--draws", 8, "-o", figure, "--json").json
    assert found["fits"].keys() == found["evidence"].keys() == {"near", "far"}
    assert max(found["evidence"].values()) == 0 and found["evidence"]["near"] < 0
    assert found["preferred"] in ("far", None)
    assert 0 < found["p_value"] <= 1 and found["message"]
    sizes = [abs(row["log_likelihood_ratio"]) for row in found["slices"]]
    assert sizes == sorted(sizes, reverse=True) and figure.stat().st_size > 10_000


def test_bad_input(refuse: Refuse, counts: Path, square_file: Path, variant, tmp_path: Path) -> None:
    assert "has no model nothing; it has near, far" in refuse(
        "fit", counts, "--study", square_file, "--model", "nothing"
    )
    assert "must end in" in refuse(
        "fit", counts, "--study", square_file, "--model", "near", "-o", tmp_path / "figure.txt", "--json"
    )
    assert "--model" in refuse("fit", counts, "--study", square_file)
    assert "no weights file" in refuse("compare", counts, "--study", square_file, "--weights", tmp_path / "w")
