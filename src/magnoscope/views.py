"""Views: what part of (Q, energy transfer) a study looks at, and how that is laid out in arrays.

A view of either kind is an array (slices, axis 0, axis 1) for each run: energy transfer first, then Q. Maps have few
slices of two axes of Q; a path has many energy bins of one axis, so that axis 1 has length one. What is compared,
scaled and drawn as one picture is a tile: a slice of a map, all of a path. Everything that depends on the kind of view,
but for the physics, is here.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Axis:
    """One axis of Q that a map shows: direction in r.l.u. and pixel centres from ``start`` to ``stop``."""

    name: str
    direction: tuple[float, float, float]
    start: float
    stop: float
    points: int

    @property
    def centres(self) -> NDArray[np.float64]:
        """Pixel centres, (points,)."""
        return np.linspace(self.start, self.stop, self.points)

    @property
    def width(self) -> float:
        """Width of a pixel."""
        return (self.stop - self.start) / (self.points - 1)


@dataclass(frozen=True)
class Edge:
    """One edge of a tile as it is drawn: what it shows in which unit, from where to where, and named places on it."""

    name: str
    unit: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...] = ()

    @property
    def label(self) -> str:
        """For the axis of a figure."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


@dataclass(frozen=True)
class MapView:
    """Constant-energy maps: one tile for each run and slice of energy transfer.

    Attributes
    ----------
    axes : (Axis, Axis)
        Shown along axis 0 and axis 1 of a tile.
    hidden_name, hidden_direction
        The direction of Q (r.l.u.) that kinematics fixes.
    energy_fractions : (n_slices + 1,)
        Edges of the slices in units of Ei.
    """

    axes: tuple[Axis, Axis]
    hidden_name: str
    hidden_direction: tuple[float, float, float]
    energy_fractions: tuple[float, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(slices, axis 0, axis 1)."""
        return len(self.energy_fractions) - 1, self.axes[0].points, self.axes[1].points

    @property
    def mirrors(self) -> tuple[int, ...]:
        """Axes of Q (0, 1) that are symmetric about zero, so that a map may be mirrored."""
        return tuple(n for n, a in enumerate(self.axes) if abs(a.start + a.stop) < 1e-9 * (a.stop - a.start))

    @property
    def size(self) -> str:
        """The tiles of a run in words."""
        return "{} slices of {} x {}".format(*self.shape)

    @property
    def layout(self) -> str:
        """The flat image in words."""
        return "a row of tiles for each run, a column for each slice"

    def energy_edges(self, ei: float) -> NDArray[np.float64]:
        """Edges of the slices of a run, (n_slices + 1,) meV."""
        return np.array(self.energy_fractions) * ei

    def coordinates(self) -> dict[str, NDArray]:
        """What a file of a spectrum says of the axes of Q."""
        return {axis.name: axis.centres for axis in self.axes}

    def as_tiles(self, array: NDArray) -> NDArray:
        """From (runs, slices, axis 0, axis 1) to (runs, tiles, rows, columns)."""
        return array

    def from_tiles(self, tiles: NDArray) -> NDArray:
        """The reverse of :meth:`as_tiles`."""
        return tiles

    def tile_energies(self, ei: float, tile: int) -> tuple[float, float]:
        """Range of energy transfer of a tile, meV."""
        low, high = self.energy_edges(ei)[tile : tile + 2]
        return float(low), float(high)

    def tile_edges(self, ei: float) -> tuple[Edge, Edge]:
        """How the rows and the columns of a tile are drawn."""
        rows, columns = (Edge(a.name, "r.l.u.", a.start - a.width / 2, a.stop + a.width / 2) for a in self.axes)
        return rows, columns


@dataclass(frozen=True)
class Segment:
    """A straight piece of a path: its ends (r.l.u.) with their names, its pixels and its length (1/Å)."""

    start: tuple[float, float, float]
    end: tuple[float, float, float]
    labels: tuple[str, str]
    points: int
    length: float

    @property
    def width(self) -> float:
        """Length of a pixel, 1/Å."""
        return self.length / self.points


@dataclass(frozen=True)
class PathView:
    """Cuts along a path in Q against energy transfer, averaged over a box across the path; one tile for each run.

    Attributes
    ----------
    segments : tuple of Segment
        Pixels fill each from end to end, so that the named points lie on edges of pixels. Where a segment does not
        begin where the last one ended, another path begins.
    across : float
        Full width of the box at right angles to the path and to ``normal``, 1/Å.
    normal : (3,) r.l.u.
    normal_width : float
        Full width of the box along ``normal``, in units of it.
    energies : (n_bins + 1,) meV
        Edges of the energy bins, the same for every run.
    detectors : ((low, high), (low, high)) degrees, or None
        Horizontal and vertical angles of scattering that the detectors cover; all if None.
    """

    segments: tuple[Segment, ...]
    across: float
    normal: tuple[float, float, float]
    normal_width: float
    energies: tuple[float, ...]
    detectors: tuple[tuple[float, float], tuple[float, float]] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(energy bins, points of the path, 1)."""
        return len(self.energies) - 1, sum(s.points for s in self.segments), 1

    @property
    def hidden_name(self) -> str:
        """What kinematics fixes: the angle by which the crystal has turned, degrees."""
        return "psi"

    @property
    def mirrors(self) -> tuple[int, ...]:
        """None: a path has a sense."""
        return ()

    @property
    def size(self) -> str:
        """The tile of a run in words."""
        return "{} energy bins at {} points of a path".format(*self.shape)

    @property
    def layout(self) -> str:
        """The flat image in words."""
        return "the points of the path for each run in turn as rows, the energy bins as columns"

    def energy_edges(self, ei: float) -> NDArray[np.float64]:
        """Edges of the energy bins, (n_bins + 1,) meV."""
        return np.array(self.energies)

    @cached_property
    def centres(self) -> NDArray[np.float64]:
        """Pixel centres, (points, 3) r.l.u."""
        parts = []
        for s in self.segments:
            share = (np.arange(s.points)[:, None] + 0.5) / s.points
            parts.append(np.array(s.start) + share * (np.array(s.end) - np.array(s.start)))
        return np.concatenate(parts)

    @cached_property
    def distances(self) -> NDArray[np.float64]:
        """Pixel centres as the length of path before them, (points,) 1/Å."""
        ends = np.cumsum([0.0, *(s.length for s in self.segments)])
        return np.concatenate(
            [end + (np.arange(s.points) + 0.5) * s.width for end, s in zip(ends, self.segments, strict=False)]
        )

    def slices_of(self) -> list[slice]:
        """Which pixels belong to each segment."""
        ends = np.cumsum([0, *(s.points for s in self.segments)])
        return [slice(int(a), int(b)) for a, b in zip(ends[:-1], ends[1:], strict=True)]

    def named_points(self) -> tuple[tuple[float, str], ...]:
        """Pixel edges with a name, counted in pixels; where one path ends and another begins, both names."""
        ticks, edge = [(0.0, self.segments[0].labels[0])], 0
        for number, segment in enumerate(self.segments):
            edge += segment.points
            following = self.segments[number + 1 : number + 2]
            names = [segment.labels[1], *(s.labels[0] for s in following if s.start != segment.end)]
            ticks.append((float(edge), "|".join(names)))
        return tuple(ticks)

    def coordinates(self) -> dict[str, NDArray]:
        """What a file of a spectrum says of the axis of Q."""
        h, k, ell = self.centres.T
        return {"h": h, "k": k, "l": ell, "distance": self.distances}

    def as_tiles(self, array: NDArray) -> NDArray:
        """From (runs, energy bins, points, 1) to (runs, 1, energy bins, points)."""
        return np.moveaxis(array, 3, 1)

    def from_tiles(self, tiles: NDArray) -> NDArray:
        """The reverse of :meth:`as_tiles`."""
        return np.moveaxis(tiles, 1, 3)

    def tile_energies(self, ei: float, tile: int) -> tuple[float, float]:
        """Range of energy transfer of a tile, meV."""
        return self.energies[0], self.energies[-1]

    def tile_edges(self, ei: float) -> tuple[Edge, Edge]:
        """How the rows (energy transfer) and the columns (the path, in pixels) of a tile are drawn."""
        points = self.shape[1]
        return (
            Edge("energy transfer", "meV", self.energies[0], self.energies[-1]),
            Edge("path in Q", "", 0.0, float(points), self.named_points()),
        )


View = MapView | PathView
