"""explain from the command line."""

import json
from pathlib import Path

import numpy as np
import pytest

from magnoscope.cli.explain import opinions
from magnoscope.dataset.parts import load_part, open_set, relabelled
from magnoscope.io.images import read_spectrum
from magnoscope.study import Study
from magnoscope.trust.weights import load_weights, save_weights
from magnoscope.verdict import classify


def test_explain(run, image: Path, square_file: Path, weights: Path, tmp_path: Path) -> None:
    figure = tmp_path / "why.png"
    words = ["explain", image, "--study", square_file, "--weights", weights]
    found = run(*words, "--check", "-o", figure, "--json").json
    assert found["for"] in ("near", "far") and len(found["slices"]) == 2
    assert sum(abs(row["share"]) for row in found["slices"]) == pytest.approx(1)
    assert found["slices"][0].keys() == {"ei_meV", "energy_meV", "share"}
    assert "deletion" in found["checks"] and figure.stat().st_size > 10_000
    assert found["checks"]["seeds"] is None and found["checks"]["physics_refitted"] is None
    said = run(*words, "--for", "far", "--method", "gradients").out
    maps = [run(*words, "--method", method, "--json").json["slices"] for method in ("gradcam", "hirescam")]
    assert maps[0] != maps[1]
    assert "log-odds of far" in said and "Ei 50 meV" in said


def test_bad_input(refuse, image: Path, square_file: Path, weights: Path) -> None:
    words = ["explain", image, "--study", square_file, "--weights", weights]
    assert "has no model nothing" in refuse(*words, "--for", "nothing")
    assert "guess" in refuse(*words, "--method", "guess")
    assert "several weights are compared by --check alone" in refuse(*words[:-1], f"{weights},{weights}")


def test_agreement_over_seeds_and_with_a_rival_fitted(run, image: Path, square_file: Path, weights: Path) -> None:
    words = ["explain", image, "--study", square_file, "--weights", f"{weights},{weights}", "--method", "occlusion"]
    found = run(*words, "--check", "--refit", "--json").json["checks"]
    assert found["seeds"] == pytest.approx(1) and -1 <= found["physics_refitted"] <= 1


def test_matches_agree_over_seeds_as_far_as_each_finds_its_own(
    run, square_file: Path, weights: Path, square: Study, tmp_path: Path
) -> None:
    image, found = tmp_path / "far.npy", load_weights(weights, square)[0]
    run("simulate", square_file, "far", "--set", "J1=-2.9", "--set", "J2=-1.9", "-o", image)
    verdict, other = classify(read_spectrum(image, square), found), load_weights(weights, square)[0]
    # the same, but that it takes the parameters of both models for something else
    other.network.regression[-1].bias.data -= 5
    [(own, _)] = opinions(verdict, [other], "likelihood", {})
    assert own.matches["far"].parameters != verdict.matches["far"].parameters
    [(same, _)] = opinions(verdict, [other], "shapley", {})
    assert same is verdict
    assert opinions(verdict, [other], "likelihood", {"far": {"J1": -1.2}}) == []

    save_weights(other, tmp_path / "other.safetensors")
    words = ["explain", image, "--study", square_file, "--method", "likelihood", "--check", "--json"]
    checks = run(*words, "--weights", f"{weights},{tmp_path / 'other.safetensors'}").json["checks"]
    assert checks["seeds"] is not None and checks["random_weights"] is None


def test_best_matches_at_the_parameters_of_fits(run, refuse, square_file: Path, weights: Path, tmp_path: Path):
    fits, image = tmp_path / "compare.json", tmp_path / "far.npy"
    run("simulate", square_file, "far", "-o", image)
    words = ["explain", image, "--study", square_file, "--weights", weights, "--method", "occlusion", "--fits", fits]
    said = {"fits": {"far": {"parameters": {"J1": {"mean": -1.2}, "J2": {"mean": -1.1}}}}}
    fits.write_text(json.dumps(said))
    moved, usual = run(*words, "--json").json, run(*words[:-2], "--json").json
    assert moved["margin"] == pytest.approx(usual["margin"]) and moved["slices"] != usual["slices"]
    said["fits"]["far"]["parameters"]["J9"] = {"mean": 1.0}
    fits.write_text(json.dumps(said))
    assert "J9" in refuse(*words)
    fits.write_text("[]")
    assert "holds no fits; give what `magnoscope compare IMAGE --json` prints" in refuse(*words)


def test_a_network_of_random_labels_is_for_checks_alone(
    run, image: Path, square_file: Path, weights: Path, training_set: Path, square: Study, tmp_path: Path
) -> None:
    chance = tmp_path / "chance.safetensors"
    words = ["train", "compact", training_set, "-o", chance, "--epochs", 1, "--width", 16, "--study", square_file]
    card = run(*words, "--random-labels", "--learning-rate", 3e-4, "--json").json
    assert card["random_labels"] is True and card["settings"]["learning_rate"] == 3e-4
    assert (
        "its verdicts mean nothing"
        in run("classify", image, "--study", square_file, "--weights", chance, "--json").json["warning"]
    )
    words = ["explain", image, "--study", square_file, "--weights", f"{weights},{chance}", "--check", "--json"]
    assert -1 <= run(*words).json["checks"]["seeds"] <= 1
    part = load_part(open_set(training_set), square, "train")
    other = relabelled(part, 0)
    pairs = [sorted(zip(p.labels.tolist(), p.parameters.tolist(), strict=True)) for p in (part, other)]
    assert pairs[0] == pairs[1] and other.images is part.images
    assert not np.array_equal(part.parameters, other.parameters)
