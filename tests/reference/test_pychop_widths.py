"""Elastic energy widths of the instruments that ship, against those PyChop gives."""

from dataclasses import replace

import numpy as np
import pytest

from magnoscope.instrument import MeasuredModerator, Sample, load_spectrometer
from magnoscope.resolution.deviations import Setting, covariance
from magnoscope.units import FWHM_PER_SIGMA

FORWARD = np.array([[1e-6, 1e-7, 0.0]])
# PyChop's samples: plates of 48 and 40 mm, and a can of MARI (a hollow cylinder, here the box around its diameters)
PLATE, SMALL_PLATE, CAN = (0.002, 0.048, 0.048), (0.002, 0.040, 0.040), (0.020, 0.019, 0.050)


def width(name, package, frequency, ei, sample):
    """Elastic energy width (FWHM, meV) in the forward direction, no histogram bin."""
    setting = Setting(load_spectrometer(name), Sample(sample), package, ei, frequency)
    return FWHM_PER_SIGMA * float(np.sqrt(covariance(setting, FORWARD, [0.0])[0, 3, 3]))


@pytest.mark.parametrize(
    ("name", "package", "frequency", "ei", "sample", "expected"),
    [
        # PyChop, MAPS with the sloppy package; up to 73 meV its moderator is a table of measured widths, then a formula
        ("maps-pychop", "S", 300, 25, PLATE, 0.717),
        ("maps-pychop", "S", 200, 35, PLATE, 1.437),
        ("maps-pychop", "S", 200, 50, PLATE, 2.326),
        ("maps-pychop", "S", 250, 70, PLATE, 3.100),
        ("maps-pychop", "S", 300, 100, PLATE, 4.720),
        ("maps-pychop", "S", 400, 120, PLATE, 4.961169),
        ("maps-pychop", "S", 400, 140, PLATE, 5.826),
        # beyond their tables, which end at 66 and 73 meV
        ("mari", "S", 400, 80, CAN, 2.604959),
        ("merlin", "G", 400, 120, SMALL_PLATE, 6.875598),
        # by formula alone
        ("arcs", "ARCS-100-1.5-AST", 300, 120, PLATE, 10.278744),
        ("sequoia", "SEQ-100-2.0-AST", 300, 120, PLATE, 5.396705),
    ],
)
def test_elastic_width(name, package, frequency, ei, sample, expected):
    assert width(name, package, frequency, ei, sample) == pytest.approx(expected, rel=0.02)


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
    # beyond the shortest wavelength the formula takes over; without one the pulse shortens with the wavelength
    fast = 4 * 81.8042 / moderator.wavelengths[0] ** 2
    assert moderator.variance(fast) == moderator.beyond.variance(fast)
    alone = replace(moderator, beyond=None)
    assert alone.width(fast) == pytest.approx(moderator.widths[0] / 2, rel=1e-3)


def test_package_with_straight_slits():
    assert np.isinf(load_spectrometer("merlin").choppers["G"].curvature)


def test_maps_from_2017():
    # Horace's maps_instrument, version 2: 12.0 m in all, chopper 1.857 m and aperture 10.329 m before the sample
    maps = load_spectrometer("maps-v2")
    assert maps.moderator_chopper + maps.chopper_sample == pytest.approx(12.0)
    assert maps.aperture_chopper + maps.chopper_sample == pytest.approx(10.329)
