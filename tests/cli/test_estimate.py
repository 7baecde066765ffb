"""fit and compare from the command line."""

import json
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path, PurePath
from types import SimpleNamespace

import numpy as np
import pytest

from magnoscope.io.images import read_spectrum
from magnoscope.study import Study

Refuse = Callable[..., str]


@pytest.fixture
def counts(run, square_file: Path, tmp_path: Path) -> Path:
    """A simulated measurement of the tiny study."""
    path = tmp_path / "counts.h5"
    settings = ["--set", "J1=-2.4", "--set", "J2=-1.3", "--noise", 30]
    assert run("simulate", square_file, "far", *settings, "-o", path).status == 0
    return path


def test_fit(run, counts: Path, square_file: Path, square: Study, tmp_path: Path) -> None:
    figure = tmp_path / "fit.png"
    words = ["fit", counts, "--study", square_file, "--model", "far", "--draws", 8, "--samples", 60]
    best = tmp_path / "best.h5"
    found = run(*words, "-o", figure, "--best-fit", best, "--json").json
    data, fitted = (read_spectrum(file, square).signal for file in (counts, best))
    assert np.nanstd(data - fitted) < 0.5 * np.nanstd(data)
    assert found["model"] == "far" and figure.stat().st_size > 10_000
    for name, truth in (("J1", -2.4), ("J2", -1.3)):
        row = found["parameters"][name]
        assert abs(row["mean"] - truth) < 4 * row["error"]
        assert row["interval_90"][0] <= row["interval_68"][0] < row["interval_68"][1] <= row["interval_90"][1]
        assert row["error"] > 0 and row["statistical_error"] > 0
    assert len(found["correlation"]) == 2 and found["correlation"][0][0] == pytest.approx(1)
    assert [s["energy_meV"] for s in found["slices"]] == [[5.0, 20.0], [20.0, 35.0]]
    assert found["simulations"] > 60 and 0 < found["effective_sample_size"] <= 60
    assert {e["name"] for e in found["instrument"]} >= {"energy zero", "moderator width", "mosaic", "place along h"}
    words[-1] = 0
    said = run(*words)
    assert "chi-square" in said.out and "J1" in said.out and "descents" in said.err


def test_compare(run, counts: Path, square_file: Path, weights: Path, tmp_path: Path) -> None:
    figure = tmp_path / "compare.png"
    words = ["compare", counts, "--study", square_file, "--draws", 8, "--samples", 0, "--as-stated", "-o", figure]
    found = run(*words, "--weights", weights, "--json").json
    # the network is beside it, and what it says otherwise is said
    network = found["verdict"]
    undecided = found["preferred"] is None and len(network["label_set"]) > 1
    agree = network["label"] is not None and (network["label"] == found["preferred"] or undecided)
    assert (found["disagreement"] is None) == agree
    assert found["fits"].keys() == found["evidence"].keys() == {"near", "far"}
    assert max(found["evidence"].values()) == 0 and found["evidence"]["near"] < 0
    assert found["preferred"] in ("far", None)
    assert 0 < found["p_value"] <= 1 and found["message"]
    sizes = [abs(row["log_likelihood_ratio"]) for row in found["slices"]]
    assert sizes == sorted(sizes, reverse=True) and figure.stat().st_size > 10_000


@pytest.fixture(scope="module")
def posterior(real_command, training_set: Path, square_file: Path) -> Path:
    """A posterior of one epoch: right in form, not in what it says."""
    path = training_set.parent / "posterior.safetensors"
    options = ["--epochs", 1, "--width", 16, "--study", square_file, "--json"]
    done = real_command("train", "posterior", training_set, "-o", path, *options)
    assert done.returncode == 0, done.stderr
    assert "validation loss" in done.stderr
    scores = json.loads(done.stdout)["scores"]
    assert scores["far"]["J2"].keys() >= {"coverage_68", "coverage_90", "ranks_p", "median_error"}
    return path


def test_a_fit_starts_from_a_posterior(run, counts: Path, square_file: Path, posterior: Path, variant) -> None:
    words = ["fit", counts, "--model", "far", "--draws", 1, "--samples", 20, "--posterior", posterior, "--json"]
    found = run(*words, "--study", square_file).json
    low, high = found["network"]["J1"]["interval_90"]
    assert -3 <= low < found["network"]["J1"]["mean"] < high <= -1
    assert found["parameters"]["J1"]["mean"] == pytest.approx(-2.4, abs=0.3)
    older = run(*words, "--study", variant(("spin = 1.0", "spin = 1.25")))
    assert older.status == 0 and "square has changed since posterior.safetensors was trained" in older.err


def test_a_posterior_that_ships_is_used_unasked(
    run, counts: Path, square_file: Path, posterior: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--study", square_file, "--draws", 1, "--samples", 0, "--as-stated", "--json"]
    assert run("fit", counts, "--model", "far", *words).json["network"] is None
    (tmp_path / "weights").mkdir()
    shutil.copy(posterior, tmp_path / "weights" / "square-posterior.safetensors")
    monkeypatch.setattr("magnoscope.trust.posterior.resources", SimpleNamespace(files=lambda package: tmp_path))
    assert run("fit", counts, "--model", "far", *words).json["network"].keys() == {"J1", "J2"}
    assert run("fit", counts, "--model", "far", *words, "--no-posterior").json["network"] is None
    compared = run("compare", counts, *words).json
    assert all(found["network"] for found in compared["fits"].values())


def test_weights_of_a_posterior_are_part_of_the_package() -> None:
    settings = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
    globs = settings["tool"]["setuptools"]["package-data"]["magnoscope"]
    for name in ("weights/any-posterior.safetensors", "weights/any-posterior.json"):
        assert any(PurePath(name).match(glob.replace("**/", "")) for glob in globs)


def test_what_cannot_be_fitted(refuse: Refuse, counts: Path, square_file: Path, posterior: Path, weights: Path,
                               tmp_path: Path) -> None:  # fmt: skip
    words = ["--study", square_file, "--model", "near"]
    assert "holds a network compact" in refuse("fit", counts, *words, "--posterior", weights)
    assert "fit --posterior" in refuse("classify", counts, "--study", square_file, "--weights", posterior)
    assert "no weights file" in refuse("fit", counts, *words, "--posterior", tmp_path / "none")
    other, nothing = tmp_path / "other.npy", tmp_path / "mask.npy"
    np.save(other, np.ones((5, 7)))
    assert "has shape 5 x 7" in refuse("fit", other, *words)
    assert "was written for study square" in refuse("fit", counts, "--study", "pcsmo", "--model", "goodenough")
    np.save(nothing, np.ones((12, 24), bool))
    assert "mask" in refuse("fit", counts, *words, "--mask", nothing)
    assert "draws of the prior alone" in refuse("train", "posterior", counts, "-o", tmp_path / "w.safetensors",
                                                "--shared", counts)  # fmt: skip


def test_bad_input(refuse: Refuse, counts: Path, square_file: Path, variant, tmp_path: Path) -> None:
    assert "has no model nothing; it has near, far" in refuse(
        "fit", counts, "--study", square_file, "--model", "nothing"
    )
    assert "must end in" in refuse(
        "fit", counts, "--study", square_file, "--model", "near", "-o", tmp_path / "figure.txt", "--json"
    )
    assert "--model" in refuse("fit", counts, "--study", square_file)
    assert "--workers" in refuse("fit", counts, "--study", square_file, "--model", "near", "--workers", 0)
    assert "no weights file" in refuse("compare", counts, "--study", square_file, "--weights", tmp_path / "w")
