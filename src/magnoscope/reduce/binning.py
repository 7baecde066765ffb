"""Which pixel of a study's view a wave vector and an energy transfer fall into."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..study import MapView, Study

EDGE = 1e-6
"""What lies this share of a pixel below an edge counts as on it: rounding must not move what is binned there."""


@dataclass(frozen=True)
class MapBins:
    """Bins of a run of maps: the coordinates along the two axes shown, the hidden one integrated.

    Attributes
    ----------
    to_view : (3, 3)
        Takes r.l.u. to coordinates along the two axes and the hidden direction: ``hkl @ to_view``.
    starts, widths, counts : (2,)
        Lower edge, width and number of the pixels along each axis.
    energies : (slices + 1,) meV
    """

    to_view: NDArray[np.float64]
    starts: tuple[float, float]
    widths: tuple[float, float]
    counts: tuple[int, int]
    energies: NDArray[np.float64]

    @property
    def size(self) -> int:
        """Number of pixels of a run."""
        return (len(self.energies) - 1) * self.counts[0] * self.counts[1]

    def __call__(self, hkl: NDArray[np.float64], energy: NDArray[np.float64]) -> NDArray[np.int64]:
        """The pixel of each point, counted through (slices, axis 0, axis 1); -1 outside.

        Parameters
        ----------
        hkl : (n, 3) r.l.u.
        energy : (n,) meV
        """
        index = self.slices(energy)
        inside = index >= 0
        for axis in range(2):
            place = (hkl @ self.to_view[:, axis] - self.starts[axis]) / self.widths[axis] + EDGE
            # NaN compares false
            inside &= (place >= 0) & (place < self.counts[axis])
            index = index * self.counts[axis] + np.where(inside, place, 0).astype(np.int64)
        return np.where(inside, index, -1)

    def slices(self, energy: NDArray[np.float64]) -> NDArray[np.int64]:
        """The slice of each energy transfer (meV); -1 outside."""
        step = self.energies[1:] - self.energies[:-1]
        shifted = self.energies - EDGE * np.append(step, step[-1])
        found = np.searchsorted(shifted, energy, side="right") - 1
        return np.where((found >= 0) & (found < len(step)), found, -1)

    def hidden(self, hkl: NDArray[np.float64]) -> NDArray[np.float64]:
        """Coordinate along the hidden direction of each point, r.l.u."""
        return np.asarray(hkl @ self.to_view[:, 2], float)


def run_bins(study: Study, number: int) -> MapBins:
    """The bins of one run of a study's view.

    Raises
    ------
    DataError
        If nothing can be reduced into this kind of view.
    """
    view = study.view
    if not isinstance(view, MapView):
        raise DataError(f"study {study.name} has a view into which nothing can be binned yet; maps can be")
    axes = np.array([*(a.direction for a in view.axes), view.hidden_direction], float)
    x, y = view.axes
    return MapBins(
        np.linalg.inv(axes),
        (x.start - x.width / 2, y.start - y.width / 2),
        (x.width, y.width),
        (x.points, y.points),
        view.energy_edges(study.runs[number].ei),
    )
