"""Least squares with the simulator itself: Levenberg and Marquardt's steps on differences, within the prior.

A step needs one simulation for each parameter and one or more to try it; errors of the instrument need none for their
steps, once the spectrum's response to them is known, and are tried with the others. Parameter sets whose magnetic
structure is no energy minimum count as infinitely unlikely.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..errors import InstabilityError
from .crew import ALONE, Crew
from .likelihood import Profile, TileLikelihood
from .responses import Response

Simulate = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]
"""From parameters (n_parameters,) meV and errors of the instrument (n_errors,) to a spectrum."""

DIFFERENCE = 0.004
"""Step of the differences, as a share of the prior's width."""
GAIN = 0.5
"""A gain in log-likelihood below which a descent is over."""
TRIES = 5
"""Shorter and shorter steps tried before a descent gives up."""


@dataclass(frozen=True)
class Point:
    """A parameter set, and how the spectrum looks from there.

    Attributes
    ----------
    values : (n_parameters,) meV
    sizes : (n_errors,)
        Of the errors of the instrument, in units of their priors' standard deviations; none unless they are fitted.
    signal : (runs, slices, x, y)
        As simulated, with these errors.
    model : (n_tiles, n_pixels)
        As it is compared.
    profile : Profile
    prior : float
        Log-density of these errors, up to a constant.
    """

    values: NDArray[np.float64]
    sizes: NDArray[np.float64]
    signal: NDArray[np.float64]
    model: NDArray[np.float64]
    profile: Profile
    prior: float = 0.0

    @property
    def total(self) -> float:
        """Log-likelihood of all tiles, and the log-density of the errors."""
        return self.profile.total + self.prior

    @property
    def unknowns(self) -> NDArray[np.float64]:
        """Parameters and errors, (n_parameters + n_errors,)."""
        return np.concatenate([self.values, self.sizes])


@dataclass(frozen=True)
class Curvature:
    """Gradient and curvature of the log-likelihood at a point, by block.

    Attributes
    ----------
    gradient : (n_blocks, n_unknowns)
        Parameters in units of their priors' widths, then errors of the instrument in those of their priors' standard
        deviations.
    information : (n_blocks, n_unknowns, n_unknowns)
    prior_gradient, prior_information : (n_unknowns,)
        Of the errors' priors; zero for parameters.
    """

    gradient: NDArray[np.float64]
    information: NDArray[np.float64]
    prior_gradient: NDArray[np.float64]
    prior_information: NDArray[np.float64]


@dataclass(frozen=True)
class Target:
    """What a descent climbs: the likelihood of a spectrum under one model.

    Attributes
    ----------
    likelihood : TileLikelihood
    simulate : callable
        From parameters and errors of the instrument to a spectrum (runs, slices, x, y).
    prior : (n_parameters, 2) meV
    response : Response or None
        To errors of the instrument, where these are fitted too.
    crew : Crew
        What simulates neighbours side by side.
    """

    likelihood: TileLikelihood
    simulate: Simulate
    prior: NDArray[np.float64]
    response: Response | None = None
    crew: Crew = ALONE

    @cached_property
    def bounds(self) -> NDArray[np.float64]:
        """Where each unknown may be, (n_unknowns, 2)."""
        return self.prior if self.response is None else np.concatenate([self.prior, self.response.bounds])

    @cached_property
    def units(self) -> NDArray[np.float64]:
        """Widths of the priors, and 1 for errors of the instrument, (n_unknowns,)."""
        return np.concatenate([self.prior[:, 1] - self.prior[:, 0], np.ones(len(self.bounds) - len(self.prior))])

    def look(self, unknowns: NDArray[np.float64]) -> Point | None:
        """The spectrum from a parameter set, and errors or none; None where the magnetic structure is not stable."""
        values, given = unknowns[: len(self.prior)], unknowns[len(self.prior) :]
        sizes = given if len(given) or self.response is None else self.response.usual
        try:
            return self.seen(values, sizes, self.simulate(values, sizes))
        except InstabilityError:
            return None

    def seen(self, values: NDArray[np.float64], sizes: NDArray[np.float64], signal: NDArray[np.float64]) -> Point:
        """The spectrum from a parameter set that is simulated already."""
        model = self.likelihood.simulated(signal)
        return Point(values, sizes, signal, model, self.likelihood.profile(model), self.prior_of(sizes)[0])

    def prior_of(self, sizes: NDArray[np.float64]) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        """Log-density of errors of the instrument, its slope, and how much that bends."""
        if self.response is None:
            return 0.0, np.zeros(len(sizes)), np.ones(len(sizes))
        return self.response.prior(sizes)

    def _change(self, point: Point, number: int) -> NDArray[np.float64]:
        """Derivative of the model by one parameter in units of its prior's width; none without a stable neighbour."""
        low, high = self.prior[number]
        for step in (DIFFERENCE, -DIFFERENCE):
            moved = point.values.copy()
            moved[number] += step * (high - low)
            if not low <= moved[number] <= high:
                continue
            try:
                there = self.likelihood.simulated(self.simulate(moved, point.sizes))
            except InstabilityError:
                continue
            return (there - point.model) / step
        return np.zeros_like(point.model)

    def slopes(self, point: Point) -> list[NDArray[np.float64]]:
        """Derivatives of the model by errors of the instrument."""
        if self.response is None:
            return []
        found = (self.response.slope(number, point.sizes) for number in range(len(point.sizes)))
        return [self.likelihood.simulated(slope) for slope in found]

    def curvature(self, point: Point) -> Curvature:
        """Differences about a point, one simulation for each parameter."""
        likelihood, profile = self.likelihood, point.profile
        changes = self.crew.map(lambda number: self._change(point, number), range(len(self.prior)))
        changes += self.slopes(point)
        gradient, jacobian = likelihood.gradient(profile, point.model, changes)
        level = (likelihood.share / profile.mean_square)[:, None]
        information = likelihood.products_by_block(jacobian, (level * profile.information)[:, None] * jacobian)
        own = np.zeros(len(self.prior))
        _, slope, bend = self.prior_of(point.sizes)
        return Curvature(gradient, information, np.concatenate([own, slope]), np.concatenate([own, bend]))

    def descend(self, start: Point, steps: int, known: Curvature | None = None) -> Point:
        """Go uphill in likelihood from a point, of which the curvature may be known, by at most so many steps."""
        low, high = self.bounds.T
        damping, here, about = 1e-2, start, known
        for _ in range(steps):
            about = about or self.curvature(here)
            gradient = about.gradient.sum(0) + about.prior_gradient
            information = about.information.sum(0) + np.diag(about.prior_information)
            # what lies at a bound and would go beyond it stays
            free = np.where(gradient > 0, here.unknowns < high, here.unknowns > low)
            inner = np.ix_(free, free)
            better, move = None, np.zeros(len(gradient))
            for _ in range(TRIES):
                damped = information + damping * np.diag(np.maximum(np.diag(information), 1e-9))
                move[free] = np.linalg.lstsq(damped[inner], gradient[free], rcond=None)[0]
                there = self.look(np.clip(here.unknowns + move * self.units, low, high))
                if there is not None and there.total > here.total:
                    better = there
                    damping = max(damping / 5, 1e-6)
                    break
                damping *= 6
            if better is None:
                break
            gain, here, about = better.total - here.total, better, None
            if gain < GAIN:
                break
        return here
