"""Spectrometers: moderator, chopper, detectors, and the instruments that ship as data files."""

from .chopper import FermiChopper
from .content import content
from .coverage import Bank, Coverage
from .moderator import MaterialModerator, MeasuredModerator, Moderator, PulseLengthModerator, ScaledPulse, SoftHat
from .sample import Sample
from .spectrometer import Detectors, Spectrometer, load_spectrometer, presets

__all__ = [
    "Bank",
    "Coverage",
    "Detectors",
    "FermiChopper",
    "MaterialModerator",
    "MeasuredModerator",
    "Moderator",
    "PulseLengthModerator",
    "Sample",
    "ScaledPulse",
    "SoftHat",
    "Spectrometer",
    "content",
    "load_spectrometer",
    "presets",
]
