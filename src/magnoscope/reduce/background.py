"""The background of a measurement: what varies slowly with the length of Q and energy transfer, below the spin waves.

Two estimates, each a Spectrum to be looked at. The way of the paper (Butler et al., J. Phys.: Condens. Matter 33,
194006, section 3): for each run, one cut along energy transfer that is free of spin waves, stitched from sections of
cuts at several wave vectors. The automatic one: for each run, a smooth surface in the length of Q and energy transfer,
fitted robustly from below, so that what stands out of it is taken for signal.
"""

from dataclasses import replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..spectrum import Spectrum

CUTS = 5
"""The view is divided into so many cuts along each axis of Q."""
LOWEST = 0.2
"""Share of the cuts whose sections are taken for free of spin waves, at each energy transfer."""
LEVEL = 0.2
"""Quantile of the intensity in a neighbourhood at which the automatic estimate starts."""
FARTHEST = 2.0
"""Pixels farther off the surface, in standard deviations of the noise, do not count (Tukey's biweight)."""
ROUNDS = 40
KNOTS = (3, 4)
"""Polynomials in |Q| and energy transfer of the smooth surface."""
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
            signal[run], error[run] = _stitched_cut(spectrum, run)
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


def _stitched_cut(spectrum: Spectrum, run: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For each slice, the mean of the cuts that are lowest there, spread over the slice.

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
    return tuple(np.broadcast_to(a[:, None, None], signal.shape) for a in (level, error))  # type: ignore[return-value]


# ---- the automatic way ---------------------------------------------------------------------------------------------


def _smooth_surface(
    spectrum: Spectrum, q: NDArray[np.float64], run: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A robust surface below the signal, and the standard error of its fit."""
    study, valid = spectrum.study, spectrum.valid[run] & np.isfinite(q[run])
    energies = study.energy_edges[run]
    middle = np.broadcast_to(((energies[1:] + energies[:-1]) / 2)[:, None, None], valid.shape)
    design = _polynomials(_scaled(q[run], valid), _scaled(middle, valid), valid)
    values = spectrum.signal[run][valid]
    start = _low_level(values, q[run][valid], middle[valid])
    coefficients = np.linalg.lstsq(design, start, rcond=None)[0]
    below = values - design @ coefficients
    spread = _noise(below[below < np.quantile(below, 0.5)], below)
    weights = np.ones_like(values)
    for _ in range(ROUNDS):
        away = (values - design @ coefficients) / (FARTHEST * spread)
        weights = np.where(np.abs(away) < 1, (1 - away**2) ** 2, 0)
        if weights.sum() < 2 * design.shape[1]:
            break
        root = np.sqrt(weights)
        coefficients = np.linalg.lstsq(root[:, None] * design, root * values, rcond=None)[0]
    normal = design.T @ (weights[:, None] * design) + 1e-9 * np.eye(design.shape[1])
    deviation = spread * np.sqrt(np.einsum("ni,ij,nj->n", design, np.linalg.inv(normal), design).clip(0))
    signal, error = np.full(valid.shape, np.nan), np.full(valid.shape, np.nan)
    signal[valid], error[valid] = design @ coefficients, deviation
    return signal, error


def _scaled(values: NDArray[np.float64], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Values brought to -1..1 over the valid pixels."""
    low, high = values[valid].min(), values[valid].max()
    return 2 * (values - low) / max(high - low, 1e-12) - 1


def _polynomials(q: NDArray[np.float64], energy: NDArray[np.float64], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Products of Chebyshev polynomials at the valid pixels, (n, terms); of total degree below the larger number."""
    in_q, in_energy = (
        np.polynomial.chebyshev.chebvander(a[valid], n - 1) for a, n in zip((q, energy), KNOTS, strict=True)
    )
    terms = [(i, j) for i in range(KNOTS[0]) for j in range(KNOTS[1]) if i + j < max(KNOTS)]
    return np.stack([in_q[:, i] * in_energy[:, j] for i, j in terms], 1)


def _low_level(values: NDArray, q: NDArray, energy: NDArray) -> NDArray[np.float64]:
    """A low quantile of the values around each pixel: in the same slice and at a similar length of Q."""
    out = np.empty_like(values)
    for level in np.unique(energy):
        there = np.flatnonzero(energy == level)
        order = there[np.argsort(q[there])]
        for part in np.array_split(order, max(1, min(6, len(order) // 20))):
            out[part] = np.quantile(values[part], LEVEL) if len(part) else 0
    return out


def _noise(below: NDArray[np.float64], whole: NDArray[np.float64]) -> float:
    """Standard deviation of the noise, from how far values reach below the low level."""
    # the LEVEL quantile of a normal distribution lies 0.84 deviations below its middle, the 2.5 % one 1.96 below
    reach = np.quantile(whole, LEVEL / 2) - np.quantile(whole, LEVEL)
    return float(max(-reach / (1.2816 - 0.8416), np.abs(below).max() * 1e-6, 1e-12))
