"""Modes with a line of their own: Lorentzians and damped oscillators, whose tails no window about a spot holds.

A line and the resolution may be convolved in either order. Spots are therefore laid without the line, onto bins of
energy finer than the slices, which go on beyond them; what lies in each bin then goes to the slices as the line says,
by a matrix that is made once for each run. Nothing of a line is cut off: what no slice receives lies beyond them.

The response of a damped oscillator of energy w and half width g is a difference of two Lorentzians. With its poles at
+-w0 +- ig, w0^2 = w^2 - g^2,

    4 g w E / ((E^2 - w^2)^2 + 4 g^2 E^2) = (w / w0) [g / ((E - w0)^2 + g^2) - g / ((E + w0)^2 + g^2)],

so that its spot is laid at w0, w / w0 times as bright; the factor of detailed balance is that of each energy transfer.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch

from ..spinwave.broadening import Line
from ..spinwave.thermal import detailed_balance
from ..study import Study
from .landing import Bins

FARTHEST = 4.0
"""Standard deviations of the resolution in energy from beyond the slices that are still brought in."""
TAIL = 20.0
"""Widths of a line from beyond the slices that are brought in besides."""
FASTEST = 0.97
"""Share of Ei that a neutron can lose, at most."""
FINE = (1.0, 0.2)
"""Width of a fine bin: in standard deviations of the resolution or in widths of the line, whichever is larger."""
MOST_PARTS = 8
"""Fine bins that make up one slice, at most."""
SOFTEST = 0.25
"""Least w0 of an oscillator, in units of its half width: below, it is overdamped, and has no poles beside zero."""
SOFT = 3.0
"""Standard deviations of the resolution in energy below which a mode does not have the thermal factor of its own."""


@dataclass(frozen=True)
class Slices:
    """What a run's spots are laid on along energy, and how slices come of it.

    Attributes
    ----------
    bins : Bins
        The slices themselves where modes are Gaussian, which spots hold; else finer ones.
    seen : (low, high) meV
        Energy transfers from which the resolution brings something in.
    modes : (low, high) meV
        Energies of the modes that matter: the same, and where lines have tails what lies further off.
    line : Line or None
        Of a mode; None where it is Gaussian.
    shares : (slices, bins) 1/meV or None
        What each slice receives of each bin, over the slice's width; None where the bins are the slices.
    balanced : float
        Energy (meV) below which all modes have the same thermal factor until detailed balance is put in.
    """

    study: Study
    ei: float
    bins: Bins
    seen: tuple[float, float]
    modes: tuple[float, float]
    line: Line | None = None
    shares: torch.Tensor | None = None
    balanced: float = 0.0

    @property
    def crossed(self) -> tuple[float, float]:
        """Of the energies of modes those that the kinematics can meet, meV."""
        return self.modes[0], min(self.modes[1], FASTEST * self.ei)

    def met(self, energy: torch.Tensor) -> torch.Tensor:
        """Energy transfers (n,) at which modes are seen, meV: of one further off its tail, next to it."""
        return energy if self.line is None else energy.clamp(*self.seen)

    def placed(self, energy: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Where the spots of modes (n,) go, meV, and what S_perp is multiplied by, (n,)."""
        intensity = self.study.intensity
        if self.line is None:
            return energy, intensity.factor(energy, self.ei)
        # k_f / k_i is that of the energy transfer, and comes with the line
        intensity = replace(intensity, kf_over_ki=False)
        if self.line.shape == "lorentzian":
            return energy, intensity.factor(energy, self.ei)
        half = self.study.intrinsic_width / 2
        pole = (energy**2 - half**2).clamp_min(0).sqrt().clamp_min(SOFTEST * half)
        edges = self.study.view.energy_edges(self.ei)
        # where a mode has no such pole, one that has is made as bright as it is at the first slice, or at its width
        first = max(float(edges[0] + edges[1]) / 2, 2 * half) ** 2
        stiff, soft = ((first - w2) ** 2 + 4 * half**2 * first for w2 in (pole**2 + half**2, energy**2))
        return pole, energy / pole * stiff / soft * intensity.factor(pole.clamp_min(self.balanced), self.ei)

    def density(self, laid: torch.Tensor) -> torch.Tensor:
        """Slices (slices, x, y) 1/meV from what lies in the bins, (bins, x, y)."""
        # differences of draws may leave a trace below zero
        laid = laid.double().clamp_min(0)
        return laid / self.bins.width if self.shares is None else torch.tensordot(self.shares, laid, 1)


def run_slices(study: Study, number: int, sigma: float) -> Slices:
    """Slices of a run (energy bins of a path) for spots of at most this standard deviation in energy, meV."""
    ei = study.runs[number].ei
    edges = np.asarray(study.view.energy_edges(ei), float)
    width = float(edges[1] - edges[0])
    line = None if study.line == "gaussian" else Line(study.intrinsic_width, study.line)
    own = Bins.for_spots(float(edges[0]), width, len(edges) - 1, sigma)
    near = FARTHEST * sigma
    seen = max(float(edges[0]) - near, 1e-3), min(float(edges[-1]) + near, FASTEST * ei)
    if line is None:
        return Slices(study, ei, own, seen, seen)
    far = near + TAIL * study.intrinsic_width
    modes = max(float(edges[0]) - far, 1e-3), float(edges[-1]) + far
    finest = max(FINE[0] * sigma, FINE[1] * study.intrinsic_width, width / MOST_PARTS)
    parts = int(np.ceil(width / finest - 1e-9))
    fine = width / parts
    # spots of modes near either end are laid whole
    below, above = (int(np.ceil((d + near) / fine)) + 1 for d in (float(edges[0]) - modes[0], far))
    # where the energy runs steeply through a fine point's cell, a spot is wider than the resolution alone
    window = own.window * parts | 1
    bins = Bins(float(edges[0]) - below * fine, fine, below + own.count * parts + above, window)
    balanced = max(SOFT * sigma, modes[0])
    shares = _shares(study, ei, line, bins, (below, parts), balanced)
    return Slices(study, ei, bins, seen, modes, line, shares, balanced)


def _shares(study: Study, ei: float, line: Line, bins: Bins, parts: tuple[int, int], balanced: float) -> torch.Tensor:
    """:attr:`Slices.shares` of bins, of which so many lie below the slices, and so many make up each."""
    below, each = parts
    edges = bins.start + bins.width * torch.arange(bins.count + 1, dtype=torch.float64)
    centres = (edges[1:] + edges[:-1]) / 2
    slices = len(study.view.energy_edges(ei)) - 1
    seen = edges[below : below + slices * each + 1]
    transfer = (seen[1:] + seen[:-1]) / 2
    # detailed balance is infinite at zero, where an oscillator's response vanishes
    transfer = torch.where(transfer == 0, 1e-9 * bins.width, transfer)
    peak = Line(line.fwhm, "lorentzian")
    share = peak.profile(seen, centres)  # (bins, seen) 1/meV
    temperature = study.intensity.temperature
    if line.shape == "oscillator":
        known = detailed_balance(centres.clamp_min(balanced), temperature)
        share = (share - peak.profile(seen, -centres)) * detailed_balance(transfer, temperature) / known[:, None]
    if study.intensity.kf_over_ki:
        share = share * (1 - transfer / ei).clamp_min(0).sqrt()
    return share.reshape(bins.count, slices, each).mean(2).T.contiguous()
