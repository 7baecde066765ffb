"""Classification, weights, fetching and the demonstration through the command line."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from magnoscope.errors import WeightsError
from magnoscope.studies import default_study, load_study
from magnoscope.study import Study
from magnoscope.trust.weights import load_weights, save_weights, shipped_weights

Refuse = Callable[..., str]


@pytest.fixture
def words(image: Path, square_file: Path) -> list[object]:
    return ["classify", image, "--study", square_file]


# ---- verdicts ------------------------------------------------------------------------------------------------------


def check_verdict(verdict: dict, study: Study) -> None:
    classes = set(study.classes)
    assert verdict["label"] in classes | {None}
    assert (verdict["label"] is None) == (not verdict["in_distribution"])
    assert verdict["nearest"] in classes
    assert verdict["label_set"] and set(verdict["label_set"]) <= classes
    assert verdict["scores"].keys() == verdict["probabilities"].keys() == verdict["matches"].keys() == classes
    assert all(0 <= k <= 1 for k in verdict["scores"].values())
    assert verdict["nearest"] == max(verdict["scores"], key=verdict["scores"].get)
    assert sum(verdict["probabilities"].values()) == pytest.approx(1)
    assert 0 < verdict["p_value"] <= 1
    for signal in verdict["signals"].values():
        assert 0 < signal["p_value"] <= 1
    for name, match in verdict["matches"].items():
        assert match["parameters"].keys() == {p.name for p in study.models[name].parameters}
    assert verdict["study"] == study.name
    assert verdict["nearest"] in verdict["message"]


def test_classify(run, words: list[object], weights: Path, square: Study, tmp_path: Path) -> None:
    verdict = run(*words, "--weights", weights, "--json").json
    check_verdict(verdict, square)
    assert verdict["warning"] is None
    mask = tmp_path / "mask.npy"
    np.save(mask, np.arange(12 * 24).reshape(12, 24) % 5 == 0)
    masked = run(*words, "--weights", weights, "--mask", mask, "--json").json
    check_verdict(masked, square)
    assert masked["scores"] != verdict["scores"]


def test_classify_with_a_figure(run, words: list[object], weights: Path, tmp_path: Path) -> None:
    figure = tmp_path / "verdict.png"
    outcome = run(*words, "--weights", weights, "-o", figure)
    assert outcome.status == 0, outcome
    assert "nearest" in outcome.out or "K = " in outcome.out
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in tmp_path.iterdir()} == {"image.npy", "verdict.png"}


def test_classify_what_was_simulated(run, square_file: Path, weights: Path, square: Study, tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    assert run("simulate", square_file, "far", "--noise", 20, "-o", path).status == 0
    check_verdict(run("classify", path, "--study", square_file, "--weights", weights, "--json").json, square)


def test_figure_that_cannot_be_written(refuse: Refuse, words: list[object], tmp_path: Path) -> None:
    assert "must end in .png or .pdf or .svg" in refuse(*words, "-o", tmp_path / "x.txt")
    assert "there is no folder" in refuse(*words, "-o", tmp_path / "nowhere" / "x.png")
    (tmp_path / "folder.png").mkdir()
    assert "is a folder" in refuse(*words, "-o", tmp_path / "folder.png")


def test_image_is_refused_before_anything_else(refuse: Refuse, words: list[object], tmp_path: Path) -> None:
    for name, array, expected in (
        ("shape", np.ones((5, 5)), "the image has shape 5 x 5; study square needs 12 x 24"),
        ("nan", np.full((12, 24), np.nan), "has no pixel with a detector"),
        ("text", np.full((12, 24), "x"), "instead of one array of real numbers"),
    ):
        path = tmp_path / f"{name}.npy"
        np.save(path, array)
        assert f"{name}.npy" in refuse("classify", path, *words[2:], "--json")
        assert expected in refuse("classify", path, *words[2:])
        assert f"{name}.npy holds" in refuse(*words, "--mask", path)
    assert "there is no file" in refuse("classify", tmp_path / "missing.npy", *words[2:])
    assert "is a folder" in refuse("classify", tmp_path, *words[2:])
    assert "File name too long" in refuse("classify", "x" * 300 + ".npy", *words[2:])


def test_study_of_other_tiles(refuse: Refuse, image: Path) -> None:
    study = load_study(default_study())
    rows, columns = study.image_shape
    assert f"study {study.name} needs {rows} x {columns}" in refuse("classify", image)


# ---- weights -------------------------------------------------------------------------------------------------------


def header(content: dict, data: bytes = b"") -> bytes:
    text = json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text + data


def test_weights_that_are_none(refuse: Refuse, words: list[object], tmp_path: Path) -> None:
    tensors = {"x": torch.zeros(3)}
    for name, content in {
        "text": b"not safetensors",
        "empty": b"",
        "header": struct.pack("<Q", 2**60),
        "card": header({"__metadata__": {"card": "[]", "calibration": "{}"}}),
        "json": header({"__metadata__": {"card": "{", "calibration": "{}"}}),
    }.items():
        (tmp_path / f"{name}.safetensors").write_bytes(content)
        said = refuse(*words, "--weights", tmp_path / f"{name}.safetensors", "--json")
        assert "is no weights file of magnoscope; `magnoscope train` writes them" in said
    save_file(tensors, tmp_path / "other.safetensors")
    assert "is no weights file of magnoscope" in refuse(*words, "--weights", tmp_path / "other.safetensors")
    torch.save(tensors, tmp_path / "pickle.pt")
    assert "is no weights file of magnoscope" in refuse(*words, "--weights", tmp_path / "pickle.pt")
    assert "there is no weights file" in refuse(*words, "--weights", tmp_path / "missing.safetensors")
    assert "magnoscope train" in refuse(*words, "--weights", tmp_path)


def test_weights_of_another_layout(refuse: Refuse, weights: Path, variant, tmp_path: Path) -> None:
    other = variant(("from = -0.9", "from = -0.8"), ("square", "other"))
    np.save(tmp_path / "image.npy", np.ones((12, 24)))
    said = refuse("classify", tmp_path / "image.npy", "--study", other, "--weights", weights)
    assert "was made for study square with classes near, far; study other has other tiles, axes or classes" in said


def test_changed_physics_is_a_warning(run, weights: Path, variant, image: Path) -> None:
    changed = variant(("spin = 1.0", "spin = 1.5"))
    words = ["classify", image, "--study", changed, "--weights", weights]
    assert "has changed since square.safetensors was trained" in run(*words, "--json").json["warning"]
    assert "warning: study square has changed" in run(*words).out


@pytest.mark.parametrize(
    "damage",
    [
        "width",
        "no seed",
        "width of text",
        "tensor missing",
        "tensor of another shape",
        "nan",
        "calibration",
        "held back",
        "components",
    ],
)
def test_damaged_weights(
    refuse: Refuse, words: list[object], weights: Path, square: Study, tmp_path: Path, damage: str
) -> None:
    found, _ = load_weights(weights, square)
    calibration, card = found.calibration, dict(found.card)
    whole = torch.contiguous_format
    state = {f"network.{k}": v.clone(memory_format=whole) for k, v in found.network.state_dict().items()}
    arrays = {k: torch.as_tensor(getattr(calibration, k).copy()) for k in ("means", "precision", "held_back")}
    arrays["held_back"] = arrays["held_back"][:, : 3 if damage == "components" else 2].contiguous()
    settings = {k: getattr(calibration, k) for k in ("temperature", "label_threshold", "coverage")}
    if damage == "width":
        card["width"] = 10**9
    elif damage == "width of text":
        card["width"] = "wide"
    elif damage == "no seed":
        del card["seed"]
    elif damage == "tensor missing":
        del state[next(iter(state))]
    elif damage == "tensor of another shape":
        state[next(iter(state))] = torch.zeros(3)
    elif damage == "nan":
        next(v for v in state.values() if v.is_floating_point()).view(-1)[0] = torch.nan
    elif damage == "calibration":
        settings["more"] = 1.0
    elif damage == "held back":
        arrays["held_back"] = torch.zeros(0, 3)
    else:
        settings["signals"] = list(calibration.signals)
        arrays |= {"components": torch.zeros(2, 1, 2, 5, 5), "spread": torch.ones(2)}
    path = tmp_path / "damaged.safetensors"
    metadata = {"card": json.dumps(card), "calibration": json.dumps(settings)}
    save_file(state | {f"calibration.{k}": v for k, v in arrays.items()}, path, metadata)
    assert "does not fit this version of the network; train the weights again" in refuse(*words, "--weights", path)


def test_weights_are_written_whole_or_not_at_all(weights: Path, square: Study, tmp_path: Path) -> None:
    found, warning = load_weights(weights, square)
    assert warning is None
    copy = tmp_path / "copy.safetensors"
    save_weights(found, copy)
    again, _ = load_weights(copy, square)
    assert json.loads(copy.with_suffix(".json").read_text()) == found.card == again.card
    for key, value in found.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[key])
    assert {path.name for path in tmp_path.iterdir()} == {"copy.safetensors", "copy.json"}
    with pytest.raises(WeightsError, match="cannot be written"):
        save_weights(found, tmp_path / "nowhere" / "copy.safetensors")


def test_no_weights_ship_for_a_study_of_ones_own(refuse: Refuse, words: list[object]) -> None:
    assert "no weights ship for study square; train some with `magnoscope dataset build`" in refuse(*words)


@pytest.mark.slow
def test_weights_that_ship(run, tmp_path: Path) -> None:
    study = load_study(default_study())
    try:
        shipped_weights(study)
    except WeightsError:
        pytest.skip("no weights ship yet")
    model, path = study.classes[0], tmp_path / "image.npy"
    assert run("simulate", study.name, model, "-o", path, "--noise", 100).status == 0
    verdict = run("classify", path, "--json").json
    check_verdict(verdict, study)
    assert verdict["label"] == model


# ---- fetching and the demonstration --------------------------------------------------------------------------------

NOWHERE = f"""[downloads]
base_url = "http://127.0.0.1:9/"

[[downloads.files]]
name = "measured"
role = "measured"
path = "measured.npy"
sha256 = "{"0" * 64}"

[instrument]"""


@pytest.fixture
def no_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No measurement is on this machine, and the cache is an empty folder."""
    monkeypatch.delenv("MAGNOSCOPE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "cache"


@pytest.mark.parametrize("json_option", [[], ["--json"]])
def test_fetch_without_a_network(run, variant, no_data: Path, json_option: list[str]) -> None:
    study = variant(("[instrument]", NOWHERE))
    outcome = run("fetch", study, *json_option)
    assert (outcome.status, outcome.out) == (2, "")
    said = outcome.err.splitlines()[-1]
    assert "cannot download http://127.0.0.1:9/measured.npy" in said
    assert "place by hand" in said and "MAGNOSCOPE_DATA" in said
    if json_option:
        assert json.loads(said).keys() == {"error"}


def test_fetch_of_a_study_without_public_files(refuse: Refuse, square_file: Path) -> None:
    assert "study square names no public files; add [downloads]" in refuse("fetch", square_file)
    assert "there is no study nothing" in refuse("fetch", "nothing", "--json")


def test_demo_without_a_measurement(refuse: Refuse, square_file: Path, no_data: Path, tmp_path: Path) -> None:
    said = refuse("demo", "--study", square_file, "-o", tmp_path / "demo.png")
    assert "there is no measurement of square; `magnoscope fetch square`" in said
    assert "must end in .png" in refuse("demo", "--study", square_file, "-o", tmp_path / "demo.doc", "--json")
