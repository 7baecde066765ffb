"""Moderator pulses: Ikeda and Carpenter, Nucl. Instrum. Methods A 239, 536 (1985), and tables of measured widths.

Every pulse here has one shape: slowing down, t^2 exp(-t / tau_f), of which a share R is stored for a further time with
the constant tau_s. The classes differ in how the three constants follow from energy.
"""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from ..errors import InstrumentError
from ..units import ENERGY_PER_K2, FWHM_PER_SIGMA, SPEED_PER_SQRT_ENERGY
from .content import LATER

FWHM_PER_DEVIATION = 1.96
"""Full width at half maximum of t^2 exp(-t / tau) in standard deviations, as CHOP rounds it."""


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


class _IkedaCarpenter:
    """The shape that all moderators share."""

    def constants(self, energy: float) -> tuple[float, float, float]:
        """Slowing-down time tau_f (s), storage time tau_s (s) and share R of the storage term at an energy (meV)."""
        raise NotImplementedError

    def mean(self, energy: float) -> float:
        """Mean emission time, s: 3 tau_f + R tau_s."""
        fast, slow, mixing = self.constants(energy)
        return 3 * fast + mixing * slow

    def variance(self, energy: float) -> float:
        """Variance of the emission time, s^2: 3 tau_f^2 + R (2 - R) tau_s^2."""
        fast, slow, mixing = self.constants(energy)
        return float(3 * fast**2 + mixing * (2 - mixing) * slow**2)

    def pulse(self, energy: float, time: ArrayLike) -> NDArray[np.float64]:
        """Probability density (1/s) of emission at times (s) after the protons; its integral is 1."""
        fast, slow, mixing = self.constants(energy)
        time = np.asarray(time, float)
        t = np.clip(time, 0, None)
        direct = (t / fast) ** 2 * np.exp(-t / fast) / (2 * fast)
        if not mixing * slow:
            return np.where(time < 0, 0.0, direct)
        a, b = 1 / fast, 1 / slow
        # the slowing-down pulse folded with exp(-b t): confluent, and so smooth where a = b
        x = (a - b) * t
        hyp1f1 = scipy.special.hyp1f1
        shape = np.exp(-b * t) * hyp1f1(3, 4, -x) if a >= b else np.exp(-a * t) * hyp1f1(1, 4, x)
        stored = a**3 * b * t**3 / 6 * shape
        return np.where(time < 0, 0.0, (1 - mixing) * direct + mixing * stored)

    def quantile(self, energy: float, u: ArrayLike) -> NDArray[np.float64]:
        """Emission times (s) at cumulative probabilities ``u``."""
        fast, slow, mixing = self.constants(energy)
        if not mixing * slow:
            return np.asarray(scipy.stats.gamma.ppf(u, 3) * fast, float)
        grid = (3 * fast + 24 * max(fast, slow)) * np.linspace(0, 1, 8001) ** 2
        density = self.pulse(energy, grid)
        below = np.concatenate([[0.0], np.cumsum(np.diff(grid) * (density[1:] + density[:-1]) / 2)])
        return np.interp(np.asarray(u, float), below / below[-1], grid)

    def deviation(
        self, energy: float, u: NDArray[np.float64], storage: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Emission times less their mean (s) at cumulative probabilities ``u``.

        With ``storage`` (same shape, uniform) it draws the storage tail apart, from the exact distribution; without,
        ``u`` alone says it all.
        """
        fast, slow, mixing = self.constants(energy)
        if storage is None or not mixing * slow:
            return self.quantile(energy, u) - self.mean(energy)
        tail = storage < mixing
        late = np.where(tail, -np.log1p(-storage / mixing * tail) * slow, 0.0)
        return scipy.stats.gamma.ppf(u, 3) * fast + late - self.mean(energy)


@dataclass(frozen=True)
class Moderator(_IkedaCarpenter):
    """An Ikeda-Carpenter pulse of constants that are given.

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

    def constants(self, energy: float) -> tuple[float, float, float]:
        """Slowing-down time tau_f (s), storage time tau_s (s) and share R of the storage term at an energy (meV)."""
        return self.tau_fast / float(np.sqrt(energy)), self.tau_slow, self.mixing


@dataclass(frozen=True)
class MaterialModerator(_IkedaCarpenter):
    """An Ikeda-Carpenter pulse whose constants follow from the moderator's material.

    tau_f = 1 / (v Sigma) with Sigma^2 = S1^2 + (S2 lambda)^2, the storage rate steps at an energy, R = exp(-E / E_m).

    Attributes
    ----------
    scattering : (float, float)
        S1 (1/m) and S2 (1/m/Å).
    storage_rates : (float, float)
        1 / tau_s up to the energy ``storage_step`` (meV) and above it, 1/s.
    mixing_energy : float
        E_m, meV.
    tilt : float
        Angle of the moderator face to the beam's normal, degrees.
    """

    scattering: tuple[float, float]
    storage_rates: tuple[float, float]
    storage_step: float
    mixing_energy: float
    tilt: float = 0.0

    def constants(self, energy: float) -> tuple[float, float, float]:
        """Slowing-down time tau_f (s), storage time tau_s (s) and share R of the storage term at an energy (meV)."""
        sigma = np.hypot(self.scattering[0], self.scattering[1] * _wavelength(energy))
        fast = 1 / (SPEED_PER_SQRT_ENERGY * np.sqrt(energy) * sigma)
        rate = self.storage_rates[0 if energy <= self.storage_step else 1]
        return float(fast), 1 / rate, float(np.exp(-energy / self.mixing_energy))


@dataclass(frozen=True)
class SoftHat:
    """A factor that is 1 + ``height`` between two energies (meV), its edges blurred by Gaussians (FWHM, meV).

    Between the edges the blur goes over from that of the first to that of the second.
    """

    height: float
    start: float
    stop: float
    blurs: tuple[float, float]

    def __call__(self, energy: float) -> float:
        """The factor at an energy."""
        share = (energy - self.start) / (self.stop - self.start)
        sigma = (self.blurs[0] + share * (self.blurs[1] - self.blurs[0])) / FWHM_PER_SIGMA * np.sqrt(2)
        edges = scipy.special.erf(np.array([self.stop - energy, self.start - energy]) / sigma)
        return float(1 + self.height * (edges[0] - edges[1]) / 2)


@dataclass(frozen=True)
class PulseLengthModerator(_IkedaCarpenter):
    """A slowing-down pulse given by how far a neutron flies in its full width at half maximum.

    T. G. Perring's CHOP: the length is L0 + L1 sqrt(E), L0 times a soft hat where the moderator is poisoned.

    Attributes
    ----------
    length, growth : float
        L0 (m) and L1 (m per sqrt meV).
    hat : SoftHat or None
        What L0 is multiplied by.
    tilt : float
        Angle of the moderator face to the beam's normal, degrees.
    """

    length: float
    growth: float = 0.0
    hat: SoftHat | None = None
    tilt: float = 0.0

    def constants(self, energy: float) -> tuple[float, float, float]:
        """Slowing-down time tau_f (s), storage time tau_s (s) and share R of the storage term at an energy (meV)."""
        length = self.length * (self.hat(energy) if self.hat else 1.0) + self.growth * np.sqrt(energy)
        deviation = length / FWHM_PER_DEVIATION / (SPEED_PER_SQRT_ENERGY * np.sqrt(energy))
        return float(deviation / np.sqrt(3)), 0.0, 0.0


@dataclass(frozen=True)
class MeasuredModerator(_IkedaCarpenter):
    """A moderator whose pulse widths were measured.

    The standard deviation is the full width at half maximum / 2.3548, as PyChop takes it, and the shape that of the
    slowing-down pulse, t^2 exp(-t / tau). Between the points the width is interpolated; beyond the longest wavelength
    it stays. Beyond the shortest ``beyond`` takes over, or the width goes on in proportion to the wavelength, as that
    of a slowing-down pulse does.

    Attributes
    ----------
    wavelengths : tuple of float
        Å, rising.
    widths : tuple of float
        Full width at half maximum at each, s.
    tilt : float
        Angle of the moderator face to the beam's normal, degrees.
    beyond : moderator or None
        The pulse at wavelengths shorter than the table's.
    """

    wavelengths: tuple[float, ...]
    widths: tuple[float, ...]
    tilt: float = 0.0
    beyond: Moderator | MaterialModerator | PulseLengthModerator | None = field(default=None, metadata=LATER)

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
        """Full width at half maximum (s) at an incident energy (meV): standard deviation times 2.3548."""
        return FWHM_PER_SIGMA * float(np.sqrt(self.variance(energy)))

    def constants(self, energy: float) -> tuple[float, float, float]:
        """Slowing-down time tau_f (s), storage time tau_s (s) and share R of the storage term at an energy (meV)."""
        wavelength = _wavelength(energy)
        shortest = self.wavelengths[0]
        if self.beyond is not None and wavelength < shortest:
            return self.beyond.constants(energy)
        width = min(1.0, wavelength / shortest) * np.interp(wavelength, self.wavelengths, self.widths)
        return float(width / FWHM_PER_SIGMA / np.sqrt(3)), 0.0, 0.0


@dataclass(frozen=True)
class ScaledPulse:
    """A moderator whose pulse is wider or narrower than that of another by a factor, of the same shape."""

    pulse: Pulse
    factor: float

    @property
    def tilt(self) -> float:
        """Angle of the moderator face to the beam's normal, degrees."""
        return self.pulse.tilt

    def variance(self, energy: float) -> float:
        """Variance of the emission time, s^2."""
        return self.factor**2 * self.pulse.variance(energy)

    def deviation(
        self, energy: float, u: NDArray[np.float64], storage: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Emission times less their mean (s) at cumulative probabilities ``u``."""
        return self.factor * self.pulse.deviation(energy, u, storage)


def _wavelength(energy: float) -> float:
    """Wavelength (Å) of a neutron of an energy (meV)."""
    return float(2 * np.pi * np.sqrt(ENERGY_PER_K2 / energy))
