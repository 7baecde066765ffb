"""The main job with the weights that ship: the measurement, and simulations the training has not seen."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from magnoscope.dataset.coverage import random_coverage
from magnoscope.dataset.noise import MEASUREMENT_LIKE, degrade
from magnoscope.io.images import read_spectrum
from magnoscope.simulate import Simulator
from magnoscope.spectrum import Spectrum
from magnoscope.trust.signals import run_network
from magnoscope.trust.weights import load_weights, shipped_weights
from magnoscope.verdict import Verdict, classify


@pytest.fixture(scope="module")
def simulator(pcsmo) -> Simulator:
    return Simulator(pcsmo)


@pytest.fixture(scope="module")
def weights(pcsmo):
    return load_weights(shipped_weights(pcsmo), pcsmo)[0]


@pytest.fixture(scope="module")
def measured(pcsmo, shared_data) -> Spectrum:
    return read_spectrum(shared_data / "pcsmo" / "measured.npy", pcsmo)


@pytest.fixture(scope="module")
def verdict(measured, weights, simulator) -> Verdict:
    return classify(measured, weights, simulator)


def noisy(simulator: Simulator, model: str, seed: int, **changes: float) -> Spectrum:
    signal = torch.as_tensor(simulator(model, changes).signal[None], dtype=torch.float32)
    generator = torch.Generator().manual_seed(seed)
    image, valid = degrade(signal, random_coverage(simulator.study, 4, 5), MEASUREMENT_LIKE, generator)
    return Spectrum(simulator.study, image[0].numpy().astype(float), valid[0].numpy())


def test_the_measurement_is_goodenough(verdict):
    assert verdict.label == verdict.nearest == "goodenough"
    assert verdict.label_set == ("goodenough",)
    assert verdict.scores["goodenough"] >= 0.8
    assert verdict.scores["dimer"] <= 0.3
    assert verdict.in_distribution and verdict.p_value >= 0.01


def test_the_better_match_of_the_measurement_is_goodenough(verdict):
    chi = {name: found.match.chi_square for name, found in verdict.matches.items()}
    assert chi["goodenough"] < chi["dimer"] < 3


def test_verdict_does_not_depend_on_the_scale_of_the_runs(measured, weights):
    before = run_network(weights, measured).scores
    scale = np.array([1, 2, 0.5, 3, 1, 0.2])[:, None, None, None]
    after = run_network(weights, replace(measured, signal=measured.signal * scale)).scores
    assert torch.allclose(before, after, atol=1e-4)


@pytest.mark.parametrize("model", ["goodenough", "dimer"])
def test_simulations_at_the_published_fits_are_recognised(model, simulator, weights):
    """With measurement-like noise; nine of ten draws of it at least."""
    right = 0
    for seed in range(10):
        scores = run_network(weights, noisy(simulator, model, seed)).scores[0]
        right += simulator.study.classes[int(scores.argmax())] == model
    assert right >= 9


def test_noise_alone_is_given_no_label(pcsmo, weights, simulator):
    rng = np.random.default_rng(0)
    signal = np.maximum(rng.normal(size=pcsmo.shape), 0)
    found = classify(Spectrum(pcsmo, signal, np.ones(pcsmo.shape, bool)), weights, simulator)
    assert not found.in_distribution and found.label is None


def test_energies_in_the_wrong_order_are_given_no_label(measured, weights, simulator):
    turned = replace(measured, signal=measured.signal[::-1].copy(), valid=measured.valid[::-1].copy())
    found = classify(turned, weights, simulator)
    assert not found.in_distribution and found.label is None
    assert "no model is named" in found.sentence


def test_card_says_how_the_weights_were_made(weights, pcsmo):
    card = weights.card
    assert card["physics_hash"] == pcsmo.physics_hash and card["layout_hash"] == pcsmo.layout_hash
    assert card["seed"] >= 0 and card["training_set"]["per_class"] >= 1000
    assert len(card["commit"]) == 40
    for name in ("clean", "measurement_like"):
        assert card["scores"][name]["interval"][0] > 0.9
    assert shipped_weights(pcsmo).stat().st_size < 10e6
    assert json.loads(shipped_weights(pcsmo).with_suffix(".json").read_text()) == card
