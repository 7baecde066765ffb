"""Moderator and Fermi chopper against their closed forms, and the spectrometer's table."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import integrate, stats

from magnoscope.errors import InstrumentError
from magnoscope.instrument import FermiChopper, Moderator, load_spectrometer
from magnoscope.units import ENERGY_PER_K2, SPEED_PER_SQRT_ENERGY

# T. G. Perring's Tobyfit (PhD thesis, Cambridge 1991): regimes of gamma = (2 R / p) |1/s - 1/v_i|
REGIMES = {"at its best speed": 0.0, "gamma < 1": 0.6, "gamma just above 1": 1.3, "nearly closed": 3.2}


def chopper_with(gamma: float, ei: float = 60.0, frequency: float = 250.0) -> FermiChopper:
    """A chopper of MAPS' size whose slit is curved so that gamma is as asked for."""
    slit, radius, w = 2.899e-3, 49e-3, 2 * np.pi * frequency
    p = slit / (2 * radius * w)
    slowness = gamma * p / (2 * radius) + 1 / (SPEED_PER_SQRT_ENERGY * np.sqrt(ei))
    return FermiChopper("test", slit, radius, 1 / (2 * w * slowness))


def formula(gamma: float) -> float:
    """Variance in units of p^2 (Tobyfit)."""
    if gamma < 1:
        return (1 - gamma**4 / 10) / (1 - gamma**2 / 6) / 6
    root = gamma**0.5
    return 0.6 * gamma * (root - 2) ** 2 * (root + 8) / (root + 4) / 6


@pytest.mark.parametrize("gamma", REGIMES.values(), ids=REGIMES)
def test_chopper_regimes(gamma):
    chopper = chopper_with(gamma)
    p, found = chopper.timing(60, 250)
    assert p == pytest.approx(2.899e-3 / (2 * 49e-3 * 2 * np.pi * 250), rel=1e-12)
    assert found == pytest.approx(gamma, abs=1e-9)
    assert chopper.variance(60, 250) == pytest.approx(p**2 * formula(gamma), rel=1e-9)


@pytest.mark.parametrize("gamma", REGIMES.values(), ids=REGIMES)
def test_chopper_variance_is_that_of_its_pulse_and_of_its_draws(gamma):
    chopper = chopper_with(gamma)
    p, _ = chopper.timing(60, 250)
    time = np.linspace(-p, p, 40001)
    pulse = chopper.pulse(60, 250, time)
    assert (pulse >= 0).all()
    assert pulse[20000] == pytest.approx(1 - gamma / 4, abs=1e-9)
    variance = integrate.simpson(pulse * time**2, time) / integrate.simpson(pulse, time)
    assert variance == pytest.approx(chopper.variance(60, 250), rel=1e-5)
    drawn = chopper.quantile(60, 250, (np.arange(20000) + 0.5) / 20000)
    assert drawn.mean() == pytest.approx(0, abs=1e-6 * p)
    assert drawn.var() == pytest.approx(variance, rel=1e-4)


def test_chopper_is_smooth_where_its_regimes_meet():
    below, above = (chopper_with(1 + e).variance(60, 250) for e in (-1e-6, 1e-6))
    assert below == pytest.approx(above, rel=1e-5)


def test_closed_chopper_is_refused():
    with pytest.raises(InstrumentError, match=r"transmits nothing at Ei = 60 meV \(gamma = 4\.01"):
        chopper_with(4.01).timing(60, 250)
    chopper_with(3.99).timing(60, 250)


def test_straight_slit_is_best_for_the_fastest_neutrons():
    straight = FermiChopper("straight", 0.2e-3, 5e-3, np.inf)
    _, slow = straight.timing(500, 50)
    _, fast = straight.timing(2000, 50)
    assert slow == pytest.approx(2 * fast, rel=1e-12)  # gamma goes as 1 / v_i


@pytest.mark.parametrize(("slow", "mixing"), [(0.0, 0.0), (12e-6, 0.35)])
def test_moderator_variance_is_that_of_its_draws(slow, mixing):
    # Ikeda and Carpenter, Nucl. Instrum. Methods A 239, 536 (1985): mean 3 tau_f + R tau_s (removed), variance
    # 3 tau_f^2 + R (2 - R) tau_s^2
    moderator = Moderator(tau_fast=70e-6, tau_slow=slow, mixing=mixing)
    assert moderator.variance(49) == pytest.approx(3 * 1e-10 + mixing * (2 - mixing) * slow**2, rel=1e-12)
    u = stats.qmc.Sobol(2, seed=5).random_base2(17)
    time = moderator.deviation(49, np.clip(u[:, 0], 1e-9, 1 - 1e-9), np.clip(u[:, 1], 1e-9, 1 - 1e-9))
    assert time.mean() == pytest.approx(0, abs=1e-8)
    assert time.var() == pytest.approx(moderator.variance(49), rel=2e-3)


def test_maps_before_2017():
    # Horace's maps_instrument, version 1
    maps = load_spectrometer("maps-v1")
    assert maps.moderator_chopper + maps.chopper_sample == pytest.approx(12.0)
    assert maps.aperture_chopper + maps.chopper_sample == pytest.approx(10.01)
    assert (maps.chopper_sample, maps.detectors.distance, maps.moderator.tilt) == (1.9, 6.0, 32.0)
    assert maps.aperture == (0.07013, 0.07013)
    assert {k: (c.slit, c.radius, c.curvature) for k, c in maps.choppers.items()} == {
        "S": (2.899e-3, 49e-3, 1.3),
        "A": (1.087e-3, 49e-3, 1.3),
        "B": (1.812e-3, 49e-3, 0.92),
    }
    assert maps.moderator.tau_fast == 70e-6


def test_neutron_constants():
    # CODATA 2018: hbar^2 / 2 m_n and sqrt(2 meV / m_n); the package's follow Horace to more digits than they agree
    mass, hbar, mev = 1.67492749804e-27, 1.054571817e-34, 1.602176634e-22
    assert_allclose(ENERGY_PER_K2, hbar**2 / (2 * mass) * 1e20 / mev, rtol=2e-6)
    assert_allclose(SPEED_PER_SQRT_ENERGY, np.sqrt(2 * mev / mass), rtol=2e-6)
