"""Draws of the resolution: where a sharp mode is recorded has the covariance that the linear model says."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy import stats

from magnoscope.resolution.deviations import covariance, linear_map
from magnoscope.resolution.setting import run_setting
from magnoscope.resolution.spread import make_spread
from magnoscope.units import FWHM_PER_SIGMA

SIDE, DRAWS = 64, 8
PLACE = (0.6, -0.4)
INTRINSIC = 0.1


def prepared(pcsmo, number, method, share, smoothing=0.5, components=1):
    """The resolution, its points and draws as flat lists, at one place and energy transfer."""
    setting, scan = run_setting(pcsmo, number)
    # so small a grid that the resolution is the same all over it
    grid = tuple(np.linspace(p - 1e-4, p + 1e-4, SIDE) for p in PLACE)
    energies = (0.1 * setting.ei, 0.7 * setting.ei)
    spread = make_spread(method, setting, scan, grid, energies, INTRINSIC, DRAWS, smoothing, components)
    point = torch.arange(SIDE**2).repeat(DRAWS)
    draw = torch.arange(DRAWS).repeat_interleave(SIDE**2)
    return spread, point, draw, torch.full((len(point),), share * setting.ei)


def as_matrix(parts):
    """3 x 3 from the upper triangle."""
    xx, xy, yy, xe, ye, ee = (float(p[0]) for p in parts)
    return np.array([[xx, xy, xe], [xy, yy, ye], [xe, ye, ee]])


def expected_covariance(pcsmo, number, share):
    setting, scan = run_setting(pcsmo, number)
    energy = share * setting.ei
    q = scan.q_spectrometer(*PLACE, energy)
    to_view = np.eye(4)
    to_view[:3, :3] = np.linalg.inv(scan.view).T
    return (to_view @ covariance(setting, q[None], [energy])[0] @ to_view.T)[np.ix_([0, 1, 3], [0, 1, 3])]


def of_the_mode():
    return np.diag([0, 0, (INTRINSIC / FWHM_PER_SIGMA) ** 2])


@pytest.mark.parametrize("method", ["gaussian", "montecarlo"])
@pytest.mark.parametrize(("number", "share"), [(0, 0.2), (3, 0.55), (5, 0.35)])
def test_covariance_is_that_of_the_linear_model(pcsmo, method, number, share):
    spread, point, _, energy = prepared(pcsmo, number, method, share)
    expected = expected_covariance(pcsmo, number, share)
    size = np.sqrt(np.diag(expected))
    # Q and energy are correlated, by more than the tolerance: the signs matter
    assert np.abs(expected / np.outer(size, size) - np.eye(3)).max() > 0.05
    found = as_matrix(spread.covariance(point, energy)) - of_the_mode()
    assert_allclose(found / np.outer(size, size), expected / np.outer(size, size), atol=0.002)


@pytest.mark.parametrize("components", [2, 3, 4])
def test_spots_of_the_pulse_have_that_covariance_together_and_the_skewness_of_the_pulse(pcsmo, components):
    spread, point, _, energy = prepared(pcsmo, 0, "montecarlo", 0.2, components=components)
    whole = spread.covariance(point, energy)
    size = np.sqrt(np.diag(as_matrix(whole)))
    total, second, third = 0.0, np.zeros((3, 3)), 0.0
    for weight, moved, narrowed in spread.components(point, energy, whole):
        mean, own = moved[:, 0].double().numpy(), as_matrix(narrowed)
        assert np.linalg.eigvalsh(own / np.outer(size, size)).min() > 0
        total += weight
        second += weight * (own + np.outer(mean, mean))
        third += weight * (mean[2] ** 3 + 3 * mean[2] * own[2, 2])
    assert total == pytest.approx(1)
    assert_allclose(second / np.outer(size, size), as_matrix(whole) / np.outer(size, size), atol=1e-4)
    # of t^2 exp(-t / tau), with the share that the moderator has in the width
    setting, scan = run_setting(pcsmo, 0)
    q = scan.q_spectrometer(*PLACE, 0.2 * setting.ei)
    moderator = linear_map(setting, q[None], [0.2 * setting.ei])[0, 3, 0] * np.sqrt(setting.variances()[0])
    expected = -(moderator**3) * 2 / np.sqrt(3)
    assert third / expected == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("shape", [0, 1], ids=["true", "normal"])
@pytest.mark.parametrize(("number", "share"), [(0, 0.2), (3, 0.55), (5, 0.35)])
@pytest.mark.parametrize("smoothing", [0.1, 0.6])
def test_draws_and_the_spots_about_them_have_that_covariance_too(pcsmo, number, share, shape, smoothing):
    spread, point, draw, energy = prepared(pcsmo, number, "montecarlo", share, smoothing)
    shifts = spread.shift(point, draw, energy, shape).T.double().numpy()
    expected = expected_covariance(pcsmo, number, share)
    size = np.sqrt(np.diag(expected))
    found = np.cov(shifts.T) + as_matrix(spread.covariance(point, energy, drawn=True)) - of_the_mode()
    assert_allclose(found / np.outer(size, size), expected / np.outer(size, size), atol=0.02)
    assert_allclose(shifts.mean(0) / size, 0, atol=0.02)


@pytest.mark.parametrize(("number", "share"), [(0, 0.2), (3, 0.5)])
def test_late_neutrons_make_a_tail_to_low_energy_transfer(pcsmo, number, share):
    spread, point, draw, energy = prepared(pcsmo, number, "montecarlo", share)
    true, normal = (spread.shift(point, draw, energy, shape)[2].numpy() for shape in (0, 1))
    assert stats.skew(true) < -0.2
    assert abs(stats.skew(normal)) < 0.02
    # drawn at the same quantiles: what differs is small
    assert np.corrcoef(true, normal)[0, 1] > 0.95


def test_no_resolution_leaves_modes_where_they_are(pcsmo):
    spread, point, _, energy = prepared(pcsmo, 3, "none", 0.5)
    assert spread.draws == 0
    assert_allclose(as_matrix(spread.covariance(point, energy)), of_the_mode(), rtol=1e-6, atol=1e-12)
