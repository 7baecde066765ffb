"""Moderator and Fermi chopper against their closed forms, and the spectrometer's table."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import integrate, stats

from magnoscope.errors import InstrumentError
from magnoscope.instrument import (
    FermiChopper,
    MaterialModerator,
    Moderator,
    PulseLengthModerator,
    SoftHat,
    load_spectrometer,
)
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


@pytest.mark.parametrize("gamma", REGIMES.values(), ids=REGIMES)
def test_chopper_transmission_is_the_area_of_its_pulse(gamma):
    chopper = chopper_with(gamma)
    p, _ = chopper.timing(60, 250)
    time = np.linspace(-p, p, 40001)
    area = integrate.simpson(chopper.pulse(60, 250, time), time)
    assert chopper.transmission(60, 250) == pytest.approx(area / (2 * p), rel=1e-5)


@pytest.mark.parametrize(("ei", "frequency"), [(0, 200), (-5, 200), (50, 0), (50, -100), (np.nan, 200)])
def test_chopper_that_picks_no_energy(ei, frequency):
    with pytest.raises(InstrumentError, match="picks no energy; both must be above 0"):
        chopper_with(0.5).timing(ei, frequency)


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


MODERATORS = {
    "slowing down alone": Moderator(70e-6),
    "with storage": Moderator(70e-6, 25e-6, 0.4),
    "storage as fast as slowing down": Moderator(70e-6, 70e-6 / 49**0.5, 0.4),
    "storage faster than slowing down": Moderator(70e-6, 2e-6, 0.4),
    "of a material": MaterialModerator((119.63, 33.618), (37e3, 170e3), 130.0, 172.42),
    "of a pulse length": PulseLengthModerator(38.6e-3, 0.5226e-3, SoftHat(1.0, 0.0, 150.0, (0.01, 70.0))),
    "measured": load_spectrometer("mari").moderator,
}


@pytest.mark.parametrize("moderator", MODERATORS.values(), ids=MODERATORS)
@pytest.mark.parametrize("energy", [20.0, 49.0, 200.0])
def test_moderator_pulse_has_its_moments_and_quantiles(moderator, energy):
    fast, slow, mixing = moderator.constants(energy)
    time = 60 * max(fast, slow) * np.linspace(0, 1, 100_001) ** 2
    pulse = moderator.pulse(energy, time)
    assert (pulse >= 0).all()
    assert moderator.pulse(energy, -1e-6) == 0
    assert integrate.trapezoid(pulse, time) == pytest.approx(1, abs=1e-5)
    mean = integrate.trapezoid(pulse * time, time)
    assert mean == pytest.approx(moderator.mean(energy), rel=1e-4)
    assert mean == pytest.approx(3 * fast + mixing * slow, rel=1e-4)
    variance = integrate.trapezoid(pulse * (time - mean) ** 2, time)
    assert variance == pytest.approx(moderator.variance(energy), rel=1e-3)
    below = integrate.cumulative_trapezoid(pulse, time, initial=0)
    u = np.array([0.01, 0.1, 0.5, 0.9, 0.999])
    assert_allclose(np.interp(moderator.quantile(energy, u), time, below), u, atol=1e-4)
    draws = moderator.deviation(energy, (np.arange(200_000) + 0.5) / 200_000)
    assert draws.mean() == pytest.approx(0, abs=1e-3 * np.sqrt(variance))
    assert draws.std() == pytest.approx(np.sqrt(variance), rel=3e-3)


def test_moderator_by_a_folding():
    # storage is one more exponential delay after the slowing down: against the folding done numerically
    moderator = Moderator(70e-6, 25e-6, 1.0)
    time = np.linspace(0, 600e-6, 60_001)
    step = time[1]
    down = (time / 10e-6) ** 2 * np.exp(-time / 10e-6) / 20e-6
    late = np.exp(-time / 25e-6) / 25e-6
    folded = np.convolve(down, late)[: len(time)] * step
    assert_allclose(moderator.pulse(49, time), folded, atol=1e-3 * folded.max())


def test_soft_hat_has_its_edges():
    hat = SoftHat(1.0, 20.0, 150.0, (0.01, 30.0))
    assert [hat(10.0), hat(21.0), hat(80.0)] == pytest.approx([1.0, 2.0, 2.0], abs=1e-3)
    assert hat(150.0) == pytest.approx(1.5, abs=1e-9)
    assert hat(250.0) == pytest.approx(1.0, abs=1e-3)


def test_maps_guide_widens_the_aperture():
    # Horace's fit to M. D. Le's ray tracing: the gain goes to 1 for fast neutrons; a straight line beyond 4.5 Å
    maps = load_spectrometer("maps-v2")
    p = (23.2965476737752, -15.1289612048092, 6.11185114079924, -0.863318992430536, 0.0439354263500835)
    for ei in (25.0, 80.0, 500.0):
        lam = np.sqrt(81.804201263673718 / ei)
        gain = 1 + np.exp(-2.31186757913804 / lam) * sum(c * lam**n for n, c in enumerate(p))
        assert_allclose(maps.aperture_at(ei), np.full(2, 0.094 * np.sqrt(gain)), rtol=1e-6)
    assert maps.aperture_at(25.0)[0] == pytest.approx(2 * maps.aperture_at(5000.0)[0], rel=0.1)
    slow = [maps.guide.gain(81.804201263673718 / lam**2) for lam in (4.5, 5.0, 5.5)]
    assert slow[2] - slow[1] == pytest.approx(slow[1] - slow[0], rel=1e-3)
    assert load_spectrometer("maps-v1").aperture_at(25.0) == (0.07013, 0.07013)


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
