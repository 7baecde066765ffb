"""Sets of magnets that are no candidate, and training with them, through the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from magnoscope.dataset import store
from magnoscope.dataset.build import missing_chunks
from magnoscope.dataset.chunks import encode, write
from magnoscope.dataset.draws import Law, drawn_classes
from magnoscope.dataset.parts import FOREIGN, WHOLE, identity_of, load_part, open_set
from magnoscope.dataset.tasks import Job, make_chunk
from magnoscope.networks.foreign import families_of
from magnoscope.study import Study
from magnoscope.trust import emulator
from magnoscope.trust.weights import load_weights

from .conftest import Run

SETTINGS = ["-n", 10, "--seed", 3]


def built(study: Study, file: Path, path: Path, law: Law) -> Path:
    """What `dataset build` makes, without its cluster."""
    settings = store.Settings(10, 3, "gaussian", law)
    root = store.create(path, study, file.read_text("utf-8"), settings)
    job = Job(file.read_text("utf-8"), str(file), study.physics_hash, "gaussian", 3, law)
    for number, indices in missing_chunks(root, study, drawn_classes(study, law)):
        write(path / study.classes[number], encode(3, number, indices, make_chunk(job, number, indices)))
    return path


@pytest.fixture(scope="module")
def folder(striped: Study, striped_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten spectra of each candidate, beyond its priors and of another instrument, and ten magnets on its bonds."""
    path = tmp_path_factory.mktemp("sets")
    built(striped, striped_file, path / "own.zarr", Law())
    built(striped, striped_file, path / "beyond.zarr", Law("beyond"))
    built(striped, striped_file, path / "foreign.zarr", Law("foreign"))
    built(striped, striped_file, path / "instrument.zarr", Law("instrument"))
    return path


def test_set_of_magnets(run: Run, folder: Path, striped: Study, striped_file: Path) -> None:
    path = folder / "foreign.zarr"
    # the command finds what it would make itself
    done = run("dataset", "build", striped_file, *SETTINGS, "--draws", "foreign", "-o", path, "--json")
    assert done.err == "20 of 20 images there already\n" and done.json["draws"] == {"kind": "foreign"}
    assert "2 simulated again 2 came out the same to the last bit" in run("dataset", "verify", path, "--sample", 2).out
    assert list(open_set(path)["near"].attrs["parameters"]) == [
        "J parallel", "J antiparallel", "D", "spin Mn.1", "spin Mn.2",
    ]  # fmt: skip
    part = load_part(open_set(path), striped, "train", foreign=True)
    assert set(part.labels.tolist()) == {FOREIGN} and np.all(part.parameters == 0.5) and len(part.labels) == 14


def test_training_with_magnets(run: Run, folder: Path, tmp_path: Path, striped_file: Path) -> None:
    path = tmp_path / "w.safetensors"
    words = ["train", "compact", folder / "own.zarr", "-o", path, "--epochs", 1, "--width", 16]
    words += ["--study", striped_file, "--json"]
    card = run(*words, "--foreign", folder / "foreign.zarr").json
    assert card["foreign_families"] == [*families_of(1, 2), "random magnets"]
    assert card["foreign_set"] == identity_of(folder / "foreign.zarr") and card["foreign_set"]["per_class"] == 10
    assert (card["images"]["foreign train"], card["images"]["foreign test"]) == (14, 2)
    assert 0 <= card["foreign"]["random magnets, left out"]["auroc"] <= 1
    again = run(
        "trust", path, folder / "own.zarr", "--study", striped_file, "--foreign", folder / "foreign.zarr", "--json"
    )
    assert again.json["foreign"] == card["foreign"]
    fine = tmp_path / "fine.safetensors"
    words[4] = fine
    card = run(*words, "--foreign", folder / "foreign.zarr", "--start-from", path).json
    assert card["start"] == str(path) and card["settings"]["learning_rate"] == pytest.approx(5e-4)
    assert json.loads(fine.with_suffix(".json").read_text())["foreign_families"][-1] == "random magnets"


def test_sets_in_each_others_place(refuse, run: Run, folder: Path, square_file: Path, tmp_path: Path) -> None:
    own, magnets, weights = folder / "own.zarr", folder / "foreign.zarr", tmp_path / "w.safetensors"
    said = "this set holds magnets that are no candidate; name it with --foreign, beside a training set"
    assert said in refuse("train", "compact", magnets, "-o", weights)
    assert said in refuse("train", "compact", own, "-o", weights, "--shared", magnets)
    said = "holds the candidates' own spectra; build one of magnets that are none"
    assert said in refuse("train", "compact", own, "-o", weights, "--foreign", own)
    said = "holds spectra of the instrument as stated; build a set of others"
    assert said in refuse("train", "compact", own, "-o", weights, "--instrument", own)
    said = "no foreign inputs are shown to a dense in training; --foreign is for compact, additive, duq"
    assert said in refuse("train", "dense", own, "-o", weights, "--foreign", magnets)
    assert "none is drawn from priors of exchange" in refuse("dataset", "info", magnets, "--rejections")
    new = tmp_path / "new.zarr"
    said = refuse("dataset", "build", square_file, "-n", 2, "-o", new, "--draws", "foreign")
    assert "there are no random magnets on the bonds of model near" in said and not new.exists()
    assert not weights.exists()


def test_set_beyond_the_priors(run: Run, folder: Path, striped: Study, striped_file: Path) -> None:
    path = folder / "beyond.zarr"
    done = run("dataset", "build", striped_file, *SETTINGS, "--draws", "beyond", "-o", path, "--json")
    assert done.err == "20 of 20 images there already\n" and done.json["draws"] == {"kind": "beyond"}
    assert "2 simulated again 2 came out the same to the last bit" in run("dataset", "verify", path, "--sample", 2).out
    part = load_part(open_set(path), striped, "train", WHOLE, beyond=True)
    assert len(part.labels) == 20 and np.all(np.abs(part.parameters - 0.5).max(1) > 0.5)
    assert np.all(np.abs(part.parameters - 0.5) <= 1)
    assert "tenths of each prior" in run("dataset", "info", path, "--rejections").out


def test_set_of_an_instrument_that_is_not_as_stated(
    run: Run, folder: Path, tmp_path: Path, striped: Study, striped_file: Path
) -> None:
    path = folder / "instrument.zarr"
    done = run("dataset", "build", striped_file, *SETTINGS, "--draws", "instrument", "-o", path, "--json")
    assert done.err == "20 of 20 images there already\n" and done.json["draws"] == {"kind": "instrument"}
    assert "2 simulated again 2 came out the same to the last bit" in run("dataset", "verify", path, "--sample", 2).out
    # the parameters of a set that is as stated, and other spectra of them
    stated, other = (load_part(open_set(folder / f"{n}.zarr"), striped, "train") for n in ("own", "instrument"))
    np.testing.assert_array_equal(other.parameters, stated.parameters)
    apart = np.abs(other.images.astype(float) - stated.images).mean((1, 2, 3, 4)) / stated.images.mean((1, 2, 3, 4))
    assert np.all(apart > 0.01) and len(set(apart.round(4).tolist())) == 14

    words = ["train", "compact", folder / "own.zarr", "-o", tmp_path / "w.safetensors", "--epochs", 1, "--width", 16]
    card = run(*words, "--study", striped_file, "--instrument", path, "--json").json
    assert card["instrument_set"] == identity_of(path)
    assert [card["images"][name] for name in ("train", "validation", "test", "instrument test")] == [28, 4, 2, 2]
    assert card["instrument"]["scores"]["clean"]["n"] == 2 and 0 <= card["instrument"]["below_0.01"] <= 1

    # the same of `trust`; calibrated anew without the set, the card says nothing of it
    asked = [tmp_path / "w.safetensors", folder / "own.zarr", "--study", striped_file]
    assert run("trust", *asked, "--instrument", path, "--json").json["instrument"] == card["instrument"]
    assert "an instrument that is not as stated:\n" in run("calibrate", *asked, "--instrument", path).out
    assert "instrument" not in run("calibrate", *asked, "--json").json


def test_an_emulator_learns_of_spectra_beyond_the_priors(
    run: Run, refuse, folder: Path, tmp_path: Path, striped: Study, striped_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, beyond, weights = folder / "own.zarr", folder / "beyond.zarr", tmp_path / "w.safetensors"
    words = ["train", "compact", own, "-o", weights, "--epochs", 1, "--width", 16, "--study", striped_file]
    assert run(*words).status == 0
    words = ["calibrate", weights, own, "--study", striped_file, "--beyond"]
    outcome = run(*words, beyond)
    assert (
        outcome.status == 2 and "the training set has too few spectra of a model to learn an emulator of" in outcome.err
    )
    monkeypatch.setattr(emulator, "FEWEST_IMAGES", 5)
    monkeypatch.setattr(emulator, "EPOCHS", 2)
    card = run(*words, beyond, "--json").json
    assert card["beyond_set"] == identity_of(beyond)
    signals = load_weights(weights, striped)[0].calibration.signals
    assert "beyond_priors" in signals
    assert "this set holds spectra within the priors; build one of those beyond" in refuse(*words, own)
    assert "--beyond and --no-emulator contradict each other" in refuse(*words, beyond, "--no-emulator")
    other = tmp_path / "other.safetensors"
    plain = ["calibrate", weights, own, "--study", striped_file, "-o", other]
    assert run(*plain, "--no-emulator").status == 0
    words = ["calibrate", other, own, "--study", striped_file, "--emulator-from"]
    assert "other.safetensors holds no emulator; name weights that were calibrated" in refuse(*words, other)
    taken = run(*words, weights, "--json").json
    assert taken["emulator_from"] == {"seed": 0, "calibrated": card["calibrated"]}
    assert taken["beyond_set"] == card["beyond_set"]
    ours, theirs = (load_weights(path, striped)[0].calibration.emulator for path in (other, weights))
    assert ours is not None and theirs is not None and torch.equal(ours.components, theirs.components)
    middle = torch.full((1, int(ours.candidates[0].free.sum())), 0.5)
    assert torch.equal(ours.candidates[0](middle), theirs.candidates[0](middle))
    said = "this set holds spectra of parameters beyond the priors; name it with `calibrate --beyond`"
    assert said in refuse("train", "compact", beyond, "-o", tmp_path / "other.safetensors")
