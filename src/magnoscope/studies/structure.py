"""From the tables of a study file to sites and bonds."""

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
MOST_SITES = 256
"""Sites a magnetic cell may have."""
MOST_BONDS = 20_000
"""Bonds a model may have."""

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
    rotation = np.round(rows[:, :3])
    if not np.allclose(rotation, rows[:, :3]) or not np.array_equal(np.linalg.matrix_power(rotation, 12), np.eye(3)):
        raise ValueError(f'"{text}" is no symmetry of a lattice; write three parts such as "x, y+1/2, -z"')
    return rotation, rows[:, 3]


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
        if len(sites) == MOST_SITES:
            raise Mistake(path, f"there are more than {MOST_SITES} sites in the magnetic cell; check the translations")
        counts[kind] = counts.get(kind, 0) + 1
        moment = np.array(template.moment)
        unit = moment / np.linalg.norm(moment)
        sites.append(Site(f"{kind}.{counts[kind]}", template.ion, template.spin, tuple(unit), tuple(position)))

    for number, table in enumerate(tables):
        if any(table.name == other.name for other in tables[:number]):
            raise Mistake(("sites", number, "name"), f"there are sites {table.name} already; give each kind one name")
        try:
            j0_coefficients(table.ion)
        except StudyError as error:
            raise Mistake(("sites", number, "ion"), str(error)) from None
        for place, position in enumerate(table.positions):
            add(table.name, table, np.array(position, float), ("sites", number, "positions", place))
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


def _check_kinds(patterns: list[str], sites: list[Site], path: tuple[str | int, ...]) -> None:
    """Stop on a kind of site, or a single one, that there is not."""
    for pattern in patterns:
        if not any(_matches(s, pattern) for s in sites):
            raise Mistake(path, f"there is no site {pattern}; there are {', '.join(s.name for s in sites)}")


def _rule_bonds(
    rule: BondTable, sites: list[Site], cell: NDArray[np.float64], path: tuple[str | int, ...]
) -> Iterator[tuple[int, int, NDArray[np.float64]]]:
    """Bonds of a rule with ``between``, both senses possibly."""
    idle = set(range(len(rule.vectors)))
    _check_kinds([rule.over] if rule.over else [], sites, (*path, "over"))
    for pair, (left, right) in enumerate(rule.between):
        _check_kinds([left, right], sites, (*path, "between", pair))
        reached = False
        for i, site in enumerate(sites):
            if not _matches(site, left):
                continue
            if rule.distance is not None:
                vectors = _shell(sites, i, cell, rule.distance)
            else:
                vectors = [np.array(v) for v in rule.vectors]
            for number, d in enumerate(vectors):
                j = _reach(sites, i, d)
                if j is None or not _matches(sites[j], right):
                    continue
                if rule.over is not None:
                    middle = _reach(sites, i, d / 2)
                    if middle is None or not _matches(sites[middle], rule.over):
                        continue
                reached = True
                idle.discard(number)
                yield i, j, d
        if not reached:
            raise Mistake((*path, "between", pair), f"no bond of this rule leads from {left} to {right}")
    if idle:
        number = min(idle)
        raise Mistake((*path, "vectors", number), f"{_show(np.array(rule.vectors[number]))} reaches no site it should")


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
            if start is None or end is None:
                raise Mistake(path, f"an image of the bond from {sites[i].name} by {_show(d)} reaches no site")
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
    cell = lattice.direct * np.array(supercell, float)[:, None]
    bonds: dict[tuple[object, ...], Bond] = {}
    for number, rule in enumerate(table.bonds):
        path: tuple[str | int, ...] = ("models", name, "bonds", number)
        try:
            exchange = exchange_coefficients(rule.exchange, names)
        except ValueError as error:
            raise Mistake((*path, "exchange"), str(error)) from None
        found = _pair_bonds(rule, sites, operations, path) if rule.pairs else _rule_bonds(rule, sites, cell, path)
        own: set[tuple[object, ...]] = set()
        for i, j, d in found:
            key = _key(i, j, d)
            if key in own:
                continue
            if key in bonds:
                raise Mistake(path, f"the bond from {sites[i].name} by {_show(d)} has an exchange already")
            if len(bonds) == MOST_BONDS:
                raise Mistake(path, f"there are more than {MOST_BONDS} bonds; check distances and generators")
            own.add(key)
            bonds[key] = Bond(i, j, tuple(d), exchange, str(rule.exchange))
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
            raise Mistake((*path, "value" if table.matrix is None else "matrix"), str(error)) from None
        if not np.allclose(matrix, matrix.transpose(0, 2, 1)):
            raise Mistake((*path, "matrix"), "a single-ion anisotropy matrix must be symmetric")
        _check_kinds(table.sites, sites, (*path, "sites"))
        out[[i for i, s in enumerate(sites) if any(_matches(s, pattern) for pattern in table.sites)]] += matrix
    return out
