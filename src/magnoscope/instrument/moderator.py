"""Moderator pulse: Ikeda and Carpenter, Nucl. Instrum. Methods A 239, 536 (1985)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats


@dataclass(frozen=True)
class Moderator:
    """Pulse of an Ikeda-Carpenter moderator.

    Attributes
    ----------
    tau_fast : float
        Slowing-down time times sqrt(E / meV), s.
    tau_slow : float
        Storage time, s.
    mixing : float
        Share R of the storage term.
    tilt : float
        Angle of the moderator face to the beam's normal, degrees.
    """

    tau_fast: float
    tau_slow: float = 0.0
    mixing: float = 0.0
    tilt: float = 0.0

    def variance(self, energy: float) -> float:
        """Variance of the emission time, s^2: 3 tau_f^2 + R (2 - R) tau_s^2."""
        tau = self.tau_fast / np.sqrt(energy)
        return float(3 * tau**2 + self.mixing * (2 - self.mixing) * self.tau_slow**2)

    def deviation(
        self, energy: float, u: NDArray[np.float64], storage: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Emission times less their mean (s) at cumulative probabilities ``u``.

        ``storage`` (same shape, uniform) draws the storage tail; needed only where ``mixing`` is not zero.
        """
        tau = self.tau_fast / np.sqrt(energy)
        time = stats.gamma.ppf(u, 3) * tau - 3 * tau
        if self.mixing and storage is not None:
            tail = storage < self.mixing
            time = time + np.where(tail, -np.log1p(-storage / self.mixing * tail) * self.tau_slow, 0.0)
            time = time - self.mixing * self.tau_slow
        return time
