"""Exchange, single-ion and field terms of a study file as matrices that are linear in the parameters."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..crystal import Lattice
from ..symmetry.tensors import cross_matrix
from .expressions import linear
from .magnet_schema import ExchangeTable

SQUARE = 1e-3
"""How far from 0 the cosine between two of three perpendicular axes may be: they may be typed with four digits."""
ACROSS = 0.25
"""Largest cosine between a bond and the Kitaev axis it belongs to."""

Number = float | str
Exchange = float | str | list[list[float | str]] | ExchangeTable


@dataclass(frozen=True)
class Frame:
    """What the components of a vector in a study file are along: rows (3, 3) of Cartesian unit vectors."""

    rows: NDArray[np.float64]

    @classmethod
    def named(cls, name: str, lattice: Lattice) -> "Frame":
        """``"cartesian"``, the frame of the lattice; or ``"crystal"``, unit vectors along a, b and c."""
        direct = lattice.direct
        return cls(direct / np.linalg.norm(direct, axis=1, keepdims=True) if name == "crystal" else np.eye(3))

    def vector(self, components: Sequence[float]) -> NDArray[np.float64]:
        """A vector in the Cartesian frame, (3,)."""
        return np.asarray(np.asarray(components, float) @ self.rows, float)

    def unit(self, components: Sequence[float]) -> NDArray[np.float64]:
        """Its direction, (3,)."""
        vector = self.vector(components)
        return np.asarray(vector / np.linalg.norm(vector), float)

    def coefficients(self, components: Sequence[Number], names: Sequence[str]) -> NDArray[np.float64]:
        """A vector of expressions, (n_names + 1, 3) Cartesian."""
        return np.asarray(np.stack([linear(x, names) for x in components], -1) @ self.rows, float)


CARTESIAN = Frame(np.eye(3))


def matrix_coefficients(rows: Sequence[Sequence[Number]], names: Sequence[str]) -> NDArray[np.float64]:
    """Three rows of three expressions, (n_names + 1, 3, 3)."""
    return np.stack([np.stack([linear(x, names) for x in row], -1) for row in rows], -2)


def exchange_coefficients(
    value: Exchange, names: Sequence[str], frame: Frame = CARTESIAN, direction: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Any form of an exchange, linear in the parameters.

    Parameters
    ----------
    value : number, expression, 3 x 3 matrix of them, or ExchangeTable
    names : sequence of str
        The parameters.
    frame : Frame
        What vectors are given in; matrices are Cartesian.
    direction : (3,) Cartesian
        Along the bond; tells which of three Kitaev axes it belongs to.

    Returns
    -------
    (n_names + 1, 3, 3)

    Raises
    ------
    ValueError
        If an expression cannot be used, three axes are not perpendicular, or no Kitaev axis fits the bond.
    """
    if isinstance(value, ExchangeTable):
        return _sum_of_forms(value, names, frame, direction)
    if isinstance(value, list):
        return matrix_coefficients(value, names)
    return np.asarray(linear(value, names)[:, None, None] * np.eye(3))


def isotropic(tensors: NDArray[np.float64]) -> bool:
    """Whether tensors (..., 3, 3) are multiples of the unit matrix."""
    return bool(np.allclose(tensors, tensors[..., :1, :1] * np.eye(3), atol=1e-12))


def has_sense(tensors: NDArray[np.float64]) -> bool:
    """Whether it matters from which end a bond with these tensors (..., 3, 3) is read."""
    return not np.allclose(tensors, tensors.swapaxes(-1, -2), atol=1e-12)


def follows_bond(value: Exchange) -> bool:
    """Whether an exchange is another one for a bond of another direction."""
    if not isinstance(value, ExchangeTable) or value.axis is not None:
        return False
    return any(x is not None for x in (value.kitaev, value.gamma, value.gamma_prime))


def _sum_of_forms(
    table: ExchangeTable, names: Sequence[str], frame: Frame, direction: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """The short forms of a table added up, turned from the frame of its ``axes``."""
    axes = CARTESIAN.rows if table.axes is None else _perpendicular([frame.unit(axis) for axis in table.axes])
    own = frame if table.axes is None else CARTESIAN  # what vectors are given in before the axes turn them
    out = np.zeros((len(names) + 1, 3, 3))

    def add(number: Number | None, matrix: NDArray[np.float64]) -> None:
        if number is not None:
            out[:] += linear(number, names)[:, None, None] * matrix

    add(table.heisenberg, np.eye(3))
    if table.xxz is not None:
        along = own.unit(table.axis) if isinstance(table.axis, list) else np.eye(3)["xyz".index(table.axis or "z")]
        add(table.xxz[0], np.eye(3) - np.outer(along, along))
        add(table.xxz[1], np.outer(along, along))
    if table.dm is not None:
        out += cross_matrix(own.coefficients(table.dm, names))
    if table.symmetric is not None:
        xx, yy, zz, yz, xz, xy = table.symmetric
        out += matrix_coefficients([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]], names)
    if table.matrix is not None:
        out += matrix_coefficients(table.matrix, names)
    if any(x is not None for x in (table.kitaev, table.gamma, table.gamma_prime)):
        if isinstance(table.axis, list):
            along = own.unit(table.axis)
            add(table.kitaev, np.outer(along, along))
        else:
            c = "xyz".index(table.axis) if table.axis else _kitaev_axis(axes, direction)
            a, b = (c + 1) % 3, (c + 2) % 3
            add(table.kitaev, _ones((c, c)))
            add(table.gamma, _ones((a, b), (b, a)))
            add(table.gamma_prime, _ones((c, a), (a, c), (c, b), (b, c)))
    return np.asarray(axes.T @ out @ axes)


def _ones(*places: tuple[int, int]) -> NDArray[np.float64]:
    out = np.zeros((3, 3))
    for place in places:
        out[place] = 1.0
    return out


def _perpendicular(axes: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Three unit vectors made exactly perpendicular, rows (3, 3)."""
    rows = np.array(axes)
    worst = np.abs(rows @ rows.T - np.eye(3)).max()
    if worst > SQUARE:
        raise ValueError(f"the three `axes` must be perpendicular; the cosine between two of them is {worst:.3g}")
    left, _, right = np.linalg.svd(rows)
    return np.asarray(left @ right, float)


def _kitaev_axis(axes: NDArray[np.float64], direction: NDArray[np.float64] | None) -> int:
    """The one of three axes that is perpendicular to a bond, as where octahedra share edges."""
    if direction is None:
        raise ValueError('a Kitaev exchange needs an `axis`: "x", "y", "z" or a vector')
    cosines = np.abs(axes @ direction) / np.linalg.norm(direction)
    if cosines.min() > ACROSS or np.sort(cosines)[1] < 2 * ACROSS:
        shown = ", ".join(f"{x:.2f}" for x in cosines)
        raise ValueError(
            "just one of the three axes must be perpendicular to the bond, as where octahedra share edges; its cosines "
            f'with them are {shown}: give `axes`, or say by `axis` = "x", "y" or "z" which one it belongs to'
        )
    return int(cosines.argmin())
