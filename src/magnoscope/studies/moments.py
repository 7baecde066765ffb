"""The magnetic structure of a study file: where the spins of the magnetic cell point."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..hamiltonian import Site
from .magnet_schema import MagneticCellTable, SiteTable, StructureTable
from .sites import KeyPath, MagneticCell, Mistake, check_kinds, kind_of, listed, show


@dataclass(frozen=True)
class Structure:
    """Sites with their moments, and what makes the spins turn from one magnetic cell to the next, if anything does."""

    sites: tuple[Site, ...]
    propagation: tuple[float, float, float] | None = None
    rotation_axis: tuple[float, float, float] | None = None


def build_structure(
    cell: MagneticCell,
    tables: Sequence[SiteTable],
    magnetic: MagneticCellTable,
    own: StructureTable | None,
    path: KeyPath,
) -> Structure:
    """The magnetic structure of a model: that of the file, with what the model has of its own put in its place.

    Raises
    ------
    Mistake
        If moments do not fit the sites in number, or the propagation vector does not fit the cell.
    """
    given: dict[str, tuple[KeyPath, list[list[float]]]] = {}
    for number, table in enumerate(tables):
        key = "moment" if table.moment is not None else "moments"
        given[table.name] = (("sites", number, key), [table.moment] if table.moment is not None else table.moments)
    for kind, moments in (own.moments if own else {}).items():
        check_kinds([kind], [t.name for t in tables], (*path, "moments", kind))
        given[kind] = ((*path, "moments", kind), moments)
    source, where = (own, path) if own and own.propagation is not None else (magnetic, ("magnetic_cell",))
    k, axis = source.propagation, source.rotation_axis
    if axis is not None and k is None:
        raise Mistake((*where, "rotation_axis"), "there is no `propagation` that the spins would turn by; give it too")
    units, spread = _moments(cell, given)
    if k is None:
        return Structure(_with_moments(cell.sites, units))
    turned, left_over = _turned(cell, units, spread, np.array(k), axis, (*where, "propagation"))
    sites = _with_moments(cell.sites, turned)
    if not left_over:
        return Structure(sites)
    return Structure(sites, tuple(k), tuple(cell.frame.unit(axis).tolist()))  # type: ignore[arg-type]


def _with_moments(sites: Sequence[Site], moments: NDArray[np.float64]) -> tuple[Site, ...]:
    return tuple(replace(s, moment=tuple(m.tolist())) for s, m in zip(sites, moments, strict=True))


def _moments(
    cell: MagneticCell, given: dict[str, tuple[KeyPath, list[list[float]]]]
) -> tuple[NDArray[np.float64], bool]:
    """Unit vectors of all sites, and whether all cells of the supercell were left to be filled with the same ones."""
    out = np.zeros((len(cell.sites), 3))
    spread = True
    for kind, (path, moments) in given.items():
        own = [i for i, s in enumerate(cell.sites) if kind_of(s.name) == kind]
        in_crystal = sum(kind_of(name) == kind for name in cell.crystal.names)
        if len(moments) not in (1, in_crystal, len(own)):
            counts = " or ".join(str(n) for n in sorted({in_crystal, len(own)}))
            names = listed([cell.sites[i].name for i in own])
            raise Mistake(path, f"there are {len(moments)} moments; give 1 or {counts}, in the order {names}")
        spread = spread and len(moments) <= in_crystal
        for place, i in enumerate(own):
            out[i] = cell.frame.unit(moments[place % len(moments)])
    return out, spread


def _turned(
    cell: MagneticCell,
    moments: NDArray[np.float64],
    spread: bool,
    k: NDArray[np.float64],
    axis: list[float] | None,
    path: KeyPath,
) -> tuple[NDArray[np.float64], bool]:
    """Moments turned by 2 pi k . R in the cells R of a supercell, and whether the next magnetic cell turns again."""

    def whole(x: NDArray[np.float64]) -> bool:
        return bool(np.abs(x - np.round(x)).max() < 1e-6)

    beyond = k * cell.supercell
    copies = len(cell.sites) // len(cell.crystal)
    fits = whole(beyond)
    if fits and (not cell.symmetric or copies == 1):
        raise Mistake(path, f"{show(k)} is a reciprocal lattice vector of the magnetic cell: it changes nothing")
    if not spread:
        raise Mistake(path, "moments are given for every cell of the supercell already; give those of one crystal cell")
    if not fits and whole(2 * beyond):
        raise Mistake(path, f"{show(k)} does not fit the supercell {show(cell.supercell)}; double it where k is 1/2")
    if axis is None:
        if not (fits and whole(2 * k)):
            raise Mistake(path, "the spins turn by this vector; give the `rotation_axis` that they turn about")
        turn = np.array([np.eye(3) * np.cos(2 * np.pi * k @ n) for n in np.ndindex(*cell.supercell)])
    else:
        x, y, z = cell.frame.unit(axis)
        generator = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        angles = 2 * np.pi * np.array([k @ n for n in np.ndindex(*cell.supercell)])[:, None, None]
        turn = np.eye(3) + np.sin(angles) * generator + (1 - np.cos(angles)) * (generator @ generator)
    if not cell.symmetric:
        return moments, True
    turned = np.einsum("cab,csb->csa", turn, moments.reshape(copies, -1, 3)).reshape(-1, 3)
    return np.round(turned, 15) + 0.0, not fits
