"""Clean spectra from noisy ones, with the spread that is left, and checks that cleaning adds nothing of its own."""

from .checks import HeldOut, Report, check_cleaner, held_out
from .cleaner import Cleaner, load_cleaner, save_cleaner, shipped_cleaner

__all__ = [
    "Cleaner",
    "HeldOut",
    "Report",
    "check_cleaner",
    "held_out",
    "load_cleaner",
    "save_cleaner",
    "shipped_cleaner",
]
