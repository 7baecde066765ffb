"""From files of facilities to an image, on the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from magnoscope.io.images import read_spectrum
from magnoscope.studies import load_study


def test_from_a_model_to_runs_to_an_image(run: Callable, tmp_path: Path) -> None:
    square = Path(__file__).with_name("square.toml")
    study = load_study(str(square))
    model = study.classes[0]
    made = run("virtual", square, model, "-o", tmp_path / "runs", "--detectors", 900, "--counts", 50, "--json").json
    assert len(made["files"]) == len(study.runs)
    lines = run("inspect", made["files"][0]).out.splitlines()
    assert len(lines) <= 10 and "NXSPE" in lines[0] and f"ei meV: {study.runs[0].ei:g}" in lines[3]
    out, taken = tmp_path / "image.h5", tmp_path / "background.h5"
    said = run(
        "reduce", *made["files"], "--study", square, "-o", out, "--background", "paper", "--background-output", taken,
        "--fold", "-h,k,l", "--json",
    ).json  # fmt: skip
    assert said["files"] == len(study.runs) and said["symmetry_operations"] == 2 and said["background"] == "paper"
    assert said["in_view"] > 0 and not (tmp_path / "image.h5.state").exists()
    image, background = read_spectrum(out, study), read_spectrum(taken, study)
    assert image.error is not None and image.npix is not None
    np.testing.assert_array_equal(image.valid, background.valid)
    assert "shape" in run("inspect", out, "--json").json


def test_mistakes_end_in_one_line(refuse: Callable, tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("nothing that is read")
    assert "none of the files that are read" in refuse("inspect", text)
    assert "there is no file" in refuse("inspect", tmp_path / "missing")
    assert "give reduced runs" in refuse("reduce", text, "--study", "pcsmo", "-o", tmp_path / "a.h5")
    assert "choose one with --background" in refuse(
        "reduce", text, "--study", "pcsmo", "-o", tmp_path / "a.h5", "--background-output", tmp_path / "b.h5"
    )
    assert "must end in .h5 or .npy" in refuse("reduce", text, "--study", "pcsmo", "-o", tmp_path / "a.png")
    assert "--fold" in refuse("reduce", text, "--study", "pcsmo", "-o", tmp_path / "a.h5", "--fold", "x,y,z")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt"]


def test_errors_as_json(run: Callable, tmp_path: Path) -> None:
    outcome = run("inspect", tmp_path / "missing", "--json")
    assert outcome.status == 2 and "there is no file" in json.loads(outcome.err)["error"]
