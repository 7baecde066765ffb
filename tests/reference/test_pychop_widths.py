"""Elastic energy widths of the instruments that ship, against those PyChop gives."""

import numpy as np
import pytest

from magnoscope.instrument import MeasuredModerator, Sample, load_spectrometer
from magnoscope.resolution.deviations import Setting, covariance
from magnoscope.units import FWHM_PER_SIGMA

FORWARD = np.array([[1e-6, 1e-7, 0.0]])
PLATE, CAN = (0.002, 0.048, 0.048), (0.020, 0.019, 0.050)


def width(name, package, frequency, ei, sample):
    """Elastic energy width (FWHM, meV) in the forward direction, no histogram bin."""
    setting = Setting(load_spectrometer(name), Sample(sample), package, ei, frequency)
    return FWHM_PER_SIGMA * float(np.sqrt(covariance(setting, FORWARD, [0.0])[0, 3, 3]))


@pytest.mark.parametrize(
    ("ei", "frequency", "expected"),
    # PyChop, MAPS with the sloppy package; energies that its table of measured pulse widths covers (up to 73 meV)
    [(25, 300, 0.717), (35, 200, 1.437), (50, 200, 2.326), (70, 250, 3.100)],
)
def test_maps(ei, frequency, expected):
    assert width("maps-pychop", "S", frequency, ei, PLATE) == pytest.approx(expected, rel=0.02)


def test_mari_just_beyond_its_table():
    # PyChop's own reference value (S, 400 Hz, 80 meV); its table ends at 66 meV
    assert width("mari", "S", 400, 80, CAN) == pytest.approx(2.604959, rel=0.03)


@pytest.mark.parametrize("name", ["maps-pychop", "merlin", "mari"])
def test_moderator_goes_through_its_table(name):
    moderator = load_spectrometer(name).moderator
    assert isinstance(moderator, MeasuredModerator)
    for wavelength, fwhm in zip(moderator.wavelengths, moderator.widths, strict=True):
        energy = 81.8042 / wavelength**2
        assert moderator.width(energy) == pytest.approx(fwhm, rel=1e-3)
        drawn = moderator.deviation(energy, (np.arange(200_000) + 0.5) / 200_000)
        assert drawn.mean() == pytest.approx(0, abs=1e-3 * fwhm)
        assert drawn.std() == pytest.approx(fwhm / FWHM_PER_SIGMA, rel=5e-3)
    # beyond the shortest wavelength the pulse shortens with it
    assert moderator.width(4 * 81.8042 / moderator.wavelengths[0] ** 2) == pytest.approx(
        moderator.widths[0] / 2, rel=1e-3
    )


def test_package_with_straight_slits():
    assert np.isinf(load_spectrometer("merlin").choppers["G"].curvature)


def test_maps_from_2017():
    # Horace's maps_instrument, version 2: 12.0 m in all, chopper 1.857 m and aperture 10.329 m before the sample
    maps = load_spectrometer("maps-v2")
    assert maps.moderator_chopper + maps.chopper_sample == pytest.approx(12.0)
    assert maps.aperture_chopper + maps.chopper_sample == pytest.approx(10.329)
