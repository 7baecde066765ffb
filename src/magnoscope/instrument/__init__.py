"""Spectrometers: moderator, chopper, detectors, and the instruments that ship as data files."""

from .chopper import FermiChopper
from .moderator import MeasuredModerator, Moderator
from .spectrometer import Detectors, Sample, Spectrometer, load_spectrometer, presets

__all__ = [
    "Detectors",
    "FermiChopper",
    "MeasuredModerator",
    "Moderator",
    "Sample",
    "Spectrometer",
    "load_spectrometer",
    "presets",
]
