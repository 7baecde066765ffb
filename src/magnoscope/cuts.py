"""One-dimensional cuts through a spectrum: data with errors against every candidate.

A cut keeps one axis of a view and averages over the others within a region. Data and candidates are averaged over the
same pixels, those with a detector and an error, all with equal weight: weights by counts would favour low ones.
Candidates are simulations laid onto the spectrum with scale and background of each tile (:mod:`magnoscope.trust.match`)
and are not adjusted again to a cut.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import SpectrumError
from .spectrum import Spectrum
from .study import Study
from .trust.best_match import BestMatch
from .trust.match import tile_noise
from .views import MapView

DIAGONALS = {"diagonal": 1.0, "antidiagonal": -1.0}
"""Cuts of maps at (t, t) and (t, -t) of their two axes: sign of the second."""
STRIP = 3
"""Pixels across a region that was not given; a map's slice of energy transfer is taken alone."""
SAME_EI = 0.01
"""An incident energy names a run that it differs from by less than this share."""


@dataclass(frozen=True)
class CutAxis:
    """The axis of a cut: what it is, in which unit, its points (n,), and named places on it."""

    name: str
    unit: str
    positions: NDArray[np.float64]
    ticks: tuple[tuple[float, str], ...] = ()

    @property
    def label(self) -> str:
        """For the axis of a figure."""
        return f"{self.name} ({self.unit})"


@dataclass(frozen=True)
class Cut:
    """A cut through one run of a spectrum.

    Attributes
    ----------
    axis : CutAxis
    ei : float
        Incident energy of the run, meV.
    region : dict
        Of each other axis (low, high), what was averaged over.
    units : dict
        Of those axes.
    chosen : tuple of str
        Axes whose region was not given, but chosen where the candidates differ most.
    pixels : (n,)
        How many were averaged.
    data, error : (n,)
        NaN where there is no pixel.
    error_source : str
        Where the errors are from.
    candidates : dict of str to (n,)
    """

    axis: CutAxis
    ei: float
    region: dict[str, tuple[float, float]]
    units: dict[str, str]
    chosen: tuple[str, ...]
    pixels: NDArray[np.int64]
    data: NDArray[np.float64]
    error: NDArray[np.float64]
    error_source: str
    candidates: dict[str, NDArray[np.float64]]

    @property
    def chi_square(self) -> dict[str, float]:
        """Mean over points of ((data - candidate) / error)^2; no point is clipped, no parameter counted off."""
        return {
            name: float(np.nanmean(((self.data - values) / self.error) ** 2))
            for name, values in self.candidates.items()
        }

    @property
    def where(self) -> str:
        """The run and the region in words."""
        parts = [f"{name} {low:.3g} to {high:.3g} {self.units[name]}" for name, (low, high) in self.region.items()]
        return f"Ei {self.ei:g} meV, {', '.join(parts)}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "along": self.axis.name,
            "unit": self.axis.unit,
            "ei_meV": self.ei,
            "at": {name: list(ends) for name, ends in self.region.items()},
            "chosen": list(self.chosen),
            "positions": self.axis.positions.tolist(),
            "pixels": self.pixels.tolist(),
            "data": self.data.tolist(),
            "error": self.error.tolist(),
            "error_source": self.error_source,
            "candidates": {
                name: {"chi_square": self.chi_square[name], "values": values.tolist()}
                for name, values in self.candidates.items()
            },
        }


@dataclass(frozen=True)
class _Coordinate:
    """Of every pixel of a run which point of an axis it belongs to, (slices, axis 0, axis 1), and those points."""

    unit: str
    index: NDArray[np.int64]
    positions: NDArray[np.float64]
    widths: NDArray[np.float64]
    strip: int
    ticks: tuple[tuple[float, str], ...] = ()

    def inside(self, low: float, high: float) -> NDArray[np.bool_]:
        """Pixels of the points that lie within a range."""
        return ((self.positions >= low) & (self.positions <= high))[self.index]

    def sums(self, values: NDArray, of: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Sums of values over some pixels, for each point."""
        return np.asarray(np.bincount(self.index[of], values[of], minlength=len(self.positions)), float)


def cut_axes(study: Study) -> tuple[str, ...]:
    """What a study's spectra can be cut along."""
    if isinstance(study.view, MapView):
        return (*(axis.name for axis in study.view.axes), *DIAGONALS, "energy")
    return ("path", "energy")


def cut(
    spectrum: Spectrum,
    matches: Mapping[str, BestMatch],
    along: str,
    ei: float | None = None,
    at: Mapping[str, tuple[float, float]] | None = None,
) -> Cut:
    """Cut a spectrum and every candidate.

    Parameters
    ----------
    spectrum : Spectrum
    matches : mapping of str to BestMatch
        Of each candidate the simulation shown.
    along : str
        One of :func:`cut_axes`.
    ei : float, optional
        Incident energy of the run, meV; that in which the candidates differ most if not given.
    at : mapping of str to (low, high), optional
        Regions of the other axes: r.l.u., meV, or 1/Å along a path. Where one is not given, a strip of few pixels is
        taken where the candidates, not the data, differ most in units of the noise.

    Raises
    ------
    SpectrumError
        If there is no such axis, run or region, or no pixel with a detector in it.
    """
    study, at = spectrum.study, at or {}
    others, runs = check_cut(study, along, ei, at)
    errors, source = pixel_errors(spectrum)
    fitted = {name: found.match.fitted for name, found in matches.items()}
    usable = np.isfinite(errors) & _compared(study, matches)
    telling = np.where(usable, _difference(study, fitted) / np.where(usable, errors, 1) ** 2, 0)
    found = []
    for run in runs:
        coordinates = _coordinates(study, run, (along, *others))
        region, inside = _region(coordinates, others, at, telling[run], usable[run])
        found.append((float(telling[run][inside].sum()), bool(inside.any()), run, coordinates, region, inside))
    _, any_pixel, run, coordinates, region, inside = max(found, key=lambda entry: (entry[1], entry[0]))
    if not any_pixel:
        raise SpectrumError(
            f"no pixel with a detector lies there: {along} at "
            + ", ".join(f"{name} {low:g} to {high:g} {coordinates[name].unit}" for name, (low, high) in region.items())
        )
    axis = coordinates[along]
    number = axis.sums(np.ones(inside.shape), inside)
    count = np.where(number > 0, number, np.nan)
    return Cut(
        axis=CutAxis(along, axis.unit, axis.positions, axis.ticks),
        ei=study.runs[run].ei,
        region=region,
        units={name: coordinates[name].unit for name in others},
        chosen=tuple(name for name in others if name not in at),
        pixels=number.astype(int),
        data=axis.sums(spectrum.signal[run], inside) / count,
        error=np.sqrt(axis.sums(errors[run] ** 2, inside)) / count,
        error_source=source,
        candidates={name: axis.sums(values[run], inside) / count for name, values in fitted.items()},
    )


def telling_cuts(spectrum: Spectrum, matches: Mapping[str, BestMatch]) -> tuple[Cut, ...]:
    """Where the candidates differ most: along each axis of Q, the diagonal of maps, and energy."""
    view = spectrum.study.view
    axes = (*(a.name for a in view.axes), "diagonal", "energy") if isinstance(view, MapView) else ("path", "energy")
    out = []
    for name in axes:
        try:
            out.append(cut(spectrum, matches, name))
        except SpectrumError:
            # too few pixels to compare anywhere
            continue
    return tuple(out)


def cut_ranges(study: Study, along: str, ei: float) -> dict[str, tuple[float, float, str]]:
    """Of each axis that a cut averages over, from where to where there are pixels, and in which unit.

    Raises
    ------
    SpectrumError
        If there is no such axis or run.
    """
    others, runs = check_cut(study, along, ei)
    out = {}
    for name, axis in _coordinates(study, runs[0], others).items():
        low, high = axis.positions[0] - axis.widths[0] / 2, axis.positions[-1] + axis.widths[-1] / 2
        out[name] = float(low), float(high), axis.unit
    return out


def check_cut(
    study: Study, along: str, ei: float | None = None, at: Mapping[str, tuple[float, float]] | None = None
) -> tuple[tuple[str, ...], list[int]]:
    """The axes that a cut averages over, and the runs it may be through; raises what :func:`cut` would of names."""
    others = _others(study, along)
    for name in at or {}:
        if name not in others:
            raise SpectrumError(
                f"a cut along {along} cannot be taken at `{name}`; it averages over {' and '.join(others)}"
            )
    return others, _runs(study, ei)


def pixel_errors(spectrum: Spectrum) -> tuple[NDArray[np.float64], str]:
    """One standard deviation of every pixel (runs, slices, axis 0, axis 1), and where that is from.

    The spectrum's own where it has them; otherwise the scatter of neighbours in each tile
    (:func:`magnoscope.trust.match.tile_noise`). NaN where there is none to divide by: without a detector, in a tile of
    too few pixels or of no scatter at all (a simulation where no mode reaches), where a file's error is zero.
    """
    if spectrum.error is not None:
        return _to_divide_by(spectrum.error, spectrum), "the spectrum's own errors"
    view = spectrum.study.view
    signal, valid = view.as_tiles(spectrum.signal), view.as_tiles(spectrum.valid)
    out = np.empty(signal.shape)
    for place in np.ndindex(*signal.shape[:2]):
        out[place] = tile_noise(signal[place], valid[place])
    return _to_divide_by(view.from_tiles(out), spectrum), "the scatter of neighbouring pixels in each tile"


def _to_divide_by(errors: NDArray[np.float64], spectrum: Spectrum) -> NDArray[np.float64]:
    return np.where(spectrum.valid & (errors > 0), errors, np.nan)


def _others(study: Study, along: str) -> tuple[str, ...]:
    """The axes that a cut averages over."""
    if along not in cut_axes(study):
        raise SpectrumError(
            f"a spectrum of study {study.name} cannot be cut along `{along}`; it has {', '.join(cut_axes(study))}"
        )
    if not isinstance(study.view, MapView):
        return ("energy",) if along == "path" else ("path",)
    if along in DIAGONALS:
        return (*(name for name in DIAGONALS if name != along), "energy")
    return tuple(name for name in cut_axes(study) if name not in (along, *DIAGONALS))


def _runs(study: Study, ei: float | None) -> list[int]:
    """Runs of an incident energy, all without one."""
    runs = [n for n, run in enumerate(study.runs) if ei is None or abs(run.ei - ei) < SAME_EI * run.ei]
    if not runs:
        raise SpectrumError(
            f"study {study.name} has no run with Ei = {ei:g} meV; it has "
            + ", ".join(f"{run.ei:g}" for run in study.runs)
        )
    return runs


def _compared(study: Study, matches: Mapping[str, BestMatch]) -> NDArray[np.bool_]:
    """Pixels of tiles in which all candidates were compared."""
    tiles = np.all([np.isfinite(found.match.per_tile) for found in matches.values()], axis=0)
    shape = study.view.as_tiles(np.empty(study.shape)).shape
    return study.view.from_tiles(np.broadcast_to(tiles[..., None, None], shape))


def _difference(study: Study, fitted: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Variance between candidates; of one alone, its variation within each tile."""
    values = np.stack(list(fitted.values()))
    if len(values) > 1:
        return values.var(0)
    tiles = study.view.as_tiles(values[0])
    return study.view.from_tiles((tiles - tiles.mean((2, 3), keepdims=True)) ** 2)


def _coordinates(study: Study, run: int, names: tuple[str, ...]) -> dict[str, _Coordinate]:
    shape = study.view.shape
    places = np.indices(shape)
    edges = study.energy_edges[run]
    maps = isinstance(study.view, MapView)
    out = {}
    for name in names:
        if name == "energy":
            middles = (edges[1:] + edges[:-1]) / 2
            out[name] = _Coordinate("meV", places[0], middles, np.diff(edges), 1 if maps else STRIP)
        elif name in DIAGONALS:
            out[name] = _diagonal(study.maps, places, DIAGONALS[name])
        elif maps:
            number = [axis.name for axis in study.maps.axes].index(name)
            axis = study.maps.axes[number]
            widths = np.full(axis.points, axis.width)
            out[name] = _Coordinate("r.l.u.", places[1 + number], axis.centres, widths, STRIP)
        else:
            path = study.path
            widths = np.concatenate([np.full(s.points, s.width) for s in path.segments])
            ends = np.cumsum([0.0, *(s.length for s in path.segments)])
            ticks = tuple((float(at), name) for at, (_, name) in zip(ends, path.named_points(), strict=True))
            out[name] = _Coordinate("1/Å", places[1], path.distances, widths, STRIP, ticks)
    return out


def _diagonal(view: MapView, places: NDArray[np.int64], sign: float) -> _Coordinate:
    """The share t of pixels along (t, sign t), in points as wide as the wider pixel."""
    x, y = (axis.centres[place] for axis, place in zip(view.axes, places[1:], strict=True))
    t = (x + sign * y) / 2
    step = max(axis.width for axis in view.axes)
    # pixels lie at every half step: a quarter keeps rounding from parting equal ones
    index = np.floor((t - t.min()) / step + 0.25).astype(int)
    number = np.bincount(index.ravel())
    sums = np.bincount(index.ravel(), t.ravel())
    return _Coordinate("r.l.u.", index, sums / np.maximum(number, 1), np.full(len(number), step), STRIP)


def _region(
    coordinates: dict[str, _Coordinate],
    others: tuple[str, ...],
    at: Mapping[str, tuple[float, float]],
    telling: NDArray[np.float64],
    usable: NDArray[np.bool_],
) -> tuple[dict[str, tuple[float, float]], NDArray[np.bool_]]:
    """Ranges of the other axes, given or chosen one after the other, and the pixels inside."""
    inside, region = usable, dict(at)
    for name, (low, high) in at.items():
        inside = inside & coordinates[name].inside(low, high)
    # the slice first, then a strip in it
    for name in sorted(set(others) - set(at), key=lambda n: (n != "energy", others.index(n))):
        axis = coordinates[name]
        strip = min(axis.strip, len(axis.positions))
        first = int(np.convolve(axis.sums(telling, inside), np.ones(strip), "valid").argmax())
        last = first + strip - 1
        low, high = axis.positions[first] - axis.widths[first] / 2, axis.positions[last] + axis.widths[last] / 2
        region[name] = float(low), float(high)
        inside = inside & axis.inside(low, high)
    return {name: region[name] for name in others}, inside
