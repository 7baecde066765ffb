"""Calibration: what the p-value, the label sets and the match promise."""

import numpy as np
import pytest
import torch

from magnoscope.spectrum import Spectrum
from magnoscope.trust.calibration import (
    Calibration,
    calibration_error,
    fit_gaussians,
    fit_temperature,
    label_threshold,
    scores,
)
from magnoscope.trust.match import match, tile_noise


def calibration(held_back: np.ndarray) -> Calibration:
    return Calibration(1.0, 0.5, 0.9, np.zeros((2, 3)), np.eye(3), held_back)


def test_p_value_is_uniform_on_data_like_the_held_back_ones():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(2, 2))
    fitted = calibration(rng.normal(size=(2000, 2)) @ mixing)
    p = fitted.p_values(rng.normal(size=(500, 2)) @ mixing)[1]
    for level in (0.05, 0.2, 0.5):
        assert np.mean(p <= level) == pytest.approx(level, abs=3.5 * np.sqrt(level * (1 - level) / 500) + 0.01)


def test_p_value_is_small_where_any_one_signal_is_beyond_all_held_back_ones():
    fitted = calibration(np.random.default_rng(0).normal(size=(500, 2)))
    single, p = fitted.p_values(np.array([[20.0, 0], [0, 20]]))
    assert list(single.argmin(1)) == [0, 1] and np.all(p < 0.01)


def test_label_sets_cover_what_they_promise():
    rng = np.random.default_rng(1)

    def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
        p = rng.beta(0.5, 0.5, n)
        labels = (rng.uniform(size=n) < p).astype(int)
        return np.stack([1 - p, p], 1), labels

    threshold = label_threshold(*draw(3000), 0.9)
    probabilities, labels = draw(3000)
    found = scores(probabilities, probabilities, labels, threshold)
    assert found.coverage >= 0.9 - 0.025
    assert found.interval[0] < found.accuracy < found.interval[1]
    assert found.ece < 0.03


def test_an_undecided_input_gets_both_labels_however_good_the_network_is():
    sure = np.tile([0.999, 0.001], (1000, 1))
    threshold = label_threshold(sure, np.zeros(1000, int), 0.9)
    assert np.sum(np.array([0.7, 0.3]) >= threshold) == 2
    assert np.sum(np.array([0.95, 0.05]) >= threshold) == 1


def test_temperature_undoes_overconfidence():
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(4000, 2)) * 2
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = (rng.uniform(size=4000) < p[:, 1]).astype(int)
    assert fit_temperature(torch.as_tensor(3 * logits), torch.as_tensor(labels)) == pytest.approx(3, rel=0.1)


def test_calibration_error_of_a_liar():
    probabilities = np.tile([0.01, 0.99], (1000, 1))
    labels = np.arange(1000) % 2
    assert calibration_error(probabilities, labels) == pytest.approx(0.49, abs=0.01)


def test_features_far_from_both_classes_are_far():
    rng = np.random.default_rng(3)
    labels = np.arange(1000) % 2
    features = rng.normal(size=(1000, 4)) + 5 * labels[:, None]
    means, precision = fit_gaussians(features, labels, 2)
    fitted = Calibration(1, 0, 0.9, means, precision, np.zeros((0, 2)))
    near, far = fitted.feature_distance(features), fitted.feature_distance(np.array([[30.0, -30, 0, 0]]))
    assert np.median(near) == pytest.approx(np.sqrt(4 - 2 / 3), rel=0.15) and far[0] > 20


def test_noise_is_measured_from_neighbours():
    rng = np.random.default_rng(4)
    smooth = 5 + np.sin(np.linspace(0, 3, 40))[:, None] * np.cos(np.linspace(0, 2, 40))
    valid = rng.uniform(size=(40, 40)) > 0.2
    noisy = np.where(valid, smooth + 0.3 * rng.normal(size=(40, 40)), np.nan)
    noisy[5, 5], valid[5, 5] = 500, True
    assert tile_noise(noisy, valid) == pytest.approx(0.3, rel=0.1)


def test_match_is_one_for_the_truth_and_worse_for_another_image(pcsmo):
    rng = np.random.default_rng(5)
    y, x = np.meshgrid(np.linspace(0, 3, 40), np.linspace(0, 3, 40))
    truth = np.broadcast_to(1 + np.sin(2 * x) ** 2 * np.cos(y) ** 2, pcsmo.shape)
    other = np.broadcast_to(1 + np.sin(2 * y) ** 2 * np.cos(x) ** 2, pcsmo.shape)
    scale = rng.uniform(1, 5, (*pcsmo.shape[:2], 1, 1))
    signal = scale * (truth + 0.3 + 0.2 * rng.normal(size=pcsmo.shape))
    measured = Spectrum(pcsmo, signal, np.ones(pcsmo.shape, bool))
    right, wrong = match(measured, truth), match(measured, other)
    assert right.chi_square == pytest.approx(1, abs=0.07) and right.unexplained == pytest.approx(0, abs=0.1)
    assert wrong.chi_square > 1.5 and wrong.unexplained > 0.5


def test_a_measurement_without_structure_is_not_explained_by_anything(pcsmo):
    rng = np.random.default_rng(6)
    y, x = np.meshgrid(np.linspace(0, 3, 40), np.linspace(0, 3, 40))
    image = np.broadcast_to(1 + np.sin(2 * x) ** 2 * np.cos(y) ** 2, pcsmo.shape)
    noise = Spectrum(pcsmo, rng.normal(5, 1, pcsmo.shape), np.ones(pcsmo.shape, bool))
    assert match(noise, image).unexplained == 1
