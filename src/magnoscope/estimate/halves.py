"""The same fit to disjoint halves of the data: whether they differ by no more than their errors say."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SpectrumError
from ..spectrum import Spectrum

FIELD = 4
"""Pixels along a side of a field."""

Refit = Callable[[Spectrum], tuple[NDArray[np.float64], NDArray[np.float64]]]
"""From a spectrum to values and errors of the parameters, (n_parameters,) meV each."""


@dataclass(frozen=True)
class Halves:
    """What two halves of the data want.

    Attributes
    ----------
    name : str
        How the data were halved.
    values, errors : (2, n_parameters) meV
    """

    name: str
    values: NDArray[np.float64]
    errors: NDArray[np.float64]

    @property
    def differences(self) -> NDArray[np.float64]:
        """Of the two, in units of the error of their difference: unit normal if the errors hold, (n_parameters,)."""
        return (self.values[0] - self.values[1]) / np.hypot(*self.errors)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "halves": self.name,
            "values": self.values.tolist(),
            "errors": self.errors.tolist(),
            "differences_in_errors": self.differences.tolist(),
        }


def ways_of(spectrum: Spectrum) -> dict[str, NDArray[np.bool_]]:
    """Ways to halve a spectrum: name to what belongs to the first half, (runs, slices, x, y).

    Every other run, where there are two or more; fields of pixels like a chessboard; either side of the middle of an
    axis along which the view may be mirrored.
    """
    runs, _, *axes = np.indices(spectrum.signal.shape)
    tiles = spectrum.study.view.as_tiles(np.zeros(spectrum.signal.shape))
    rows, columns = np.indices(tiles.shape)[2:]
    # fields of several pixels, because the noise of a tile is found from neighbours
    chessboard = spectrum.study.view.from_tiles((rows // FIELD + columns // FIELD) % 2 == 0)
    ways = {"every other run": runs % 2 == 0, "fields of pixels": chessboard}
    for axis in spectrum.study.view.mirrors:
        ways[f"mirror images along axis {axis}"] = axes[axis] < spectrum.signal.shape[2 + axis] // 2
    return {name: first for name, first in ways.items() if first.any() and not first.all()}


def halves_of(spectrum: Spectrum, refit: Refit) -> tuple[Halves, ...]:
    """Refit to halves of a spectrum; ways that leave a half too small to be fitted are left out."""
    out = []
    for name, first in ways_of(spectrum).items():
        try:
            pairs = [refit(spectrum.masked(chosen)) for chosen in (~first, first)]
        except SpectrumError:
            continue
        values, errors = (np.stack(rows) for rows in zip(*pairs, strict=True))
        out.append(Halves(name, values, errors))
    return tuple(out)
