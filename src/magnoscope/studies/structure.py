"""From the tables of a study file to sites and bonds."""

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..crystal import Lattice
from ..errors import StudyError
from ..hamiltonian import Bond, Parameter, Site, SpinModel
from ..spinwave.form_factor import j0_coefficients
from .expressions import linear
from .schema import AnisotropyTable, BondTable, ModelTable, SiteTable

TOLERANCE = 1e-4
"""How closely (fractions of the magnetic cell) a bond must reach a site."""

Operation = tuple[NDArray[np.float64], NDArray[np.float64]]


class Mistake(ValueError):
    """Something in a study file that cannot be used, with the path of keys to it."""

    def __init__(self, path: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.path = path


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
    return rows[:, :3], rows[:, 3]


def same_point(a: NDArray[np.float64], b: NDArray[np.float64]) -> bool:
    """Whether two positions are the same up to whole cells."""
    d = a - b
    return bool(np.all(np.abs(d - np.round(d)) < TOLERANCE))


def find_site(sites: list[Site], position: NDArray[np.float64]) -> int | None:
    """Index of the site at a position (up to whole cells), or None."""
    return next((i for i, s in enumerate(sites) if same_point(np.array(s.position), position)), None)


def build_sites(tables: list[SiteTable], operations: list[Operation]) -> list[Site]:
    """All sites of the magnetic cell, named ``kind.1``, ``kind.2`` .. in the order given, images last."""
    sites: list[Site] = []
    counts: dict[str, int] = {}

    def add(kind: str, template: SiteTable, position: NDArray[np.float64], path: tuple[str | int, ...]) -> None:
        clash = find_site(sites, position)
        if clash is not None:
            raise Mistake(path, f"{kind} at {_show(position)} sits on {sites[clash].name}")
        counts[kind] = counts.get(kind, 0) + 1
        moment = np.array(template.moment)
        unit = moment / np.linalg.norm(moment)
        sites.append(Site(f"{kind}.{counts[kind]}", template.ion, template.spin, tuple(unit), tuple(position)))

    for number, table in enumerate(tables):
        if not np.any(table.moment):
            raise Mistake(("sites", number, "moment"), f"the moment of {table.name} is zero; give it a direction")
        try:
            j0_coefficients(table.ion)
        except StudyError as error:
            raise Mistake(("sites", number, "ion"), str(error)) from None
        for position in table.positions:
            add(table.name, table, np.array(position, float), ("sites", number, "positions"))
    done = 0
    while done < len(sites):
        site = sites[done]
        kind = site.name.split(".")[0]
        number = next(i for i, t in enumerate(tables) if t.name == kind)
        for rotation, translation in operations:
            image = rotation @ np.array(site.position) + translation
            if find_site(sites, image) is None:
                add(kind, tables[number], image, ("magnetic_cell", "generators"))
        done += 1
    return sites


def _show(vector: NDArray[np.float64]) -> str:
    return "(" + ", ".join(f"{x:g}" for x in vector) + ")"


def _matches(site: Site, pattern: str) -> bool:
    return pattern == "*" or pattern in (site.name, site.name.split(".")[0])


def _reach(sites: list[Site], start: int, vector: NDArray[np.float64]) -> int | None:
    return find_site(sites, np.array(sites[start].position) + vector)


def _rule_bonds(
    rule: BondTable, sites: list[Site], cell: NDArray[np.float64]
) -> Iterator[tuple[int, int, NDArray[np.float64]]]:
    """Bonds of a rule with ``between``, both senses possibly."""
    for left, right in rule.between:
        for i, site in enumerate(sites):
            if not _matches(site, left):
                continue
            if rule.distance is not None:
                vectors = _shell(sites, i, cell, rule.distance)
            else:
                vectors = [np.array(v) for v in rule.vectors]
            for d in vectors:
                j = _reach(sites, i, d)
                if j is None or not _matches(sites[j], right):
                    continue
                if rule.over is not None:
                    middle = _reach(sites, i, d / 2)
                    if middle is None or not _matches(sites[middle], rule.over):
                        continue
                yield i, j, d


def _shell(sites: list[Site], i: int, cell: NDArray[np.float64], distance: float) -> list[NDArray[np.float64]]:
    """Displacements (fractions) from a site to all others at a distance (Å, to 0.5 %)."""
    reach = np.ceil(distance * np.linalg.norm(np.linalg.inv(cell), axis=0) + 1).astype(int)
    offsets = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), -1).reshape(-1, 3)
    found = []
    for site in sites:
        steps = np.array(site.position) - np.array(sites[i].position) + offsets
        lengths = np.linalg.norm(steps @ cell, axis=1)
        found += list(steps[np.abs(lengths - distance) < 0.005 * distance])
    return found


def _pair_bonds(
    rule: BondTable, sites: list[Site], operations: list[Operation], path: tuple[str | int, ...]
) -> Iterator[tuple[int, int, NDArray[np.float64]]]:
    """Bonds given one by one, with their images under the operations."""
    names = [s.name for s in sites]
    front = []
    for number, pair in enumerate(rule.pairs):
        for name in (pair.from_, pair.to):
            if name not in names:
                raise Mistake((*path, "pairs", number), f"there is no site {name}; there are {', '.join(names)}")
        front.append((names.index(pair.from_), names.index(pair.to), np.array(pair.vector, float)))
        i, j, d = front[-1]
        if _reach(sites, i, d) != j:
            raise Mistake((*path, "pairs", number), f"{_show(d)} does not lead from {pair.from_} to {pair.to}")
    seen: set[tuple[object, ...]] = set()
    while front:
        i, j, d = front.pop(0)
        if _key(i, j, d) in seen:
            continue
        seen.add(_key(i, j, d))
        yield i, j, d
        for rotation, translation in operations:
            start = find_site(sites, rotation @ np.array(sites[i].position) + translation)
            end = find_site(sites, rotation @ np.array(sites[j].position) + translation)
            assert start is not None and end is not None
            front.append((start, end, rotation @ d))


def _key(i: int, j: int, d: NDArray[np.float64]) -> tuple[object, ...]:
    """The same for a bond and for its reverse."""
    steps = tuple(int(round(x / TOLERANCE)) for x in d)
    return min((i, j, steps), (j, i, tuple(-s for s in steps)))


def exchange_coefficients(value: object, names: list[str]) -> NDArray[np.float64]:
    """A number, expression or 3 x 3 matrix of them as (n_parameters + 1, 3, 3), linear in the parameters."""
    if isinstance(value, list):
        return np.stack([np.stack([linear(x, names) for x in row], -1) for row in value], -2)
    return linear(value, names)[:, None, None] * np.eye(3)  # type: ignore[arg-type]


def build_model(
    name: str,
    table: ModelTable,
    sites: list[Site],
    operations: list[Operation],
    lattice: Lattice,
    supercell: tuple[int, int, int],
) -> SpinModel:
    """One candidate model.

    Raises
    ------
    Mistake
        With the path of keys, where a bond reaches no site, a name is unknown, or a matrix cannot be used.
    """
    names = list(table.parameters)
    for parameter in names:
        if not re.fullmatch(r"[A-Za-z_]\w*", parameter):
            raise Mistake(("models", name, "parameters", parameter), f'"{parameter}" cannot be a parameter\'s name')
    cell = lattice.direct * np.array(supercell, float)[:, None]
    bonds: dict[tuple[object, ...], Bond] = {}
    for number, rule in enumerate(table.bonds):
        path: tuple[str | int, ...] = ("models", name, "bonds", number)
        try:
            exchange = exchange_coefficients(rule.exchange, names)
        except ValueError as error:
            raise Mistake((*path, "exchange"), str(error)) from None
        found = _pair_bonds(rule, sites, operations, path) if rule.pairs else _rule_bonds(rule, sites, cell)
        before = len(bonds)
        own: set[tuple[object, ...]] = set()
        for i, j, d in found:
            key = _key(i, j, d)
            if key in own:
                continue
            if key in bonds:
                raise Mistake(path, f"the bond from {sites[i].name} by {_show(d)} has an exchange already")
            own.add(key)
            bonds[key] = Bond(i, j, tuple(d), exchange, str(rule.exchange))
        if len(bonds) == before:
            raise Mistake(path, "these bonds reach no site; check kinds of site and displacements")
    parameters = tuple(
        Parameter(key, p.reference, (p.prior[0], p.prior[1]), p.error) for key, p in table.parameters.items()
    )
    anisotropy = build_anisotropy(name, table.anisotropy, sites, names)
    return SpinModel(name, parameters, tuple(sites), tuple(bonds.values()), anisotropy, lattice, supercell)


def build_anisotropy(
    name: str, tables: list[AnisotropyTable], sites: list[Site], names: list[str]
) -> NDArray[np.float64]:
    """Single-ion matrices of all sites, (n_sites, n_parameters + 1, 3, 3)."""
    out = np.zeros((len(sites), len(names) + 1, 3, 3))
    for number, table in enumerate(tables):
        path: tuple[str | int, ...] = ("models", name, "anisotropy", number)
        try:
            if table.matrix is not None:
                matrix = exchange_coefficients(table.matrix, names)
            else:
                axis = np.array(table.axis, float)
                axis = axis / np.linalg.norm(axis)
                matrix = linear(table.value, names)[:, None, None] * np.outer(axis, axis)  # type: ignore[arg-type]
        except ValueError as error:
            raise Mistake(path, str(error)) from None
        if not np.allclose(matrix, matrix.transpose(0, 2, 1)):
            raise Mistake((*path, "matrix"), "a single-ion anisotropy matrix must be symmetric")
        for pattern in table.sites:
            hit = [i for i, s in enumerate(sites) if _matches(s, pattern)]
            if not hit:
                raise Mistake(
                    (*path, "sites"), f"there is no site {pattern}; there are {', '.join(s.name for s in sites)}"
                )
            out[hit] += matrix
    return out
