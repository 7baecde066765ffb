"""Training sets and training through the command line."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from safetensors.torch import save_file

from magnoscope.cli.training import current_commit
from magnoscope.dataset.cluster import dask_client
from magnoscope.dataset.parts import holds_out
from magnoscope.dataset.tasks import Job, make_chunk
from magnoscope.study import Study
from magnoscope.trust.weights import load_weights, save_weights

Refuse = Callable[..., str]
FILES = ("images", "parameters", "rejected", "seeds", "checksums", "done")


def arrays(path: Path, study: Study) -> dict[str, np.ndarray]:
    root = zarr.open_group(str(path), mode="r")
    return {f"{c}/{name}": np.asarray(root[f"{c}/{name}"]) for c in study.classes for name in FILES}


@pytest.fixture
def copy(training_set: Path, tmp_path: Path) -> Path:
    """A copy of the training set that may be damaged."""
    return Path(shutil.copytree(training_set, tmp_path / "copy.zarr"))


# ---- building ------------------------------------------------------------------------------------------------------


def test_info(run, training_set: Path, square: Study) -> None:
    found = run("dataset", "info", training_set, "--json").json
    assert found["study"] == "square" and found["classes"] == ["near", "far"]
    assert (found["per_class"], found["seed"], found["resolution"]) == (12, 3, "gaussian")
    assert (found["layout_hash"], found["physics_hash"]) == (square.layout_hash, square.physics_hash)
    assert found["done"] == {"near": 12, "far": 12}
    assert "per_class: 12" in run("dataset", "info", training_set).out
    assert not list(training_set.parent.glob("*.partial"))


def test_contents(training_set: Path, square: Study, square_file: Path) -> None:
    """Parameters from the priors, and images that depend on (seed, class, index) alone."""
    held = arrays(training_set, square)
    for number, (name, model) in enumerate(square.models.items()):
        low, high = model.prior.T
        values = held[f"{name}/parameters"]
        assert np.all((values >= low) & (values <= high)) and len(np.unique(values[:, 0])) == 12
        job = Job(square_file.read_text("utf-8"), str(square_file), square.physics_hash, "gaussian", 3)
        chunk = make_chunk(job, number, range(8, 12))
        np.testing.assert_array_equal(held[f"{name}/images"][8:], chunk.images)
        np.testing.assert_array_equal(values[8:], chunk.parameters)
        np.testing.assert_array_equal(held[f"{name}/rejected"][8:], chunk.rejected)
        np.testing.assert_array_equal(held[f"{name}/checksums"][8:], chunk.checksums)
        assert held[f"{name}/seeds"].tolist() == [[3, number, i] for i in range(12)]


@pytest.mark.slow
def test_going_on_with_other_workers_gives_the_same_bytes(
    real_command, copy: Path, training_set: Path, square: Study, square_file: Path
) -> None:
    root = zarr.open_group(str(copy), mode="r+")
    for name, part in (("near", slice(0, 8)), ("far", slice(8, 12))):
        for array in FILES:
            root[f"{name}/{array}"][part] = 0
    words = ["dataset", "build", square_file, "-n", 12, "-o", copy, "--seed", 3, "--workers", 2, "--json"]
    done = real_command(*words)
    assert done.returncode == 0, done.stderr
    assert "12 of 24 images there already" in done.stderr
    assert json.loads(done.stdout)["done"] == {"near": 12, "far": 12}
    expected = arrays(training_set, square)
    for key, array in arrays(copy, square).items():
        np.testing.assert_array_equal(array, expected[key])


def test_nothing_left_to_do(run, copy: Path, square_file: Path) -> None:
    outcome = run("dataset", "build", square_file, "-n", 12, "-o", copy, "--seed", 3, "--json")
    assert outcome.json["done"] == {"near": 12, "far": 12}
    assert outcome.err == "24 of 24 images there already\n"


def test_other_settings(refuse: Refuse, copy: Path, square_file: Path, variant) -> None:
    def said(study: Path, number: int, seed: int, *more: str) -> str:
        return refuse("dataset", "build", study, "-n", number, "-o", copy, "--seed", seed, *more)

    assert "was begun with per_class = 12, not 11; give another folder, or as many or more" in said(square_file, 11, 3)
    assert "was begun with draws = uniform, not sobol" in said(square_file, 12, 3, "--draws", "sobol")
    assert "was begun with precision = float16, not float32" in said(square_file, 12, 3, "--precision", "float32")
    assert "was begun with seed = 3, not 4" in said(square_file, 12, 4)
    assert "was begun with resolution = gaussian, not none" in said(square_file, 12, 3, "--resolution", "none")
    assert "was begun with physics_hash" in said(variant(("spin = 1.0", "spin = 2.0")), 12, 3)


def test_folders_that_are_no_training_set(refuse: Refuse, square_file: Path, tmp_path: Path) -> None:
    (tmp_path / "folder.zarr").mkdir()
    (tmp_path / "folder.zarr" / "mine.txt").write_text("precious")
    (tmp_path / "file.zarr").touch()
    zarr.create_group(str(tmp_path / "group.zarr")).attrs["per_class"] = 3
    for name in ("folder.zarr", "file.zarr", "group.zarr"):
        assert "is no training set; build one with" in refuse("dataset", "info", tmp_path / name, "--json")
        assert "is no training set" in refuse("dataset", "build", square_file, "-n", 2, "-o", tmp_path / name)
    assert (tmp_path / "folder.zarr" / "mine.txt").read_text() == "precious"
    assert "is no training set" in refuse("dataset", "info", tmp_path / "missing.zarr")
    assert "is no training set" in refuse(
        "train", "compact", tmp_path / "missing.zarr", "-o", tmp_path / "w.safetensors"
    )


def test_output_that_cannot_be_written(refuse: Refuse, square_file: Path, tmp_path: Path) -> None:
    def said(path: Path) -> str:
        return refuse("dataset", "build", square_file, "-n", 2, "-o", path)

    assert "must end in .zarr" in said(tmp_path / "set")
    assert "there is no folder" in said(tmp_path / "nowhere" / "set.zarr")
    if Path("/proc/self").is_dir():
        assert "/proc/set.zarr cannot be written" in said(Path("/proc/set.zarr"))
    assert list(tmp_path.iterdir()) == []


def test_scheduler_that_is_none(refuse: Refuse, square_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "set.zarr"
    said = refuse("dataset", "build", square_file, "-n", 2, "-o", path, "--scheduler", "nonsense")
    assert "there is no Dask scheduler at nonsense" in said and "tcp://host:8786" in said
    assert not path.exists()


def test_priors_without_a_stable_structure(refuse: Refuse, variant, tmp_path: Path) -> None:
    path = tmp_path / "set.zarr"
    said = refuse("dataset", "build", variant(("prior = [-5, -3]", "prior = [3, 5]")), "-n", 2, "-o", path)
    assert "draws from the prior of model near gave no stable magnetic structure" in said
    assert not path.exists()


def test_damaged_training_set(refuse: Refuse, copy: Path, square_file: Path, tmp_path: Path) -> None:
    words = ["train", "compact", copy, "-o", tmp_path / "w.safetensors", "--study", square_file]
    chunk = next(path for path in (copy / "near" / "images").rglob("*") if path.is_file() and path.name != "zarr.json")
    content = chunk.read_bytes()
    chunk.write_bytes(content[: len(content) // 2])
    assert "is damaged in class near" in refuse(*words)
    chunk.write_bytes(content)
    shutil.rmtree(copy / "far" / "done")
    assert "is damaged: it has no array far/done" in refuse(*words)
    assert "is damaged" in refuse("dataset", "info", copy)


# ---- training ------------------------------------------------------------------------------------------------------


def test_card(weights: Path, square: Study) -> None:
    card = json.loads(weights.with_suffix(".json").read_text())
    assert (card["kind"], card["study"], card["classes"]) == ("compact", "square", ["near", "far"])
    assert card["epochs"] == 1
    assert card["images"] == {"train": 16, "validation": 2, "calibration": 2, "test": 4}
    assert card["training_set"]["per_class"] == 12
    assert not weights.with_suffix(".partial").exists()


def test_trust(run, weights: Path, training_set: Path, square_file: Path, variant) -> None:
    words = ["trust", weights, training_set, "--study"]
    found = run(*words, square_file, "--json").json
    assert found["clean"]["n"] == found["measurement_like"]["n"] == 4
    for row in (found["clean"], found["measurement_like"]):
        assert row["interval"][0] <= row["accuracy"] <= row["interval"][1]
        assert 0 <= row["ece"] <= 1 and 0 <= row["coverage"] <= 1
    assert found["warning"] is None
    assert run(*words, square_file).out.startswith("clean: accuracy")
    assert "warning: study square has changed" in run(*words, variant(("spin = 1.0", "spin = 1.5"))).out
    # the set carries the text of its study
    assert run("trust", weights, training_set, "--json").json["clean"] == found["clean"]


def test_trust_with_another_training_set(refuse: Refuse, weights: Path, copy: Path, square_file: Path) -> None:
    zarr.open_group(str(copy), mode="r+").attrs["seed"] = 4
    assert "is not the training set of" in refuse("trust", weights, copy, "--study", square_file, "--json")


def test_training_goes_on(run, refuse: Refuse, copy: Path, square_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    words = ["train", "compact", copy, "-o", path, "--width", 16, "--study", square_file]
    first = run(*words, "--epochs", 2, "--json")
    assert first.err.count("epoch ") == 2
    again = run(*words, "--epochs", 2, "--json")
    assert again.err == "going on after epoch 2\ncalibrating and scoring\n"
    assert again.json["scores"] == first.json["scores"]
    said = refuse(*words, "--epochs", 2, "--width", 32)
    assert "holds a training on another training set or of another width; remove it" in said
    checkpoint = tmp_path / "w.training" / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    assert "w.training is damaged; remove it" in refuse(*words, "--epochs", 2)


def test_training_that_cannot_start(
    run, refuse: Refuse, copy: Path, square: Study, square_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "w.safetensors"
    words = ["train", "compact", copy, "-o", path, "--study", square_file]
    said = refuse("train", "nonsense", copy, "-o", path)
    assert "there is no network nonsense; this version trains: compact, additive, dense, " in said
    assert "must end in .safetensors" in refuse("train", "compact", copy, "-o", tmp_path / "w.pt")
    assert "there is no folder" in refuse("train", "compact", copy, "-o", tmp_path / "no" / "w.safetensors")
    assert "is not a multiple of 16" in refuse(*words, "--width", 24)
    assert "'--epochs'" in refuse(*words, "--epochs", 0)
    said = refuse(*words[:5], "--study", "pcsmo")
    assert "was made for study square with other tiles, axes or classes" in said
    root = zarr.open_group(str(copy), mode="r+")
    root["far/done"][3] = False
    assert "is not finished; run the same `magnoscope dataset build` again" in refuse(*words, "--json")
    root["far/done"][3] = True
    root.attrs["per_class"] = 2
    assert "is too small" in refuse(*words)
    del root.attrs["study_text"]
    assert "was built for study square, which does not ship; name its file with --study" in refuse(*words[:5])
    assert {entry.name for entry in tmp_path.iterdir()} == {"copy.zarr"}


def test_a_local_cluster_has_as_many_workers_as_asked_for() -> None:
    # three: neither the default nor likely the number of cores
    with dask_client(3, None) as client:
        assert len(client.scheduler_info()["workers"]) == 3


# ---- calibration ---------------------------------------------------------------------------------------------------


@pytest.fixture
def mine(weights: Path, tmp_path: Path) -> Path:
    """A copy of the weights that may be written over."""
    shutil.copy(weights.with_suffix(".json"), tmp_path / "mine.json")
    return Path(shutil.copy(weights, tmp_path / "mine.safetensors"))


def test_weights_are_calibrated_anew(run, mine: Path, training_set: Path, square: Study) -> None:
    before, _ = load_weights(mine, square)
    card = run("calibrate", mine, training_set, "--json").json
    after, _ = load_weights(mine, square)
    assert card == after.card and card["calibrated"] == current_commit() and card["commit"] == before.card["commit"]
    assert "calibrated" not in before.card
    for name, row in before.card["scores"].items():
        assert all(card["scores"][name][k] == pytest.approx(row[k], rel=1e-4) for k in ("accuracy", "nll", "set_size"))
    assert after.calibration.signals == ("feature_distance", "centroid_distance", "unexplained_structure")
    # the inverse of a covariance of few images multiplies rounding: its signals are compared in size only
    np.testing.assert_allclose(after.calibration.means, before.calibration.means, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(after.calibration.held_back, before.calibration.held_back, rtol=0.05, atol=1e-3)


def test_weights_of_before_there_were_more_signals(
    run, mine: Path, training_set: Path, square: Study, square_file: Path, image: Path
) -> None:
    found, _ = load_weights(mine, square)
    tensors = {f"network.{k}": v.contiguous() for k, v in found.network.state_dict().items()}
    calibration = found.calibration
    arrays = {"means": calibration.means, "precision": calibration.precision, "held_back": calibration.held_back[:, :2]}
    tensors |= {f"calibration.{k}": torch.as_tensor(v.copy()) for k, v in arrays.items()}
    numbers = {k: getattr(calibration, k) for k in ("temperature", "label_threshold", "coverage")}
    save_file(tensors, mine, {"card": json.dumps(found.card), "calibration": json.dumps(numbers)})
    words = ["classify", image, "--study", square_file, "--weights", mine, "--json"]
    assert run(*words).json["signals"].keys() == {"feature_distance", "centroid_distance"}
    assert run("trust", mine, training_set, "--json").status == 0
    assert run("calibrate", mine, training_set).status == 0
    assert "unexplained_structure" in run(*words).json["signals"]


def test_features_of_a_posterior_become_a_signal(
    run, refuse: Refuse, mine: Path, training_set: Path, square_file: Path, image: Path, tmp_path: Path
) -> None:
    posterior, other = tmp_path / "posterior.safetensors", tmp_path / "other.safetensors"
    options = ["--epochs", 1, "--width", 16, "--study", square_file, "--json"]
    assert run("train", "posterior", training_set, "-o", posterior, *options).status == 0
    assert run("calibrate", mine, training_set, "--posterior", posterior).status == 0
    words = ["classify", image, "--study", square_file, "--weights", mine, "--json"]
    signal = run(*words).json["signals"]["distance_from_simulations"]
    assert signal["value"] > 0 and 0 < signal["p_value"] <= 1
    # weights keep it when they are calibrated again without the posterior
    assert run("calibrate", mine, training_set).status == 0
    assert run(*words).json["signals"]["distance_from_simulations"]["value"] == pytest.approx(signal["value"], rel=1e-3)
    run("dataset", "export", training_set, "-n", 10, "-o", tmp_path / "small")
    assert run("train", "posterior", tmp_path / "small", "-o", other, *options).status == 0
    # the whole set is what the small one has grown to
    assert run("calibrate", mine, training_set, "--posterior", other).status == 0
    about = tmp_path / "small" / "about.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"seed": 4}))
    assert run("train", "posterior", tmp_path / "small", "-o", other.with_stem("foreign"), *options).status == 0
    said = refuse("calibrate", mine, training_set, "--posterior", other.with_stem("foreign"))
    assert "is not the training set of" in said


@pytest.mark.parametrize(
    ("trained", "held_out"),
    [
        ({}, True),
        ({"per_class": 89}, True),  # images up to 69 trained or stopped it
        ({"per_class": 91}, False),
        ({"per_class": 200}, False),
        ({"per_class": "89"}, False),
        ({"per_class": 89, "seed": 2}, False),
        (None, False),
    ],
)
def test_a_set_that_has_grown_holds_out_what_it_held_out(trained: dict | None, held_out: bool) -> None:
    identity = {"per_class": 100, "seed": 1, "resolution": "none", "physics_hash": "a"}
    assert holds_out(identity, None if trained is None else identity | trained) is held_out


def test_several_networks_become_one_ensemble(
    run,
    refuse: Refuse,
    weights: Path,
    mine: Path,
    training_set: Path,
    square_file: Path,
    image: Path,
    tmp_path: Path,
    square: Study,
) -> None:
    # the card of one is of before there was a nuisance that is off in both
    older, _ = load_weights(mine, square)
    nuisance = {k: v for k, v in older.card["nuisance"].items() if k != "blur"}
    save_weights(replace(older, card=older.card | {"nuisance": nuisance}), mine)
    path = tmp_path / "together.safetensors"
    assert "give the file of the ensemble with -o" in refuse("calibrate", weights, mine, training_set)
    card = run("calibrate", weights, mine, training_set, "-o", path, "--json").json
    assert card["kind"] == "ensemble" and [m["kind"] for m in card["members"]] == ["compact"] * 2
    verdict = run("classify", image, "--study", square_file, "--weights", path, "--json").json
    alone = run("classify", image, "--study", square_file, "--weights", weights, "--json").json
    assert verdict["scores"] == pytest.approx(alone["scores"]) and "disagreement" in verdict["signals"]
    assert verdict["signals"]["disagreement"]["value"] == pytest.approx(0, abs=1e-6)
    assert run("trust", path, training_set, "--json").json["clean"]["n"] == 4
    explained = run("explain", image, "--study", square_file, "--weights", path, "--check", "--json").json
    assert sum(abs(s["share"]) for s in explained["slices"]) == pytest.approx(1)
    save_weights(replace(older, card=older.card | {"nuisance": nuisance | {"hot": 0.5}}), mine)
    assert "trained with different settings of nuisance" in refuse("calibrate", weights, mine, training_set, "-o", path)
    said = refuse("calibrate", path, mine, training_set, "-o", path)
    assert "an ensemble is made of networks of one kind, not of compact and ensemble" in said


def test_calibration_with_another_training_set(refuse: Refuse, mine: Path, copy: Path) -> None:
    zarr.open_group(str(copy), mode="r+").attrs["seed"] = 4
    before = mine.read_bytes()
    assert "is not the training set of" in refuse("calibrate", mine, copy, "--json")
    assert mine.read_bytes() == before


def test_suite_of_foreign_families(run, weights: Path, training_set: Path, square: Study, tmp_path: Path) -> None:
    figure, cache = tmp_path / "reliability.png", tmp_path / "foreign"
    words = ["trust", weights, training_set, "--suite", "--images", 3, "--cache", cache, "--figure", figure, "--json"]
    first = run(*words)
    suite = first.json["suite"]
    assert "third Hamiltonian: left out" in first.err and "materials-gaussian: 3 of 3 spectra simulated" in first.err
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert {"other materials", "Franken, some slices", "noise only", "outside the priors"} <= suite["families"].keys()
    for row in suite["families"].values():
        assert row["n"] >= 3 and 0 <= row["interval"][0] <= row["auroc"] <= row["interval"][1] <= 1
        assert row["by_signal"].keys() >= {"unexplained_structure"} and 0 <= row["k_below_half"] <= 1
    foreign = [row["auroc"] for row in suite["families"].values() if "accuracy" not in row]
    assert suite["mean_auroc"] == pytest.approx(np.mean(foreign)) and suite["least_auroc"] == min(foreign)
    again = run(*words)
    assert "simulated" not in again.err and again.json["suite"] == suite
    assert "AUROC over the families that are foreign throughout" in run(*words[:-1]).out
