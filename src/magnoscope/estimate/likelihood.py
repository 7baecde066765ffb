"""How likely a spectrum is under a simulation, with scale, background and noise of each tile left free.

In each tile the measurement is ``scale * simulation + background`` with a scale that is not negative and noise of an
unknown size, all three profiled. Scales of a run's tiles scatter (a normal prior, :data:`ENVELOPE` wide) about an
envelope of its own, which falls over the run by an amount that is profiled too (:data:`FALL`): absorption, damping and
the rest of what changes intensity from tile to tile are then no matter of the model, nor is a constant background, and
what is left decides by shape. A tile in which a simulation has next to nothing stays next to nothing: with a scale that
is quite free its faintest tail would be made to look like the measurement.

Noise is of one size in a tile to begin with, for a search; then it grows with the signal as that of counts does
(:meth:`TileLikelihood.counting`). Where it is taken to be even, bright pixels are trusted several times too far, and
what they say by chance is taken for parameters.
Residuals beyond a few standard deviations count linearly (Huber), so that a hot pixel does not.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..dataset.noise import Nuisance
from ..errors import SpectrumError
from ..spectrum import Spectrum
from ..trust.match import FEWEST, tile_noise

HUBER = 3.0
"""Residuals beyond so many standard deviations count linearly."""
FLOOR = 0.04
"""Error of a simulation, as a share of a tile's spread: no tile is trusted further (default sampling is good to it)."""
FEWEST_BLOCKS = 24
"""Where there are fewer tiles, each is cut into patches, so that there are so many blocks that may disagree."""
ROUNDS = 4
"""Passes of reweighting in the fit of scale and background."""
USUAL_GROWTH, GROWTH_SPREAD = 1.0, 1.0
"""Growth of a noise's variance with the signal over its run's mean as in :mod:`magnoscope.dataset.noise`, and how far
(standard deviation) it may be off where few pixels say what it is."""
GROWTH_ROUNDS, MOST_GROWTH = 6, 4.0
"""Steps in which it is found, and by what factor it may change in one."""
ENVELOPE = 0.3
"""Standard deviation of the scales of a run's tiles about the run's envelope, as a share of it."""
FALL = (float(np.mean(Nuisance().envelope)), float(np.ptp(Nuisance().envelope) / np.sqrt(12)))
"""Mean and standard deviation of the fall of a run's envelope, exp(-fall * t), t from 0 to 1 over its tiles: those of
what networks are trained on (k_f / k_i, absorption, damping)."""
PULL_ROUNDS = 4
"""Steps in which scale and fall of an envelope are found."""


@dataclass(frozen=True)
class Pull:
    """What the prior of the scales is worth in each tile, in units of a pixel's weight, (n_tiles,) each but the fall.

    Attributes
    ----------
    centre : envelope of the run
    strength : of the pull towards it, beside ``sum(weight * model**2)``
    cost : what the prior of the envelope's fall takes off the log-likelihood
    fall : (runs,) of the envelope
    """

    centre: NDArray[np.float64]
    strength: NDArray[np.float64]
    cost: NDArray[np.float64]
    fall: NDArray[np.float64]


@dataclass(frozen=True)
class Profile:
    """A simulation laid onto a measurement.

    Attributes
    ----------
    scale, background : (n_tiles,)
    weight : (n_tiles, n_pixels)
        Of each pixel: 0 where not valid, below 1 where the residual is an outlier.
    residual : (n_tiles, n_pixels)
        Measurement less fit.
    mean_square : (n_tiles,)
        Robust mean square of the residuals, and the floor.
    log_likelihood : (n_tiles,)
        What the prior of its scale takes off included.
    pull : Pull or None
        Of that prior; none where scales are free.
    bend : (n_tiles, n_pixels) or None
        How much each pixel's log-likelihood bends, where that is not its weight (pixels that were clipped).
    pixel : (n_tiles, n_pixels) or None
        Log-likelihood of each pixel, where it is not that of its residual.
    """

    scale: NDArray[np.float64]
    background: NDArray[np.float64]
    weight: NDArray[np.float64]
    residual: NDArray[np.float64]
    mean_square: NDArray[np.float64]
    log_likelihood: NDArray[np.float64]
    pull: Pull | None = None
    bend: NDArray[np.float64] | None = None
    pixel: NDArray[np.float64] | None = None

    @property
    def information(self) -> NDArray[np.float64]:
        """Of each pixel, in units of one that is seen and no outlier, (n_tiles, n_pixels)."""
        return self.weight if self.bend is None else self.bend

    @property
    def total(self) -> float:
        """Log-likelihood of all tiles."""
        return float(self.log_likelihood.sum())


def lay(
    model: NDArray[np.float64], measured: NDArray[np.float64], weight: NDArray[np.float64], pull: Pull | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Least squares of ``scale * model + background`` in each tile; the scale is not negative.

    Parameters
    ----------
    model, measured, weight : (n_tiles, n_pixels)
    pull : Pull, optional
        Of the scales' prior.

    Returns
    -------
    scale, background : (n_tiles,)
    residual : (n_tiles, n_pixels)
    """
    mean_m, mean_d, dm, dd, along, square = _centred(model, measured, weight)
    if pull is not None:
        along, square = along + pull.strength * pull.centre, square + pull.strength
    scale = np.maximum(along / np.maximum(square, 1e-300), 0.0)
    return scale, mean_d - scale * mean_m, dd - scale[:, None] * dm


def _centred(
    model: NDArray[np.float64], measured: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], ...]:
    """Means, what is left of model and measurement without them, and its products."""
    total = weight.sum(1)
    mean_m, mean_d = ((weight * a).sum(1) / total for a in (model, measured))
    dm, dd = model - mean_m[:, None], measured - mean_d[:, None]
    weighted = weight * dm
    return mean_m, mean_d, dm, dd, (weighted * dd).sum(1), (weighted * dm).sum(1)


@dataclass(frozen=True)
class TileLikelihood:
    """A measurement made ready to be compared with any number of simulations.

    Attributes
    ----------
    spectrum : Spectrum
    tiles : (n_tiles,)
        Flat indices (run by run) of the view's tiles with enough valid pixels and some spread.
    blur : float
        Standard deviation (pixels) by which measurement and simulations are smoothed before they are compared: the
        valley that a search must find is as much wider.
    uneven : (n_tiles, n_pixels) or None
        Variance of the noise of each pixel over the (geometric) mean of its tile, where it is not the same in all of
        it: :meth:`counting` finds it.
    """

    spectrum: Spectrum
    tiles: NDArray[np.int64]
    blur: float = 0.0
    uneven: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, spectrum: Spectrum, blur: float = 0.0) -> "TileLikelihood":
        """Take up a measurement.

        Raises
        ------
        SpectrumError
            If no tile has enough valid pixels that differ from each other.
        """
        as_tiles = spectrum.study.view.as_tiles
        signal, valid = as_tiles(spectrum.signal), as_tiles(spectrum.valid)
        signal, valid = signal.reshape(-1, *signal.shape[2:]), valid.reshape(-1, *valid.shape[2:])
        usable: list[bool] = [
            bool(v.sum() >= FEWEST and np.ptp(s[v]) > 0 and tile_noise(s, v) > 0)
            for s, v in zip(signal, valid, strict=True)
        ]
        if not any(usable):
            raise SpectrumError(
                f"no tile of this spectrum has {FEWEST} valid pixels that differ; nothing can be fitted, check the mask"
            )
        return cls(spectrum, np.flatnonzero(usable), blur)

    @cached_property
    def valid(self) -> NDArray[np.float64]:
        """1 where there is a detector, (n_tiles, x, y)."""
        return self._tiles(self.spectrum.valid).astype(float)

    @cached_property
    def certain(self) -> NDArray[np.float64]:
        """Weight of each pixel by its own noise: 0 where not valid, else 1 if noise is even, (n_tiles, n_pixels)."""
        valid = self.valid.reshape(self.measured.shape)
        return valid if self.uneven is None else valid / self.uneven

    @cached_property
    def pixels(self) -> NDArray[np.float64]:
        """Number of valid pixels of each tile, as many as are independent after smoothing, (n_tiles,)."""
        return self.valid.sum((1, 2)) / max(1.0, 4 * np.pi * self.blur**2)

    @cached_property
    def measured(self) -> NDArray[np.float64]:
        """The measurement, smoothed, zero where not valid, (n_tiles, n_pixels)."""
        return self._smooth(np.nan_to_num(self._tiles(self.spectrum.signal)))

    @cached_property
    def floor(self) -> NDArray[np.float64]:
        """Least mean square of the residuals, (n_tiles,)."""
        v = self.valid.reshape(self.measured.shape)
        mean = (self.measured * v).sum(1, keepdims=True) / v.sum(1, keepdims=True)
        return FLOOR**2 * ((self.measured - mean) ** 2 * v).sum(1) / v.sum(1)

    @cached_property
    def patches(self) -> NDArray[np.float64]:
        """1 where a pixel belongs to a patch, (n_pixels, n_patches); a tile is one patch where there are many tiles."""
        nx, ny = self.valid.shape[1:]
        cuts = int(np.ceil(np.sqrt(FEWEST_BLOCKS / len(self.tiles))))
        row, column = (np.arange(n) * cuts // n for n in (nx, ny))
        return np.eye(cuts**2)[(row[:, None] * cuts + column).ravel()]

    @cached_property
    def share(self) -> NDArray[np.float64]:
        """Independent pixels over valid ones, (n_tiles,): 1 unless smoothed."""
        return self.pixels / self.valid.sum((1, 2))

    @cached_property
    def of_run(self) -> NDArray[np.float64]:
        """1 where a tile belongs to a run, (runs, n_tiles)."""
        shape = self.spectrum.study.view.as_tiles(self.spectrum.valid).shape
        runs = self.tiles // shape[1]
        return (runs == np.arange(shape[0])[:, None]).astype(float)

    @cached_property
    def position(self) -> NDArray[np.float64]:
        """Where a tile is in its run, 0 to 1, (n_tiles,)."""
        number = self.spectrum.study.view.as_tiles(self.spectrum.valid).shape[1]
        return (self.tiles % number) / max(number - 1, 1)

    def pull(
        self,
        model: NDArray[np.float64],
        measured: NDArray[np.float64],
        weight: NDArray[np.float64],
        level: NDArray[np.float64],
        before: Pull | None = None,
    ) -> Pull:
        """Envelope of each run, and how its prior pulls the scales of its tiles, whose noise has mean square ``level``.

        The envelope is a scale of the run that falls exponentially over its tiles, by least squares of their scales,
        each with its own variance and that of the prior, and with the prior of the fall. One step suffices from a pull
        that was found ``before``, in passes that go on until all is settled.
        """
        *_, along, square = _centred(model, measured, weight)
        along, square = (a * self.share / level for a in (along, square))
        usual, spread = FALL
        shared, fall = np.ones_like(level), np.full(len(self.of_run), usual)
        if before is not None:
            shared, fall = 1 / (1 + square * (ENVELOPE * before.centre) ** 2), before.fall
        for _ in range(PULL_ROUNDS if before is None else 1):
            shape = np.exp(-self.position * (self.of_run.T @ fall))
            weights = square * shared * shape**2
            total = np.maximum(self.of_run @ weights, 1e-300)
            of_run = np.maximum(self.of_run @ (along * shared * shape) / total, 0.0)
            centre = shape * (self.of_run.T @ of_run)
            later = self.position - self.of_run.T @ (self.of_run @ (weights * self.position) / total)
            force = -(self.of_run @ (shared * (along - square * centre) * centre * later)) + (usual - fall) / spread**2
            bend = self.of_run @ (square * shared * centre**2 * later**2) + 1 / spread**2
            fall = fall + np.clip(force / bend, -1.0, 1.0)
            shared = 1 / (1 + square * (ENVELOPE * centre) ** 2)
        # a run of which nothing is to be seen has no scale that could pull
        strength = level / (self.share * np.maximum(ENVELOPE * centre, 1e-150) ** 2)
        cost = 0.5 * ((fall - usual) / spread) ** 2 / np.maximum(self.of_run.sum(1), 1)
        return Pull(centre, np.where(centre > 0, strength, 0.0), self.of_run.T @ cost, fall)

    def penalty(self, scale: NDArray[np.float64], pull: Pull, level: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the prior of the scales takes off each tile's log-likelihood, (n_tiles,)."""
        return 0.5 * self.share * pull.strength * (scale - pull.centre) ** 2 / level + pull.cost

    def by_block(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums over blocks, patch by patch of each tile, of what each pixel has: (n_blocks, ...)."""
        return np.einsum("tp...,pb->tb...", values, self.patches).reshape(-1, *values.shape[2:])

    def products_by_block(self, one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums over the pixels of each block of all products, from (n_tiles, a, n_pixels), (n_tiles, b, n_pixels).

        Returns
        -------
        (n_blocks, a, b)
        """
        sums = [(one * patch) @ other.swapaxes(1, 2) for patch in self.patches.T]
        return np.stack(sums, 1).reshape(-1, one.shape[1], other.shape[1])

    def pixel_log_likelihood(self, profile: Profile) -> NDArray[np.float64]:
        """Log-likelihood of each pixel, the noise of each tile given, (n_tiles, n_pixels)."""
        share = self.share[:, None] * self.valid.reshape(self.measured.shape)
        level = profile.mean_square[:, None]
        noise = np.log(level) if self.uneven is None else np.log(level * self.uneven)
        return -0.5 * share * (noise + profile.weight * profile.residual**2 / level)

    def block_log_likelihood(self, profile: Profile) -> NDArray[np.float64]:
        """That of each block, (n_blocks,)."""
        return self.by_block(self.pixel_log_likelihood(profile))

    def _tiles(self, array: Any) -> Any:
        tiles = self.spectrum.study.view.as_tiles(array)
        return tiles.reshape(-1, *tiles.shape[2:])[self.tiles]

    def as_spectrum(self, tiles: NDArray[np.float64]) -> NDArray[np.float64]:
        """What each pixel of the tiles used has, (n_tiles, n_pixels), as a spectrum, zero elsewhere."""
        view = self.spectrum.study.view
        whole = np.zeros(view.as_tiles(self.spectrum.signal).shape)
        whole.reshape(-1, *whole.shape[2:])[self.tiles] = tiles.reshape(len(self.tiles), *whole.shape[2:])
        return np.asarray(view.from_tiles(whole))

    def _smooth(self, tiles: NDArray[np.float64]) -> NDArray[np.float64]:
        """Smooth over valid pixels alone; (n_tiles, n_pixels)."""
        seen = tiles * self.valid
        if self.blur:
            sigma = (0, self.blur, self.blur)
            share = ndimage.gaussian_filter(self.valid, sigma)
            seen = self.valid * ndimage.gaussian_filter(seen, sigma) / np.maximum(share, 1e-6)
        return seen.reshape(len(self.tiles), -1)

    def simulated(self, signal: NDArray[np.float64]) -> NDArray[np.float64]:
        """A simulation (runs, slices, x, y) as it is compared, (n_tiles, n_pixels)."""
        return self._smooth(self._tiles(signal))

    def profile(self, model: NDArray[np.float64]) -> Profile:
        """Fit scale, background and noise of each tile to a simulation from :meth:`simulated`."""
        valid, certain = self.valid.reshape(self.measured.shape), self.certain
        weight, kept, pull = certain, valid, None
        for _ in range(ROUNDS):
            scale, background, residual = lay(model, self.measured, weight, pull)
            residual = residual * valid
            level = np.maximum((weight * residual**2).sum(1) / kept.sum(1) + self.floor, 1e-300)
            size = np.abs(residual) * np.sqrt(certain / level[:, None])
            kept = valid * np.where(size > HUBER, HUBER / np.maximum(size, 1e-300), 1.0)
            weight = kept * certain
            pull = self.pull(model, self.measured, weight, level, pull)
        assert pull is not None
        # Huber: w r^2 beyond the bound is the linear branch
        mean_square = np.maximum((weight * residual**2).sum(1) / valid.sum(1) + self.floor, 1e-300)
        return Profile(
            scale=scale,
            background=background,
            weight=weight,
            residual=residual,
            mean_square=mean_square,
            log_likelihood=-0.5 * self.pixels * np.log(mean_square) - self.penalty(scale, pull, mean_square),
            pull=pull,
        )

    def excess(self, profile: Profile, model: NDArray[np.float64]) -> NDArray[np.float64]:
        """How much larger the square of each residual is than its variance, as a share of it, (n_tiles, n_pixels)."""
        valid = self.valid.reshape(self.measured.shape)
        return valid * (profile.weight * profile.residual**2 / profile.mean_square[:, None] - 1)

    def counting(self, model: NDArray[np.float64]) -> Self:
        """The same with noise whose variance in each tile is ``level * (1 + growth * signal)``, as that of counts is.

        Both are those of highest likelihood about a simulation (n_tiles, n_pixels) from :meth:`simulated`, found by
        scoring (R. J. Carroll and D. Ruppert, Transformation and Weighting in Regression, 1988, chapter 3); the signal
        is that of the simulation, in units of its run's mean, where what is subtracted from a measurement
        would make growth 1 if it were as large. Pixels then keep their variances, until this is asked for again.
        """
        valid = self.valid.reshape(self.measured.shape)
        counts = valid.sum(1)
        found, growth = self, np.full(len(counts), USUAL_GROWTH)
        for _ in range(GROWTH_ROUNDS):
            profile = found.profile(model)
            signal = profile.scale[:, None] * np.maximum(model, 0) * valid
            mean = self.of_run.T @ (self.of_run @ signal.sum(1) / np.maximum(self.of_run @ counts, 1))
            signal /= np.maximum(mean, 1e-300)[:, None]
            own = valid * signal / (1 + growth[:, None] * signal)
            own = valid * (own - (own.sum(1) / counts)[:, None])
            pull = (USUAL_GROWTH - growth) / GROWTH_SPREAD**2
            force = 0.5 * (found.excess(profile, model) * own).sum(1) + pull
            step = force / (0.5 * (own**2).sum(1) + 1 / GROWTH_SPREAD**2)
            growth = np.clip(growth + step, growth / MOST_GROWTH, growth * MOST_GROWTH)
            noise = np.log(1 + growth[:, None] * signal)
            found = replace(self, uneven=np.exp(noise - ((valid * noise).sum(1) / counts)[:, None]))
        return found

    def project(self, profile: Profile, model: NDArray[np.float64], change: NDArray[np.float64]) -> NDArray[np.float64]:
        """What a small change of the simulation does to the fit once scale and background have followed it.

        Kaufman's approximation of variable projection, BIT 15, 49 (1975).

        Parameters
        ----------
        model, change : (n_tiles, n_pixels)

        Returns
        -------
        (n_tiles, n_pixels)
        """
        return profile.scale[:, None] * self._followed(profile, model, change)[0]

    def _followed(
        self, profile: Profile, model: NDArray[np.float64], change: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What is left of a change, and by how much (n_tiles,) of itself the scale followed it."""
        w = profile.information
        total = w.sum(1, keepdims=True)
        dm = model - (w * model).sum(1, keepdims=True) / total
        dc = change - (w * change).sum(1, keepdims=True) / total
        weighted = w * dm
        held = 0.0 if profile.pull is None else profile.pull.strength
        along = (weighted * dc).sum(1) / np.maximum((weighted * dm).sum(1) + held, 1e-300)
        return dc - along[:, None] * dm, along

    def gradient(
        self, profile: Profile, model: NDArray[np.float64], changes: list[NDArray[np.float64]]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """How the log-likelihood of each block changes with changes of the simulation, (n_tiles, n_pixels) each.

        Returns
        -------
        gradient : (n_blocks, n_changes)
        jacobian : (n_tiles, n_changes, n_pixels)
            The changes as :meth:`project` leaves them.
        """
        found = [self._followed(profile, model, change) for change in changes]
        jacobian = profile.scale[:, None, None] * np.stack([left for left, _ in found], 1)
        level = (self.share / profile.mean_square)[:, None]
        force = level * profile.weight * profile.residual
        gradient = self.products_by_block(jacobian, force[:, None])[..., 0]
        if profile.pull is None:
            return gradient, jacobian
        # what following costs by the prior of the scales
        off = level[:, 0] * profile.pull.strength * (profile.scale - profile.pull.centre) * profile.scale
        cost = off[:, None] * np.stack([along for _, along in found], 1)
        of_patch = self.valid.reshape(self.measured.shape) @ self.patches / self.valid.sum((1, 2))[:, None]
        return gradient + (of_patch[..., None] * cost[:, None]).reshape(gradient.shape), jacobian
