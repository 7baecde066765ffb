"""What a histogram file holds: intensity on a grid of wave vector and energy, with its axes in r.l.u. and meV."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..crystal import Lattice
from ..errors import DataError

MOST_BINS = 20_000_000
"""Bins of a histogram that are read into memory."""


@dataclass(frozen=True)
class HistogramAxis:
    """One axis of a histogram.

    Attributes
    ----------
    name : str
    direction : (3,) r.l.u. or None
        What one unit of the axis is; None for energy transfer (meV).
    edges : (n + 1,)
        Bin edges, in units of ``direction`` or meV; rising.
    """

    name: str
    direction: NDArray[np.float64] | None
    edges: NDArray[np.float64]

    @property
    def bins(self) -> int:
        """Number of bins."""
        return len(self.edges) - 1

    @property
    def centres(self) -> NDArray[np.float64]:
        """Bin centres, (n,); zero for a bin that is open at both ends."""
        with np.errstate(invalid="ignore"):
            middle = (self.edges[1:] + self.edges[:-1]) / 2
        return np.where(np.isfinite(middle), middle, 0.0)


@dataclass(frozen=True)
class Histogram:
    """Intensity on a grid of wave vector and energy.

    Attributes
    ----------
    kind : str
        What the file is, in words.
    axes : (4,) of HistogramAxis
        Three of wave vector and one of energy, in the order of the arrays.
    signal, error : by axes
        Mean intensity and its standard deviation; NaN where not valid.
    npix : by axes or None
        Contributing detector pixels, or events, of each bin.
    valid : by axes, bool
        False where nothing was measured.
    offset : (3,) r.l.u.
        Wave vector at which the coordinates are zero.
    lattice : Lattice or None
    ei : tuple of float
        Incident energies of the contributing runs, meV; empty where the file does not say.
    psi : tuple of float
        Their angles, degrees.
    lacks : tuple of str
        What the file does not say, and how to give it.
    """

    kind: str
    axes: tuple[HistogramAxis, ...]
    signal: NDArray[np.float64]
    error: NDArray[np.float64]
    npix: NDArray[np.float64] | None
    valid: NDArray[np.bool_]
    offset: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    lattice: Lattice | None = None
    ei: tuple[float, ...] = ()
    psi: tuple[float, ...] = ()
    lacks: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Bins along each axis."""
        return tuple(axis.bins for axis in self.axes)

    @property
    def energy(self) -> HistogramAxis:
        """The axis of energy transfer."""
        return next(axis for axis in self.axes if axis.direction is None)


def make_histogram(
    source: object,
    kind: str,
    axes: tuple[HistogramAxis, ...],
    signal: NDArray,
    variance: NDArray,
    npix: NDArray | None,
    masked: NDArray | None = None,
    **more: object,
) -> Histogram:
    """A histogram with the valid mask by the one rule for all files.

    A bin is valid where its signal is finite, its number of pixels (where known) is positive, it is not masked, and
    not both its signal and its error are zero.

    Raises
    ------
    DataError
        If the axes do not rise, are not finite, or are not three of wave vector and one of energy.
    """
    if [a.direction is None for a in axes].count(True) != 1 or len(axes) != 4:
        raise DataError(
            f"{source} has the axes {', '.join(a.name for a in axes)}; three of wave vector and one of energy transfer "
            "are needed"
        )
    for axis in axes:
        inner = axis.edges[1:-1] if axis.bins == 1 else axis.edges
        if np.isnan(axis.edges).any() or not np.isfinite(inner).all() or not (np.diff(axis.edges) > 0).all():
            raise DataError(f"{source}: the bin edges of axis {axis.name} must be finite and rise")
        if axis.direction is not None and not (np.isfinite(axis.direction).all() and axis.direction.any()):
            raise DataError(f"{source}: axis {axis.name} has no direction in reciprocal space")
    signal, variance = np.asarray(signal, float), np.asarray(variance, float)
    with np.errstate(invalid="ignore"):
        error = np.sqrt(np.where(variance >= 0, variance, np.nan))
        valid = np.isfinite(signal) & np.isfinite(error) & ~((signal == 0) & (error == 0))
        if npix is not None:
            valid &= npix > 0
    if masked is not None:
        valid &= ~masked
    return Histogram(
        kind,
        axes,
        np.where(valid, signal, np.nan),
        np.where(valid, error, np.nan),
        None if npix is None else np.asarray(npix, float),
        valid,
        **more,  # type: ignore[arg-type]
    )
