"""Least squares with the simulator itself: Levenberg and Marquardt's steps on differences, within the prior.

A step needs one simulation for each parameter and one or more to try it. Parameter sets whose magnetic structure is no
energy minimum count as infinitely unlikely.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import InstabilityError
from .likelihood import Profile, TileLikelihood

Simulate = Callable[[NDArray[np.float64]], NDArray[np.float64]]

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
    model : (n_tiles, n_pixels)
    profile : Profile
    """

    values: NDArray[np.float64]
    model: NDArray[np.float64]
    profile: Profile


@dataclass(frozen=True)
class Curvature:
    """Gradient and curvature of the log-likelihood at a point, by block.

    Attributes
    ----------
    gradient : (n_blocks, n_parameters)
        In units of the prior's width.
    information : (n_blocks, n_parameters, n_parameters)
    """

    gradient: NDArray[np.float64]
    information: NDArray[np.float64]


def look(likelihood: TileLikelihood, simulate: Simulate, values: NDArray[np.float64]) -> Point | None:
    """The spectrum at a parameter set; None where the magnetic structure is not stable."""
    try:
        model = likelihood.simulated(simulate(values))
    except InstabilityError:
        return None
    return Point(values, model, likelihood.profile(model))


def curvature(likelihood: TileLikelihood, simulate: Simulate, point: Point, prior: NDArray[np.float64]) -> Curvature:
    """Differences about a point, one simulation for each parameter; a parameter without a stable neighbour has none."""
    low, high = prior.T
    changes = []
    for number in range(len(low)):
        change = np.zeros_like(point.model)
        for step in (DIFFERENCE, -DIFFERENCE):
            moved = point.values.copy()
            moved[number] += step * (high - low)[number]
            if not low[number] <= moved[number] <= high[number]:
                continue
            there = look(likelihood, simulate, moved)
            if there is not None:
                change = (there.model - point.model) / step
                break
        changes.append(likelihood.project(point.profile, point.model, change))
    jacobian = np.stack(changes, -1)  # (tiles, pixels, parameters)
    # independent pixels over valid ones: 1 unless smoothed
    share = likelihood.pixels / likelihood.valid.sum((1, 2))
    weight = point.profile.weight / point.profile.mean_square[:, None] * share[:, None]
    gradient = likelihood.by_block((weight * point.profile.residual)[..., None] * jacobian)
    weighted = weight[..., None] * jacobian
    columns = [likelihood.by_block(weighted * jacobian[..., a, None]) for a in range(jacobian.shape[-1])]
    return Curvature(gradient, np.stack(columns, -2))


def descend(
    likelihood: TileLikelihood, simulate: Simulate, start: Point, prior: NDArray[np.float64], steps: int
) -> tuple[Point, Curvature]:
    """Go uphill in likelihood from a point by at most so many steps; the curvature is that of the last but one."""
    low, high = prior.T
    width, damping, here = high - low, 1e-2, start
    about = curvature(likelihood, simulate, here, prior)
    for step in range(steps):
        if step:
            about = curvature(likelihood, simulate, here, prior)
        gradient, information = about.gradient.sum(0), about.information.sum(0)
        better = None
        for _ in range(TRIES):
            damped = information + damping * np.diag(np.maximum(np.diag(information), 1e-9))
            move = np.linalg.lstsq(damped, gradient, rcond=None)[0]
            values = np.clip(here.values + move * width, low, high)
            there = look(likelihood, simulate, values)
            if there is not None and there.profile.total > here.profile.total:
                better = there
                damping = max(damping / 5, 1e-6)
                break
            damping *= 6
        if better is None:
            break
        gain, here = better.profile.total - here.profile.total, better
        if gain < GAIN:
            break
    return here, about
