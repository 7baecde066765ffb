"""From a histogram with axes of its own to a study's tiles, where the two fit each other."""

import numpy as np
from numpy.typing import NDArray

from ..errors import SpectrumError
from ..reduce.binning import Box, RunBins, run_bins
from ..spectrum import Spectrum
from ..study import Study
from ..views import MapView
from .histogram import Histogram, HistogramAxis

PARALLEL = 1e-3
"""Two directions of Q that differ by less (relative) are the same."""
SAME_LATTICE = 0.02
"""Lattice parameters that differ by less (relative) are those of the same crystal."""
OFF_EDGE = 0.02
"""A bin may reach over the edge of a pixel by this share of its width."""
CHUNK = 1 << 20


def histogram_spectrum(histogram: Histogram, study: Study, source: object) -> Spectrum:
    """A histogram on a study's tiles.

    Its bins must lie whole in pixels of the view; where several share a pixel, their mean (weighted by the number of
    pixels that contributed, where known) is taken. Runs and slices that it does not reach are not valid.

    Raises
    ------
    SpectrumError
        If the axes do not fit the study's view; the message says which, and what would fit.
    """
    _check_lattice(histogram, study, source)
    found = [n for n in _runs(histogram, study, source) if _fits_energy(histogram.energy, study, n)]
    if not found:
        raise SpectrumError(
            f"{source}: its energy bins ({_extent(histogram.energy)}) do not lie whole in the slices of any run of "
            f"study {study.name} ({_slices(study)}); bin it in these"
        )
    if len(found) > 1 and not histogram.ei:
        found = _same_slices(histogram, study, found, source)
    signal, variance, npix = (np.zeros(study.shape).reshape(len(study.runs), -1) for _ in range(3))
    boxes = run_bins(study, found[0]).boxes
    wrong = [_misfit(histogram, box, study) for box in boxes]
    if all(wrong):
        raise SpectrumError(f"{source}: {wrong[0]}")
    fitting = tuple(n for n, misfit in enumerate(wrong) if not misfit)
    for number in found:
        _gather(histogram, run_bins(study, number), fitting, signal[number], variance[number], npix[number])
    valid = (npix > 0).reshape(study.shape)
    if not valid.any():
        raise SpectrumError(f"{source} has no bin in the view of study {study.name}: {_describe(histogram)}")
    with np.errstate(invalid="ignore", divide="ignore"):
        mean, error = signal / npix, np.sqrt(variance) / npix
    known = histogram.npix is not None
    return Spectrum(
        study,
        np.where(valid, mean.reshape(study.shape), np.nan),
        valid,
        np.where(valid, error.reshape(study.shape), np.nan),
        npix.reshape(study.shape) if known else None,
    )


def _gather(
    histogram: Histogram, bins: RunBins, boxes: tuple[int, ...], signal: NDArray, variance: NDArray, npix: NDArray
) -> None:
    """Add the valid bins of a histogram to the pixels of a run that lie in the boxes it fits."""
    places = np.flatnonzero(histogram.valid)
    weights = np.ones(histogram.valid.size) if histogram.npix is None else histogram.npix.ravel()
    flat_signal, flat_error = histogram.signal.ravel(), histogram.error.ravel()
    for first in range(0, len(places), CHUNK):
        part = places[first : first + CHUNK]
        found = bins.places(*_centres(histogram, part))
        for index in (found[n] for n in boxes):
            inside = index >= 0
            of, into_pixel = part[inside], index[inside]
            weight = weights[of]
            for into, values in (
                (signal, weight * flat_signal[of]),
                (variance, (weight * flat_error[of]) ** 2),
                (npix, weight),
            ):
                into += np.bincount(into_pixel, values, len(into))


def _centres(histogram: Histogram, places: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Wave vector (n, 3) r.l.u. and energy transfer (n,) at the centres of bins."""
    numbers = np.unravel_index(places, histogram.shape)
    hkl = np.tile(histogram.offset, (len(places), 1))
    energy = np.zeros(len(places))
    for axis, number in zip(histogram.axes, numbers, strict=True):
        at = axis.centres[number]
        if axis.direction is None:
            energy = at
        else:
            hkl += at[:, None] * axis.direction
    return hkl, energy


def _runs(histogram: Histogram, study: Study, source: object) -> list[int]:
    """Runs of the study with the histogram's incident energy; all of them where it does not say."""
    if not histogram.ei:
        return list(range(len(study.runs)))
    runs = [n for n, run in enumerate(study.runs) if any(abs(run.ei - ei) < 0.03 * run.ei for ei in histogram.ei)]
    if not runs:
        raise SpectrumError(
            f"{source} was measured with Ei {', '.join(f'{ei:g}' for ei in histogram.ei)} meV, study {study.name} has "
            f"runs with {', '.join(f'{run.ei:g}' for run in study.runs)} meV; name the right study with --study"
        )
    return runs


def _whole(edges: NDArray, pixels: NDArray) -> bool:
    """Whether every bin that reaches into the range of the pixels lies whole in one of them."""
    low, high = edges[:-1], edges[1:]
    slack = OFF_EDGE * (high - low)
    inside = (high > pixels[0] + slack) & (low < pixels[-1] - slack)
    if not inside.any():
        return False
    low, high, slack = low[inside], high[inside], slack[inside]
    first = np.searchsorted(pixels, low + slack, "right") - 1
    return bool(((first >= 0) & (pixels[np.clip(first + 1, 0, len(pixels) - 1)] >= high - slack)).all())


def _fits_energy(axis: HistogramAxis, study: Study, number: int) -> bool:
    return _whole(axis.edges, study.energy_edges[number])


def _same_slices(histogram: Histogram, study: Study, found: list[int], source: object) -> list[int]:
    """The one run whose slices the energy bins are, of several that they fit into."""
    edges = histogram.energy.edges
    width = OFF_EDGE * np.diff(edges).min()
    same = [n for n in found if all(np.abs(study.energy_edges[n] - e).min() < width for e in edges)]
    if len(same) != 1:
        runs = ", ".join(f"{study.runs[n].ei:g}" for n in same or found)
        raise SpectrumError(
            f"{source} does not say its Ei, and its energy bins fit the runs of study {study.name} with Ei {runs} meV "
            "alike; bin it in the slices of its own run"
        )
    return same


def _coordinates(study: Study) -> tuple[list[str], str]:
    """The three coordinates of the study's boxes in words, and what to bin along."""
    view = study.view
    if isinstance(view, MapView):
        right = " and ".join(_numbers(np.array(a.direction)) for a in view.axes)
        return [*(f"axis {a.name}" for a in view.axes), f"axis {view.hidden_name}"], f"its axes run along {right}"
    return ["the path", "the box across the path", "its normal"], "its path has straight pieces of its own"


def _misfit(histogram: Histogram, box: Box, study: Study) -> str:
    """Why the axes of a histogram do not run along those of a box, or its bins reach over pixels; empty if they fit."""
    names, right = _coordinates(study)
    covered = set()
    shift = (histogram.offset - box.origin) @ box.to_box
    for axis in histogram.axes:
        if axis.direction is None:
            continue
        along = axis.direction @ box.to_box
        sizes = np.abs(along) * np.linalg.norm(np.linalg.inv(box.to_box) @ study.lattice.reciprocal, axis=1)
        parts = np.flatnonzero(sizes > PARALLEL * sizes.max())
        limited = [p for p in parts if box.counts[p]]
        if len(parts) == 1 and limited:
            p = parts[0]
            pixels = box.starts[p] + box.widths[p] * np.arange(box.counts[p] + 1)
            if not _whole(np.sort(axis.edges * along[p] + shift[p]), pixels):
                range_ = f"{pixels[0]:g} to {pixels[-1]:g} in steps of {box.widths[p]:g}"
                return (
                    f"the bins of axis {axis.name} ({_extent(axis)}) do not lie whole in the pixels of {names[p]} of "
                    f"study {study.name} ({range_}); bin it in these"
                )
            covered.add(p)
        elif limited:
            return (
                f"axis {axis.name} runs along {_numbers(axis.direction)} r.l.u., not along one axis of the view of "
                f"study {study.name}: {right}; bin it along these"
            )
    missing = [names[p] for p in range(3) if box.counts[p] and p not in covered]
    return f"no axis runs along {missing[0]} of study {study.name}: {_describe(histogram)}" if missing else ""


def _check_lattice(histogram: Histogram, study: Study, source: object) -> None:
    """Refuse a histogram in r.l.u. of another lattice."""
    if histogram.lattice is not None:
        check_lattice(histogram.lattice.direct, study, source)


def check_lattice(cell: NDArray[np.float64], study: Study, source: object) -> None:
    """Refuse data in r.l.u. of another cell (rows in Å) than the study's.

    Raises
    ------
    SpectrumError
        If a length or angle differs by more than two per cent.
    """
    own = study.lattice.direct
    here, there = own @ own.T, cell @ cell.T
    scale = np.sqrt(np.outer(np.diag(here), np.diag(here)))
    if (np.abs(here - there) / scale > 2 * SAME_LATTICE).any():
        lengths = [_numbers(np.sqrt(np.diag(m))) for m in (there, here)]
        raise SpectrumError(
            f"{source} is in r.l.u. of a lattice of {lengths[0]} Å, study {study.name} has {lengths[1]} Å; give the "
            "study the lattice of the data"
        )


def _numbers(values: NDArray) -> str:
    return "[" + ", ".join(f"{v + 0.0:.4g}" for v in np.where(np.abs(values) < 1e-9, 0, values)) + "]"


def _extent(axis: HistogramAxis) -> str:
    return f"{axis.edges[0]:g} to {axis.edges[-1]:g} in {axis.bins} bin{'s' if axis.bins > 1 else ''}"


def _describe(histogram: Histogram) -> str:
    return "its axes are " + ", ".join(f"{a.name} ({_extent(a)})" for a in histogram.axes)


def _slices(study: Study) -> str:
    parts = [f"Ei {r.ei:g}: {e[0]:g} to {e[-1]:g} meV" for r, e in zip(study.runs, study.energy_edges, strict=True)]
    more = f" and {len(parts) - 3} more" if len(parts) > 3 else ""
    return f"{study.shape[1]} slices, " + "; ".join(parts[:3]) + more
