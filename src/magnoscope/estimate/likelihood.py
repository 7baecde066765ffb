"""How likely a spectrum is under a simulation, with scale, background and noise of each tile left free.

In each tile the measurement is ``scale * simulation + background`` with a scale that is not negative and noise of an
unknown size, all three profiled. Intensity from tile to tile (absorption, damping, k_f / k_i) and a constant background
are then no matter of the model, and what is left decides by shape alone. Residuals beyond a few standard deviations
count linearly (Huber), so that a hot pixel does not.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..errors import SpectrumError
from ..spectrum import Spectrum
from ..trust.match import FEWEST, tile_noise

HUBER = 3.0
"""Residuals beyond so many standard deviations count linearly."""
FLOOR = 0.04
"""Error of a simulation, as a share of a tile's spread: no tile is trusted further (default sampling is good to it)."""
FEWEST_BLOCKS = 24
"""Where there are fewer tiles, each is cut into patches, so that there are so many blocks that may disagree."""
ROUNDS = 3
"""Passes of reweighting in the fit of scale and background."""


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
    model: NDArray[np.float64], measured: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Least squares of ``scale * model + background`` in each tile; the scale is not negative.

    Parameters
    ----------
    model, measured, weight : (n_tiles, n_pixels)

    Returns
    -------
    scale, background : (n_tiles,)
    residual : (n_tiles, n_pixels)
    """
    total = weight.sum(1, keepdims=True)
    mean_m, mean_d = ((weight * a).sum(1, keepdims=True) / total for a in (model, measured))
    dm, dd = model - mean_m, measured - mean_d
    scale = (weight * dm * dd).sum(1) / np.maximum((weight * dm * dm).sum(1), 1e-300)
    scale = np.maximum(scale, 0.0)
    return scale, (mean_d - scale[:, None] * mean_m)[:, 0], dd - scale[:, None] * dm


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
    """

    spectrum: Spectrum
    tiles: NDArray[np.int64]
    blur: float = 0.0

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

    def by_block(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums over blocks, patch by patch of each tile, of what each pixel has: (n_blocks, ...)."""
        return np.einsum("tp...,pb->tb...", values, self.patches).reshape(-1, *values.shape[2:])

    def block_log_likelihood(self, profile: Profile) -> NDArray[np.float64]:
        """Log-likelihood of each block, the noise of each tile given, (n_blocks,)."""
        share = (self.pixels / self.valid.sum((1, 2)))[:, None] * self.valid.reshape(self.measured.shape)
        level = profile.mean_square[:, None]
        return self.by_block(-0.5 * share * (np.log(level) + profile.weight * profile.residual**2 / level))

    def _tiles(self, array: Any) -> Any:
        tiles = self.spectrum.study.view.as_tiles(array)
        return tiles.reshape(-1, *tiles.shape[2:])[self.tiles]

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
        valid = self.valid.reshape(self.measured.shape)
        weight = valid.copy()
        for _ in range(ROUNDS):
            scale, background, residual = lay(model, self.measured, weight)
            residual = residual * valid
            sigma = np.sqrt((weight * residual**2).sum(1) / weight.sum(1) + self.floor)[:, None]
            size = np.abs(residual) / np.maximum(sigma, 1e-300)
            weight = valid * np.where(size > HUBER, HUBER / np.maximum(size, 1e-300), 1.0)
        # Huber: w r^2 beyond the bound is the linear branch
        mean_square = (weight * residual**2).sum(1) / valid.sum(1) + self.floor
        return Profile(
            scale=scale,
            background=background,
            weight=weight,
            residual=residual,
            mean_square=mean_square,
            log_likelihood=-0.5 * self.pixels * np.log(np.maximum(mean_square, 1e-300)),
        )

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
        w = profile.information
        total = w.sum(1, keepdims=True)
        dm = model - (w * model).sum(1, keepdims=True) / total
        dc = change - (w * change).sum(1, keepdims=True) / total
        along = (w * dm * dc).sum(1, keepdims=True) / np.maximum((w * dm * dm).sum(1, keepdims=True), 1e-300)
        return profile.scale[:, None] * (dc - along * dm)
