"""The likelihood of a spectrum whose negative values were set to zero.

Such a zero says no more than that signal and noise together were not above it. Its likelihood is the chance of that
(J. Tobin, Econometrica 26, 24 (1958)), not that of noise about zero: taken for measurements, zeros make weak signal
weaker and a spectrum sharper than it was.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from ..spectrum import Spectrum
from .likelihood import HUBER, Profile, TileLikelihood, lay

PASSES = 12
"""Of Fisher's scoring for scale and background, and of the noise's mean square given them."""
LEAST = 1e-3
"""Least information of a clipped pixel, as a share of one that is seen."""
MANY = 0.05
"""Share of exact zeros beside no negative value that make it likely that a spectrum was clipped."""


def seems_clipped(spectrum: Spectrum) -> bool:
    """Whether nothing is negative, much is exactly zero, and what is not is no multiple of one count."""
    signal = spectrum.signal[spectrum.valid]
    positive = signal[signal > 0]
    if not positive.size or signal.min() < 0 or np.mean(signal == 0) < MANY:
        return False
    return bool(len(np.unique(positive)) > positive.size / 2)


@dataclass(frozen=True)
class ClippedLikelihood(TileLikelihood):
    """As its base, for a spectrum that was clipped at zero; unsmoothed."""

    @cached_property
    def clipped(self) -> NDArray[np.bool_]:
        """Where the measurement says only that it is not above zero, (n_tiles, n_pixels)."""
        return (self.measured == 0) & (self.valid.reshape(self.measured.shape) > 0)

    def profile(self, model: NDArray[np.float64]) -> Profile:
        """Fit scale, background and noise of each tile to a simulation from :meth:`simulated`.

        ``residual`` of a clipped pixel is what its log-likelihood's slope is that of: the mean of what lies below zero,
        less the fit.
        """
        valid, clipped = self.valid.reshape(self.measured.shape), self.clipped
        start = super().profile(model)
        scale, background = start.scale, start.background
        fit, level = self.measured - start.residual, start.mean_square
        for _ in range(PASSES):
            seen = self._seen(fit, level)
            step = seen.residual * seen.weight / np.maximum(seen.bend, 1e-300)
            scale, background, _ = lay(model, fit + step, seen.bend)
            square = np.where(clipped, level[:, None] * np.maximum(1 - seen.above * seen.mills, 0), seen.residual**2)
            level = (seen.weight * square).sum(1) / valid.sum(1) + self.floor
            fit = scale[:, None] * model + background[:, None]
        seen = self._seen(fit, level)
        square = level[:, None]
        plain = -0.5 * (np.log(np.maximum(square, 1e-300)) + seen.weight * seen.residual**2 / square)
        pixel = valid * np.where(clipped, seen.weight * log_ndtr(seen.above), plain)
        return Profile(
            scale=scale,
            background=background,
            weight=seen.weight,
            residual=seen.residual,
            mean_square=level,
            # as a tile of which nothing is clipped has it
            log_likelihood=pixel.sum(1) + 0.5 * valid.sum(1),
            bend=seen.bend,
            pixel=pixel,
        )

    def _seen(self, fit: NDArray[np.float64], level: NDArray[np.float64]) -> "_Seen":
        """What pixels say of a fit (n_tiles, n_pixels), given the mean square of the noise of each tile."""
        valid, sigma = self.valid.reshape(self.measured.shape), np.sqrt(np.maximum(level, 1e-300))[:, None]
        above = -fit / sigma
        mills = np.exp(-0.5 * above**2 - 0.5 * np.log(2 * np.pi) - log_ndtr(above))
        residual = valid * np.where(self.clipped, -sigma * mills, self.measured - fit)
        size = np.abs(residual) / sigma
        weight = valid * np.where(size > HUBER, HUBER / np.maximum(size, 1e-300), 1.0)
        bend = weight * np.where(self.clipped, np.clip(mills * (above + mills), LEAST, 1.0), 1.0)
        return _Seen(above, mills, residual, weight, bend)

    def block_log_likelihood(self, profile: Profile) -> NDArray[np.float64]:
        """Log-likelihood of each block, the noise of each tile given, (n_blocks,)."""
        assert profile.pixel is not None
        return self.by_block(profile.pixel)


def likelihood_of(spectrum: Spectrum, clipped: bool | None = None) -> TileLikelihood:
    """Take up a measurement, unsmoothed; whether it was clipped is found from its values unless said.

    Raises
    ------
    SpectrumError
        If no tile has enough valid pixels that differ from each other.
    """
    clipped = seems_clipped(spectrum) if clipped is None else clipped
    return (ClippedLikelihood if clipped else TileLikelihood).of(spectrum)


@dataclass(frozen=True)
class _Seen:
    """By pixel, (n_tiles, n_pixels).

    Attributes
    ----------
    above : how far zero lies above the fit, in standard deviations of the noise
    mills : density over distribution function of a unit normal there
    residual, weight, bend : as in :class:`Profile`
    """

    above: NDArray[np.float64]
    mills: NDArray[np.float64]
    residual: NDArray[np.float64]
    weight: NDArray[np.float64]
    bend: NDArray[np.float64]
