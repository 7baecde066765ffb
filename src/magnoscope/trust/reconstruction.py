"""How much of a measurement's structure no combination of training spectra explains.

The training spectra span a space of few dimensions: a measurement like them is, but for its noise, close to a
combination of their principal components. Scale and background of each tile stay free, as in :mod:`.match`, because a
measurement's are not known; missing pixels are left out. The coefficients have the training spectra's spread as a
prior, so that noise is not fitted.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..views import View
from .match import FEWEST, LEAST_STRUCTURE, tile_noise

COMPONENTS = 48
PIXELS = 25_000
"""At most so many pixels of an image after binning."""
STEPS = 3
"""Alternations between coefficients and the scales of tiles."""
MOST_IMAGES = 2000
"""Training spectra that the components are worked out from."""


def binning(shape: tuple[int, int, int, int]) -> int:
    """Pixels that are joined along both axes of tiles (runs, tiles, rows, columns)."""
    runs, tiles, rows, columns = shape
    factor = 1
    while runs * tiles * -(-rows // factor) * -(-columns // factor) > PIXELS:
        factor += 1
    return factor


def binned(tiles: NDArray, factor: int) -> NDArray:
    """Sums over squares of pixels of the last two axes; the last ones may be smaller."""
    for axis in (-2, -1):
        tiles = np.add.reduceat(tiles, np.arange(0, tiles.shape[axis], factor), axis)
    return tiles


def grid_of(view: View, runs: int) -> tuple[int, ...]:
    """Shape of a binned spectrum, (runs, tiles, rows, columns)."""
    tiles = view.as_tiles(np.empty((runs, *view.shape), bool))
    return tuple(binned(tiles, binning(tiles.shape)).shape)


@dataclass(frozen=True)
class Reconstruction:
    """Principal components of training spectra.

    Attributes
    ----------
    view : View
        Whose tiles these are.
    components : (k, runs, tiles, rows, columns) float32
        Of binned spectra, each tile without its mean and each run of unit size; orthonormal.
    spread : (k,) float32
        Root mean square of the training spectra's coefficients.
    """

    view: View
    components: NDArray[np.float32]
    spread: NDArray[np.float32]

    @property
    def sound(self) -> bool:
        """Whether the components are of the view's tiles, with a spread for each, and all numbers are finite."""
        fits = self.components.shape[1:] == grid_of(self.view, self.components.shape[1])
        spread = self.spread.shape == (len(self.components),) and len(self.spread) > 0 and bool((self.spread > 0).all())
        return fits and spread and bool(np.isfinite(self.components).all() and np.isfinite(self.spread).all())

    def unexplained(self, signal: NDArray, valid: NDArray[np.bool_]) -> float:
        """Share of a measurement's structure that the components leave, as in :class:`.match.Match`.

        Parameters
        ----------
        signal, valid : (runs, slices, x, y)
        """
        y, count, noise = coarse(self.view, signal, valid)
        k, runs, tiles = self.components.shape[:3]
        basis = self.components.reshape(k, runs * tiles, -1)
        y, count = y.reshape(runs * tiles, -1), count.reshape(runs * tiles, -1)
        noise = noise.ravel()
        used = np.isfinite(noise) & (noise > 0)
        if not used.any():
            return 1.0
        y, count, noise = y[used], count[used], noise[used]
        total = np.maximum(count.sum(1), 1)
        y = np.where(count > 0, y - ((count * y).sum(1) / total)[:, None], 0)
        basis = basis[:, used]
        basis = basis - ((count * basis).sum(2) / total)[:, :, None]
        variance = (count * y**2).sum(1) / total
        # a pixel of n joined ones has the variance noise^2 / n
        n_bins = np.maximum((count > 0).sum(1), 1)
        structure = np.maximum(1 - noise**2 * n_bins / total / np.maximum(variance, 1e-30), 0)
        run = np.repeat(np.arange(runs), tiles)[used]
        power = np.bincount(run, structure * variance * n_bins, runs)
        scale = np.sqrt(np.maximum(power, 1e-30))[run]
        model = self._fit(y, count, noise, basis, scale)
        gain = (count * y * model).sum(1).clip(0)
        explained = gain**2 / np.maximum((count * model**2).sum(1) * (count * y**2).sum(1), 1e-30)
        visible = float(structure.mean())
        return 1 - float(explained.mean()) / visible if visible > LEAST_STRUCTURE else 1.0

    def _fit(self, y: NDArray, count: NDArray, noise: NDArray, basis: NDArray, scale: NDArray) -> NDArray:
        """The combination of components, with a scale for each tile, that describes measured tiles best."""
        weight = (count / noise[:, None] ** 2).astype(np.float32)
        y, k = y.astype(np.float32), len(basis)
        prior = np.diag(1 / self.spread**2)
        for step in range(STEPS):
            root = np.sqrt(weight) * scale[:, None].astype(np.float32)
            design = (basis * root).reshape(k, -1)
            target = (np.sqrt(weight) * y).ravel()
            coefficients = np.linalg.solve(design @ design.T + prior, design @ target)
            model = np.tensordot(coefficients.astype(np.float32), basis, 1)
            if step < STEPS - 1:
                fitted = (weight * y * model).sum(1) / np.maximum((weight * model**2).sum(1), 1e-30)
                scale = np.clip(fitted, 0.2 * scale, 5 * scale)
        return model


def coarse(view: View, signal: NDArray, valid: NDArray[np.bool_]) -> tuple[NDArray, NDArray, NDArray]:
    """Binned mean signal, number of valid pixels in each bin, and each tile's noise of a single pixel."""
    signals, valids = view.as_tiles(signal), view.as_tiles(valid)
    noise = np.full(signals.shape[:2], np.nan)
    clipped = np.where(valids, signals, 0.0)
    for r, t in np.ndindex(*noise.shape):
        seen = valids[r, t]
        if seen.sum() < FEWEST:
            continue
        noise[r, t] = tile_noise(signals[r, t], seen)
        own = signals[r, t][seen]
        clipped[r, t] = np.minimum(clipped[r, t], np.median(own) + 10 * np.fmax(noise[r, t], np.std(own) / 3))
    factor = binning(signals.shape)
    count = binned(valids.astype(np.float32), factor)
    return binned(np.where(valids, clipped, 0), factor) / np.maximum(count, 1), count, noise


def binned_spectra(view: View, images: NDArray, index: NDArray[np.int64]) -> NDArray[np.float32]:
    """Binned spectra, each tile without its mean and each run of unit size, (n, runs, tiles, rows, columns).

    Parameters
    ----------
    images : (any number, runs, slices, x, y)
        An array, or what gives one for an array of indices.
    index : (n,)
        Which of them.
    """
    rows = []
    for number in index:
        tiles = view.as_tiles(np.asarray(images[np.array([number])][0], np.float32))
        factor = binning(tiles.shape)
        spectrum = binned(tiles, factor) / binned(np.ones_like(tiles), factor)
        spectrum -= spectrum.mean((2, 3), keepdims=True)
        size = np.sqrt((spectrum**2).sum((1, 2, 3), keepdims=True))
        rows.append(spectrum / np.maximum(size, 1e-12))
    return np.stack(rows)


def fit_reconstruction(view: View, images: NDArray, seed: int, components: int = COMPONENTS) -> Reconstruction:
    """Principal components of clean training spectra.

    Parameters
    ----------
    images : (n, runs, slices, x, y)
        An array, or what gives one for an array of indices; at most ``MOST_IMAGES`` are used, evenly chosen.
    """
    index = np.unique(np.linspace(0, len(images) - 1, MOST_IMAGES).astype(int))
    spectra = binned_spectra(view, images, index)
    matrix = torch.as_tensor(spectra).flatten(1)
    most = min(components, *matrix.shape)
    torch.manual_seed(seed)
    _, size, vectors = torch.svd_lowrank(matrix, q=min(most + 8, *matrix.shape), niter=3)
    kept = vectors[:, :most].T.reshape(most, *spectra.shape[1:]).contiguous()
    # stored in half precision, so that what is calibrated is what will be used
    spread = (size[:most] / len(matrix) ** 0.5).clamp_min(1e-6)
    return Reconstruction(view, kept.half().float().numpy(), spread.numpy().copy())
