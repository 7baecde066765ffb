"""Shapes of a mode in energy: Gaussian, Lorentzian, damped oscillator, of a width that may depend on energy."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from ..errors import StudyError
from ..units import FWHM_PER_SIGMA
from .thermal import detailed_balance, occupation

Shape = Literal["gaussian", "lorentzian", "oscillator"]


@dataclass(frozen=True)
class Line:
    """The shape of a mode in energy.

    Attributes
    ----------
    fwhm : float or callable
        Full width at half maximum, meV, or a torch function of the mode's energy (...) that returns it.
    shape : str
        ``gaussian`` and ``lorentzian`` are resolution: a line of unit area at +w and one at -w. ``oscillator`` is
        damping: the imaginary susceptibility of a damped harmonic oscillator of mode energy w,
        (4 / pi) g w E / ((E^2 - w^2)^2 + 4 g^2 E^2) with 2 g the width, odd in E, times the factor of detailed balance
        at E itself. It goes to the undamped lines as g goes to 0, and holds the static susceptibility 2 / w.
    """

    fwhm: float | Callable[[torch.Tensor], torch.Tensor]
    shape: Shape = "gaussian"

    def __post_init__(self) -> None:
        if self.shape not in ("gaussian", "lorentzian", "oscillator"):
            raise StudyError(f'a line of shape "{self.shape}" is not known; use gaussian, lorentzian or oscillator')
        if not callable(self.fwhm) and not 0 <= self.fwhm < float("inf"):
            raise StudyError(f"a line has a width of {self.fwhm} meV; it must be a finite number of at least 0")

    def width(self, energies: torch.Tensor) -> torch.Tensor:
        """Full width at half maximum of modes (...), meV.

        Raises
        ------
        StudyError
            If the function returns a width that is negative or not finite, or an oscillator has none.
        """
        width = self.fwhm(energies) if callable(self.fwhm) else torch.full_like(energies, self.fwhm)
        known = width[energies.isfinite()]
        if not bool(((known >= 0) & known.isfinite()).all()):
            raise StudyError("the width of a line is negative or not finite at one of the modes; it must be positive")
        if self.shape == "oscillator" and not bool((known > 0).all()):
            raise StudyError("an oscillator needs a width above 0 meV; use a gaussian for undamped modes")
        return width

    def profile(self, edges: torch.Tensor, energies: torch.Tensor, temperature: float = 0.0) -> torch.Tensor:
        """What modes of unit strength give on the side where the neutron loses energy to them.

        Parameters
        ----------
        edges : (n + 1,) meV, rising
            Bins of energy transfer.
        energies : (...) meV, positive
        temperature : float
            K.

        Returns
        -------
        (..., n) 1/meV
            Averages over the bins, so that nothing narrow is lost between them; of an oscillator the values at their
            centres, at positive transfers.
        """
        width = self.width(energies)[..., None]
        place = energies[..., None]
        if self.shape == "oscillator":
            return self._oscillator(edges, place, width, temperature, 1)
        return self._averages(edges - place, width) * (1 + occupation(place, temperature))

    def gain(self, edges: torch.Tensor, energies: torch.Tensor, temperature: float) -> torch.Tensor:
        """The same on the side where the neutron gains energy: for modes at -Q; zero at 0 K."""
        width = self.width(energies)[..., None]
        place = energies[..., None]
        if self.shape == "oscillator":
            return self._oscillator(edges, place, width, temperature, -1)
        return self._averages(edges + place, width) * occupation(place, temperature)

    def _averages(self, distance: torch.Tensor, width: torch.Tensor) -> torch.Tensor:
        """Bin averages of a line of unit area from the distances (..., n + 1) of the edges to it."""
        tiny = torch.finfo(distance.dtype).tiny ** 0.5  # of no width at all: everything into one bin
        if self.shape == "gaussian":
            below = torch.erf(distance * (FWHM_PER_SIGMA / 2**0.5) / width.clamp_min(tiny)) / 2
        else:
            below = torch.atan(2 * distance / width.clamp_min(tiny)) / torch.pi
        return below.diff(dim=-1) / distance.diff(dim=-1)

    def _oscillator(
        self, edges: torch.Tensor, place: torch.Tensor, width: torch.Tensor, temperature: float, side: int
    ) -> torch.Tensor:
        centre = (edges[1:] + edges[:-1]) / 2
        # at zero transfer the limit of susceptibility times balance: from just beside it
        centre = torch.where(centre == 0, 1e-9 * (edges[-1] - edges[0]), centre)
        damping = width / 2
        susceptibility = (
            (4 / torch.pi)
            * damping
            * place
            * centre
            / ((centre**2 - place**2) ** 2 + 4 * damping**2 * centre**2)
            * detailed_balance(centre, temperature)
        )
        return torch.where(centre * side > 0, susceptibility, torch.zeros_like(susceptibility))
