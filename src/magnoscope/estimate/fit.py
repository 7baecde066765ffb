"""Exchange parameters of one candidate from a spectrum, with errors that hold the model's own error.

From the study's priors, with no start picked by hand: draws of the prior and, where there are weights, the network's
estimate are ranked by a smoothed comparison with coarse simulations; fewer and fewer of them are followed further and
further (successive halving), the last ones unsmoothed, the best to its end on default simulations. The error of a
parameter is the larger of two: the curvature of the likelihood, and the scatter of what the blocks of pixels want (the
sandwich estimator with tiles, or patches of few tiles, as clusters: P. J. Huber, Proc. Fifth Berkeley Symp. 1, 221
(1967)), which grows where they disagree because the model, its resolution or its background is not quite right.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ..dataset.draws import candidates
from ..simulate import Sampling, Simulator
from ..spectrum import Spectrum
from ..spinwave import is_stable
from ..trust.match import Match, match
from .descent import Curvature, Point, curvature, descend, look
from .likelihood import TileLikelihood

COARSE = Sampling(zone_points=10)
BLUR = 2.0
"""Smoothing of the search, pixels."""
DRAWS = 48
"""Draws of the prior that are looked at."""
ROUNDS = ((14, 2), (5, 4))
"""How many of the best starts are followed, and by how many steps, smoothed; then the two best unsmoothed."""
LAST = 2
STEPS = 5
UNCONSTRAINED = 0.25
"""An error above this share of the prior's width (a uniform prior has 0.29) says no more than the prior does."""
LEAST_EXPLAINED = 0.5
"""A best fit that explains less of the structure than this does not describe the data."""

Report = Callable[[str], None]


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
    match : Match
        Chi-square by tile, the best fit with scale and background, the share of structure left unexplained.
    halves : dict
        What two disjoint halves of the blocks want, for each way to halve them: name to two arrays (n_parameters,).
    simulations, seconds
        What it took.
    warning : str or None
    """

    spectrum: Spectrum
    model: str
    estimates: tuple[Estimate, ...]
    correlation: NDArray[np.float64]
    log_likelihood: NDArray[np.float64]
    blocks: NDArray[np.float64]
    match: Match
    halves: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
    simulations: int
    seconds: float
    warning: str | None

    @property
    def parameters(self) -> dict[str, float]:
        """Name to meV."""
        return {e.name: e.value for e in self.estimates}

    @property
    def total(self) -> float:
        """Log-likelihood of all tiles used."""
        return float(np.nansum(self.log_likelihood))

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
            "halves": {name: [list(map(float, h)) for h in pair] for name, pair in self.halves.items()},
            "simulations": self.simulations,
            "seconds": self.seconds,
            "warning": self.warning,
        }


class _Counted:
    """A simulator of one model that counts."""

    def __init__(self, simulator: Simulator, model: str) -> None:
        self.simulator, self.model, self.count = simulator, model, 0

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        self.count += 1
        return self.simulator.signal(self.model, values)


def fit(
    spectrum: Spectrum,
    model: str,
    estimate: NDArray[np.float64] | None = None,
    simulator: Simulator | None = None,
    seed: int = 0,
    report: Report = lambda line: None,
    draws: int = DRAWS,
) -> Fit:
    """Fit a candidate to a spectrum.

    Parameters
    ----------
    spectrum : Spectrum
    model : str
    estimate : (n_parameters,) meV, optional
        A further start, such as a network's estimate.
    simulator : Simulator, optional
        One that is ready already.
    seed : int
        Of the draws.
    report : callable
        Told what is done.
    draws : int
        Draws of the prior that are looked at.

    Raises
    ------
    StudyError
        If the study has no such model.
    SpectrumError
        If there is nothing to fit.
    """
    started = time.monotonic()
    study = spectrum.study
    prior = study.model(model).prior
    coarse = _Counted(Simulator(study, sampling=COARSE), model)
    fine = _Counted(simulator or Simulator(study), model)
    smooth, sharp = TileLikelihood.of(spectrum, BLUR), TileLikelihood.of(spectrum)
    points = _starts(smooth, coarse, model, estimate, seed, draws)
    for number, steps in ROUNDS:
        points = [descend(smooth, coarse, point, prior, steps)[0] for point in points[:number]]
        points.sort(key=lambda p: -p.profile.total)
        report(
            f"{model}: {len(points)} descents of {steps} steps, smoothed log-likelihood {points[0].profile.total:.1f}"
        )
    unsmoothed = [look(sharp, coarse, point.values) for point in points[:LAST]]
    found = [descend(sharp, coarse, point, prior, STEPS)[0] for point in unsmoothed if point is not None]
    best = max(found, key=lambda p: p.profile.total)
    report(f"{model}: log-likelihood {best.profile.total:.1f} with coarse simulations")
    end, _ = descend(sharp, fine, look(sharp, fine, best.values) or best, prior, STEPS)
    about = curvature(sharp, fine, end, prior)
    report(f"{model}: log-likelihood {end.profile.total:.1f} after {coarse.count + fine.count} simulations")
    return _result(spectrum, model, sharp, end, about, fine, coarse.count + fine.count, time.monotonic() - started)


def _starts(
    likelihood: TileLikelihood,
    simulate: _Counted,
    model: str,
    estimate: NDArray[np.float64] | None,
    seed: int,
    draws: int,
) -> list[Point]:
    """Draws of the prior and the estimate, best first."""
    solver = simulate.simulator.solver(model)
    classes = simulate.simulator.study.classes
    points = [look(likelihood, simulate, estimate)] if estimate is not None else []
    for index in range(draws):
        stable = (v for v in candidates(solver, seed, classes.index(model), index) if bool(is_stable(solver, v)))
        points.append(look(likelihood, simulate, next(stable)))
    return sorted((p for p in points if p is not None), key=lambda p: -p.profile.total)


def _result(
    spectrum: Spectrum,
    model: str,
    likelihood: TileLikelihood,
    end: Point,
    about: Curvature,
    simulate: _Counted,
    simulations: int,
    seconds: float,
) -> Fit:
    spin_model = spectrum.study.model(model)
    low, high = spin_model.prior.T
    statistical, whole = covariances(about)
    errors = [np.sqrt(np.diag(c)) * (high - low) for c in (statistical, whole)]
    names = [p.name for p in spin_model.parameters]
    estimates = tuple(
        _estimate(*row) for row in zip(names, end.values, *errors, spin_model.prior.tolist(), strict=True)
    )
    best = match(spectrum, simulate(end.values))
    log_likelihood = np.full(best.per_tile.shape, np.nan)
    log_likelihood.ravel()[likelihood.tiles] = end.profile.log_likelihood
    warning = None
    if best.unexplained > 1 - LEAST_EXPLAINED:
        warning = (
            f"model {model} leaves {best.unexplained:.0%} of the structure in these data unexplained: its parameters "
            "mean little, whatever their errors"
        )
    sizes = np.sqrt(np.diag(whole))
    return Fit(
        spectrum=spectrum,
        model=model,
        estimates=estimates,
        correlation=whole / np.maximum(np.outer(sizes, sizes), 1e-300),
        log_likelihood=log_likelihood,
        blocks=likelihood.block_log_likelihood(end.profile),
        match=best,
        halves=_halves(end, about, likelihood, best.per_tile.shape[-1], high - low),
        simulations=simulations,
        seconds=seconds,
        warning=warning,
    )


def covariances(about: Curvature) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Covariance by curvature alone, and the sandwich with blocks as clusters; in units of the prior's width.

    A parameter along which the likelihood does not bend gets the variance of the uniform prior, 1/12, added to its
    information.
    """
    n_blocks, n = about.gradient.shape
    inverse = np.linalg.inv(about.information.sum(0) + 12 * np.eye(n))
    centred = about.gradient - about.gradient.mean(0)
    scatter = centred.T @ centred * n_blocks / max(n_blocks - n, 1)
    sandwich = inverse @ scatter @ inverse
    larger = np.diag(np.sqrt(np.maximum(1.0, np.diag(inverse) / np.maximum(np.diag(sandwich), 1e-300))))
    return inverse, larger @ sandwich @ larger


def _estimate(name: str, value: float, statistical: float, error: float, prior: list[float]) -> Estimate:
    low, high = prior
    constrained = bool(error < UNCONSTRAINED * (high - low))

    def interval(coverage: float) -> tuple[float, float]:
        half = float(stats.norm.ppf(0.5 + coverage / 2)) * error
        return (float(max(low, value - half)), float(min(high, value + half))) if constrained else (low, high)

    return Estimate(
        name, float(value), float(statistical), float(error), interval(0.68), interval(0.90), (low, high), constrained
    )


def _halves(
    end: Point, about: Curvature, likelihood: TileLikelihood, tiles: int, width: NDArray[np.float64]
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """One Newton step from the fit with half of the data each: every other run, every other tile, every other block."""
    patches = likelihood.patches.shape[1]
    tile = np.repeat(likelihood.tiles, patches)
    ways = {
        "runs": tile // tiles % 2 == 0,
        "slices": tile % tiles % 2 == 0,
        "patches": np.tile(np.arange(patches), len(likelihood.tiles)) % 2 == 0,
    }
    out = {}
    for name, first in ways.items():
        if not first.any() or first.all():
            continue
        pair = []
        for chosen in (first, ~first):
            information = about.information[chosen].sum(0) + 6 * np.eye(len(width))
            pair.append(end.values + width * np.linalg.solve(information, about.gradient[chosen].sum(0)))
        out[name] = (pair[0], pair[1])
    return out
