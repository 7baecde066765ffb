"""From the tables of a study file to spin models."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import StudyError
from ..hamiltonian import Bond, Parameter, SpinModel
from .bonds import MOST_BONDS, Key, bond_key, rule_bonds
from .exchange import matrix_coefficients
from .expressions import linear
from .magnet_schema import AnisotropyTable, MagnetFile, ModelTable
from .moments import build_structure
from .sites import KeyPath, MagneticCell, Mistake, check_kinds, kind_of, matches, show


def build_model(name: str, table: ModelTable, file: MagnetFile, cell: MagneticCell) -> SpinModel:
    """One candidate model.

    Raises
    ------
    Mistake
        With the path of keys, where a bond reaches no site, a name is unknown, or a matrix cannot be used.
    """
    names = list(table.parameters)
    bonds: dict[Key, Bond] = {}
    for number, rule in enumerate(table.bonds):
        path: KeyPath = ("models", name, "bonds", number)
        for bond in rule_bonds(rule, cell, names, path):
            key, _ = bond_key(cell.sites, bond.start, bond.end, bond.vector)
            if key in bonds:
                start = cell.sites[bond.start].name
                raise Mistake(path, f"the bond from {start} by {show(bond.vector)} has an exchange already")
            if len(bonds) == MOST_BONDS:
                raise Mistake(path, f"there are more than {MOST_BONDS} bonds; check distances and generators")
            bonds[key] = bond
    parameters = tuple(
        Parameter(key, p.reference, (p.prior[0], p.prior[1]), p.error) for key, p in table.parameters.items()
    )
    anisotropy = build_anisotropy(name, table.anisotropy, cell, names)
    structure = build_structure(cell, file.sites, file.magnetic_cell, table.structure, ("models", name, "structure"))
    try:
        return SpinModel(
            name,
            parameters,
            structure.sites,
            tuple(bonds.values()),
            anisotropy,
            cell.lattice,
            cell.supercell,
            field=_field(name, table, cell, names),
            propagation=structure.propagation,
            rotation_axis=structure.rotation_axis,
        )
    except StudyError as error:
        raise Mistake(("models", name), str(error)) from None


def _field(name: str, table: ModelTable, cell: MagneticCell, names: Sequence[str]) -> NDArray[np.float64] | None:
    """Applied field, (n_parameters + 1, 3) T."""
    if table.field is None:
        return None
    try:
        return cell.frame.coefficients(table.field, names)
    except ValueError as error:
        raise Mistake(("models", name, "field"), str(error)) from None


def build_anisotropy(
    name: str, tables: Sequence[AnisotropyTable], cell: MagneticCell, names: Sequence[str]
) -> NDArray[np.float64]:
    """Single-ion matrices of all sites, (n_sites, n_parameters + 1, 3, 3)."""
    out = np.zeros((len(cell.sites), len(names) + 1, 3, 3))
    for number, table in enumerate(tables):
        path: KeyPath = ("models", name, "anisotropy", number)
        key = "value" if table.matrix is None else "matrix"
        try:
            if table.matrix is not None:
                matrix = matrix_coefficients(table.matrix, names)
            else:
                axis = cell.frame.unit(table.axis)  # type: ignore[arg-type]
                matrix = linear(table.value, names)[:, None, None] * np.outer(axis, axis)  # type: ignore[arg-type]
        except ValueError as error:
            raise Mistake((*path, key), str(error)) from None
        if not np.allclose(matrix, matrix.transpose(0, 2, 1)):
            raise Mistake((*path, "matrix"), "a single-ion anisotropy matrix must be symmetric")
        check_kinds(table.sites, [s.name for s in cell.sites], (*path, "sites"))
        if cell.symmetric:
            own = _by_symmetry(table.sites, matrix, cell, path, key)
            out += np.tile(own, (len(cell.sites) // len(cell.crystal), 1, 1, 1))
        else:
            out[[i for i, s in enumerate(cell.sites) if any(matches(s.name, p) for p in table.sites)]] += matrix
    return out


def _by_symmetry(
    patterns: Sequence[str], matrix: NDArray[np.float64], cell: MagneticCell, path: KeyPath, key: str
) -> NDArray[np.float64]:
    """The matrix given for the first site of each kind, or for a site named, and turned along to its equivalents."""
    crystal = cell.crystal
    out = np.zeros((len(crystal), *matrix.shape))
    done: set[str] = set()
    for pattern in patterns:
        for site, site_name in enumerate(crystal.names):
            kind = kind_of(site_name)
            if pattern != site_name and not (pattern in ("*", kind) and site_name == f"{kind}.1"):
                continue
            if kind in done:
                raise Mistake((*path, "sites"), f"symmetry gives {site_name} an anisotropy of this table already")
            done.add(kind)
            even = crystal.site_form(site).even
            if not even.allows(matrix):
                raise Mistake(
                    (*path, key), f"the symmetry of site {site_name} allows no such anisotropy, only K = {even}"
                )
            kept = even.nearest(matrix)
            for image, rotation in crystal.site_orbit(site).items():
                out[image] = rotation @ kept @ rotation.T
    if not done:
        raise Mistake((*path, "sites"), "with a space group name a kind of site, or one of the crystal's cell")
    return out
