"""Which candidate describes a spectrum better once each is fitted, and whether the difference means anything.

The difference of the fitted log-likelihoods is a sum over blocks of pixels (tiles, or patches of few tiles). Vuong's
test (Econometrica 57, 307 (1989)) asks whether its mean differs from zero by more than its scatter over blocks says; it
holds for candidates that are both a little wrong, and does not prefer either where they coincide. A candidate pays
half the logarithm of the number of blocks for each parameter (Schwarz, Ann. Statist. 6, 461 (1978), with blocks as the
independent observations).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from .halves import ways_of
from .result import Fit

SURE = 0.01
"""A candidate is preferred where chance would make such a difference less often than this."""


@dataclass(frozen=True)
class HalfRatios:
    """What two halves of the data say of the two best candidates, as both are fitted to all of them.

    Attributes
    ----------
    name : str
        How the data were halved.
    ratios : (first, second)
        Log-likelihood of the best less that of the second, pixels of one half summed, without penalties.
    """

    name: str
    ratios: tuple[float, float]


@dataclass(frozen=True)
class Comparison:
    """Two or more fitted candidates.

    Attributes
    ----------
    fits : dict
        Of each candidate, best first.
    evidence : dict
        Penalised log-likelihood of each, that of the best subtracted.
    difference : (runs, tiles)
        Log-likelihood of the best less that of the second, NaN where a tile was not used.
    p_value : float
        How often chance alone would favour one of the two by so much.
    preferred : str or None
        None where neither can be preferred.
    halves : tuple of HalfRatios
    """

    fits: dict[str, Fit]
    evidence: dict[str, float]
    difference: NDArray[np.float64]
    p_value: float
    preferred: str | None
    halves: tuple[HalfRatios, ...] = ()

    @property
    def sentence(self) -> str:
        """The comparison in words."""
        first, second = list(self.fits)[:2]
        lead = -self.evidence[second]
        if self.preferred is None:
            return (
                f"{first} and {second} describe these data equally well within the scatter between slices "
                f"(log-likelihood ratio {lead:.1f}, p = {self.p_value:.2g}): neither can be preferred."
            )
        return (
            f"{first} describes these data better than {second}: log-likelihood ratio {lead:.1f} after penalty, "
            f"p = {self.p_value:.2g} against the scatter between slices."
        )

    def disagreement(self, label: str | None, label_set: tuple[str, ...]) -> str | None:
        """In words, where a network says otherwise: the model it names, or none, and those it cannot tell apart."""
        undecided = self.preferred is None and len(label_set) > 1
        if label is not None and (label == self.preferred or undecided):
            return None
        network = f"the network names {label}" if label else "the network names no model"
        fits = f"the fits prefer {self.preferred}" if self.preferred else "the fits prefer neither"
        return f"{network}, {fits}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        study = next(iter(self.fits.values())).spectrum.study
        return {
            "preferred": self.preferred,
            "evidence": self.evidence,
            "evidence_is": "log-likelihood, scale, background and noise of each slice profiled, less "
            "ln(blocks) / 2 for each parameter",
            "p_value": self.p_value,
            "slices": [
                {
                    "ei_meV": study.runs[r].ei,
                    "energy_meV": list(study.view.tile_energies(study.runs[r].ei, s)),
                    "log_likelihood_ratio": float(self.difference[r, s]),
                }
                for r, s in sorted(
                    np.ndindex(*self.difference.shape), key=lambda rs: -abs(np.nan_to_num(self.difference[rs]))
                )
            ],
            "halves": [{"halves": half.name, "log_likelihood_ratios": list(half.ratios)} for half in self.halves],
            "fits": {name: f.as_dict() for name, f in self.fits.items()},
            "message": self.sentence,
        }


def compare(fits: list[Fit]) -> Comparison:
    """Compare fits of different candidates to one spectrum.

    Parameters
    ----------
    fits : list of Fit
        Two or more.
    """
    cost = 0.5 * np.log(len(fits[0].blocks))
    penalised = {f.model: f.total - cost * len(f.estimates) for f in fits}
    ordered = sorted(fits, key=lambda f: -penalised[f.model])
    best, second = ordered[:2]
    difference = best.log_likelihood - second.log_likelihood
    lead = penalised[best.model] - penalised[second.model]
    p_value = vuong(best.blocks - second.blocks, lead)
    pixels = best.pixels - second.pixels
    halves = tuple(
        HalfRatios(name, (float(pixels[first].sum()), float(pixels[~first].sum())))
        for name, first in ways_of(best.spectrum).items()
    )
    return Comparison(
        fits={f.model: f for f in ordered},
        evidence={f.model: float(penalised[f.model] - penalised[best.model]) for f in ordered},
        difference=difference,
        p_value=p_value,
        preferred=best.model if p_value < SURE else None,
        halves=halves,
    )


def vuong(differences: NDArray[np.float64], lead: float) -> float:
    """Two-sided p-value of a lead that is the sum of independent differences (n,), a penalty included.

    A lead of less than a few units is never significant, however small the scatter: where two candidates coincide both
    are zero up to the accuracy of the fits.
    """
    n = len(differences)
    scatter = np.sqrt(n * np.var(differences, ddof=1)) if n > 1 else np.inf
    size = abs(lead) / np.hypot(scatter, LEAST_SCATTER)
    return float(2 * scipy.stats.t.sf(size, max(n - 1, 1)))


LEAST_SCATTER = 3.0
"""How far a log-likelihood may be off because a descent ends early, and because simulations are sampled."""
