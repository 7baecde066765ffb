"""How well a simulation describes a measurement, tile by tile, with scale and background of each tile left free."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..spectrum import Spectrum

LEAST_STRUCTURE = 0.03
"""Share of the variance that must be more than noise for a measurement to show anything."""
FEWEST = 100
"""Valid pixels a tile needs to be compared."""
CLIP = 5.0
"""Residuals count no more than so many units of noise."""


@dataclass(frozen=True)
class Match:
    """A simulation against a measurement.

    Attributes
    ----------
    chi_square : float
        Mean over tiles of the reduced chi-square.
    unexplained : float
        Share of the measurement's structure that the simulation does not explain, about 0 for the truth at any noise
        and 1 for something else: 1 - sum of squared correlations / sum of (1 - noise variance / variance). A
        measurement that shows no structure beyond its noise counts as not explained at all.
    per_tile : (runs, tiles)
        NaN where a tile has too few valid pixels.
    fitted : (runs, slices, x, y)
        The simulation with the scale and background of each tile.
    """

    chi_square: float
    unexplained: float
    per_tile: NDArray[np.float64]
    fitted: NDArray[np.float64]


def tile_noise(signal: NDArray[np.float64], valid: NDArray[np.bool_]) -> float:
    """Standard deviation of a tile's noise from second differences of neighbours; NaN where there are too few."""
    values = np.where(valid, signal, np.nan)
    second = np.concatenate(
        [
            (values[1:-1] - 0.5 * (values[2:] + values[:-2])).ravel(),
            (values[:, 1:-1] - 0.5 * (values[:, 2:] + values[:, :-2])).ravel(),
        ]
    )
    second = second[np.isfinite(second)]
    if len(second) < FEWEST:
        return np.nan
    # clipped at four times the size that four in five stay below, so that a hot pixel does not count as noise
    bound = 4 * np.quantile(np.abs(second), 0.8) / 1.2816
    if bound == 0:
        bound = np.abs(second).max()
    return float(np.sqrt(np.mean(np.clip(second, -bound, bound) ** 2) / 1.5))


def match(measured: Spectrum, simulated: NDArray[np.float64]) -> Match:
    """Compare a measurement with a simulation (runs, slices, x, y).

    In each tile ``scale * simulation + background`` is fitted with a scale that is not negative; residuals are counted
    in units of the tile's own noise and clipped at five of them.
    """
    view = measured.study.view
    signals, valids, models = (view.as_tiles(a) for a in (measured.signal, measured.valid, simulated))
    shape = signals.shape
    per_tile, fitted = np.full(shape[:2], np.nan), np.zeros(shape)
    explained, structure = np.zeros(shape[:2]), np.zeros(shape[:2])
    for r in range(shape[0]):
        for s in range(shape[1]):
            valid = valids[r, s]
            noise = tile_noise(signals[r, s], valid)
            if valid.sum() < FEWEST or not noise > 0:
                continue
            y, x = signals[r, s][valid], models[r, s][valid]
            bound = np.median(y) + 10 * max(noise, np.std(y) / 3)
            y = np.minimum(y, bound)
            dx, dy = x - x.mean(), y - y.mean()
            scale = max(0.0, float(dx @ dy) / max(float(dx @ dx), 1e-30))
            explained[r, s] = scale**2 * float(dx @ dx) / max(float(dy @ dy), 1e-30)
            structure[r, s] = 1 - noise**2 / max(float(dy @ dy) / len(dy), 1e-30)
            background = y.mean() - scale * x.mean()
            fitted[r, s] = scale * models[r, s] + background
            residual = np.clip((y - scale * x - background) / noise, -CLIP, CLIP)
            per_tile[r, s] = np.mean(residual**2)
    compared = np.isfinite(per_tile)
    if not compared.any():
        return Match(np.inf, 1.0, per_tile, view.from_tiles(fitted))
    visible = float(structure[compared].mean())
    share = float(explained[compared].mean()) / visible if visible > LEAST_STRUCTURE else 0.0
    return Match(float(per_tile[compared].mean()), 1 - share, per_tile, view.from_tiles(fitted))
