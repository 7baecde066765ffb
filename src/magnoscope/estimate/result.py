"""What a fit found: parameters with errors and intervals, what of the instrument it moved, and what must be said of it.

The error of a parameter is the larger of two: the curvature of the likelihood, and the scatter of what the blocks of
pixels want (the sandwich estimator with tiles, or patches of few tiles, as clusters: P. J. Huber, Proc. Fifth Berkeley
Symp. 1, 221 (1967)), which grows where they disagree because the model, its resolution or its background is not quite
right. Weighted draws (:mod:`.sampling`) give the posterior its shape.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from ..spectrum import Spectrum
from ..trust.match import Match, match
from .clipped import ClippedLikelihood
from .descent import Curvature, Point, Target
from .halves import Halves
from .responses import Response
from .sampling import ENOUGH, Sample

NOTHING = 1e-3
"""Information below which a parameter changes nothing: over all its prior it would gain less than this in
log-likelihood."""
IDLE = 1e-9
"""Scatter below this share of the variance by curvature is none."""
FAR = 2.0
"""An error of the instrument beyond so many standard deviations of its prior is warned of."""
UNCONSTRAINED = 0.25
"""An error above this share of the prior's width (a uniform prior has 0.29) says no more than the prior does."""
LEAST_EXPLAINED = 0.5
"""A best fit that explains less of the structure than this does not describe the data."""


@dataclass(frozen=True)
class Estimate:
    """One parameter, meV.

    Attributes
    ----------
    statistical : float
        Error by the curvature of the likelihood alone.
    error : float
        That with the disagreement between tiles.
    interval_68, interval_90 : (low, high)
        Within the prior; the whole prior where the data do not constrain the parameter.
    """

    name: str
    value: float
    statistical: float
    error: float
    interval_68: tuple[float, float]
    interval_90: tuple[float, float]
    prior: tuple[float, float]
    constrained: bool


@dataclass(frozen=True)
class FittedError:
    """An error of the instrument as a fit found it.

    Attributes
    ----------
    name, unit : str
    ei : float or None
        Of the run it belongs to, meV; None where all share it.
    size, error : float
        In units of its prior's standard deviation.
    value : float
        In its own unit.
    interval_68 : (low, high)
        In its own unit.
    """

    name: str
    unit: str
    ei: float | None
    size: float
    error: float
    value: float
    interval_68: tuple[float, float]


@dataclass(frozen=True)
class Fit:
    """A candidate fitted to a spectrum.

    Attributes
    ----------
    spectrum : Spectrum
        The measurement.
    model : str
    estimates : tuple of Estimate
    correlation : (n_parameters, n_parameters)
    log_likelihood : (runs, tiles)
        NaN where a tile was not used.
    blocks : (n_blocks,)
        Log-likelihood of each block of pixels, the noise of each tile given.
    pixels : (runs, slices, x, y)
        Log-likelihood of each pixel, the noise of each tile given; zero where none was used.
    match : Match
        Chi-square by tile, the best fit with scale and background, the share of structure left unexplained.
    halves : tuple of Halves
        The fit repeated with halves of the data, where that was asked for.
    sample : Sample or None
        Weighted draws of the posterior, where they were asked for.
    network : Sample or None
        Draws of the network's posterior alone, where there is one.
    instrument : tuple of FittedError
        Errors of the instrument that were fitted too; none where it was taken as the study states it.
    penalty : float
        What their priors take off the log-likelihood.
    simulations, seconds
        What it took.
    warning : str or None
    clipped : bool
        Whether zeros were taken for values that had been negative.
    by_curvature : tuple of Estimate
        What the curvature at the best fit alone says, whatever weighted draws make of it.
    """

    spectrum: Spectrum
    model: str
    estimates: tuple[Estimate, ...]
    correlation: NDArray[np.float64]
    log_likelihood: NDArray[np.float64]
    blocks: NDArray[np.float64]
    pixels: NDArray[np.float64]
    match: Match
    simulations: int
    seconds: float
    warning: str | None
    instrument: tuple[FittedError, ...] = ()
    penalty: float = 0.0
    halves: tuple[Halves, ...] = ()
    sample: Sample | None = None
    network: Sample | None = None
    clipped: bool = False
    by_curvature: tuple[Estimate, ...] = ()

    @property
    def parameters(self) -> dict[str, float]:
        """Name to meV."""
        return {e.name: e.value for e in self.estimates}

    @property
    def total(self) -> float:
        """Log-likelihood of all tiles used, less what the priors of the instrument's errors take off."""
        return float(np.nansum(self.log_likelihood)) - self.penalty

    @property
    def best(self) -> Spectrum:
        """The best fit with scale and background of each tile, where the measurement is valid."""
        valid = self.spectrum.valid & np.isfinite(self.match.fitted)
        return Spectrum(self.spectrum.study, np.where(valid, self.match.fitted, np.nan), valid)

    def _intervals(self, drawn: Sample) -> dict[str, dict[str, Any]]:
        """Mean and intervals of draws by parameter."""
        shares = {s: drawn.quantile(s).tolist() for s in (0.05, 0.16, 0.84, 0.95)}
        return {
            e.name: {
                "mean": float(drawn.mean[n]),
                "interval_68": [shares[0.16][n], shares[0.84][n]],
                "interval_90": [shares[0.05][n], shares[0.95][n]],
            }
            for n, e in enumerate(self.estimates)
        }

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        study = self.spectrum.study
        return {
            "model": self.model,
            "parameters": {
                e.name: {
                    "mean": e.value,
                    "error": e.error,
                    "statistical_error": e.statistical,
                    "interval_68": list(e.interval_68),
                    "interval_90": list(e.interval_90),
                    "prior": list(e.prior),
                    "constrained": e.constrained,
                }
                for e in self.estimates
            },
            "correlation": self.correlation.tolist(),
            "chi_square": self.match.chi_square,
            "unexplained": self.match.unexplained,
            "log_likelihood": self.total,
            "slices": [
                {
                    "ei_meV": run.ei,
                    "energy_meV": list(study.view.tile_energies(run.ei, t)),
                    "chi_square": float(self.match.per_tile[r, t]),
                    "log_likelihood": float(self.log_likelihood[r, t]),
                }
                for r, run in enumerate(study.runs)
                for t in range(self.log_likelihood.shape[1])
            ],
            "halves": [each.as_dict() for each in self.halves],
            "effective_sample_size": None if self.sample is None else self.sample.effective,
            "network": None if self.network is None else self._intervals(self.network),
            "instrument": [asdict(error) for error in self.instrument],
            "clipped_at_zero": self.clipped,
            "simulations": self.simulations,
            "seconds": self.seconds,
            "warning": self.warning,
        }


def result_of(spectrum: Spectrum, model: str, target: Target, end: Point, about: Curvature) -> Fit:
    """What a descent to ``end`` found, by the curvature there."""
    spin_model, likelihood, n = spectrum.study.model(model), target.likelihood, len(target.prior)
    statistical, whole = covariances(about)
    errors = [np.sqrt(np.diag(c)) * target.units for c in (statistical, whole)]
    names, blocks = [p.name for p in spin_model.parameters], freedom(about)
    estimates = tuple(
        _estimate(name, value, by_counting, error, ends, blocks)
        for name, value, by_counting, error, ends in zip(
            names, end.values, errors[0][:n], errors[1][:n], target.prior.tolist(), strict=True
        )
    )
    instrument: tuple[FittedError, ...] = ()
    if target.response is not None:
        instrument = _fitted_errors(target.response, spectrum, end.sizes, errors[1][n:])
    best = match(spectrum, end.signal)
    log_likelihood = np.full(best.per_tile.shape, np.nan)
    log_likelihood.ravel()[likelihood.tiles] = end.profile.log_likelihood
    sizes = np.sqrt(np.diag(whole))[:n]
    seen = np.diag(about.information.sum(0))[:n] > NOTHING
    return Fit(
        spectrum=spectrum,
        model=model,
        estimates=estimates,
        correlation=whole[:n, :n] / np.maximum(np.outer(sizes, sizes), 1e-300),
        log_likelihood=log_likelihood,
        blocks=likelihood.block_log_likelihood(end.profile),
        pixels=likelihood.as_spectrum(likelihood.pixel_log_likelihood(end.profile)),
        match=best,
        simulations=0,
        seconds=0.0,
        warning=_warning(model, best, instrument, [n for n, sees in zip(names, seen, strict=True) if not sees]),
        instrument=instrument,
        penalty=end.profile.total - end.total,
        clipped=isinstance(likelihood, ClippedLikelihood),
        by_curvature=estimates,
    )


def with_sample(result: Fit, found: Sample | None) -> Fit:
    """Estimates from weighted draws, where they are worth enough; else what the curvature says, and that this is so."""
    if found is None or found.effective < ENOUGH:
        worth = 0.0 if found is None else found.effective
        said = (
            f"the draws of the posterior are worth {worth:.0f} independent ones: errors are those of the curvature at "
            "the fit"
        )
        return replace(result, sample=found, warning="; ".join(filter(None, [result.warning, said])))
    mean, spread = found.mean, np.sqrt(np.diag(found.covariance))
    quantiles = {s: found.quantile(s) for s in (0.05, 0.16, 1 - 0.16, 1 - 0.05)}
    estimates = []
    for number, e in enumerate(result.estimates):
        constrained = bool(spread[number] < UNCONSTRAINED * (e.prior[1] - e.prior[0]))
        pairs = [
            (float(quantiles[a][number]), float(quantiles[1 - a][number])) if constrained else e.prior
            for a in (0.16, 0.05)
        ]
        estimates.append(
            replace(e, value=float(mean[number]), error=float(spread[number]), interval_68=pairs[0],
                    interval_90=pairs[1], constrained=constrained)
        )  # fmt: skip
    correlation = found.covariance / np.maximum(np.outer(spread, spread), 1e-300)
    return replace(result, sample=found, estimates=tuple(estimates), correlation=correlation)


def _warning(model: str, best: Match, instrument: tuple[FittedError, ...], unseen: list[str]) -> str | None:
    """What a reader must know before the parameters."""
    said = [f"{name} changes nothing in this spectrum, which cannot say what it is" for name in unseen]
    if best.unexplained > 1 - LEAST_EXPLAINED:
        said.append(
            f"model {model} leaves {best.unexplained:.0%} of the structure in these data unexplained: its parameters "
            "mean little, whatever their errors"
        )
    for error in instrument:
        if abs(error.size) > FAR:
            where = "" if error.ei is None else f" at Ei {error.ei:g} meV"
            said.append(
                f"the fit moved the {error.name}{where} to {error.value:.3g} {error.unit}, {abs(error.size):.1f} times "
                "what documents make likely"
            )
    return "; ".join(said) or None


def _fitted_errors(
    found: Response, spectrum: Spectrum, sizes: NDArray[np.float64], errors: NDArray[np.float64]
) -> tuple[FittedError, ...]:
    out = []
    for each, size, error in zip(found.errors, sizes.tolist(), errors.tolist(), strict=True):
        (low, _), (value, unit), (high, _) = (
            each.physical(spectrum.study, s) for s in (size - error, size, size + error)
        )
        ei = None if each.run is None else spectrum.study.runs[each.run].ei
        out.append(FittedError(each.name, unit, ei, size, error, value, (low, high)))
    return tuple(out)


def covariances(about: Curvature) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Covariance by curvature alone, and the sandwich with blocks as clusters; in units of :attr:`.Target.units`.

    A parameter along which the likelihood does not bend gets the variance of the uniform prior, 1/12, added to its
    information. The prior of an error of the instrument counts as a measurement of it, by curvature and by scatter.
    """
    n_blocks = len(about.gradient)
    prior = about.prior_information
    inverse = np.linalg.inv(about.information.sum(0) + np.diag(np.where(prior > 0, prior, 12.0)))
    centred = about.gradient - about.gradient.mean(0)
    scatter = centred.T @ centred * n_blocks / freedom(about) + np.diag(prior)
    sandwich = inverse @ scatter @ inverse
    own, least = np.diag(sandwich), np.diag(inverse)
    # a parameter that no block cares about has no scatter to be made larger
    idle = own < IDLE * least
    larger = np.diag(np.where(idle, 1.0, np.sqrt(np.maximum(1.0, least / np.maximum(own, 1e-300)))))
    return inverse, larger @ sandwich @ larger + np.diag(np.where(idle, least, 0.0))


def freedom(about: Curvature) -> float:
    """Blocks less the number of unknowns that the data, and not priors, determine; at least one."""
    information, prior = about.information.sum(0), about.prior_information
    determined = np.linalg.solve(information + np.diag(np.where(prior > 0, prior, 12.0)), information)
    return float(max(len(about.gradient) - np.trace(determined), 1.0))


def _estimate(name: str, value: float, statistical: float, error: float, prior: list[float], blocks: float) -> Estimate:
    """With intervals by Student's distribution, because the error is that of so many ``blocks``."""
    low, high = prior
    constrained = bool(error < UNCONSTRAINED * (high - low))

    def interval(coverage: float) -> tuple[float, float]:
        half = float(scipy.stats.t.ppf(0.5 + coverage / 2, blocks)) * error
        return (float(max(low, value - half)), float(min(high, value + half))) if constrained else (low, high)

    return Estimate(
        name, float(value), float(statistical), float(error), interval(0.68), interval(0.90), (low, high), constrained
    )
