"""Elastic energy widths of the instruments that ship, beside those of PyChop.

usage: python benchmarks/widths.py

Full width at half maximum in the forward direction, without a histogram bin, with PyChop's samples.
"""

import numpy as np

from magnoscope.instrument import Sample, load_spectrometer
from magnoscope.resolution.deviations import Setting, covariance
from magnoscope.units import FWHM_PER_SIGMA

FORWARD = np.array([[1e-6, 1e-7, 0.0]])
MAPS, MARI, MERLIN = (0.002, 0.048, 0.048), (0.020, 0.019, 0.050), (0.002, 0.040, 0.040)
CASES = [
    *(("maps-pychop", "S", ei, f, MAPS, w) for ei, f, w in ((25, 300, 0.717), (35, 200, 1.437), (50, 200, 2.326))),
    *(("maps-pychop", "S", ei, f, MAPS, w) for ei, f, w in ((70, 250, 3.100), (100, 300, 4.720), (120, 400, 4.961169))),
    ("maps-pychop", "S", 140, 400, MAPS, 5.826),
    ("mari", "S", 80, 400, MARI, 2.604959),
    ("merlin", "G", 120, 400, MERLIN, 6.875598),
    ("arcs", "ARCS-100-1.5-AST", 120, 300, MAPS, 10.278744),
    ("sequoia", "SEQ-100-2.0-AST", 120, 300, MAPS, 5.396705),
]


def main() -> None:
    for name, package, ei, frequency, size, pychop in CASES:
        setting = Setting(load_spectrometer(name), Sample(size), package, ei, frequency)
        width = FWHM_PER_SIGMA * float(np.sqrt(covariance(setting, FORWARD, [0.0])[0, 3, 3]))
        change = 100 * (width / pychop - 1)
        at = f"{name:>12} {package:>16} {ei:>4} meV {frequency} Hz"
        print(f"{at}: {width:.3f} meV, PyChop {pychop:.3f} ({change:+.1f} %)")


if __name__ == "__main__":
    main()
