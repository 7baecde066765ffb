"""What a spectrum's numbers mean: units, k_f / k_i, temperature."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

SCATTERING_LENGTH_SQUARED = 290.6
"""(gamma r_0)^2, mbarn / sr: G. L. Squires, Introduction to the Theory of Thermal Neutron Scattering, eq. 7.26."""
MEV_PER_KELVIN = 0.0861733
"""Boltzmann's constant."""


@dataclass(frozen=True)
class Intensity:
    """How S_perp becomes the numbers of a spectrum.

    Attributes
    ----------
    units : {"arbitrary", "mbarn"}
        S_perp with form factor in units of spin squared per magnetic cell and meV; or d2sigma / dOmega dE in
        mbarn / sr / meV / formula unit: times (gamma r_0)^2 (g / 2)^2, without what detectors and absorption do.
    formula_units : float or None
        In the magnetic cell; not None where units are mbarn.
    g : float
        Landé factor.
    kf_over_ki : bool
        With the factor k_f / k_i of the cross section; without it, as data reduction leaves it.
    temperature : float
        K; the factor 1 + n(E) for the creation of a mode. At 0 it is 1.
    """

    units: Literal["arbitrary", "mbarn"] = "arbitrary"
    formula_units: float | None = None
    g: float = 2.0
    kf_over_ki: bool = False
    temperature: float = 0.0

    def factor(self, energy: "torch.Tensor", ei: float) -> "torch.Tensor":
        """What S_perp of modes (n,) at these energies (meV) is multiplied by."""
        out = energy.new_ones(energy.shape)
        if self.units == "mbarn" and self.formula_units:
            out *= SCATTERING_LENGTH_SQUARED * (self.g / 2) ** 2 / self.formula_units
        if self.kf_over_ki:
            out *= (1 - energy / ei).clamp_min(0).sqrt()
        if self.temperature:
            out /= -(-energy.clamp_min(1e-6) / (MEV_PER_KELVIN * self.temperature)).expm1()
        return out

    @property
    def name(self) -> str:
        """The unit, in words."""
        return "mbarn/sr/meV/f.u." if self.units == "mbarn" else "S_perp per magnetic cell and meV"
