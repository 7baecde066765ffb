"""Moderator pulse: Ikeda and Carpenter, Nucl. Instrum. Methods A 239, 536 (1985), or a table of measured widths."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ..errors import InstrumentError
from ..units import ENERGY_PER_K2, FWHM_PER_SIGMA


class Pulse(Protocol):
    """What any moderator can tell."""

    @property
    def tilt(self) -> float:
        """Angle of the moderator face to the beam's normal, degrees."""

    def variance(self, energy: float) -> float:
        """Variance of the emission time, s^2."""

    def deviation(
        self, energy: float, u: NDArray[np.float64], storage: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Emission times less their mean (s) at cumulative probabilities ``u``."""


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


@dataclass(frozen=True)
class MeasuredModerator:
    """A moderator whose pulse widths were measured.

    The standard deviation is the full width at half maximum / 2.3548, as PyChop takes it, and the shape that of the
    slowing-down pulse, t^2 exp(-t / tau). Between the points the width is interpolated. Beyond the shortest wavelength
    it goes on in proportion to the wavelength, as that of a slowing-down pulse does; beyond the longest it stays.

    Attributes
    ----------
    wavelengths : tuple of float
        Å, rising.
    widths : tuple of float
        Full width at half maximum at each, s.
    tilt : float
        Angle of the moderator face to the beam's normal, degrees.
    """

    wavelengths: tuple[float, ...]
    widths: tuple[float, ...]
    tilt: float = 0.0

    def __post_init__(self) -> None:
        places = np.asarray(self.wavelengths, float)
        if len(places) < 2 or len(places) != len(self.widths):
            raise InstrumentError(
                f"the moderator's table has {len(places)} wavelengths and {len(self.widths)} widths; "
                "give as many of each, at least two"
            )
        if not (np.diff(places) > 0).all() or not places[0] > 0 or not min(self.widths) > 0:
            raise InstrumentError("the moderator's table must have rising wavelengths and widths above zero")

    def width(self, energy: float) -> float:
        """Full width at half maximum (s) at an incident energy (meV)."""
        wavelength = 2 * np.pi * np.sqrt(ENERGY_PER_K2 / energy)
        shortest = self.wavelengths[0]
        scale = min(1.0, wavelength / shortest)
        return float(scale * np.interp(wavelength, self.wavelengths, self.widths))

    def variance(self, energy: float) -> float:
        """Variance of the emission time, s^2."""
        return (self.width(energy) / FWHM_PER_SIGMA) ** 2

    def deviation(
        self, energy: float, u: NDArray[np.float64], storage: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Emission times less their mean (s) at cumulative probabilities ``u``; ``storage`` is not used."""
        return (stats.gamma.ppf(u, 3) - 3) * np.sqrt(self.variance(energy) / 3)
