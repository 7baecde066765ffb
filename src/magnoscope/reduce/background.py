"""The background of a measurement: what varies slowly with the length of Q and energy transfer, below the spin waves.

Two estimates, each a Spectrum to be looked at. The way of the paper (Butler et al., J. Phys.: Condens. Matter 33,
194006, section 3): for each run, one cut along energy transfer that is free of spin waves, stitched from sections of
cuts at several wave vectors. The automatic one: for each run, a smooth surface in the length of Q and energy transfer,
along the lower edge of the intensities.

Of both, no more structure is taken than the pixels give evidence of; with none, the background is a constant.
"""

from dataclasses import replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..spectrum import Spectrum
from .lower_edge import CONFUSION, likeliest, make_blocks, pixel_noise, supported

CUTS = 5
"""The view is divided into so many cuts along each axis of Q."""
LOWEST = 0.2
"""Share of the cuts whose sections are taken for free of spin waves, at each energy transfer."""
SURFACES: tuple[tuple[tuple[int, int], ...], ...] = (
    ((0, 0),),
    ((0, 0), (0, 1)),
    ((0, 0), (1, 0)),
    ((0, 0), (0, 1), (0, 2)),
    ((0, 0), (1, 0), (0, 1)),
    ((0, 0), (0, 1), (0, 2), (0, 3)),
    tuple((i, j) for i in range(3) for j in range(3) if i + j < 3),
    tuple((i, j) for i in range(3) for j in range(4) if i + j < 4),
)
"""Smooth surfaces, simplest first: degrees in |Q| and energy transfer of the polynomials that are summed."""
FEWEST = 30
"""Pixels of a run from which a background can be told."""


class Background(StrEnum):
    """Ways to estimate a background."""

    none = "none"
    paper = "paper"
    auto = "auto"


def estimate(spectrum: Spectrum, q: NDArray[np.float64], way: Background) -> Spectrum:
    """The background of a spectrum, at every valid pixel.

    Parameters
    ----------
    q : (runs, slices, axis 0, axis 1)
        Length of Q of each pixel, 1/Å.

    Raises
    ------
    DataError
        If a run that was measured has too few pixels to tell.
    """
    signal, error = np.full(spectrum.study.shape, np.nan), np.full(spectrum.study.shape, np.nan)
    for run in map(int, np.flatnonzero(spectrum.valid.any((1, 2, 3)))):
        if spectrum.valid[run].sum() < FEWEST:
            raise DataError(
                f"the run with Ei {spectrum.study.runs[run].ei:g} meV has only {spectrum.valid[run].sum()} measured "
                f"pixels; a background needs {FEWEST}"
            )
        if way == Background.paper:
            signal[run], error[run] = _supported_cut(spectrum, q, run)
        else:
            signal[run], error[run] = _smooth_surface(spectrum, q, run)
    if way == Background.none:
        signal, error = np.zeros_like(signal), np.zeros_like(error)
    valid = spectrum.valid & np.isfinite(signal)
    return Spectrum(
        spectrum.study, np.where(valid, signal, np.nan), valid, np.where(valid, error, np.nan), spectrum.npix
    )


def subtract(spectrum: Spectrum, background: Spectrum) -> Spectrum:
    """A spectrum less its background; their errors add in quadrature."""
    valid = spectrum.valid & background.valid
    signal = np.where(valid, spectrum.signal - background.signal, np.nan)
    error = spectrum.error
    if error is not None and background.error is not None:
        error = np.where(valid, np.hypot(error, background.error), np.nan)
    return replace(spectrum, signal=signal, valid=valid, error=error)


# ---- the paper's way -----------------------------------------------------------------------------------------------


def _supported_cut(
    spectrum: Spectrum, q: NDArray[np.float64], run: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The stitched cut, spread over its slices, so far as the lower edge of the intensities follows it."""
    level, error = _stitched_cut(spectrum, run)
    seen, noise = spectrum.valid[run], pixel_noise(spectrum, run)
    blocks = make_blocks(spectrum, np.where(seen, np.nan_to_num(q[run]), np.nan), run, noise)
    middle = np.average(level, weights=seen.sum((1, 2)))
    along = level - middle
    ones = np.ones(len(blocks.signal))
    found, edge = likeliest(blocks, (ones[:, None], np.stack([ones, along[blocks.slices]], 1)))
    followed = float(np.clip(edge.coefficients[1], 0, 1)) if found else 0.0
    spread = np.broadcast_to(along[:, None, None], seen.shape)
    followed *= supported(followed * spread[seen], noise[seen])
    uncertain = np.hypot(error, CONFUSION * np.median(noise[seen]))
    return middle + followed * spread, np.broadcast_to(uncertain[:, None, None], seen.shape)


def _stitched_cut(spectrum: Spectrum, run: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For each slice, the mean of the cuts that are lowest there and its standard error, (slices,).

    Which cuts are lowest is read off one half of the pixels (as on a chessboard) and their mean off the other half, and
    the reverse: the lowest of several noisy numbers would be too low.
    """
    signal, valid = spectrum.signal[run], spectrum.valid[run]
    slices, nx, ny = signal.shape
    half = np.add.outer(np.arange(nx), np.arange(ny)) % 2
    cut = np.add.outer(np.arange(nx) * min(CUTS, nx) // nx * CUTS, np.arange(ny) * min(CUTS, ny) // ny)
    level, error = np.full(slices, np.nan), np.full(slices, np.nan)
    for s in range(slices):
        found, spread = [], []
        for choose in (0, 1):
            chosen = valid[s] & (half == choose)
            measured = valid[s] & (half != choose)
            counts, others = (np.bincount(cut[m], minlength=CUTS**2) for m in (chosen, measured))
            usable = np.flatnonzero((counts > 1) & (others > 1))
            if not usable.size:
                continue
            means = np.bincount(cut[chosen], signal[s][chosen], CUTS**2)[usable] / counts[usable]
            lowest = usable[np.argsort(means)[: max(1, round(LOWEST * usable.size))]]
            there = signal[s][measured & np.isin(cut, lowest)]
            found.append(there.mean())
            spread.append(there.std(ddof=1) / np.sqrt(there.size) if there.size > 1 else np.nan)
        if found:
            level[s], error[s] = np.mean(found), np.sqrt(np.nanmean(np.square(spread)) / len(found))
    known = np.isfinite(level)
    places = np.arange(slices)
    level, error = (np.interp(places, places[known], a[known]) for a in (level, np.nan_to_num(error)))
    return level, error


# ---- the automatic way ---------------------------------------------------------------------------------------------


def _smooth_surface(
    spectrum: Spectrum, q: NDArray[np.float64], run: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The simplest smooth surface along the lower edge of the signal that will do, and its standard deviation."""
    valid = spectrum.valid[run] & np.isfinite(q[run])
    energies = spectrum.study.energy_edges[run]
    middle = (energies[1:] + energies[:-1]) / 2
    noise = pixel_noise(spectrum, run)
    blocks = make_blocks(spectrum, q[run], run, noise)
    limits = (q[run][valid].min(), q[run][valid].max()), (middle[0], middle[-1])
    found, edge = likeliest(blocks, [_terms(blocks.q, middle[blocks.slices], limits, degrees) for degrees in SURFACES])
    at = np.broadcast_to(middle[:, None, None], valid.shape)[valid]
    design = _terms(q[run][valid], at, limits, SURFACES[found])
    surface = design @ edge.coefficients
    level = surface.mean()
    share = supported(surface - level, noise[valid])
    variance = np.einsum("ni,ij,nj->n", design, edge.covariance, design)
    signal, error = np.full(valid.shape, np.nan), np.full(valid.shape, np.nan)
    signal[valid] = level + share * (surface - level)
    error[valid] = np.sqrt(variance.clip(0) + (CONFUSION * np.median(noise[valid])) ** 2)
    return signal, error


def _terms(
    q: NDArray[np.float64],
    energy: NDArray[np.float64],
    limits: tuple[tuple[float, float], tuple[float, float]],
    degrees: tuple[tuple[int, int], ...],
) -> NDArray[np.float64]:
    """Products of Chebyshev polynomials of |Q| and energy transfer, each brought to -1..1 by its limits: (n, terms)."""
    in_q, in_energy = (
        np.polynomial.chebyshev.chebvander(2 * (a - low) / max(high - low, 1e-12) - 1, 3)
        for a, (low, high) in zip((q, energy), limits, strict=True)
    )
    return np.stack([in_q[:, i] * in_energy[:, j] for i, j in degrees], 1)
