"""What draws of a posterior are of: Student's distribution of all unknowns, inside their bounds.

Unknowns are mapped to the whole real line (the logit of where they are between their bounds), so that no draw lies
outside, and a posterior that piles up at a bound has a peak like any other. A draw of the parameters comes with several
of the other unknowns, given the parameters: one simulation then serves them all.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy
from numpy.typing import NDArray

FREEDOM = 5
"""Degrees of freedom of Student's distribution: tails heavier than any posterior about a fit has."""
WITHIN = 0.7
"""By how many standard deviations a centre is kept inside the bounds."""


@dataclass(frozen=True)
class Box:
    """Bounds (n_unknowns,) and the way to the whole line."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def inside(self, line: NDArray[np.float64]) -> NDArray[np.float64]:
        """Unknowns from places on the line, (..., n_unknowns)."""
        return np.asarray(self.low + (self.high - self.low) * scipy.special.expit(line))

    def log_stretch(self, line: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log of the volume of unknowns by that of the line, up to a constant, (...,)."""
        return np.asarray((scipy.special.log_expit(line) + scipy.special.log_expit(-line)).sum(-1))

    def part(self, centre: NDArray[np.float64], covariance: NDArray[np.float64], n: int) -> "Part":
        """What to draw of about unknowns (n_unknowns,) with a covariance; the first ``n`` are parameters."""
        width = self.high - self.low
        near = np.minimum(WITHIN * np.sqrt(np.diag(covariance)), width / 2)
        share = (np.clip(centre, self.low + near, self.high - near) - self.low) / width
        stretch = 1 / (share * (1 - share) * width)
        return Part(np.asarray(scipy.special.logit(share)), stretch[:, None] * covariance * stretch, n)


@dataclass(frozen=True)
class Part:
    """Student's distribution of parameters, and of other unknowns given these, on the line.

    Attributes
    ----------
    mean : (n_unknowns,)
    covariance : (n_unknowns, n_unknowns)
    n : int
        Of the unknowns, how many are parameters: the first ones.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    n: int

    @property
    def freedom(self) -> int:
        """Degrees of freedom of the others, given the parameters."""
        return FREEDOM + self.n

    @cached_property
    def along(self) -> NDArray[np.float64]:
        """How other unknowns go with the parameters, (n_others, n_parameters)."""
        n = self.n
        return np.asarray(np.linalg.solve(self.covariance[:n, :n], self.covariance[:n, n:]).T, float)

    @cached_property
    def roots(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Cholesky roots of the parameters' covariance, and of the others' given them."""
        n, c = self.n, self.covariance
        own, other = c[:n, :n], c[n:, n:] - self.along @ c[:n, n:]
        return np.asarray(np.linalg.cholesky(own), float), np.asarray(np.linalg.cholesky(other), float)

    def draw(
        self, number: int, inner: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Draws of the parameters with the others where they are likeliest, and with drawn ones.

        The second are in pairs on either side of the first.

        Returns
        -------
        likeliest : (number, n_unknowns)
        drawn : (number, inner, n_unknowns)
        """
        own, other = self.roots
        parameters = self.mean[: self.n] + _student(rng, (number, self.n), FREEDOM) @ own.T
        others = self.mean[self.n :] + (parameters - self.mean[: self.n]) @ self.along.T
        likeliest = np.concatenate([parameters, others], 1)
        half = _student(rng, (number, (inner + 1) // 2, len(other)), self.freedom) @ other.T
        off = np.concatenate([half, -half], 1)[:, :inner]
        drawn = np.repeat(likeliest[:, None], inner, 1)
        drawn[..., self.n :] += off
        return likeliest, drawn

    def log_density(self, line: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of places on the line, (..., n_unknowns), up to a constant that all share."""
        own, other = self.roots
        off = line - self.mean
        rest = off[..., self.n :] - off[..., : self.n] @ self.along.T
        return _log_student(off[..., : self.n], own, FREEDOM) + _log_student(rest, other, self.freedom)


def fitted(begun: Part, line: NDArray[np.float64], weights: NDArray[np.float64]) -> Part:
    """Of the mean and the covariance of weighted draws (n, inner, n_unknowns), whose weights sum up to 1.

    As much of the covariance that was ``begun`` with is kept as the draws are short of knowing better.
    """
    mean = np.einsum("im,imu->u", weights, line)
    off = line - mean
    covariance = np.einsum("im,imu,imv->uv", weights, off, off, optimize=True)
    worth = 1 / (weights.sum(1) ** 2).sum()
    kept = begun.n / (begun.n + worth)
    return replace(begun, mean=mean, covariance=(1 - kept) * covariance + kept * begun.covariance)


def _student(rng: np.random.Generator, shape: tuple[int, ...], freedom: int) -> NDArray[np.float64]:
    """Draws of Student's distribution of unit shape; the last axis is its dimension."""
    scale = np.sqrt(freedom / rng.chisquare(freedom, shape[:-1]))
    return np.asarray(rng.standard_normal(shape) * scale[..., None])


def _log_student(off: NDArray[np.float64], root: NDArray[np.float64], freedom: int) -> NDArray[np.float64]:
    """Log-density of Student's distribution at (..., d) off its centre, up to a constant."""
    d = len(root)
    if not d:
        return np.zeros(off.shape[:-1])
    square = (np.linalg.solve(root, off.reshape(-1, d).T) ** 2).sum(0).reshape(off.shape[:-1])
    return np.asarray(-0.5 * (freedom + d) * np.log1p(square / freedom) - np.log(np.diag(root)).sum())
