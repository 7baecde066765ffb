"""Backgrounds that are known, under spin waves that are simulated."""

import numpy as np
import pytest

from magnoscope.errors import DataError
from magnoscope.reduce.background import Background, estimate, subtract
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
