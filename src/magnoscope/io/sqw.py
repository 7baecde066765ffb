"""Horace's .sqw and dnd files, versions 2 and 3: one binary layout, read by our own reader.

Layout (all little-endian): the word ``horace``, version, type (0: histogram alone, 1: with pixels), dimensions; then
for type 1 the main header, a header for every contributing run and the detectors; then the histogram and, for type 1,
nine single-precision numbers a pixel: three of wave vector (1/Å, crystal frame) and energy transfer (meV), the numbers
of run, detector and energy bin, signal and its variance. Version 4 is in :mod:`.sqw4`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..crystal import Lattice
from ..errors import DataError
from .binary import Cursor
from .histogram import MOST_BINS, Histogram, HistogramAxis, make_histogram

MAGIC = b"\x06\x00\x00\x00horace"
DIRECT = 1
"""Value of ``emode`` for direct geometry."""
MOST_RUNS = 100_000
PIXEL = 36
"""Bytes of a pixel."""


@dataclass(frozen=True)
class SqwRun:
    """One contributing run: its energy (meV), angle (degrees) and what takes its pixels to r.l.u., (3, 3)."""

    ei: float
    psi: float
    to_hkl: NDArray[np.float64]
    u: tuple[float, float, float]
    v: tuple[float, float, float]
    lattice: Lattice


@dataclass(frozen=True)
class Sqw:
    """What a .sqw file holds.

    Attributes
    ----------
    version : float
    title : str
    runs : tuple of SqwRun
        Empty in a file of a histogram alone.
    histogram : Histogram
    pixel_start, pixels : int
        Where the pixels start in the file, and how many there are.
    """

    path: Path
    version: float
    title: str
    runs: tuple[SqwRun, ...]
    histogram: Histogram
    pixel_start: int
    pixels: int

    def chunks(self, size: int, start: int = 0) -> Iterator[NDArray[np.float32]]:
        """Pixels as (up to ``size``, 9) single precision, from pixel ``start`` on."""
        if not self.pixels:
            return
        table = np.memmap(self.path, "<f4", "r", self.pixel_start, (self.pixels, 9))
        for first in range(start, self.pixels, size):
            yield np.array(table[first : first + size])


def read_sqw(path: str | Path) -> Sqw:
    """A Horace file of version 2, 3 or 4.

    Raises
    ------
    DataError
        If it is damaged, of another version, or of indirect geometry.
    """
    from .sqw4 import read_version_4

    cursor = Cursor(Path(path))
    if bytes(cursor.array("u1", min(10, cursor.left))) != MAGIC:
        raise DataError(f"{path} is no Horace file: it does not start with the word horace")
    version = cursor.double()
    kind, dimensions = cursor.integer(), cursor.integer()
    if kind not in (0, 1) or not 0 <= dimensions <= 4:
        raise cursor.damaged(f"names the type {kind} and {dimensions} dimensions")
    if version == 4:
        return read_version_4(cursor, kind == 1)
    if not 2 <= version < 4:
        raise DataError(
            f"{path} is of Horace's version {version:g}; versions 2, 3 and 4 are read, save it again in Horace"
        )
    runs, title = _headers(cursor, version) if kind else ((), "")
    return _data(cursor, version, runs, title, kind == 1)


def _headers(cursor: Cursor, version: float) -> tuple[tuple[SqwRun, ...], str]:
    """Main header, headers of the runs, detectors (skipped)."""
    cursor.text(), cursor.text()
    title, count = cursor.text(), cursor.integer()
    if not 0 < count <= MOST_RUNS:
        raise cursor.damaged(f"announces {count} runs")
    runs = tuple(_run(cursor, version) for _ in range(count))
    cursor.text(), cursor.text()
    detectors = cursor.integer()
    cursor.array("<f4", 6 * detectors)
    return runs, title


def _run(cursor: Cursor, version: float) -> SqwRun:
    cursor.text(), cursor.text()
    # versions 3.2 and 3.21 allow for a fixed energy of each detector
    ei = cursor.numbers("<f4", cursor.integer() if version in (3.2, 3.21) else 1)
    mode = cursor.integer()
    if mode != DIRECT or len(ei) != 1:
        raise DataError(f"{cursor.path} is of indirect or no geometry; direct geometry (emode 1) is needed")
    lattice = make_lattice(cursor, cursor.numbers("<f4", 6))
    u, v = cursor.numbers("<f4", 3), cursor.numbers("<f4", 3)
    psi = cursor.numbers("<f4", 5)[0]
    cursor.array("<f4", cursor.integer())
    cursor.numbers("<f4", 4)
    to_hkl = cursor.numbers("<f4", 16).reshape(4, 4).T[:3, :3]
    cursor.numbers("<f4", 4)
    _labels(cursor)
    if not (np.isfinite(ei).all() and ei[0] > 0 and np.isfinite(to_hkl).all()):
        raise cursor.damaged("holds a run without a finite energy or projection")
    return SqwRun(float(ei[0]), float(np.degrees(psi)), to_hkl, vector(u), vector(v), lattice)


def vector(values: NDArray) -> tuple[float, float, float]:
    """Three numbers as a tuple."""
    return float(values[0]), float(values[1]), float(values[2])


def make_lattice(cursor: Cursor, values: NDArray) -> Lattice:
    """A lattice from three lengths and three angles."""
    if not (np.isfinite(values).all() and (values[:3] > 0).all() and ((values[3:] > 0) & (values[3:] < 180)).all()):
        raise cursor.damaged("holds a lattice that is none")
    return Lattice(*(float(v) for v in values))


def _labels(cursor: Cursor) -> list[str]:
    """Labels of the axes, a table of characters stored by columns."""
    rows, columns = cursor.integer(), cursor.integer()
    if not (0 <= rows <= 4 and 0 <= columns <= 1000):
        raise cursor.damaged(f"announces a table of {rows} x {columns} characters")
    table = bytes(cursor.array("u1", rows * columns)).decode("utf-8", "replace")
    return [table[i::rows].strip() for i in range(rows)] if len(table) == rows * columns else [""] * rows


def _data(cursor: Cursor, version: float, runs: tuple[SqwRun, ...], title: str, with_pixels: bool) -> Sqw:
    """The block of the histogram, and where the pixels are."""
    cursor.text(), cursor.text()
    title = cursor.text() or title
    lattice = make_lattice(cursor, cursor.numbers("<f4", 6))
    offset = cursor.numbers("<f4", 4)
    projection = cursor.numbers("<f4", 16).reshape(4, 4).T
    cursor.numbers("<f4", 4)
    labels = [*_labels(cursor), "u1", "u2", "u3", "u4"]
    axes = _axes(cursor, projection, offset, labels)
    shape = tuple(axis.bins for axis in axes)
    bins = int(np.prod(shape, dtype=object))
    if bins > MOST_BINS:
        raise DataError(
            f"{cursor.path} has {bins} bins; at most {MOST_BINS} are read, cut it to the study's view first"
        )
    signal, variance = (cursor.numbers("<f4", bins).reshape(shape, order="F") for _ in range(2))
    npix = cursor.numbers("<i8", bins).reshape(shape, order="F") if cursor.left else None
    start = pixels = 0
    if with_pixels and cursor.left:
        cursor.array("<f4", 8)
        cursor.integer()
        pixels, start = cursor.integer("<i8"), cursor.at
        if pixels < 0 or pixels * PIXEL > cursor.left:
            raise cursor.damaged(f"announces {pixels} pixels, {cursor.left} bytes are left")
    lacks = () if runs else ("Ei and psi: a histogram alone does not name them",)
    histogram = make_histogram(
        cursor.path,
        f"Horace histogram, version {version:g}",
        axes,
        signal,
        variance,
        npix,
        offset=offset[:3],
        lattice=lattice,
        ei=tuple(sorted({run.ei for run in runs})),
        psi=tuple(sorted({run.psi for run in runs})),
        lacks=lacks,
    )
    return Sqw(cursor.path, version, title, runs, histogram, start, pixels)


def _axes(cursor: Cursor, projection: NDArray, offset: NDArray, labels: list[str]) -> tuple[HistogramAxis, ...]:
    """The four axes in the order of the projection: shown ones with their bins, integrated ones as one bin."""
    shown = cursor.integer()
    if not 0 <= shown <= 4:
        raise cursor.damaged(f"announces {shown} axes")
    edges: dict[int, NDArray] = {}
    if shown < 4:
        numbers = cursor.array("<i4", 4 - shown)
        ranges = cursor.numbers("<f4", 2 * (4 - shown)).reshape(-1, 2)
        edges |= {int(number): limits for number, limits in zip(numbers, ranges, strict=True)}
    if shown:
        numbers = cursor.array("<i4", shown)
        for number in numbers:
            edges[int(number)] = cursor.numbers("<f4", cursor.integer())
        cursor.array("<i4", shown)
    if sorted(edges) != [1, 2, 3, 4] or min(map(len, edges.values())) < 2:
        raise cursor.damaged("does not name each of its four axes once, each with two edges or more")
    axes = []
    for number in range(1, 5):
        direction = None if number == 4 else projection[:3, number - 1]
        shift = offset[3] if number == 4 else 0.0
        axes.append(HistogramAxis(labels[number - 1], direction, edges[number] + shift))
    return tuple(axes)
