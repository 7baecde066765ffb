"""clean from the command line, and the training of cleaners."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors
from safetensors.torch import save_file

from magnoscope.cleaning import load_cleaner
from magnoscope.io.images import read_spectrum
from magnoscope.studies import load_study
from magnoscope.study import Study


@pytest.fixture(scope="module")
def cleaner(
    training_set: Path, square_file: Path, real_command: Callable[..., subprocess.CompletedProcess[str]]
) -> Path:
    path = training_set.parent / "cleaner.safetensors"
    words = ["--epochs", 1, "--width", 16, "--study", square_file, "--json"]
    done = real_command("train", "cleaner", training_set, "-o", path, *words)
    assert done.returncode == 0, done.stderr
    assert {"error_left", "flipped", "noise_left"} <= json.loads(done.stdout)["scores"].keys()
    assert "epoch 1 of 1" in done.stderr
    return path


def test_clean(
    run, image: Path, square_file: Path, square: Study, cleaner: Path, training_set: Path, tmp_path: Path
) -> None:
    out, figure = tmp_path / "cleaned.h5", tmp_path / "cleaned.png"
    words = ["clean", image, "-o", out, "--study", square_file, "--weights", cleaner]
    found = run(*words, "--check", training_set, "--figure", figure, "--json").json
    assert found["held_out"]["tiles"] == 8 and found["checks"]["images"] > 0 and figure.stat().st_size > 10_000
    spectrum = read_spectrum(out, square)
    assert spectrum.error is not None and (spectrum.error[spectrum.valid] > 0).all()
    said = run(*words)
    assert "correlation with hidden mirror pixels" in said.out


def test_fine_tuning_starts_from_weights(
    run, refuse, weights: Path, cleaner: Path, training_set: Path, square_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "tuned.safetensors"
    words = ["train", "compact", training_set, "-o", out, "--epochs", 1, "--width", 16, "--study", square_file]
    assert run(*words, "--start-from", weights, "--json").json["start"] == str(weights)
    said = refuse(*words[:4], tmp_path / "other.safetensors", *words[5:], "--start-from", cleaner)
    assert "is no compact network of width 16" in said
    older, again = tmp_path / "older.safetensors", tmp_path / "again.safetensors"
    with safetensors.safe_open(cleaner, "pt") as file:
        kept = {k: file.get_tensor(k) for k in file.keys() if not k.startswith("correct")}  # noqa: SIM118
        save_file(kept, older, file.metadata())
    words = ["train", "cleaner", training_set, "-o", again, "--epochs", 1, "--width", 16, "--study", square_file]
    assert run(*words, "--start-from", older, "--json").json["start"] == str(older)


def test_bad_input(refuse, image: Path, square_file: Path, weights: Path, cleaner: Path, tmp_path: Path) -> None:
    out = tmp_path / "cleaned.h5"
    words = ["clean", image, "-o", out, "--study", square_file]
    assert "no cleaner ships for study square" in refuse(*words)
    assert "cleaners come from `magnoscope train cleaner`" in refuse(*words, "--weights", weights, "--json")
    assert "must end in .h5 or .npy" in refuse("clean", image, "-o", tmp_path / "cleaned.txt")
    assert not out.exists()
    said = refuse("classify", image, "--study", square_file, "--weights", cleaner)
    assert "cleans spectra and tells no models apart" in said


def test_the_page_shows_raw_against_cleaned(image: Path, square_file: Path, weights: Path, cleaner: Path) -> None:
    """By a network that was trained a little; what is shown is what `clean` makes."""
    pytest.importorskip("panel")
    from magnoscope.app.page import Page
    from magnoscope.app.service import Service

    study = load_study(square_file)
    page = Page(Service(study, str(square_file), weights, (image, None), cleaner_path=cleaner))
    page.begin()
    assert page.status.object == ""
    spectrum = page.state.spectrum
    expected = load_cleaner(cleaner, study)[0](spectrum)
    shown = {name: source.data["value"][0] for name, source in page.cleaned.pictures.sources.items()}
    arrays = {"raw": spectrum.signal, "cleaned": expected.signal, "spread of the cleaned": expected.error}
    assert shown.keys() == arrays.keys()
    for name, array in arrays.items():
        picture = page.maps.pictures.mosaic.image(np.where(spectrum.valid, array, np.nan))
        np.testing.assert_allclose(shown[name], picture, rtol=1e-6)
    assert np.nanstd(shown["cleaned"] - shown["raw"]) > 0 and np.nanmin(shown["spread of the cleaned"]) > 0
    page.show(replace(page.state, cleaned=replace(expected, signal=expected.signal + 1)))
    moved = page.cleaned.pictures.sources["cleaned"].data["value"][0]
    np.testing.assert_allclose(moved, shown["cleaned"] + 1, rtol=1e-5)
