"""Backgrounds that are known, under spin waves that are simulated."""

import numpy as np
import pytest

from magnoscope.errors import DataError
from magnoscope.reduce.background import Background, estimate, subtract
from magnoscope.reduce.lower_edge import Blocks, Edge, expect, pixel_noise, supported
from magnoscope.resolution.setting import pixel_wave_vectors
from magnoscope.simulate import Simulator
from magnoscope.spectrum import Spectrum
from magnoscope.study import Study

NOISE = 0.3


@pytest.fixture(scope="module")
def lengths(pcsmo: Study) -> np.ndarray:
    """|Q| of every pixel, 1/Å."""
    out = []
    for number in range(len(pcsmo.runs)):
        edges = pcsmo.energy_edges[number]
        q = pixel_wave_vectors(pcsmo, number, (edges[1:] + edges[:-1]) / 2)
        out.append(np.linalg.norm(q, axis=-1))
    return np.array(out)


def known(study: Study, lengths: np.ndarray) -> np.ndarray:
    """Phonon-like: falls with energy, rises with Q squared."""
    share = (study.energy_edges[:, 1:] + study.energy_edges[:, :-1]) / 2 / np.array([r.ei for r in study.runs])[:, None]
    return 1.0 + 3 * np.exp(-4 * share)[:, :, None, None] + 0.1 * np.nan_to_num(lengths) ** 2


@pytest.fixture(scope="module")
def measured(pcsmo_simulator: Simulator, lengths: np.ndarray) -> Spectrum:
    """Spin waves of about the noise in size, a slowly varying background, and noise."""
    bare = pcsmo_simulator("goodenough")
    study = bare.study
    scale = np.nanmean(np.where(bare.valid, bare.signal, np.nan), axis=(1, 2, 3), keepdims=True)
    signal = bare.signal / scale + known(study, lengths)
    signal = signal + NOISE * np.random.default_rng(0).normal(size=study.shape)
    valid = bare.valid & np.isfinite(lengths)
    return Spectrum(study, np.where(valid, signal, np.nan), valid, np.where(valid, NOISE, np.nan))


def test_flat_noise_is_its_own_background(pcsmo: Study, lengths: np.ndarray) -> None:
    """Nothing but noise about a level: either way finds the level, not the lower edge of the noise."""
    noisy = 5 + NOISE * np.random.default_rng(1).normal(size=pcsmo.shape)
    spectrum = Spectrum(pcsmo, noisy, np.ones(pcsmo.shape, bool), np.full(pcsmo.shape, NOISE))
    q = np.where(np.isfinite(lengths), lengths, np.nanmax(lengths))
    for way in (Background.paper, Background.auto):
        found = estimate(spectrum, q, way)
        assert abs(np.mean(found.signal) - 5) < 0.05
        assert np.abs(found.signal - 5).max() < 0.3


@pytest.mark.parametrize("way", [Background.paper, Background.auto])
def test_what_is_left_is_nearer_to_the_spin_waves(
    measured: Spectrum, lengths: np.ndarray, pcsmo_simulator: Simulator, way: Background
) -> None:
    """Of the background's own size (its rms), less than a quarter is left as an error after subtraction."""
    study, valid = measured.study, measured.valid
    truth = known(study, lengths)
    background = estimate(measured, lengths, way)
    np.testing.assert_array_equal(background.valid, valid)
    wrong = np.sqrt(np.mean((background.signal - truth)[valid] ** 2)) / np.sqrt(np.mean(truth[valid] ** 2))
    assert wrong < 0.25
    left = subtract(measured, background)
    assert left.error is not None and np.nanmin(left.error) >= NOISE
    bare = pcsmo_simulator("goodenough").signal
    for number in range(len(study.runs)):
        v = valid[number]
        before, after = (np.corrcoef(s.signal[number][v], bare[number][v])[0, 1] for s in (measured, left))
        assert after > before


def test_automatic_is_better_where_the_background_depends_on_q(measured: Spectrum, lengths: np.ndarray) -> None:
    truth, valid = known(measured.study, lengths), measured.valid
    errors = [
        np.mean((estimate(measured, lengths, way).signal - truth)[valid] ** 2)
        for way in (Background.auto, Background.paper)
    ]
    assert errors[0] < errors[1]


def test_too_few_pixels(pcsmo: Study, lengths: np.ndarray) -> None:
    valid = np.zeros(pcsmo.shape, bool)
    valid[2, 0, :2, :5] = True
    spectrum = Spectrum(pcsmo, np.where(valid, 1.0, np.nan), valid)
    with pytest.raises(DataError, match="only 10 measured pixels"):
        estimate(spectrum, lengths, Background.auto)


# ---- noise as large as the spin waves ------------------------------------------------------------------------------


def drawn_at(bare: Spectrum, lengths: np.ndarray, background: np.ndarray, noise: float, seed: int) -> Spectrum:
    """Two runs of spin waves of mean 1 over a background, with noise."""
    study = bare.study
    scale = np.nanmean(np.where(bare.valid, bare.signal, np.nan), axis=(1, 2, 3), keepdims=True)
    signal = bare.signal / scale + background + noise * np.random.default_rng(seed).normal(size=study.shape)
    valid = bare.valid & np.isfinite(lengths)
    valid[[0, 1, 3, 5]] = False
    return Spectrum(study, np.where(valid, signal, np.nan), valid, np.where(valid, noise, np.nan))


@pytest.mark.parametrize("way", [Background.paper, Background.auto])
def test_less_structure_is_left_at_the_noise_of_a_measurement(
    pcsmo_simulator: Simulator, lengths: np.ndarray, way: Background
) -> None:
    bare = pcsmo_simulator("goodenough")
    truth = known(bare.study, lengths)
    measured = drawn_at(bare, lengths, truth, 1.0, 5)
    found = estimate(measured, lengths, way)
    for run in (2, 4):
        v = measured.valid[run]
        assert np.std((found.signal - truth)[run][v]) < 0.8 * np.std(truth[run][v])


@pytest.mark.parametrize("way", [Background.paper, Background.auto])
def test_faint_spin_waves_are_not_subtracted(pcsmo_simulator: Simulator, lengths: np.ndarray, way: Background) -> None:
    """Without a background what is subtracted is nearly a constant: a twentieth of the mean spin wave and no more."""
    bare = pcsmo_simulator("goodenough")
    measured = drawn_at(bare, lengths, np.zeros(bare.study.shape), 1.0, 6)
    found = estimate(measured, lengths, way)
    for run in (2, 4):
        assert np.std(found.signal[run][measured.valid[run]]) < 0.05


def test_likelihood_is_that_of_noise_folded_with_spin_waves() -> None:
    """Against the integral over the intensity of the spin waves, done in small steps."""
    signal = np.array([-2.0, -0.3, 0.4, 1.7, 6.0])
    noise, share, decay, background = 0.7, 0.4, 1.5, 0.2
    one = np.zeros(len(signal), int)
    blocks = Blocks(signal, np.full(len(signal), noise), signal, one, one, one)
    edge = Edge(np.zeros(1), np.zeros((1, 1)), np.array([share]), np.array([decay]))
    log_likelihood, probability, waves = expect(blocks, np.full(len(signal), background), edge)
    step = 1e-3
    intensity = np.arange(step / 2, 60, step)

    def normal(x: np.ndarray) -> np.ndarray:
        return np.exp(-0.5 * (x / noise) ** 2) / noise / np.sqrt(2 * np.pi)

    density = share / decay * np.exp(-intensity / decay) * normal(signal[:, None] - background - intensity)
    with_waves = density.sum(1) * step
    total = with_waves + (1 - share) * normal(signal - background)
    np.testing.assert_allclose(log_likelihood, np.log(total), rtol=1e-5)
    np.testing.assert_allclose(probability, with_waves / total, rtol=1e-5)
    np.testing.assert_allclose(waves, (density * intensity).sum(1) * step / total, rtol=1e-5)


def test_noise_is_told_from_errors_or_from_neighbours(pcsmo: Study) -> None:
    rng = np.random.default_rng(2)
    noisy, valid = rng.normal(size=pcsmo.shape), rng.random(pcsmo.shape) > 0.2
    number = rng.integers(1, 5, pcsmo.shape).astype(float)
    signal = np.where(valid, noisy / np.sqrt(number), np.nan)
    told = pixel_noise(Spectrum(pcsmo, signal, valid, np.where(valid, 1 / np.sqrt(number), np.nan), number), 2)
    np.testing.assert_allclose(told, 1 / np.sqrt(number[2]))
    alone = pixel_noise(Spectrum(pcsmo, np.where(valid, 3 * noisy, np.nan), valid), 2)
    assert np.ptp(alone) == 0 and abs(alone.flat[0] / 3 - 1) < 0.03


def test_structure_is_kept_as_it_stands_out_of_confusion() -> None:
    noise = np.ones(1000)
    structure = np.where(np.arange(1000) % 2, 1.0, -1.0)
    assert supported(0.14 * structure, noise) == 0 == supported(0 * structure, noise)
    assert abs(supported(0.3 * structure, noise) - 0.75) < 1e-12
    assert supported(10 * structure, noise) > 0.999
