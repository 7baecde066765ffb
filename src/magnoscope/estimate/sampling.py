"""The posterior about a fit by importance sampling, so that it need not be normal and knows the ends of the prior.

The likelihood of pixels is narrower than the errors of a fit, which hold the disagreement of blocks. It is therefore
raised to a power below one, the one that gives it the volume of those errors, and looked up at parameters moved so that
its curvature is theirs in every direction (both adjustments of a misspecified likelihood are of R. E. Chandler and
S. Bate, Biometrika 94, 167 (2007), and M. Ribatet, D. Cooley and A. C. Davison, Statistica Sinica 22, 813 (2012)). Most
of the valley is then seen at its own places, bends and ends included. The priors of the errors of the instrument are
not raised to it.

Errors of the instrument are averaged over, not held where they are likeliest: along a bent valley the place of most
volume is not the highest. Each draw of the parameters is simulated once, with the errors that are likeliest with it,
and several draws of these are compared by the response to them (importance sampling with an estimate of the likelihood,
M.-N. Tran et al., arXiv:1309.3339).
Draws are of Student's distribution about the fit (:mod:`.proposal`), and after each part of them of one fitted to the
draws so far; all are weighted by the mixture of all that has been drawn of (J.-M. Cornuet et al., Scand. J. Stat. 39,
798 (2012)). Their weights say how many independent ones they are worth (the effective sample size); where that is too
few, more are drawn.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import scipy
from numpy.typing import NDArray

from ..errors import InstabilityError
from .descent import Curvature, Point, Simulate, Target
from .likelihood import TileLikelihood
from .proposal import Box, Part, fitted

STAGES = 4
"""Parts of the draws, after each of which their distribution is fitted anew."""
MOST_STAGES = 3 * STAGES
"""The same where draws are not worth enough before."""
INNER = 16
"""Draws of the errors of the instrument with each one of the parameters."""
LEAST_LOG_POWER = -16.0
"""Of the likelihood."""
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
        Of draws; up to three times as many where these are worth too little (:data:`ENOUGH`).
    seed : int
    """
    valley = _Valley.of(target, end, about, covariances[1])
    n, rng = valley.n, np.random.default_rng([seed, 41])
    box, inner = valley.box, INNER if len(end.sizes) else 1

    def heights(both: tuple[NDArray[np.float64], NDArray[np.float64]]) -> NDArray[np.float64]:
        place = box.inside(both[0])
        if not allowed(target.prior[:, 0] + place[:n] * target.units[:n]):
            return np.full(inner, -np.inf)
        try:
            signal = simulate(valley.looked_up(place), place[n:])
        except InstabilityError:
            return np.full(inner, -np.inf)
        return valley.heights(signal, place[n:], box.inside(both[1])[:, n:]) + box.log_stretch(both[1])

    begun = part = valley.part()
    parts: list[tuple[int, Part]] = []
    line, height = np.empty((0, inner, len(part.mean))), np.empty((0, inner))
    found = None
    for stage in range(MOST_STAGES):
        count = number * (stage + 1) // STAGES - number * stage // STAGES
        likeliest, drawn = part.draw(count, inner, rng)
        parts.append((count, part))
        line = np.concatenate([line, drawn])
        height = np.concatenate([height, target.crew.map(heights, zip(likeliest, drawn, strict=True))])
        if np.isfinite(height).any():
            rows = [np.log(many) + each.log_density(line) for many, each in parts if many]
            log_weight = height - scipy.special.logsumexp(rows, 0)
            part = fitted(begun, line, _flattened(log_weight, n))
            weights = np.exp(log_weight - log_weight.max()).sum(1)
            values = target.prior[:, 0] + target.units[:n] * box.inside(line[:, 0])[:, :n]
            found = Sample(values, weights / weights.sum())
        if stage + 1 >= STAGES and (found is None or found.effective >= ENOUGH):
            break
    return found


def adjustment(
    of_power: Callable[[float], NDArray[np.float64]], whole: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """What makes a normal likelihood, of one covariance (n, n), one of another: a power, and a map of the parameters.

    The power alone gives it the same volume; ``of_power`` says what its covariance is with one, which need not be
    inverse to it where other unknowns have priors. The map (n, n), symmetric where both are of one shape and of
    determinant one, does the rest: it is the optimal transport between normal distributions, nearest to leaving all in
    place.
    """
    volume = np.linalg.slogdet(whole)[1]

    def beyond(log_power: float) -> float:
        return float(np.linalg.slogdet(of_power(np.exp(log_power)))[1] - volume)

    if beyond(0.0) >= 0 or beyond(LEAST_LOG_POWER) <= 0:
        log_power = 0.0 if beyond(0.0) >= 0 else LEAST_LOG_POWER
    else:
        log_power = scipy.optimize.brentq(beyond, LEAST_LOG_POWER, 0.0)
    power, sizes = float(np.exp(log_power)), np.sqrt(np.diag(whole))
    one, other = (c / np.outer(sizes, sizes) for c in (of_power(power), whole))
    root = _root(other)
    inverse = np.linalg.inv(root)
    turn = inverse @ _root(root @ one @ root) @ inverse
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


def _flattened(log_weight: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Weights (draws, inner), of sum 1, made more even until the draws are worth enough to fit to."""
    power, possible = 1.0, np.isfinite(log_weight).any(1).sum()
    while True:
        weights = np.exp(power * (log_weight - log_weight.max()))
        weights /= weights.sum()
        if 1 / (weights.sum(1) ** 2).sum() >= min(4 * n, possible / 2) or power < 0.05:
            return np.asarray(weights)
        power *= 0.8


@dataclass(frozen=True)
class _Valley:
    """The adjusted likelihood about a fit.

    Attributes
    ----------
    power : float
        Of the likelihood.
    turn : (n_parameters, n_parameters)
        Which moves of the parameters are looked up at which.
    covariance : (n_unknowns, n_unknowns)
        Of parameters, as they are looked up, and errors of the instrument.
    box : Box
        Of parameters, as shares of their priors, and errors of the instrument.
    """

    target: Target
    end: Point
    power: float
    turn: NDArray[np.float64]
    covariance: NDArray[np.float64]
    box: Box

    @cached_property
    def several(self) -> TileLikelihood:
        """The likelihood, for as many errors as come with a draw of the parameters."""
        return self.target.likelihood.repeated(INNER)

    @classmethod
    def of(cls, target: Target, end: Point, about: Curvature, whole: NDArray[np.float64]) -> "_Valley":
        """About the end of a fit whose errors have a covariance ``whole`` (n_unknowns, n_unknowns)."""
        n, information = len(target.prior), about.information.sum(0)
        force = about.gradient.sum(0) + about.prior_gradient
        low, high = target.bounds[n:].T
        # parameters never are held, errors of the instrument are by a bound where the fit ended
        free = np.concatenate([np.full(n, True), np.where(force[n:] > 0, end.sizes < high, end.sizes > low)])
        prior = np.diag(np.where(about.prior_information > 0, about.prior_information, 12.0))

        def inverse(power: float) -> NDArray[np.float64]:
            return np.linalg.inv((power * information + prior)[np.ix_(free, free)])

        own = inverse(1.0)[:n, :n]
        wanted = larger(own, whole[:n, :n])
        power, turn = adjustment(lambda p: inverse(p)[:n, :n], wanted)
        covariance = np.diag(1 / np.maximum(power * np.abs(force), 1.0) ** 2)
        covariance[np.ix_(free, free)] = inverse(power)
        box = Box(np.concatenate([np.zeros(n), low]), np.concatenate([np.ones(n), high]))
        return cls(target, end, power, turn, covariance, box)

    @property
    def n(self) -> int:
        """Of parameters."""
        return len(self.target.prior)

    @property
    def centre(self) -> NDArray[np.float64]:
        """Where the fit ended, parameters as shares of their priors, (n_unknowns,)."""
        values = (self.end.values - self.target.prior[:, 0]) / self.target.units[: self.n]
        return np.concatenate([values, self.end.sizes])

    def part(self) -> Part:
        """What draws are of at first."""
        back = np.eye(len(self.covariance))
        back[: self.n, : self.n] = np.linalg.inv(self.turn)
        return self.box.part(self.centre, back @ self.covariance @ back.T, self.n)

    def looked_up(self, place: NDArray[np.float64]) -> NDArray[np.float64]:
        """Parameters (n_parameters,) meV, at which the likelihood of a place (n_unknowns,) is looked up."""
        move = self.turn @ (place - self.centre)[: self.n]
        return self.end.values + move * self.target.units[: self.n]

    def heights(
        self, signal: NDArray[np.float64], sizes: NDArray[np.float64], others: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Log-density of errors (inner, n_errors), with a spectrum that was simulated with errors (n_errors,)."""
        likelihood, response = self.target.likelihood, self.target.response
        middle = likelihood.profile(likelihood.simulated(signal))
        if response is None:
            return np.array([self.power * middle.total])
        bare = signal - response.change(sizes)
        models = np.stack([likelihood.simulated(bare + response.change(s)) for s in others])
        return self.power * self.several.totals(models, middle) - 0.5 * (others**2).sum(1)
