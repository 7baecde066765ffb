"""Where a spectrometer has detectors."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Bank:
    """Detectors that fill a range of horizontal and one of vertical angles of k_f, degrees.

    The horizontal angle is that of k_f's shadow in the horizontal plane to the beam, rising from x to y; the vertical
    one that between k_f and the plane, rising upwards: both 0 along the beam.
    """

    horizontal: tuple[float, float]
    vertical: tuple[float, float]


@dataclass(frozen=True)
class Coverage:
    """All the detectors of a spectrometer: its banks, and nothing in the gaps between them and behind the beam stop."""

    banks: tuple[Bank, ...]

    def sees(self, k_f: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether a bank stands in the way of k_f (..., 3) in the spectrometer frame; never where that is NaN."""
        across = np.degrees(np.arctan2(k_f[..., 1], k_f[..., 0]))
        up = np.degrees(np.arctan2(k_f[..., 2], np.hypot(k_f[..., 0], k_f[..., 1])))
        seen = np.zeros(across.shape, bool)
        for bank in self.banks:
            (left, right), (low, high) = bank.horizontal, bank.vertical
            seen |= (across >= left) & (across <= right) & (up >= low) & (up <= high)
        return seen
