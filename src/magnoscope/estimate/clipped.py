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
from .likelihood import HUBER, Profile, Pull, TileLikelihood

PASSES = 20
"""Steps of Newton's for scale, background and noise, at most."""
SETTLED = 3e-3
"""Once noise changes by a smaller share there are no more passes."""
LEAST_SCHUR = 0.2
"""Of the bend by the noise alone, what at least is taken to be left of it when scale and background follow."""
MOST = 3.0
"""By what factor the noise's mean square may change in one pass."""
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

    @cached_property
    def _clipped(self) -> tuple[NDArray[np.int64], ...]:
        """The same as indices of tiles and pixels."""
        return np.nonzero(self.clipped)

    def profile(self, model: NDArray[np.float64]) -> Profile:
        """Fit scale, background and noise of each tile to a simulation from :meth:`simulated`.

        ``residual`` of a clipped pixel is what its log-likelihood's slope is that of: the mean of what lies below zero,
        less the fit.
        """
        valid, clipped = self.valid.reshape(self.measured.shape), self.clipped
        start = super().profile(model)
        scale, level, fit = start.scale, start.mean_square, self.measured - start.residual
        pull = self.pull(model, self.measured, start.weight, level, start.pull)
        for _ in range(PASSES):
            seen, before = self._seen(fit, level), level
            scale, fit, level = self._step(model, scale, fit, level, seen, pull)
            wanted = fit + seen.residual * seen.weight / seen.bend_or_one
            pull = self.pull(model, wanted, seen.bend, level, pull)
            if np.all(np.abs(level - before) < SETTLED * level):
                break
        seen = self._seen(fit, level)
        square = level[:, None]
        noise = np.log(np.maximum(square * (1.0 if self.uneven is None else self.uneven), 1e-300))
        pixel = -0.5 * valid * (noise + seen.weight * seen.residual**2 / square)
        pixel[clipped] = seen.kept[clipped] * seen.log_chance
        return Profile(
            scale=scale,
            background=(valid * (fit - scale[:, None] * model)).sum(1) / valid.sum(1),
            weight=seen.weight,
            residual=seen.residual,
            mean_square=level,
            # as a tile of which nothing is clipped has it
            log_likelihood=pixel.sum(1) + 0.5 * valid.sum(1) - self.penalty(scale, pull, level),
            pull=pull,
            bend=seen.bend,
            pixel=pixel,
        )

    def _step(
        self,
        model: NDArray[np.float64],
        scale: NDArray[np.float64],
        fit: NDArray[np.float64],
        level: NDArray[np.float64],
        seen: "_Seen",
        pull: Pull,
    ) -> tuple[NDArray[np.float64], ...]:
        """A step of Newton's for scale, background and the log of the noise's mean square of each tile together."""
        valid = self.valid.reshape(self.measured.shape).sum(1)
        total = np.maximum(seen.bend.sum(1), 1e-300)
        mean = (seen.bend * model).sum(1) / total
        dm, force = model - mean[:, None], seen.weight * seen.residual
        # where a simulation has nothing and nothing pulls, the scale stays
        bends = np.stack([np.maximum((seen.bend * dm * dm).sum(1) + pull.strength, 1e-300), total], 1)
        forces = np.stack([(force * dm).sum(1) + pull.strength * (pull.centre - scale), force.sum(1)], 1)
        cross = np.stack([(seen.cross * dm).sum(1), seen.cross.sum(1)], 1)
        lift = 0.5 * valid * self.floor / level
        own = np.maximum(seen.noise_bend + lift, 1e-300)
        schur = np.maximum(own - (cross**2 / bends).sum(1) / level, LEAST_SCHUR * own)
        step = (seen.noise_force + lift - (cross * forces / bends).sum(1) / level) / schur
        step = np.clip(step, -np.log(MOST), np.log(MOST))
        moves = (forces - cross * step[:, None]) / bends
        # the scale is not negative
        moves[:, 0] = np.maximum(moves[:, 0], -scale)
        return scale + moves[:, 0], fit + moves[:, :1] * dm + moves[:, 1:], level * np.exp(step)

    def _seen(self, fit: NDArray[np.float64], level: NDArray[np.float64]) -> "_Seen":
        """What pixels say of a fit (n_tiles, n_pixels), given the mean square of the noise of each tile."""
        valid, at = self.valid.reshape(self.measured.shape), self._clipped
        variance = np.maximum(level, 1e-300)[:, None] * (np.ones_like(valid) if self.uneven is None else self.uneven)
        sigma = np.sqrt(variance)
        own = sigma[at]
        above = -fit[at] / own
        log_chance = log_ndtr(above)
        mills = np.exp(-0.5 * above**2 - 0.5 * np.log(2 * np.pi) - log_chance)
        residual = valid * (self.measured - fit)
        residual[at] = -own * mills
        kept = valid * (HUBER / np.maximum(np.abs(residual) / sigma, HUBER))
        weight = kept * self.certain
        slope = mills * (above + mills)
        bend, cross = weight.copy(), weight * residual
        bend[at] *= np.clip(slope, LEAST, 1.0)
        cross[at] = weight[at] * 0.5 * own * (slope * above - mills)
        # by pixel, what is wanted of the noise and how much that bends
        force = 0.5 * valid * (kept * residual**2 / variance - 1)
        noise_bend = force + 0.5 * valid
        force[at] = -0.5 * kept[at] * above * mills
        noise_bend[at] = kept[at] * np.clip(0.25 * mills * above * ((above + mills) * above - 1), 0.0, 0.5)
        return _Seen(log_chance, residual, kept, weight, bend, cross, force.sum(1), noise_bend.sum(1))

    def excess(self, profile: Profile, model: NDArray[np.float64]) -> NDArray[np.float64]:
        """As its base; of a clipped pixel what is to be expected of it."""
        found, at = super().excess(profile, model), self._clipped
        fit = (profile.scale[:, None] * model + profile.background[:, None])[at]
        found[at] = -profile.weight[at] * fit * profile.residual[at] / profile.mean_square[at[0]]
        return found

    def pixel_log_likelihood(self, profile: Profile) -> NDArray[np.float64]:
        """Log-likelihood of each pixel, the noise of each tile given, (n_tiles, n_pixels)."""
        assert profile.pixel is not None
        return profile.pixel


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
    """What pixels say.

    Attributes
    ----------
    log_chance : (n_clipped,)
        Log of the chance that a clipped pixel was not above zero.
    residual, weight, bend : (n_tiles, n_pixels)
        As in :class:`Profile`.
    kept : (n_tiles, n_pixels)
        Weight without the noise of each pixel: below 1 where the residual is an outlier.
    cross : (n_tiles, n_pixels)
        How the log-likelihood bends by fit and log of the noise's mean square together, times that mean square.
    noise_force, noise_bend : (n_tiles,)
        Slope and bend of the log-likelihood by the log of the noise's mean square.
    """

    log_chance: NDArray[np.float64]
    residual: NDArray[np.float64]
    kept: NDArray[np.float64]
    weight: NDArray[np.float64]
    bend: NDArray[np.float64]
    cross: NDArray[np.float64]
    noise_force: NDArray[np.float64]
    noise_bend: NDArray[np.float64]

    @property
    def bend_or_one(self) -> NDArray[np.float64]:
        """The bend where there is one, to divide by."""
        return np.where(self.bend > 0, self.bend, 1.0)
