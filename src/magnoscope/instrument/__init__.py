"""Spectrometers: moderator, chopper, detectors, and the instruments that ship as data files."""

from .chopper import FermiChopper
from .moderator import Moderator
from .spectrometer import Detectors, Sample, Spectrometer, load_spectrometer, presets

__all__ = [
    "Detectors",
    "FermiChopper",
    "Moderator",
    "Sample",
    "Spectrometer",
    "load_spectrometer",
    "presets",
]
