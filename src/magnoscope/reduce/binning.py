"""Which pixels of a study's view a wave vector and an energy transfer fall into."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..study import Study
from ..views import MapView, PathView

EDGE = 1e-6
"""What lies this share of a pixel below an edge counts as on it: rounding must not move what is binned there."""


@dataclass(frozen=True)
class Box:
    """Straight coordinates of Q in which a piece of a view is a box of equal pixels.

    Attributes
    ----------
    origin : (3,) r.l.u.
    to_box : (3, 3)
        Takes r.l.u. to the coordinates: ``(hkl - origin) @ to_box``.
    starts, widths : (3,)
        Lower edge and width of the pixels along each coordinate.
    counts : (3,) of int
        Number of pixels along each; 1 where the box is integrated, 0 where it is integrated without limits.
    """

    origin: NDArray[np.float64]
    to_box: NDArray[np.float64]
    starts: tuple[float, float, float]
    widths: tuple[float, float, float]
    counts: tuple[int, int, int]

    def pixels(self, hkl: NDArray[np.float64]) -> NDArray[np.int64]:
        """The pixel of each point (n, 3), counted through the coordinates; -1 outside."""
        index = np.zeros(len(hkl), np.int64)
        inside = np.ones(len(hkl), bool)
        for axis in (a for a in range(3) if self.counts[a]):
            # NaN compares false
            place = (hkl @ self.to_box[:, axis] - self.origin @ self.to_box[:, axis] - self.starts[axis]) / (
                self.widths[axis]
            ) + EDGE
            inside &= (place >= 0) & (place < self.counts[axis])
            index = index * self.counts[axis] + np.where(inside, place, 0).astype(np.int64)
        return np.where(inside, index, -1)

    @property
    def size(self) -> int:
        """Number of pixels."""
        return int(np.prod([max(1, n) for n in self.counts]))


@dataclass(frozen=True)
class RunBins:
    """The bins of one run of a view: slices of energy transfer, each of the same boxes of Q one after the other.

    Attributes
    ----------
    boxes : tuple of Box
    energies : (slices + 1,) meV
    """

    boxes: tuple[Box, ...]
    energies: NDArray[np.float64]

    @property
    def size(self) -> int:
        """Number of pixels of the run, counted through (slices, axis 0, axis 1)."""
        return (len(self.energies) - 1) * sum(box.size for box in self.boxes)

    def places(self, hkl: NDArray[np.float64], energy: NDArray[np.float64]) -> list[NDArray[np.int64]]:
        """For every box the pixel of each point, -1 outside; boxes may overlap, so that a point can be in several.

        Parameters
        ----------
        hkl : (n, 3) r.l.u.
        energy : (n,) meV
        """
        slices, out, before = self.slices(energy), [], 0
        row = sum(box.size for box in self.boxes)
        for box in self.boxes:
            pixel = box.pixels(hkl)
            out.append(np.where((pixel >= 0) & (slices >= 0), slices * row + before + pixel, -1))
            before += box.size
        return out

    def slices(self, energy: NDArray[np.float64]) -> NDArray[np.int64]:
        """The slice of each energy transfer (meV); -1 outside."""
        step = np.diff(self.energies)
        shifted = self.energies - EDGE * np.append(step, step[-1])
        found = np.searchsorted(shifted, energy, side="right") - 1
        return np.where((found >= 0) & (found < len(step)), found, -1)


def run_bins(study: Study, number: int) -> RunBins:
    """The bins of one run of a study's view, be it of maps or along a path."""
    view = study.view
    boxes = (_map_box(view),) if isinstance(view, MapView) else _path_boxes(view, study)
    return RunBins(boxes, view.energy_edges(study.runs[number].ei))


def _map_box(view: MapView) -> Box:
    axes = np.array([*(a.direction for a in view.axes), view.hidden_direction], float)
    x, y = view.axes
    return Box(
        np.zeros(3),
        np.linalg.inv(axes),
        (x.start - x.width / 2, y.start - y.width / 2, 0.0),
        (x.width, y.width, 1.0),
        (x.points, y.points, 0),
    )


def _path_boxes(view: PathView, study: Study) -> tuple[Box, ...]:
    """A box for each segment: along it (in shares of it), across (1/Å) and along the normal (in units of it)."""
    normal = study.lattice.to_cartesian(view.normal)
    out = []
    for segment in view.segments:
        along = study.lattice.to_cartesian(np.subtract(segment.end, segment.start))
        across = np.cross(normal, along)
        axes = np.stack([along, across / np.linalg.norm(across), normal])
        out.append(
            Box(
                np.array(segment.start, float),
                study.lattice.reciprocal @ np.linalg.inv(axes),
                (0.0, -view.across / 2, -view.normal_width / 2),
                (1 / segment.points, view.across, view.normal_width),
                (segment.points, 1, 1),
            )
        )
    return tuple(out)
