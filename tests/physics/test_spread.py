"""Draws of the resolution: where a sharp mode is recorded has the covariance that the linear model says."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy import stats

from magnoscope.resolution.deviations import covariance
from magnoscope.resolution.setting import run_setting
from magnoscope.resolution.spread import make_spread
from magnoscope.units import FWHM_PER_SIGMA

SIDE, DRAWS = 64, 8
PLACE = (0.6, -0.4)
INTRINSIC = 0.1


def recorded(pcsmo, number, method, share):
    """Displacements (n, 3) in h, k (r.l.u.) and energy (meV), the width left in energy, at one place and transfer."""
    setting, scan = run_setting(pcsmo, number)
    # so small a grid that the resolution is the same all over it
    grid = tuple(np.linspace(p - 1e-4, p + 1e-4, SIDE) for p in PLACE)
    energies = (0.1 * setting.ei, 0.7 * setting.ei)
    spread = make_spread(method, setting, scan, grid, energies, INTRINSIC, DRAWS)
    point = torch.arange(SIDE**2).repeat(DRAWS)
    draw = torch.arange(DRAWS).repeat_interleave(SIDE**2)
    energy = torch.full((len(point),), share * setting.ei)
    dx, dy, de, width = spread.at(draw, point, energy)
    shifts = torch.stack([dx, dy, de], 1).double()
    shifts[:, :2] -= spread.jitter[draw, point]
    return shifts.numpy(), width.double().numpy(), spread


def expected_covariance(pcsmo, number, share):
    setting, scan = run_setting(pcsmo, number)
    energy = share * setting.ei
    q = scan.q_spectrometer(*PLACE, energy)
    to_view = np.eye(4)
    to_view[:3, :3] = np.linalg.inv(scan.view).T
    return (to_view @ covariance(setting, q[None], [energy])[0] @ to_view.T)[np.ix_([0, 1, 3], [0, 1, 3])]


@pytest.mark.parametrize("method", ["gaussian", "montecarlo"])
@pytest.mark.parametrize(("number", "share"), [(0, 0.2), (3, 0.55), (5, 0.35)])
def test_covariance_of_where_modes_are_recorded(pcsmo, method, number, share):
    shifts, width, _ = recorded(pcsmo, number, method, share)
    found = np.cov(shifts.T)
    found[2, 2] += (width**2).mean() - (INTRINSIC / FWHM_PER_SIGMA) ** 2
    expected = expected_covariance(pcsmo, number, share)
    size = np.sqrt(np.diag(expected))
    # Q and energy are correlated, by more than the tolerance: the signs of the displacements matter
    assert np.abs(expected / np.outer(size, size) - np.eye(3)).max() > 0.05
    assert_allclose(found / np.outer(size, size), expected / np.outer(size, size), atol=0.02)
    assert_allclose(shifts.mean(0) / size, 0, atol=0.02)


@pytest.mark.parametrize(("number", "share"), [(0, 0.2), (3, 0.5)])
def test_late_neutrons_make_a_tail_to_low_energy_transfer(pcsmo, number, share):
    shifts, _, _ = recorded(pcsmo, number, "montecarlo", share)
    assert stats.skew(shifts[:, 2]) < -0.2


def test_no_resolution_leaves_modes_where_they_are(pcsmo):
    shifts, width, spread = recorded(pcsmo, 3, "none", 0.5)
    assert_allclose(shifts, 0, atol=1e-9)
    assert_allclose(width, INTRINSIC / FWHM_PER_SIGMA, rtol=1e-6)
    # what is left spreads a point evenly over its cell of the grid
    step = 2e-4 / (SIDE - 1)
    jitter = spread.jitter.reshape(-1, 2).numpy() / step
    assert np.abs(jitter).max() <= 0.5
    assert_allclose(jitter.mean(0), 0, atol=0.01)
    assert_allclose(jitter.var(0), 1 / 12, rtol=0.01)
