"""The posterior about a fit by importance sampling, so that it need not be normal and knows the ends of the prior.

The likelihood of pixels is narrower than the errors of a fit, which hold the disagreement of blocks. It is therefore
raised to a power below one, the one that gives it the volume of those errors, and looked up at parameters moved so that
its curvature is theirs in every direction (both adjustments of a misspecified likelihood are of R. E. Chandler and
S. Bate, Biometrika 94, 167 (2007), and M. Ribatet, D. Cooley and A. C. Davison, Statistica Sinica 22, 813 (2012)). Most
of the valley is then seen at its own places, bends and ends included.

Errors of the instrument follow each draw to where the likelihood is highest within their bounds: along the valley they
are simulated with it, what is left needs no simulation.
Draws are of Student's distribution about the fit, and after each part of them of one fitted to the draws so far (J.-M.
Cornuet et al., Scand. J. Stat. 39, 798 (2012)). Their weights say how many independent ones they are worth (the
effective sample size); where that is too few, as along bent valleys, where parabolas are worst, more are drawn.
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
STAGES = 4
"""Parts of the draws, after each of which their distribution is fitted anew."""
MOST_STAGES = 3 * STAGES
"""The same where draws are not worth enough before."""
FOLLOWED = 2
"""Steps by which errors of the instrument follow a draw."""
GAIN = 0.1
"""Of tempered log-likelihood, below which they have followed far enough."""
ENOUGH = 50.0
"""Effective sample size from which on the weighted draws, and not the fit's curvature, make the intervals."""


class Proposal(Protocol):
    """Another distribution of the parameters, over the prior scaled to 0..1."""

    def draw(self, number: int, seed: int) -> NDArray[np.float64]:
        """Draws (number, n_parameters), 0..1."""


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
        """Value of each parameter that this share of the posterior lies below, (n_parameters,) meV.

        As many draws as these are worth leave one more gap, each as likely as the others to hold another draw
        (Weibull's plotting positions; R. J. Hyndman and Y. Fan, Am. Stat. 50, 361 (1996), number 6). With shares of
        the draws themselves an interval from few would hold less than it says.
        """
        out = []
        for column in self.values.T:
            order = np.argsort(column)
            below = np.cumsum(self.weights[order]) - 0.5 * self.weights[order]
            below = (self.effective * below + 0.5) / (self.effective + 1)
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
) -> Sample | None:
    """Weighted draws about a fit; None where no draw has any weight.

    Parameters
    ----------
    target, end, about
        What was climbed, to where, and how it bends there.
    covariances : two (n_unknowns, n_unknowns)
        By curvature alone, and with the disagreement of blocks.
    simulate : callable
        From parameters and errors to a spectrum, as that of ``target`` or a cheaper one that agrees with it at the fit.
    allowed : callable
        Whether the prior allows a parameter set (n_parameters,) that lies within its ranges.
    number : int
        Of draws; up to three times as many where these are worth less than :data:`ENOUGH`.
    seed : int
    """
    n = len(target.prior)
    low, width = target.prior[:, 0], target.units[:n]
    centre, whole = (end.values - low) / width, covariances[1][:n, :n]
    follow = _Follow.of(target, end, about)
    statistical = follow.statistical(covariances[0][:n, :n])
    whole = larger(statistical, whole)
    power, turn = adjustment(statistical, whole)

    def height(place: NDArray[np.float64]) -> float:
        if not allowed(low + width * place):
            return -np.inf
        move = turn @ (place - centre)
        sizes = follow.sizes(move)
        try:
            signal = simulate(end.values + width * move, sizes)
        except InstabilityError:
            return -np.inf
        return power * follow.highest(signal, sizes, GAIN / power)

    drawn = _Mixture(n, np.random.default_rng([seed, 41]))
    heights, scaled, found = np.empty(0), np.empty((0, n)), None
    for stage in range(MOST_STAGES):
        new = drawn.draw(centre, whole, number * (stage + 1) // STAGES - number * stage // STAGES)
        scaled, heights = np.concatenate([scaled, new]), np.concatenate([heights, target.crew.map(height, new)])
        if np.isfinite(heights).any():
            log_weight = heights - drawn.log_density(scaled)
            drawn.aim = _fitted(scaled, log_weight, whole)
            weights = np.exp(log_weight - log_weight.max())
            found = Sample(low + width * scaled, weights / weights.sum())
        if stage + 1 >= STAGES and (found is None or found.effective >= ENOUGH):
            break
    return found


def adjustment(statistical: NDArray[np.float64], whole: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """What makes a normal likelihood of one covariance (n, n) one of another: a power, and a map of the parameters.

    The power alone gives it the same volume. The map (n, n), symmetric where both are of one shape and of determinant
    one, does the rest: it is the optimal transport between normal distributions, nearest to leaving all in place.
    """
    sizes = np.sqrt(np.diag(whole))
    one, other = (c / np.outer(sizes, sizes) for c in (statistical, whole))
    power = float(np.exp((np.linalg.slogdet(one)[1] - np.linalg.slogdet(other)[1]) / len(sizes)))
    root = _root(other)
    inverse = np.linalg.inv(root)
    turn = inverse @ _root(root @ one @ root / power) @ inverse
    return power, sizes[:, None] * turn / sizes


def larger(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """The least covariance (n, n) that is smaller than neither of two in any direction.

    The scatter of few blocks is by chance below what counting alone allows in some direction, though not along the
    parameters themselves; a likelihood must not be made narrower for that.
    """
    root = np.linalg.cholesky(one)
    inverse = np.linalg.inv(root)
    ratios, axes = np.linalg.eigh(inverse @ other @ inverse.T)
    half = root @ axes * np.sqrt(np.maximum(ratios, 1.0))
    return np.asarray(half @ half.T)


def _root(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Symmetric square root."""
    values, vectors = np.linalg.eigh(0.5 * (matrix + matrix.T))
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def _fitted(
    scaled: NDArray[np.float64], log_weight: NDArray[np.float64], whole: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and covariance of weighted draws, flattened until they are worth enough to know them."""
    n, power = scaled.shape[1], 1.0
    while True:
        weights = np.exp(power * (log_weight - log_weight.max()))
        weights /= weights.sum()
        worth = 1 / (weights**2).sum()
        if worth >= min(4 * n, np.isfinite(log_weight).sum() / 2) or power < 0.05:
            break
        power *= 0.8
    mean = weights @ scaled
    covariance = (weights[:, None] * (scaled - mean)).T @ (scaled - mean)
    # as much of the errors of the fit as the draws are short of knowing better
    share = n / (n + worth)
    return mean, (1 - share) * covariance + share * whole


class _Mixture:
    """What draws are of: Student's distribution, with one centre and shape after the other."""

    def __init__(self, n: int, rng: np.random.Generator) -> None:
        self.n, self.rng = n, rng
        self.parts: list[tuple[int, Any, float]] = []
        self.aim: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None

    def draw(self, centre: NDArray[np.float64], shape: NDArray[np.float64], number: int) -> NDArray[np.float64]:
        """Places in the unit cube (at most number, n), about a centre unless there is a better aim."""
        student = scipy.stats.multivariate_t(*(self.aim or (centre, shape)), FREEDOM, seed=self.rng)
        drawn = student.rvs(40 * number).reshape(-1, self.n)
        inside = ((drawn > 0) & (drawn < 1)).all(1)
        found = drawn[inside][:number]
        if len(found):
            self.parts.append((len(found), student, float(np.log(inside.mean()))))
        return found

    def log_density(self, scaled: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of all that has been drawn of, by its share, (n,)."""
        rows = [np.log(count) + np.atleast_1d(student.logpdf(scaled)) - inside for count, student, inside in self.parts]
        return np.asarray(scipy.special.logsumexp(rows, 0)) - np.log(len(scaled))


@dataclass(frozen=True)
class _Follow:
    """Errors of the instrument that follow the parameters within their bounds.

    Attributes
    ----------
    free : (n_errors,)
        Those that are not held at a bound where the fit ended.
    information : (n_unknowns, n_unknowns)
    jacobian : (n_tiles, n_errors, n_pixels)
        Of the fit, by errors.
    """

    target: Target
    end: Point
    free: NDArray[np.bool_]
    information: NDArray[np.float64]
    jacobian: NDArray[np.float64] | None

    @classmethod
    def of(cls, target: Target, end: Point, about: Curvature) -> "_Follow":
        """About the end of a fit."""
        n = len(target.prior)
        force = (about.gradient.sum(0) + about.prior_gradient)[n:]
        low, high = target.bounds[n:].T
        free = np.where(force > 0, end.sizes < high, end.sizes > low)
        changes = [target.likelihood.project(end.profile, end.model, slope) for slope in target.slopes(end)]
        information = about.information.sum(0) + np.diag(about.prior_information)
        return cls(target, end, free, information, np.stack(changes, 1) if changes else None)

    def _along(self) -> NDArray[np.float64]:
        """How free ones go with the parameters where the likelihood is highest, (n_free, n_parameters)."""
        n = len(self.target.prior)
        own = self.information[n:, n:][np.ix_(self.free, self.free)]
        return np.asarray(-np.linalg.solve(own, self.information[n:, :n][self.free]))

    def statistical(self, otherwise: NDArray[np.float64]) -> NDArray[np.float64]:
        """Covariance of the parameters by the curvature of the likelihood with errors that follow, (n, n)."""
        if self.free.all():
            return otherwise
        n = len(self.target.prior)
        curvature = self.information[:n, :n] + self.information[:n, n:][:, self.free] @ self._along()
        return np.asarray(np.linalg.inv(curvature + 12.0 * np.eye(n)))

    def sizes(self, move: NDArray[np.float64]) -> NDArray[np.float64]:
        """Errors along the valley, ``move`` (n_parameters, of the priors' widths) off the fit, (n_errors,)."""
        sizes = self.end.sizes.copy()
        if len(sizes):
            sizes[self.free] += self._along() @ move
        low, high = self.target.bounds[len(move) :].T
        return np.asarray(np.clip(sizes, low, high))

    def highest(self, signal: NDArray[np.float64], sizes: NDArray[np.float64], gain: float) -> float:
        """Log-likelihood of a simulation with errors (n_errors,), once these have moved on to where it is highest."""
        target, likelihood, response = self.target, self.target.likelihood, self.target.response
        here = target.seen(self.end.values, sizes, signal)
        if response is None or self.jacobian is None:
            return here.total
        n, simulated = len(target.prior), response.change(sizes)
        low, high = target.bounds[n:].T
        for _ in range(FOLLOWED):
            profile = here.profile
            pull = (likelihood.share / profile.mean_square)[:, None] * profile.weight * profile.residual
            force = np.einsum("tep,tp->e", self.jacobian, pull, optimize=True)
            force += target.prior_of(here.sizes)[1]
            free = np.where(force > 0, here.sizes < high, here.sizes > low)
            step = np.zeros(len(sizes))
            step[free] = np.linalg.solve(self.information[n:, n:][np.ix_(free, free)], force[free])
            if 0.5 * force @ step < gain:
                break
            moved = np.clip(here.sizes + step, low, high)
            there = target.seen(self.end.values, moved, signal + response.change(moved) - simulated)
            if there.total < here.total + gain:
                break
            here = there
        return here.total
