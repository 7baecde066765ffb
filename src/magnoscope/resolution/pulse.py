"""A skewed pulse as a few Gaussians.

The emission time of the moderator enters Q and energy transfer linearly. As a mixture of Gaussians its true shape is
therefore carried through the convolution exactly: each component is a spot of its own, displaced along the direction
in which a late neutron is mistaken, and narrower along it. Nothing is drawn at random.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from .deviations import Setting

QUANTILES = 1000
STEPS = 1500


@dataclass(frozen=True)
class Mixture:
    """Gaussians that make up a distribution of mean 0 and variance 1."""

    weights: tuple[float, ...]
    means: tuple[float, ...]
    sigmas: tuple[float, ...]

    def moment(self, order: int) -> float:
        """Third or fourth moment."""
        w, m, v = np.array(self.weights), np.array(self.means), np.array(self.sigmas) ** 2
        parts = {3: m**3 + 3 * m * v, 4: m**4 + 6 * m**2 * v + 3 * v**2}
        return float(w @ parts[order])

    def quantile(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where the cumulative probability is ``u``."""
        grid = np.linspace(-9, 15, 6001)
        below = sum(
            w * special.ndtr((grid - m) / s) for w, m, s in zip(self.weights, self.means, self.sigmas, strict=True)
        )
        return np.interp(u, below, grid)


SMALLEST = 1e-4
"""Least variance of a component, in units of the pulse's."""
NORMAL = Mixture((1.0,), (0.0,), (1.0,))


def pulse_mixture(setting: Setting, components: int) -> Mixture:
    """The moderator pulse of a setting, in units of its standard deviation."""
    energy = setting.moderator_energy or setting.ei
    moderator = setting.spectrometer.moderator
    u = np.asarray((np.arange(QUANTILES) + 0.5) / QUANTILES, np.float64)
    # a second, scrambled set of probabilities for a storage tail
    other = np.asarray((np.arange(QUANTILES) * 0.6180339887498949) % 1, np.float64)
    time = moderator.deviation(energy, u, other) / np.sqrt(moderator.variance(energy))
    return _fitted(tuple(np.round(np.sort(time), 6)), components)


@lru_cache(maxsize=64)
def _fitted(sample: tuple[float, ...], components: int) -> Mixture:
    """Most likely mixture for an even sample (expectation and maximisation), brought to its first three moments."""
    if components == 1:
        return NORMAL
    t = np.array(sample)
    t = (t - t.mean()) / t.std()
    parts = np.array_split(t, components)
    w, m = np.full(components, 1 / components), np.array([p.mean() for p in parts])
    v = np.array([p.var() for p in parts]) + 0.01
    for _ in range(STEPS):
        square = (t - m[:, None]) ** 2
        share = (w / np.sqrt(v))[:, None] * np.exp(-0.5 * square / v[:, None])
        share /= share.sum(0)
        total = share.sum(1)
        w, m, v = total / len(t), share @ t / total, (share * square).sum(1) / total
        v = np.maximum(v, SMALLEST)
    m -= w @ m
    v += _to_moments(w, m, v, float((t**3).mean()))
    return Mixture(*(tuple(float(x) for x in a) for a in (w, m, np.sqrt(v))))


def _to_moments(
    w: NDArray[np.float64], m: NDArray[np.float64], v: NDArray[np.float64], third: float
) -> NDArray[np.float64]:
    """Least change of the variances that makes the second moment 1 and the third what it should be.

    Where that would make a variance too small, the second moment alone is met.
    """
    short = np.array([1 - w @ (m**2 + v), (third - w @ (m**3 + 3 * m * v)) / 3])
    for wanted, rows in ((short, np.stack([w, w * m])), (short[:1], w[None])):
        change = np.linalg.lstsq(rows, wanted, rcond=None)[0]
        if (v + change).min() > SMALLEST:
            return change
    return np.zeros_like(v)
