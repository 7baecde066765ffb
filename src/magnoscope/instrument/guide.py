"""What a guide adds to the divergence that reaches the sample."""

from dataclasses import dataclass

import numpy as np

from ..units import ENERGY_PER_K2


@dataclass(frozen=True)
class GuideGain:
    """Gain of solid angle: 1 + exp(-onset / lambda) times a polynomial of the wavelength lambda.

    Fitted to a ray tracing of a spectrometer; the aperture is widened by its root in both directions. Beyond the
    longest wavelength of the fit it goes on as a straight line.

    Attributes
    ----------
    onset : float
        Å.
    coefficients : tuple of float
        Of the polynomial, the constant first; Å to their negative power.
    longest : float
        Å.
    """

    onset: float
    coefficients: tuple[float, ...]
    longest: float

    def gain(self, ei: float) -> float:
        """The gain at an incident energy (meV)."""
        wavelength = float(2 * np.pi * np.sqrt(ENERGY_PER_K2 / ei))
        if wavelength <= self.longest:
            return self._fit(wavelength)
        step = 0.01
        slope = (self._fit(self.longest + step) - self._fit(self.longest - step)) / (2 * step)
        return self._fit(self.longest) + slope * (wavelength - self.longest)

    def _fit(self, wavelength: float) -> float:
        return 1 + float(np.exp(-self.onset / wavelength) * np.polyval(self.coefficients[::-1], wavelength))
