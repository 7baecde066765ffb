"""What lies below the spin waves: the lower edge of noisy intensities, as high as the evidence carries.

Every intensity is background + spin waves + noise. The noise is normal and of known size; a share of the pixels is free
of spin waves, and where there are some, their intensities are spread exponentially. Noise folded with that is the
exponentially modified normal distribution (Grushka, Anal. Chem. 44, 1733 (1972)). Shares and decay lengths differ from
cell to cell of energy transfer and length of Q, so that spin waves that fade along either are not taken for background;
only the background is smooth. Everything is found by expectation and maximisation, with what spin waves add to a pixel
as the unseen part (Dempster, Laird and Rubin, J. R. Stat. Soc. B 39, 1 (1977)).

How much structure a background may have is asked of pixels that it was not fitted to.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from ..spectrum import Spectrum

SIDE = 2
"""Pixels are averaged by so many along each axis of Q: less noise, and spin waves are wider than that."""
ENERGIES, LENGTHS, FEWEST_IN_CELL = 10, 4, 50
"""Cells: at most so many along energy transfer, and along |Q| where so many blocks are left to each."""
LOW = 0.3
"""Quantile of a cell's intensities at which the search for its lower edge starts."""
ROUNDS = 40
BEYOND_DOUBT = 2.0
"""A background with more terms must foretell left-out pixels better by so many standard errors."""
CONFUSION = 0.15
"""Spin waves fainter than the noise leave so much structure in the lower edge, in units of a pixel's noise."""
NARROWEST = 0.3
"""Shortest decay length of the spin waves' intensities, in units of a block's noise: shorter is noise."""


@dataclass(frozen=True)
class Blocks:
    """Small blocks of pixels of one run.

    Attributes
    ----------
    signal, noise : (n,)
        Mean intensity and its standard deviation.
    q : (n,) 1/Å
        Mean length of Q.
    slices : (n,) of int
        Slice of energy transfer.
    cells : (n,) of int
        Which blocks share their distribution of spin waves.
    half : (n,) of int
        0 or 1, as on a chessboard.
    """

    signal: NDArray[np.float64]
    noise: NDArray[np.float64]
    q: NDArray[np.float64]
    slices: NDArray[np.int64]
    cells: NDArray[np.int64]
    half: NDArray[np.int64]

    def of_half(self, half: int) -> "Blocks":
        """One half of them."""
        names = ("signal", "noise", "q", "slices", "cells", "half")
        return Blocks(*(getattr(self, name)[self.half == half] for name in names))


@dataclass(frozen=True)
class Edge:
    """A fitted lower edge, the sum of terms.

    Attributes
    ----------
    coefficients : (terms,)
    covariance : (terms, terms)
        Of the coefficients, from the pixels taken for free of spin waves.
    share, decay : (cells,)
        Share of blocks with spin waves, and decay length of their intensities.
    """

    coefficients: NDArray[np.float64]
    covariance: NDArray[np.float64]
    share: NDArray[np.float64]
    decay: NDArray[np.float64]


def pixel_noise(spectrum: Spectrum, run: int) -> NDArray[np.float64]:
    """Standard deviation of each pixel's intensity where nothing but background is, (slices, axis 0, axis 1).

    The error of a single pixel is no guide, since that of a low count is too low: the typical variance of a slice is
    shared out by the numbers of contributing pixels. Without errors, neighbours tell how much intensities scatter.
    """
    signal, valid = spectrum.signal[run], spectrum.valid[run]
    number = np.ones(valid.shape) if spectrum.npix is None else spectrum.npix[run].clip(1)
    variance = np.full(valid.shape, np.nan)
    if spectrum.error is not None:
        for s in np.flatnonzero(valid.any((1, 2))):
            typical = np.median((spectrum.error[run][s] ** 2 * number[s])[valid[s]])
            variance[s] = typical / number[s]
    else:
        steps = np.diff(np.where(valid, signal, np.nan), axis=1)
        steps = steps[np.isfinite(steps)]
        # a normal distribution has its upper quartile 0.6745 deviations above its middle
        variance[:] = (np.median(np.abs(steps)) / 0.6745) ** 2 / 2 if steps.size else 0
    least = 1e-3 * np.std(signal[valid]) + 1e-12
    return np.asarray(np.sqrt(np.maximum(variance, least**2)))


def make_blocks(spectrum: Spectrum, q: NDArray[np.float64], run: int, noise: NDArray[np.float64]) -> Blocks:
    """Blocks of a run's valid pixels; ``q`` and ``noise`` are (slices, axis 0, axis 1), NaN only where not valid."""
    valid = spectrum.valid[run] & np.isfinite(q)
    s, x, y = np.nonzero(valid)
    x, y = x // SIDE, y // SIDE
    key = (s * (valid.shape[1] + 1) + x) * (valid.shape[2] + 1) + y
    _, first, block, size = np.unique(key, return_index=True, return_inverse=True, return_counts=True)

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.bincount(block, values[valid]) / size)

    lengths, slices = mean(q), s[first]
    cells = _cells(lengths, slices, valid.shape[0])
    half = (slices + x[first] + y[first]) % 2
    return Blocks(mean(spectrum.signal[run]), np.sqrt(mean(noise**2) / size), lengths, slices, cells, half)


def _cells(lengths: NDArray[np.float64], slices: NDArray[np.int64], number: int) -> NDArray[np.int64]:
    """Groups of slices, each divided by |Q| into parts of equal numbers of blocks."""
    groups = min(number, ENERGIES)
    parts = int(np.clip(len(lengths) // (groups * FEWEST_IN_CELL), 1, LENGTHS))
    group = slices * groups // number
    rank = np.empty(len(lengths), int)
    for g in range(groups):
        there = np.flatnonzero(group == g)
        rank[there[np.argsort(lengths[there], kind="stable")]] = np.arange(len(there)) * parts // max(len(there), 1)
    return np.asarray(group * parts + rank)


def likeliest(blocks: Blocks, designs: Sequence[NDArray[np.float64]]) -> tuple[int, Edge]:
    """The simplest of several lower edges that foretells left-out pixels as well as the best one does, and its fit.

    Parameters
    ----------
    designs : sequence of (n, terms)
        Values of the terms at the blocks, simplest first; the first term of each is 1.
    """
    foretold = []
    for design in designs:
        log_likelihood = np.empty(len(blocks.signal))
        for half in (0, 1):
            there = blocks.half == half
            if there.all() or not there.any():
                return 0, fit(blocks, designs[0])
            edge = fit(blocks.of_half(1 - half), design[~there], int(blocks.cells.max()) + 1)
            log_likelihood[there] = expect(blocks.of_half(half), design[there] @ edge.coefficients, edge)[0]
        foretold.append(log_likelihood)
    best = foretold[int(np.argmax([each.sum() for each in foretold]))]
    for number, each in enumerate(foretold):
        lost = best - each
        if lost.sum() <= BEYOND_DOUBT * lost.std() * np.sqrt(lost.size):
            return number, fit(blocks, designs[number])
    raise AssertionError("the best is as good as itself")


def fit(blocks: Blocks, design: NDArray[np.float64], cells: int | None = None) -> Edge:
    """The lower edge of greatest likelihood, as a sum of terms (n, terms)."""
    count = int(blocks.cells.max()) + 1 if cells is None else cells
    weighted = design / blocks.noise[:, None] ** 2
    inverse = _inverse(weighted.T @ design)
    # from a low intensity of each cell: with little noise, few steps lead far away from where they start
    low = [np.quantile(blocks.signal[blocks.cells == cell], LOW) for cell in np.unique(blocks.cells)]
    lowest = np.asarray(low)[np.unique(blocks.cells, return_inverse=True)[1]]
    coefficients = _inverse(design.T @ design) @ (design.T @ lowest)
    shortest = NARROWEST * float(np.median(blocks.noise))
    size = np.bincount(blocks.cells, minlength=count)
    start = max(float((blocks.signal - design @ coefficients).mean()), shortest)
    edge = Edge(coefficients, inverse, np.full(count, 0.5), np.full(count, start))
    for _ in range(ROUNDS):
        _, with_waves, waves = expect(blocks, design @ edge.coefficients, edge)
        number = np.bincount(blocks.cells, with_waves, count)
        # cells without spin waves borrow: one block of either kind, and two of the run's mean intensity
        typical = waves.sum() / max(with_waves.sum(), 1e-9)
        decay = (np.bincount(blocks.cells, waves, count) + 2 * typical) / (number + 2)
        edge = Edge(
            inverse @ (weighted.T @ (blocks.signal - waves)),
            inverse,
            (number + 1) / (size + 2),
            np.maximum(decay, shortest),
        )
    _, with_waves, _ = expect(blocks, design @ edge.coefficients, edge)
    covariance = _inverse(((1 - with_waves)[:, None] * weighted).T @ design)
    return Edge(edge.coefficients, covariance, edge.share, edge.decay)


def _inverse(normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse of a normal matrix, even where terms coincide, as energies of a single slice do."""
    return np.asarray(np.linalg.inv(normal + 1e-9 * (np.trace(normal) + 1e-30) * np.eye(len(normal))), float)


def expect(
    blocks: Blocks, background: NDArray[np.float64], edge: Edge
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Log-likelihood of each block, probability that it has spin waves, and their expected intensity, each (n,).

    Parameters
    ----------
    background : (n,)
        At the blocks.
    """
    noise, share, decay = blocks.noise, edge.share[blocks.cells], edge.decay[blocks.cells]
    above = blocks.signal - background
    constant = np.log(noise) + 0.5 * np.log(2 * np.pi)
    without = np.log1p(-share) - 0.5 * (above / noise) ** 2 - constant
    # given spin waves, their intensity is normal about ``middle``, cut off at zero
    middle = above - noise**2 / decay
    below = log_ndtr(middle / noise)
    waves = np.log(share) - np.log(decay) + 0.5 * (noise / decay) ** 2 - above / decay + below
    total = np.logaddexp(without, waves)
    probability = np.exp(waves - total)
    mean = middle + noise * np.exp(-0.5 * (middle / noise) ** 2 - 0.5 * np.log(2 * np.pi) - below)
    return total, probability, probability * mean


def supported(structure: NDArray[np.float64], noise: NDArray[np.float64]) -> float:
    """Share (0 to 1) of a background's structure that is no confusion with faint spin waves.

    The positive part of the estimate of James and Stein (1961), with the size of the confusion for the error.

    Parameters
    ----------
    structure : (n,)
        Background at the pixels less its mean.
    noise : (n,)
        Noise of the pixels.
    """
    size = float(np.mean(structure**2))
    return max(0.0, 1 - (CONFUSION * float(np.median(noise))) ** 2 / size) if size > 0 else 0.0
