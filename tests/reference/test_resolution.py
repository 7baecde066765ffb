"""Tobyfit's resolution model: Horace's own test case, published widths, Monte Carlo, published tables."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from magnoscope.instrument import Sample, load_spectrometer
from magnoscope.resolution.deviations import (
    NAMES,
    Setting,
    covariance,
    dimensions,
    linear_map,
    true_deviations,
)
from magnoscope.resolution.setting import run_setting
from magnoscope.units import FWHM_PER_SIGMA, SPEED_PER_SQRT_ENERGY, wavevector

# no momentum transfer
FORWARD = np.zeros((1, 3))


@pytest.fixture(scope="module")
def horace_case():
    """MAPS v1, S at 250 Hz, Ei 100 (moderator from 90 meV), 12.5 to 13.5 meV, 2 theta 30 degrees, a 20 mm cube."""
    maps = load_spectrometer("maps-v1")
    maps = replace(maps, detectors=replace(maps.detectors, height=36.7e-3))
    setting = Setting(maps, Sample((0.02,) * 3), "S", 100, 250, energy_bin=1.0, moderator_energy=90)
    angle, ki, kf = np.radians(30), wavevector(100), wavevector(100 - 13)
    return setting, np.array([[ki - kf * np.cos(angle), -kf * np.sin(angle), 0]]), np.array([13.0])


def test_covariance_of_horace(horace_case):
    # Horace, test_tobyfit_resfun_1: covariance in spectrometer axes
    c = covariance(*horace_case)[0]
    expected = {
        (0, 0): 5.769060e-3,
        (0, 1): 1.422006e-3,
        (1, 1): 9.027394e-4,
        (2, 2): 4.331969e-4,
        (0, 3): 0.1714327,
        (1, 3): 0.04473974,
        (3, 3): 5.118959,
    }
    for (i, j), value in expected.items():
        assert_allclose(c[i, j], value, rtol=1e-6)
        assert c[j, i] == pytest.approx(c[i, j], rel=1e-12)
    # up and down are alike at azimuth 0
    assert_allclose(c[2, [0, 1, 3]], 0, atol=1e-12)


def test_parts_of_the_energy_variance(horace_case):
    # the same case, each deviation alone, meV^2
    setting, q, energy = horace_case
    parts = dict(zip(NAMES, linear_map(setting, q, energy)[0, 3] ** 2 * setting.variances(), strict=True))
    assert_allclose(parts["moderator time"], 1.93591, atol=5e-6)
    assert_allclose(parts["aperture y"] + parts["aperture z"], 0.00722, atol=5e-6)
    assert_allclose(parts["chopper time"], 3.05431, atol=5e-6)
    assert_allclose(parts["sample x"] + parts["sample y"] + parts["sample z"], 0.02241, atol=5e-6)
    assert_allclose(parts["detector depth"], 0.01577, atol=5e-6)
    assert_allclose(parts["detector width"] + parts["detector height"], 0, atol=1e-12)
    assert_allclose(parts["time bin"], 0.08333, atol=5e-6)


@pytest.mark.parametrize(
    ("ei", "frequency", "fwhm", "tolerance"),
    [
        # Elastic FWHM (meV) of MAPS with the sloppy chopper as quoted for Tobyfit, version 1. Ei 25 is met to the
        # printed digits; the others lie 0.3 to 2.1 % below what this model gives (the quoted ones do not say at which
        # detector angle and sample they hold). The next test pins the model itself to its closed form.
        (25, 300, 0.956, 0.0005),
        (35, 200, 1.65, 0.022 * 1.65),
        (50, 200, 2.62, 0.022 * 2.62),
        (70, 250, 3.54, 0.022 * 3.54),
        (100, 300, 5.10, 0.022 * 5.10),
        (140, 400, 6.72, 0.022 * 6.72),
    ],
)
def test_elastic_width(ei, frequency, fwhm, tolerance):
    setting = Setting(load_spectrometer("maps-v1"), Sample((0.01, 0.01, 0.05)), "S", ei, frequency)
    width = FWHM_PER_SIGMA * np.sqrt(covariance(setting, FORWARD, [0.0])[0, 3, 3])
    assert width == pytest.approx(fwhm, abs=tolerance)


@pytest.mark.parametrize("ei", [25, 70, 140])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6])
def test_timing_part_of_the_energy_width(ei, share):
    # C. G. Windsor, Pulsed Neutron Scattering (1981): with t = x0 / v_i and r = (k_f / k_i)^3, the moderator gives
    # 2 E_i (dt_m / t)(1 + r x1 / x2) and the chopper 2 E_i (dt_c / t)(1 + r (x0 + x1) / x2)
    maps = load_spectrometer("maps-v1")
    setting = Setting(maps, Sample((0.01,) * 3), "S", ei, 300)
    m = linear_map(setting, FORWARD, [share * ei])[0, 3]
    x0, x1, x2 = maps.moderator_chopper, maps.chopper_sample, maps.detectors.distance
    rate = 2 * ei * SPEED_PER_SQRT_ENERGY * np.sqrt(ei) / x0
    r = (1 - share) ** 1.5
    assert_allclose(abs(m[NAMES.index("moderator time")]), rate * (1 + r * x1 / x2), rtol=1e-6)
    assert_allclose(abs(m[NAMES.index("chopper time")]), rate * (1 + r * (x0 + x1) / x2), rtol=1e-6)


@pytest.mark.parametrize(
    ("ei", "frequency", "transfer", "skewness"),
    # skewness of 10^6 points of an independent Monte Carlo; its figures are soft in the second digit
    [(25, 300, 0, 0.71), (35, 200, 0, 0.35), (70, 250, 0, 0.29), (70, 250, 35, 0.53)],
)
def test_monte_carlo_against_its_covariance(ei, frequency, transfer, skewness):
    maps = load_spectrometer("maps-v1")
    setting = Setting(maps, Sample((0.01, 0.01, 0.05)), "S", ei, frequency)
    m = linear_map(setting, FORWARD, [float(transfer)])[0, [0, 1, 3]]
    u = np.clip(stats.qmc.Sobol(dimensions(setting), seed=2).random_base2(17), 1e-9, 1 - 1e-9)
    shift = true_deviations(setting, u) @ m.T
    expected = covariance(setting, FORWARD, [float(transfer)])[0][np.ix_([0, 1, 3], [0, 1, 3])]
    assert m[2, NAMES.index("time bin")] == 0  # no histogram bin
    found = np.cov(shift.T)
    assert np.sqrt(found[2, 2] / expected[2, 2]) == pytest.approx(1, abs=0.002)
    assert_allclose(found, expected, rtol=0.01, atol=1e-3 * np.sqrt(expected[0, 0] * expected[2, 2]))
    assert stats.skew(shift[:, 2]) == pytest.approx(skewness, abs=0.015)


@pytest.mark.parametrize("ei", [25, 70])
def test_published_covariance_tables(pcsmo, shared_data, ei):
    # Tables published with K. T. Butler et al., J. Phys.: Condens. Matter 33, 194006 (2021): Qh Qk E and a 3 x 3
    # covariance. Their transverse widths belong to other settings of sample and aperture than the study's (hh is 0.6,
    # kk 1.8 of ours), so only the energy variance is compared: it agrees within 6 %.
    table = np.loadtxt(shared_data / "pcsmo" / f"covariance_ei{ei}.txt.gz")
    number = [run.ei for run in pcsmo.runs].index(ei)
    setting, scan = run_setting(pcsmo, number)
    q = scan.q_spectrometer(*table[:, :3].T)
    reached = np.isfinite(q).all(1)
    assert reached.mean() > 0.98
    ours = covariance(setting, q[reached], table[reached, 2])[:, 3, 3]
    assert_allclose(ours, table[reached, 11], rtol=0.06)
