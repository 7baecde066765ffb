"""What draws of a posterior are of: a mixture of Student's distributions of all unknowns, inside their bounds.

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
LEAST_SHARE = 0.1
"""Of the draws, that a part of the mixture keeps."""


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
        """A part of the mixture about unknowns (n_unknowns,) with a covariance; the first ``n`` are parameters."""
        width = self.high - self.low
        near = np.minimum(WITHIN * np.sqrt(np.diag(covariance)), width / 2)
        share = (np.clip(centre, self.low + near, self.high - near) - self.low) / width
        stretch = 1 / (share * (1 - share) * width)
        return Part(np.asarray(scipy.special.logit(share)), stretch[:, None] * covariance * stretch, n)


@dataclass(frozen=True)
class Part:
    """One Student's distribution of parameters, and of other unknowns given these, on the line.

    Attributes
    ----------
    mean : (n_unknowns,)
    covariance : (n_unknowns, n_unknowns)
    n : int
        Of the unknowns, how many are parameters: the first ones.
    share : float
        Of the mixture.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    n: int
    share: float = 1.0

    @property
    def freedom(self) -> int:
        """Degrees of freedom of the others, given the parameters."""
        return FREEDOM + self.n

    @cached_property
    def along(self) -> NDArray[np.float64]:
        """How other unknowns go with the parameters, (n_others, n_parameters)."""
        n = self.n
        return np.linalg.solve(self.covariance[:n, :n], self.covariance[:n, n:]).T

    @cached_property
    def roots(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Cholesky roots of the parameters' covariance, and of the others' given them."""
        n, c = self.n, self.covariance
        return np.linalg.cholesky(c[:n, :n]), np.linalg.cholesky(c[n:, n:] - self.along @ c[:n, n:])

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
        likeliest = np.concatenate([parameters, self.mean[self.n :] + (parameters - self.mean[: self.n]) @ self.along.T], 1)
        half = _student(rng, (number, (inner + 1) // 2, len(other)), self.freedom) @ other.T
        off = np.concatenate([half, -half], 1)[:, :inner]
        drawn = np.repeat(likeliest[:, None], inner, 1)
        drawn[..., self.n :] += off
        return likeliest, drawn

    def log_density(self, line: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of places on the line, (..., n_unknowns), up to a constant that all parts share."""
        own, other = self.roots
        off = line - self.mean
        rest = off[..., self.n :] - off[..., : self.n] @ self.along.T
        return _log_student(off[..., : self.n], own, FREEDOM) + _log_student(rest, other, self.freedom)


def fitted(
    parts: list[Part], line: NDArray[np.float64], weights: NDArray[np.float64], first: list[Part]
) -> list[Part]:
    """A mixture fitted to weighted draws (n, inner, n_unknowns), of weights that sum up to 1.

    One step of the expectation and maximisation of O. Cappé et al., Statistics and Computing 18, 447 (2008). As much of
    what the parts were ``first`` is kept as the draws are short of knowing better.
    """
    found = []
    log_shares = [np.log(part.share) + part.log_density(line) for part in parts]
    total = scipy.special.logsumexp(log_shares, 0)
    for part, begun, log_share in zip(parts, first, log_shares, strict=True):
        own = weights * np.exp(log_share - total)
        share = own.sum()
        own = own / max(share, 1e-300)
        worth = 1 / max(float((own.sum(1) ** 2).sum()), 1e-300)
        kept = part.n / (part.n + worth) if share > 0 else 1.0
        mean = (1 - kept) * np.einsum("im,imu->u", own, line) + kept * begun.mean
        off = line - mean
        covariance = np.einsum("im,imu,imv->uv", own, off, off, optimize=True)
        found.append(
            replace(part, mean=mean, covariance=(1 - kept) * covariance + kept * begun.covariance,
                    share=max(float(share), LEAST_SHARE))
        )  # fmt: skip
    whole = sum(part.share for part in found)
    return [replace(part, share=part.share / whole) for part in found]


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
