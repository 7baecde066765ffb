"""Fermi chopper: what it transmits, for how long, and the shape of its pulse.

Formulas of Perring's Tobyfit: with w the angular frequency, p = slit / (2 R w) the characteristic half-time and
gamma = (2 R / p) |1/s - 1/v_i| (s = 2 w rho the speed a curved slit is made for), transmission falls from gamma = 0
to nothing at gamma = 4.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import InstrumentError
from ..units import SPEED_PER_SQRT_ENERGY


@dataclass(frozen=True)
class FermiChopper:
    """A slit package: slit width, body radius and slit curvature radius, in metres (curvature inf: straight)."""

    package: str
    slit: float
    radius: float
    curvature: float

    def timing(self, ei: float, frequency: float) -> tuple[float, float]:
        """Characteristic half-time p (s) and gamma at an incident energy (meV) and frequency (Hz).

        Raises
        ------
        InstrumentError
            If the chopper transmits nothing there (gamma >= 4), or stands still.
        """
        if not ei > 0 or not frequency > 0:
            raise InstrumentError(
                f"a chopper at {frequency:g} Hz and Ei = {ei:g} meV picks no energy; both must be above 0"
            )
        w = 2 * np.pi * frequency
        p = self.slit / (2 * self.radius * w)
        slowness = 0.0 if np.isinf(self.curvature) else 1 / (2 * w * self.curvature)
        gamma = (2 * self.radius / p) * abs(slowness - 1 / (SPEED_PER_SQRT_ENERGY * np.sqrt(ei)))
        if gamma >= 4:
            raise InstrumentError(
                f"chopper package {self.package} at {frequency:g} Hz transmits nothing at Ei = {ei:g} meV "
                f"(gamma = {gamma:.2f}, it must be below 4); choose another frequency, energy or package"
            )
        return p, gamma

    def transmission(self, ei: float, frequency: float) -> float:
        """Share of the neutrons in the slits' open time, 2 p wide, that come through: half of it at best."""
        _, gamma = self.timing(ei, frequency)
        if gamma < 1:
            return (1 - gamma**2 / 6) / 2
        root = float(np.sqrt(gamma))
        return root * (root - 2) ** 2 * (root + 4) / 12

    def variance(self, ei: float, frequency: float) -> float:
        """Variance of the transmission time, s^2."""
        p, gamma = self.timing(ei, frequency)
        if gamma < 1:
            shape = (1 - gamma**4 / 10) / (1 - gamma**2 / 6)
        else:
            root = np.sqrt(gamma)
            shape = 0.6 * gamma * (root - 2) ** 2 * (root + 8) / (root + 4)
        return float(p**2 / 6 * shape)

    def pulse(self, ei: float, frequency: float, time: NDArray[np.float64]) -> NDArray[np.float64]:
        """Transmission (1 at its centre for gamma <= 1) at times (s) from the centre of the pulse."""
        p, gamma = self.timing(ei, frequency)
        tau = np.abs(np.asarray(time, float)) / p
        if gamma < 1e-9:
            return np.clip(1 - tau, 0, None)
        inner = 1 - (gamma + tau) ** 2 / (4 * gamma)
        if gamma < 1:
            return np.where(tau < gamma, inner, np.clip(1 - tau, 0, None))
        return np.where(tau < np.sqrt(gamma) * (2 - np.sqrt(gamma)), np.clip(inner, 0, None), 0.0)

    def quantile(self, ei: float, frequency: float, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """Times (s) at cumulative probabilities ``u`` of the pulse, for sampling."""
        p, _ = self.timing(ei, frequency)
        grid = np.linspace(-p, p, 4001)
        density = self.pulse(ei, frequency, grid)
        cumulative = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
        rising = np.concatenate([[True], np.diff(cumulative) > 0])
        return np.interp(u, cumulative[rising] / cumulative[-1], grid[rising])
