"""Calibration: what the p-value, the label sets and the match promise."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from magnoscope.dataset.noise import Nuisance
from magnoscope.dataset.parts import Part
from magnoscope.networks import training
from magnoscope.networks.compact import CompactNetwork
from magnoscope.networks.ensemble import Ensemble
from magnoscope.spectrum import Spectrum
from magnoscope.trust.calibration import (
    Calibration,
    _log_p,
    among_as_noisy,
    calibration_error,
    conformal_threshold,
    fit_gaussians,
    fit_temperature,
    label_threshold,
    scores,
)
from magnoscope.trust.held_back import calibrate
from magnoscope.trust.match import match, tile_noise
from magnoscope.trust.reconstruction import fit_reconstruction
from magnoscope.trust.signals import noise_level
from magnoscope.views import Axis, MapView


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
    found = scores(probabilities, probabilities, labels, probabilities >= threshold)
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


# ---- reconstruction ------------------------------------------------------------------------------------------------


def waves(view, number: int, seed: int, turned: bool = False) -> np.ndarray:
    """Rings whose radius and strength vary: (number, 2 runs, slices, x, y); turned: of another symmetry."""
    rng = np.random.default_rng(seed)
    n = view.axes[0].points
    x, y = np.meshgrid(np.linspace(-1, 1, n), np.linspace(-1, 1, n), indexing="ij")
    radius = np.abs(x + y) if turned else np.hypot(x, y)
    out = []
    for _ in range(number):
        place, width = rng.uniform(0.4, 0.8), rng.uniform(0.15, 0.25)
        slices = [np.exp(-(((radius - place * s) / width) ** 2)) for s in (0.6, 1.0)]
        out.append(np.stack([np.stack(slices), 0.5 * np.stack(slices[::-1])]))
    return np.stack(out)


@pytest.fixture(scope="module")
def reconstruction():
    view = square_view()
    return fit_reconstruction(view, waves(view, 120, 0), 0)


def square_view() -> MapView:
    axes = tuple(Axis(name, direction, -1.0, 1.0, 16) for name, direction in (("h", (1, 0, 0)), ("k", (0, 1, 0))))
    return MapView(axes, "l", (0, 0, 1), (0.1, 0.4, 0.7))


def left_over(found, images: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    out = []
    for image in images:
        scale, offset = rng.uniform(0.5, 2, (2, 2, 1, 1)), rng.uniform(0, 1, (2, 2, 1, 1))
        seen = rng.uniform(size=image.shape) > 0.2
        out.append(found.unexplained(scale * image + offset + 0.1 * rng.normal(size=image.shape), seen))
    return np.array(out)


def test_what_training_spectra_are_made_of_explains_others_like_them_and_nothing_else(reconstruction):
    own = left_over(reconstruction, waves(reconstruction.view, 20, 1), 2)
    other = left_over(reconstruction, waves(reconstruction.view, 20, 3, turned=True), 4)
    noise = left_over(reconstruction, np.zeros((9, 2, 2, 16, 16)), 5)
    assert np.median(own) < 0.1 and own.max() < other.min()
    assert np.median(noise) > 0.9


def test_scale_and_background_of_a_tile_change_nothing(reconstruction):
    rng = np.random.default_rng(6)
    image = waves(reconstruction.view, 1, 7)[0] + 0.05 * rng.normal(size=(2, 2, 16, 16))
    seen = np.ones(image.shape, bool)
    changed = image * np.array([1.0, 2, 0.5, 1.5]).reshape(2, 2, 1, 1) + 3
    assert reconstruction.unexplained(changed, seen) == pytest.approx(reconstruction.unexplained(image, seen), abs=0.03)


# ---- label sets ----------------------------------------------------------------------------------------------------


def test_each_class_is_covered_as_promised():
    """One class is rare and hard: a threshold for all together would leave a third of it out."""
    rng = np.random.default_rng(8)

    def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
        labels = (rng.uniform(size=n) < 0.1).astype(int)
        own = np.where(labels == 1, rng.beta(0.3, 2, n), rng.beta(30, 1, n))
        return np.where(labels[:, None] == [0, 1], own[:, None], 1 - own[:, None]), labels

    threshold = label_threshold(*draw(4000), 0.9)
    probabilities, labels = draw(4000)
    covered = (probabilities >= threshold)[np.arange(4000), labels]
    for c in (0, 1):
        n = (labels == c).sum()
        assert covered[labels == c].mean() >= 0.9 - 3 * np.sqrt(0.09 / n) - 0.01


def test_copies_of_an_image_do_not_count_as_images():
    own = np.linspace(0.01, 1, 72)
    assert conformal_threshold(own, 0.9) == own[6]
    assert conformal_threshold(own, 0.9, copies=8) == 0  # nine images: one in ten can not be left out
    assert conformal_threshold(own, 0.9, copies=6) == own[5]


def test_a_label_set_always_names_the_nearest_class():
    fitted = calibration(np.zeros((1, 2)))
    sets = fitted.label_sets(np.array([[0.3, 0.7], [0.4, 0.4]]), np.array([[0.9, 0.1], [0.1, 0.2]]))
    assert sets.tolist() == [[True, True], [False, True]]


# ---- calibration ---------------------------------------------------------------------------------------------------


def test_calibration_has_the_nuisances_of_the_training(monkeypatch):
    seen = []
    real = training.degrade

    def spy(signal, coverages, nuisance, *more):
        seen.append(nuisance)
        return real(signal, coverages, nuisance, *more)

    monkeypatch.setattr(training, "degrade", spy)
    torch.manual_seed(0)
    view, network = square_view(), CompactNetwork(2, 2, 2, 2, width=16, features=8)
    images = waves(view, 40, 0).astype(np.float16)
    part = Part(images, np.arange(40) % 2, np.full((40, 2), 0.5, np.float32))
    without = Nuisance().without("masks", "hot")
    found = calibrate(network, part, part, torch.ones(1, *images.shape[1:], dtype=torch.bool), 0, view, without)
    assert set(seen) == {without.measured, replace(without, noise=(0.125, 2.0))}
    assert found.signals[-1] == "unexplained_structure" and found.held_back.shape == (160, 3)
    assert found.noise is not None and found.noise.shape == (160,)
    # in what is held back there is more noise than in a measurement, and hardly any
    assert found.noise.min() < 0.2 * found.noise.max()
    assert Nuisance.from_settings(json.loads(json.dumps(without.settings()))) == without


def test_an_ensemble_says_where_its_members_disagree():
    torch.manual_seed(1)
    network = Ensemble([CompactNetwork(2, 2, 2, 2, width=16, features=8) for _ in range(3)])
    network.eval()
    inputs = network.prepare(torch.rand(5, 2, 2, 16, 16), torch.ones(5, 2, 2, 16, 16, dtype=torch.bool))
    with torch.no_grad():
        together, each = network(inputs), [member(inputs) for member in network.members]
    p = torch.stack([o.logits.softmax(1) for o in each])
    assert torch.allclose(together.logits.softmax(1), p.mean(0), atol=1e-6)
    entropy = -(p.mean(0) * p.mean(0).log()).sum(1) + (p * p.log()).sum(2).mean(0)
    assert torch.allclose(together.disagreement, entropy.clamp_min(0), atol=1e-6)
    assert together.features.shape == (5, network.n_features)
    alone = Ensemble([network.members[0]] * 2)
    with torch.no_grad():
        assert float(alone(inputs).disagreement.max()) < 1e-6


def test_a_signal_without_a_doubt_is_not_outvoted_and_tails_are_those_of_a_pareto_distribution():
    rng = np.random.default_rng(0)
    # four signals of little opinion, and one with a heavy tail (a generalised Pareto distribution of shape 0.4)
    held_back = np.column_stack([rng.normal(size=(2000, 4)), stats.genpareto.rvs(0.4, size=2000, random_state=1)])
    calibration = Calibration(1.0, 0.1, 0.9, np.zeros((2, 1)), np.eye(1), held_back)
    usual = np.zeros(5)
    sure, lonely = usual.copy(), usual.copy()
    sure[0], lonely[4] = 8.0, 30.0
    p = calibration.p_values(np.array([usual, sure, lonely]))[1]
    assert p[0] > 0.3 and p[1] < 1e-3
    # once in 13^2.5 = 600 spectra, but not once in a million as an exponential would have it
    assert 1e-3 < p[2] < 0.03
    true = stats.genpareto.logsf([4.0, 10.0], 0.4)
    np.testing.assert_allclose(_log_p(np.tile([[4.0], [10.0]], 5), held_back)[:, 4], true, atol=0.3)
    # p-values of spectra like the held-back ones are uniform
    fresh = np.column_stack([rng.normal(size=(2000, 4)), stats.genpareto.rvs(0.4, size=2000, random_state=2)])
    p = calibration.p_values(fresh)[1]
    # both the fresh and the held-back ones are 2000 draws, so that distances are those of two samples
    assert stats.kstwobign.sf(stats.kstest(p, "uniform").statistic * np.sqrt(2000 * 2000 / 4000)) > 0.01


def test_p_values_of_few_held_back_simulations_are_exact():
    """Of many sets of 300 correlated and heavy-tailed ones: no share below a bound larger than the bound, by chance."""
    rng = np.random.default_rng(0)
    p = []
    for _ in range(40):
        mixing = np.eye(4) + 0.5 * rng.normal(size=(4, 4))
        values = np.abs(rng.standard_t(3, size=(600, 4)) @ mixing)
        p.append(calibration(values[:300]).p_values(values[300:])[1])
    for share in (0.01, 0.05, 0.5):
        found = [np.mean(each <= share) for each in p]
        assert np.mean(found) == pytest.approx(share, abs=3.5 * np.std(found) / np.sqrt(len(found)))


def noisy(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two signals that grow with less noise, and the noise."""
    rng = np.random.default_rng(seed)
    noise = np.exp(rng.uniform(-2, 0.7, n)) * (rng.uniform(size=n) > 0.15)
    return (rng.normal(size=(n, 2)) * 0.3 + 1) / (0.2 + noise[:, None]), noise


@pytest.mark.parametrize("ranked", ["among few", "among all"])
def test_p_value_is_uniform_at_every_noise_and_refuses_what_another_noise_would_excuse(ranked):
    values, noise = noisy(2000, 0)
    fitted = replace(calibration(values), noise=noise)
    if ranked == "among all":
        fitted = replace(fitted, together=among_as_noisy(values, noise))
    fresh, level = noisy(2000, 1)
    p = fitted.p_values(fresh, level)[1]
    for low, high in ((-1, 0.1), (0.3, 0.6), (0.8, 1.2), (1.4, 3)):
        here = p[(level > low) & (level < high)]
        assert len(here) > 120
        for share in (0.02, 0.1, 0.5):
            room = 4 * np.sqrt(share * (1 - share) / len(here)) + 0.01
            assert np.mean(here <= share) < share + room
            # at the end of the range there is none with more noise to compare with, and doubt is rarer
            assert high == 3 or np.mean(here <= share) > share - room
    # usual without noise, but not with as much noise as a measurement's
    odd = np.array([[4.0, 4.0]])
    assert fitted.p_values(odd, np.array([0.0]))[1][0] > 0.05
    assert fitted.p_values(odd, np.array([1.0]))[1][0] < 0.01
    assert calibration(values).p_values(odd)[1][0] > 0.05


def test_among_all_as_many_are_refused_as_promised_and_among_few_fewer():
    fresh, level = noisy(1500, 99)
    few, many = [], []
    for seed in range(6):
        values, noise = noisy(1000, seed)
        fitted = replace(calibration(values), noise=noise)
        few.append(np.mean(fitted.p_values(fresh, level)[1] < 0.01))
        fitted = replace(fitted, together=among_as_noisy(values, noise))
        many.append(np.mean(fitted.p_values(fresh, level)[1] < 0.01))
    assert np.mean(few) < np.mean(many) == pytest.approx(0.01, abs=0.004)


def test_noise_level_is_that_of_a_pixel_over_its_runs_mean():
    view, rng = square_view(), np.random.default_rng(0)
    smooth = waves(view, 1, 0)[0] + 1.0
    measured = smooth + rng.normal(size=smooth.shape) * 0.4 * smooth.mean((1, 2, 3), keepdims=True)
    everywhere = np.ones(smooth.shape, bool)
    found = noise_level(view, measured, everywhere)
    assert found == pytest.approx(0.4, rel=0.1)
    # neither the scale of a run nor a hot pixel changes it, and where there are no detectors there is none
    measured[0] *= 50
    measured[1, 0, 3, 3] = 1e4
    assert noise_level(view, measured, everywhere) == pytest.approx(found, rel=0.05)
    assert noise_level(view, np.zeros(smooth.shape), ~everywhere) == 0.0
