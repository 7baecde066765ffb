"""From the tables of a study file to the crystal and the magnetic sites."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..crystal import Lattice
from ..errors import StudyError
from ..hamiltonian import FREE_SPIN, Site
from ..spinwave.form_factor import j0_coefficients, j2_coefficients
from ..symmetry import CifCrystal, Crystal, SpaceGroup, read_cif
from .exchange import Frame
from .expressions import linear
from .magnet_schema import MagnetFile, SiteTable

TOLERANCE = 1e-4
"""How closely (fractions of the magnetic cell) a bond must reach a site."""
MOST_SITES = 256
"""Sites a magnetic cell may have."""

Operation = tuple[NDArray[np.float64], NDArray[np.float64]]
KeyPath = tuple[str | int, ...]


class Mistake(ValueError):
    """Something in a study file that cannot be used, with the path of keys to it."""

    def __init__(self, path: KeyPath, message: str) -> None:
        super().__init__(message)
        self.path = path


@dataclass(frozen=True)
class MagneticCell:
    """What the models of a file share.

    Attributes
    ----------
    lattice : Lattice
    supercell : (3,) int
    frame : Frame
        What vectors of the file are given in.
    sites : tuple of Site
        Of the magnetic cell; where the crystal has symmetry, the sites of its cell for each cell of the supercell.
    crystal : Crystal
        With the symmetry that the file states; without a space group the magnetic cell, with none.
    symmetric : bool
        Whether sites and bonds are made by a space group.
    operations : tuple of (rotation, translation)
        Generators, where there is no space group.
    """

    lattice: Lattice
    supercell: tuple[int, int, int]
    frame: Frame
    sites: tuple[Site, ...]
    crystal: Crystal
    symmetric: bool
    operations: tuple[Operation, ...] = ()

    @property
    def vectors(self) -> NDArray[np.float64]:
        """Vectors of the magnetic cell as rows, (3, 3) Å."""
        return self.lattice.direct * np.array(self.supercell, float)[:, None]


def operation(text: str) -> Operation:
    """A symmetry operation such as ``"x, y+1/2, -z"`` as a rotation (3, 3) and a translation (3,).

    Raises
    ------
    ValueError
        If it is not three linear expressions in x, y, z.
    """
    parts = text.split(",")
    if len(parts) != 3:
        raise ValueError(f'"{text}" is not an operation; write three parts such as "x, y+1/2, -z"')
    rows = np.stack([linear(p.strip(), ["x", "y", "z"]) for p in parts])
    rotation = np.round(rows[:, :3])
    if not np.allclose(rotation, rows[:, :3]) or not np.array_equal(np.linalg.matrix_power(rotation, 12), np.eye(3)):
        raise ValueError(f'"{text}" is no symmetry of a lattice; write three parts such as "x, y+1/2, -z"')
    return rotation, rows[:, 3]


def same_point(a: NDArray[np.float64], b: NDArray[np.float64]) -> bool:
    """Whether two positions are the same up to whole cells."""
    d = a - b
    return bool(np.all(np.abs(d - np.round(d)) < TOLERANCE))


def find_site(sites: Sequence[Site], position: NDArray[np.float64]) -> int | None:
    """Index of the site at a position (up to whole cells), or None."""
    return next((i for i, s in enumerate(sites) if same_point(np.array(s.position), position)), None)


def kind_of(name: str) -> str:
    """``Mn`` of ``Mn.2`` or ``Mn.2@0,1,0``."""
    return name.split(".")[0]


def matches(name: str, pattern: str) -> bool:
    """Whether a site is meant by a pattern: ``*``, a kind, a site of the crystal's cell, or a single site."""
    return pattern == "*" or pattern in (name, name.split("@")[0], kind_of(name))


def check_kinds(patterns: Sequence[str], names: Sequence[str], path: KeyPath) -> None:
    """Stop on a kind of site, or a single one, that there is not."""
    for pattern in patterns:
        if not any(matches(name, pattern) for name in names):
            raise Mistake(path, f"there is no site {pattern}; there are {listed(names)}")


def listed(names: Sequence[str]) -> str:
    """Names separated by commas, not too many."""
    return ", ".join(names[:40]) + (f" and {len(names) - 40} more" if len(names) > 40 else "")


def show(vector: Sequence[float] | NDArray[np.float64]) -> str:
    """``(0.5, 0, 1)``."""
    return "(" + ", ".join(f"{x:g}" for x in vector) + ")"


# ---- the cell ------------------------------------------------------------------------------------------------------


def build_cell(file: MagnetFile, folder: Path) -> MagneticCell:
    """Lattice, symmetry and sites of a file; paths in it are relative to ``folder``.

    Raises
    ------
    Mistake
        With the path of keys.
    """
    cif, lattice = _lattice(file, folder)
    table = file.magnetic_cell
    frame = Frame.named(file.frame, lattice)
    supercell: tuple[int, int, int] = tuple(table.supercell)  # type: ignore[assignment]
    for number, site in enumerate(file.sites):
        if any(site.name == other.name for other in file.sites[:number]):
            raise Mistake(("sites", number, "name"), f"there are sites {site.name} already; give each kind one name")
        try:
            j0_coefficients(site.ion)
        except StudyError as error:
            raise Mistake(("sites", number, "ion"), str(error)) from None
        try:
            if site.orbital:
                j2_coefficients(site.ion)
        except StudyError as error:
            raise Mistake(("sites", number, "orbital"), str(error)) from None
        if site.label is not None and cif is None:
            raise Mistake(("sites", number, "label"), "a label is one of a CIF; name the file with `cif`")
    if cif is None and file.space_group is None:
        return _literal_cell(file, lattice, supercell, frame)
    if table.generators:
        raise Mistake(("magnetic_cell", "generators"), "the space group makes the sites; leave the generators out")
    try:
        group = SpaceGroup.named(file.space_group, lattice) if file.space_group is not None else cif.group  # type: ignore
        group.cartesian(lattice)
    except StudyError as error:
        raise Mistake(("space_group",), str(error)) from None
    crystal = _symmetric_sites(file, lattice, group, cif)
    cells = np.prod(supercell)
    if cells * len(crystal) > MOST_SITES:
        raise Mistake(
            ("magnetic_cell", "supercell"), f"there are {cells * len(crystal)} sites; {MOST_SITES} are allowed"
        )
    tables = {site.name: site for site in file.sites}
    g = _g_tensors(file, crystal)
    sites = []
    for cell in np.ndindex(*supercell):
        for name, position, tensor in zip(crystal.names, crystal.positions, g, strict=True):
            own = tables[kind_of(name)]
            full_name = name if not any(cell) else f"{name}@{','.join(map(str, cell))}"
            place = (position + cell) / supercell
            sites.append(Site(full_name, own.ion, own.spin, (0, 0, 1), tuple(place.tolist()), tensor, own.orbital))
    return MagneticCell(lattice, supercell, frame, tuple(sites), crystal, True)


def _lattice(file: MagnetFile, folder: Path) -> tuple[CifCrystal | None, Lattice]:
    """The CIF, if one is named, and the lattice of it or of the file."""
    if file.cif is not None:
        if file.lattice is not None:
            raise Mistake(("lattice",), "the CIF gives the lattice; leave out one of the two")
        if file.space_group is not None:
            raise Mistake(("space_group",), "the CIF gives the space group; leave out one of the two")
        try:
            cif = read_cif(folder / file.cif)
        except StudyError as error:
            raise Mistake(("cif",), str(error)) from None
        return cif, cif.lattice
    if file.lattice is None:
        raise Mistake(("lattice",), "this key is missing")
    lattice = Lattice(**file.lattice.model_dump())
    try:
        volume = np.linalg.det(lattice.direct) / (lattice.a * lattice.b * lattice.c)
    except StudyError as error:
        raise Mistake(("lattice",), str(error)) from None
    if volume < 1e-3:
        raise Mistake(("lattice",), "the angles make a flat cell; check them")
    return None, lattice


def _symmetric_sites(file: MagnetFile, lattice: Lattice, group: SpaceGroup, cif: CifCrystal | None) -> Crystal:
    """All sites of the crystal's cell, from one of each kind."""
    kinds: list[tuple[str, Sequence[float]]] = []
    crystal = None
    for number, site in enumerate(file.sites):
        if site.label is not None and cif is not None:
            path: KeyPath = ("sites", number, "label")
            try:
                atom = cif.atom(site.label)
            except StudyError as error:
                raise Mistake(path, str(error)) from None
            if not atom.occupancy > 0.99 and not site.full:
                raise Mistake(
                    path,
                    f"{site.label} is there to {100 * atom.occupancy:.3g} % only; spin waves need every site filled: "
                    "write `full = true` to take it as that",
                )
            kinds.append((site.name, atom.position))
        else:
            path = ("sites", number, "positions")
            if len(site.positions) > 1:
                raise Mistake(
                    path, "the space group makes the other sites of one; give one position, or more [[sites]]"
                )
            kinds.append((site.name, site.positions[0]))
        try:
            crystal = Crystal.generate(lattice, group, kinds)
        except StudyError as error:
            raise Mistake(path, str(error)) from None
    assert crystal is not None
    return crystal


def _literal_cell(file: MagnetFile, lattice: Lattice, supercell: tuple[int, int, int], frame: Frame) -> MagneticCell:
    """Sites as they are given in the magnetic cell, with their images under the generators."""
    operations = []
    for number, text in enumerate(file.magnetic_cell.generators):
        try:
            operations.append(operation(text))
        except ValueError as error:
            raise Mistake(("magnetic_cell", "generators", number), str(error)) from None
    sites = build_sites(file.sites, operations)
    size = np.linalg.norm(lattice.direct * np.array(supercell, float)[:, None], axis=1)
    whole = Lattice(float(size[0]), float(size[1]), float(size[2]), lattice.alpha, lattice.beta, lattice.gamma)
    crystal = Crystal(
        whole, SpaceGroup.trivial(), tuple(s.name for s in sites), np.array([s.position for s in sites], float)
    )
    return MagneticCell(lattice, supercell, frame, tuple(sites), crystal, False, tuple(operations))


def build_sites(tables: Sequence[SiteTable], operations: Sequence[Operation]) -> list[Site]:
    """All sites of the magnetic cell, named ``kind.1``, ``kind.2`` .. in the order given, images last."""
    sites: list[Site] = []
    counts: dict[str, int] = {}

    def add(template: SiteTable, position: NDArray[np.float64], path: KeyPath) -> None:
        clash = find_site(sites, position)
        if clash is not None:
            raise Mistake(path, f"{template.name} at {show(position)} sits on {sites[clash].name}")
        if len(sites) == MOST_SITES:
            raise Mistake(path, f"there are more than {MOST_SITES} sites in the magnetic cell; check the translations")
        counts[template.name] = counts.get(template.name, 0) + 1
        g = FREE_SPIN if template.g is None else _g_rows(template.g)
        name = f"{template.name}.{counts[template.name]}"
        sites.append(Site(name, template.ion, template.spin, (0, 0, 1), tuple(position), g, template.orbital))

    for number, table in enumerate(tables):
        for place, position in enumerate(table.positions):
            add(table, np.array(position, float), ("sites", number, "positions", place))
    by_kind = {table.name: table for table in tables}
    done = 0
    while done < len(sites):
        site = sites[done]
        for rotation, translation in operations:
            image = rotation @ np.array(site.position) + translation
            if find_site(sites, image) is None:
                add(by_kind[kind_of(site.name)], image, ("magnetic_cell", "generators"))
        done += 1
    return sites


# ---- g-tensors -----------------------------------------------------------------------------------------------------


def _g_rows(value: float | list[list[float]]) -> tuple[tuple[float, float, float], ...]:
    matrix = value * np.eye(3) if isinstance(value, float) else np.array(value, float)
    return tuple(tuple(row) for row in matrix.tolist())


def _g_tensors(file: MagnetFile, crystal: Crystal) -> list[tuple[tuple[float, float, float], ...]]:
    """The g-tensor of every site of the crystal's cell, that of the first of each kind turned along."""
    out: list[tuple[tuple[float, float, float], ...]] = [FREE_SPIN] * len(crystal)
    for number, table in enumerate(file.sites):
        if table.g is None:
            continue
        first = crystal.names.index(f"{table.name}.1")
        given = np.array(_g_rows(table.g))
        form = crystal.site_form(first, "g")
        if not form.allows(given):
            raise Mistake(("sites", number, "g"), f"the symmetry of site {table.name}.1 allows no such g, only {form}")
        given = form.nearest(given)
        for site, rotation in crystal.site_orbit(first).items():
            out[site] = tuple(tuple(row) for row in (rotation @ given @ rotation.T).tolist())
    return out
