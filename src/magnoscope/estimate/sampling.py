"""The posterior about a fit by importance sampling, so that it need not be normal and knows the ends of the prior.

The likelihood of pixels is narrower than the errors of a fit, which hold the disagreement of blocks. It is therefore
looked up at parameters drawn towards the fit, so that its curvature becomes that of the errors (the adjustment of R. E.
Chandler and S. Bate, Biometrika 94, 167 (2007)); errors of the instrument follow the parameters along the valley.
Draws are of Student's distribution about the fit and, where there is one, of a network's posterior; their weights say
how many independent ones they are worth (the effective sample size).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import scipy
from numpy.typing import NDArray

from ..errors import InstabilityError
from .descent import Curvature, Point, Simulate, Target

FREEDOM = 5
"""Degrees of freedom of Student's distribution: tails heavier than any posterior about a fit has."""
ENOUGH = 50.0
"""Effective sample size from which on the weighted draws, and not the fit's curvature, make the intervals."""


class Proposal(Protocol):
    """Another distribution of the parameters, over the prior scaled to 0..1."""

    def draw(self, number: int, seed: int) -> NDArray[np.float64]:
        """Draws (number, n_parameters), 0..1."""

    def log_density(self, scaled: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log density at (n, n_parameters), (n,)."""


@dataclass(frozen=True)
class Sample:
    """Weighted draws of the posterior.

    Attributes
    ----------
    values : (n, n_parameters) meV
    weights : (n,)
        Their sum is 1.
    """

    values: NDArray[np.float64]
    weights: NDArray[np.float64]

    @property
    def effective(self) -> float:
        """Effective sample size."""
        return float(1 / (self.weights**2).sum())

    @property
    def mean(self) -> NDArray[np.float64]:
        """(n_parameters,) meV."""
        return self.weights @ self.values

    @property
    def covariance(self) -> NDArray[np.float64]:
        """(n_parameters, n_parameters) meV^2."""
        centred = self.values - self.mean
        return (self.weights[:, None] * centred).T @ centred

    def quantile(self, share: float) -> NDArray[np.float64]:
        """Value of each parameter that this share of the posterior lies below, (n_parameters,) meV."""
        out = []
        for column in self.values.T:
            order = np.argsort(column)
            below = np.cumsum(self.weights[order]) - 0.5 * self.weights[order]
            out.append(np.interp(share, below, column[order]))
        return np.array(out)


def sample(
    target: Target,
    end: Point,
    about: Curvature,
    covariances: tuple[NDArray[np.float64], NDArray[np.float64]],
    simulate: Simulate,
    allowed: Callable[[NDArray[np.float64]], bool],
    number: int,
    seed: int = 0,
    other: Proposal | None = None,
) -> Sample | None:
    """Weighted draws about a fit; None where no draw has any weight.

    Parameters
    ----------
    target, end, about
        What was climbed, to where, and how it bends there.
    covariances : two (n_unknowns, n_unknowns)
        By curvature alone, and with the disagreement of blocks.
    simulate : callable
        From parameters to a spectrum, as that of ``target`` or a cheaper one that agrees with it at the fit.
    allowed : callable
        Whether the prior allows a parameter set (n_parameters,) that lies within its ranges.
    number : int
        Of draws.
    seed : int
    other : Proposal, optional
        Half of the draws are of it.
    """
    n, rng = len(target.prior), np.random.default_rng([seed, 41])
    low, width = target.prior[:, 0], target.units[:n]
    statistical, whole = (c[:n, :n] for c in covariances)
    centre = (end.values - low) / width
    student = scipy.stats.multivariate_t(centre, whole, FREEDOM, seed=rng)
    scaled, log_density = _proposed(student, n, number, other, seed)
    follow, pull = _valley(about, n), np.linalg.solve(_root(statistical), _root(whole))
    log_weight = np.full(len(scaled), -np.inf)
    for row, place in enumerate(scaled):
        if not allowed(low + width * place):
            continue
        move = pull @ (place - centre)
        try:
            signal = simulate(end.values + width * move)
        except InstabilityError:
            continue
        log_weight[row] = target.seen(end.values, end.sizes + follow @ move, signal).total
    log_weight -= log_density
    if not np.isfinite(log_weight).any():
        return None
    weights = np.exp(log_weight - log_weight.max())
    return Sample(low + width * scaled, weights / weights.sum())


def _proposed(
    student: Any, parameters: int, number: int, other: Proposal | None, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Places in the unit cube (n, n_parameters), half of them of the other proposal, and their log density."""
    own = number if other is None else number - number // 2
    drawn = student.rvs(20 * own).reshape(-1, parameters)
    inside = ((drawn > 0) & (drawn < 1)).all(1)
    scaled = drawn[inside][:own]
    norm = np.log(own / number) - np.log(max(inside.mean(), 1e-9)) if len(scaled) else -np.inf
    if other is None:
        return scaled, norm + np.atleast_1d(student.logpdf(scaled))
    scaled = np.concatenate([scaled, other.draw(number // 2, seed)])
    log_density = norm + np.atleast_1d(student.logpdf(scaled))
    return scaled, np.logaddexp(log_density, np.log(1 - own / number) + other.log_density(scaled))


def _valley(about: Curvature, parameters: int) -> NDArray[np.float64]:
    """How errors of the instrument follow the parameters where the likelihood is highest, (n_errors, n_parameters)."""
    information, n = about.information.sum(0) + np.diag(about.prior_information), parameters
    return -np.linalg.solve(information[n:, n:], information[n:, :n])


def _root(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """M with M^T M the inverse of a covariance."""
    return np.linalg.cholesky(np.linalg.inv(covariance)).T
