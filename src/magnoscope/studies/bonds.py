"""From the rules of a study file to bonds: typed one by one, by displacement or distance, by shell, or by symmetry."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import StudyError
from ..hamiltonian import Bond, Site
from ..symmetry import CrystalBond, Orbit
from ..symmetry.space_group import METRIC
from .exchange import exchange_coefficients, follows_bond, has_sense, isotropic
from .magnet_schema import BondTable, CellPairTable, ExchangeTable, PairTable
from .sites import KeyPath, MagneticCell, Mistake, check_kinds, find_site, listed, matches, show

MOST_BONDS = 20_000
"""Bonds a model may have."""

Key = tuple[int, int, tuple[int, int, int]]
Literal = tuple[int, int, NDArray[np.float64], NDArray[np.float64]]
"""A bond of the magnetic cell: start, end, displacement (fractions), rotation of its exchange (3, 3)."""


def rule_bonds(rule: BondTable, cell: MagneticCell, names: Sequence[str], path: KeyPath) -> list[Bond]:
    """All bonds of one rule, each once, with its exchange.

    Raises
    ------
    Mistake
        If a bond reaches no site, an exchange cannot be used, or symmetry forbids it.
    """
    if cell.symmetric and not rule.pairs and not rule.vectors:
        return _symmetric(rule, cell, names, path)
    if rule.shell is not None:
        found: Iterator[Literal] = _shell_bonds(rule, cell, path)
    elif rule.pairs or rule.bond is not None:
        pairs = [rule.bond] if rule.bond is not None else rule.pairs
        found = _pair_bonds(pairs, cell, (*path, "bond" if rule.bond is not None else "pairs"))
    else:
        found = _between_bonds(rule, cell, path)
    made: dict[Key, Bond] = {}
    for i, j, d, rotation in found:
        exchange = _exchange(rule, names, cell, rotation.T @ (d @ cell.vectors), path)
        key, forth = bond_key(cell.sites, i, j, d)
        if key in made:
            if (
                has_sense(exchange)
                and forth != bond_key(cell.sites, made[key].start, made[key].end, made[key].vector)[1]
            ):
                raise Mistake(
                    path,
                    f"the rule finds the bond from {cell.sites[i].name} by {show(d)} from both ends, and its exchange "
                    "differs when read backwards: give `pairs`, vectors in one sense, or a space group and a `bond`",
                )
            continue
        if len(made) == MOST_BONDS:
            raise Mistake(path, f"there are more than {MOST_BONDS} bonds; check distances and generators")
        if not isotropic(exchange):
            if np.abs(rotation @ rotation.T - np.eye(3)).max() > METRIC:
                raise Mistake(path, "a generator is no symmetry of the lattice and cannot turn this exchange along")
            exchange = rotation @ exchange @ rotation.T
        made[key] = Bond(i, j, tuple(d), exchange, _label(rule))
    return list(made.values())


def bond_key(sites: Sequence[Site], i: int, j: int, d: Sequence[float] | NDArray[np.float64]) -> tuple[Key, bool]:
    """The same for a bond and its reverse, and whether it was read forwards."""
    step = np.array(sites[i].position) + d - np.array(sites[j].position)
    n = tuple(int(round(x)) for x in step)
    forward, back = (i, j, n), (j, i, tuple(-x for x in n))
    return (forward, True) if forward <= back else (back, False)  # type: ignore[return-value]


def _label(rule: BondTable) -> str:
    if isinstance(rule.exchange, ExchangeTable):
        return ", ".join(f"{k} = {v}" for k, v in rule.exchange.model_dump(exclude_none=True).items())
    return str(rule.exchange)


def _exchange(
    rule: BondTable, names: Sequence[str], cell: MagneticCell, direction: NDArray[np.float64], path: KeyPath
) -> NDArray[np.float64]:
    try:
        return exchange_coefficients(rule.exchange, names, cell.frame, direction)
    except ValueError as error:
        raise Mistake((*path, "exchange"), str(error)) from None


# ---- as they are typed -----------------------------------------------------------------------------------------------


def _reach(sites: Sequence[Site], start: int, vector: NDArray[np.float64]) -> int | None:
    return find_site(sites, np.array(sites[start].position) + vector)


def _between_bonds(rule: BondTable, cell: MagneticCell, path: KeyPath) -> Iterator[Literal]:
    """Bonds between kinds of site, by displacement or distance; both senses possibly."""
    sites, names = cell.sites, [s.name for s in cell.sites]
    idle = set(range(len(rule.vectors)))
    check_kinds([rule.over] if rule.over else [], names, (*path, "over"))
    for pair, (left, right) in enumerate(rule.between or [["*", "*"]]):
        here = (*path, "between", pair) if rule.between else (*path, "distance")
        check_kinds([left, right], names, here)
        reached = False
        for i, site in enumerate(sites):
            if not matches(site.name, left):
                continue
            if rule.distance is not None:
                vectors = _at_distance(sites, i, cell.vectors, rule.distance)
            else:
                vectors = [np.array(v) for v in rule.vectors]
            for number, d in enumerate(vectors):
                j = _reach(sites, i, d)
                if j is None or not matches(sites[j].name, right):
                    continue
                if rule.over is not None:
                    middle = _reach(sites, i, d / 2)
                    if middle is None or not matches(sites[middle].name, rule.over):
                        continue
                reached = True
                idle.discard(number)
                yield i, j, d, np.eye(3)
        if not reached:
            raise Mistake(here, f"no bond of this rule leads from {left} to {right}")
    if idle:
        number = min(idle)
        raise Mistake((*path, "vectors", number), f"{show(rule.vectors[number])} reaches no site it should")


def _at_distance(
    sites: Sequence[Site], i: int, cell: NDArray[np.float64], distance: float
) -> list[NDArray[np.float64]]:
    """Displacements (fractions) from a site to all others at a distance (Å, to 0.5 %)."""
    reach = np.ceil(distance * np.linalg.norm(np.linalg.inv(cell), axis=0) + 1).astype(int)
    offsets = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), -1).reshape(-1, 3)
    found = []
    for site in sites:
        steps = np.array(site.position) - np.array(sites[i].position) + offsets
        lengths = np.linalg.norm(steps @ cell, axis=1)
        found += list(steps[np.abs(lengths - distance) < 0.005 * distance])
    return found


def _pair_bonds(pairs: Sequence[PairTable | CellPairTable], cell: MagneticCell, path: KeyPath) -> Iterator[Literal]:
    """Bonds given one by one, with their images under the generators, the exchange turned along."""
    sites, names = cell.sites, [s.name for s in cell.sites]
    columns = cell.vectors.T
    turns = [columns @ rotation @ np.linalg.inv(columns) for rotation, _ in cell.operations]
    front: list[Literal] = []
    for number, pair in enumerate(pairs):
        here = (*path, number) if path[-1] == "pairs" else path
        for name in (pair.from_, pair.to):
            if name not in names:
                raise Mistake(here, f"there is no site {name}; there are {listed(names)}")
        i, j = names.index(pair.from_), names.index(pair.to)
        vector = pair.vector if isinstance(pair, PairTable) else None
        if vector is None:
            step = np.array(pair.cell) + sites[j].position - np.array(sites[i].position)
        else:
            step = np.array(vector, float)
        if not np.abs(step).max() > 1e-6:
            raise Mistake(here, f"the bond from {pair.from_} leads to where it starts; give the `cell` it ends in")
        if _reach(sites, i, step) != j:
            raise Mistake(here, f"{show(step)} does not lead from {pair.from_} to {pair.to}")
        front.append((i, j, step, np.eye(3)))
    seen: set[Key] = set()
    while front:
        i, j, d, rotation = front.pop(0)
        key, _ = bond_key(sites, i, j, d)
        if key in seen:
            continue
        seen.add(key)
        yield i, j, d, rotation
        for (w, translation), turn in zip(cell.operations, turns, strict=True):
            start = find_site(sites, w @ np.array(sites[i].position) + translation)
            end = find_site(sites, w @ np.array(sites[j].position) + translation)
            if start is None or end is None:
                raise Mistake(path[:-1], f"an image of the bond from {sites[i].name} by {show(d)} reaches no site")
            front.append((start, end, w @ d, turn @ rotation))


# ---- by shell, without a space group ---------------------------------------------------------------------------------


def _found_orbits(rule: BondTable, cell: MagneticCell, path: KeyPath) -> tuple[Orbit, ...]:
    """Orbits of a rule with a shell or distance, between the kinds it names."""
    crystal = cell.crystal
    try:
        if rule.distance is not None:
            found, what = crystal.at_distance(rule.distance), "distance"
        else:
            number = (
                rule.shell if isinstance(rule.shell, int) else int("".join(c for c in str(rule.shell) if c.isdigit()))
            )
            found, what = tuple(o for o in crystal.shells(number) if o.shell == number), "shell"
            if isinstance(rule.shell, str):
                labels = [o.label for o in found]
                if rule.shell not in labels:
                    raise StudyError(f"there is no shell {rule.shell}; shell {number} holds {', '.join(labels)}")
                found = tuple(o for o in found if o.label == rule.shell)
    except StudyError as error:
        raise Mistake((*path, "shell" if rule.distance is None else "distance"), str(error)) from None
    if not rule.between:
        return found
    chosen: list[Orbit] = []
    for number, (left, right) in enumerate(rule.between):
        check_kinds([left, right], crystal.names, (*path, "between", number))
        own = [o for o in found if _joins(o.bond, crystal.names, left, right)]
        if not own:
            here = (*path, "between", number)
            raise Mistake(here, f"no bond of this {what} leads from {left} to {right}; `magnoscope bonds` lists them")
        chosen += [o for o in own if o not in chosen]
    return tuple(chosen)


def _joins(bond: CrystalBond, names: Sequence[str], left: str, right: str) -> bool:
    """Whether a bond leads from one kind to another, in either sense."""
    ends = names[bond.start], names[bond.end]
    return any(matches(a, left) and matches(b, right) for a, b in (ends, ends[::-1]))


def _shell_bonds(rule: BondTable, cell: MagneticCell, path: KeyPath) -> Iterator[Literal]:
    """All bonds of a shell where no symmetry is stated: the exchange must not depend on the sense of a bond."""
    for orbit in _found_orbits(rule, cell, path):
        for bond in orbit.bonds:
            for one in (bond, bond.reversed):
                yield one.start, one.end, cell.crystal.vector(one), np.eye(3)


# ---- by symmetry -----------------------------------------------------------------------------------------------------


def _symmetric(rule: BondTable, cell: MagneticCell, names: Sequence[str], path: KeyPath) -> list[Bond]:
    """Bonds that the space group makes of one, the exchange turned along, in every cell of the supercell."""
    if rule.over is not None:
        raise Mistake((*path, "over"), "with a space group name bonds by `shell`, `distance` or `bond`, without `over`")
    crystal = cell.crystal
    if rule.bond is not None:
        orbits: tuple[Orbit, ...] = (crystal.orbit(_named_bond(rule.bond, cell, (*path, "bond"))),)
    else:
        orbits = _found_orbits(rule, cell, path)
    made: list[Bond] = []
    for orbit in orbits:
        direction = crystal.vector(orbit.bond) @ crystal.lattice.direct
        exchange = _exchange(rule, names, cell, direction, path)
        if len(orbits) > 1 and not isotropic(exchange) and not follows_bond(rule.exchange):
            raise Mistake(
                path,
                f"shell {orbit.shell} holds bonds that symmetry does not relate, "
                f"{' and '.join(o.label for o in orbits)}, "
                f'and this exchange is no single number: give one of them, such as shell = "{orbits[0].label}"',
            )
        form = crystal.bond_form(orbit.bond)
        if not form.allows(exchange):
            start, end = crystal.names[orbit.bond.start], crystal.names[orbit.bond.end]
            raise Mistake(
                (*path, "exchange"),
                f"symmetry forbids this on the bond from {start} to {end} in cell {show(orbit.bond.cell)}; it allows "
                f"J = {form} with the Dzyaloshinskii-Moriya vector ({', '.join(form.vector)})",
            )
        exchange = exchange if isotropic(exchange) else form.nearest(exchange)
        if len(made) + len(orbit.bonds) * (len(cell.sites) // len(crystal)) > MOST_BONDS:
            raise Mistake(path, f"there are more than {MOST_BONDS} bonds; choose a shorter distance")
        made += _in_supercell(orbit, exchange, cell, _label(rule))
    return made


def _named_bond(table: CellPairTable, cell: MagneticCell, path: KeyPath) -> CrystalBond:
    """The bond that a rule names."""
    known = cell.crystal.names
    for name in (table.from_, table.to):
        if name not in known:
            raise Mistake(path, f"there is no site {name} in the crystal's cell; there are {listed(known)}")
    bond = CrystalBond(known.index(table.from_), known.index(table.to), tuple(table.cell))  # type: ignore[arg-type]
    if bond.start == bond.end and not any(bond.cell):
        raise Mistake(path, f"the bond leads from {table.from_} to itself; give the `cell` it ends in")
    return bond


def _in_supercell(orbit: Orbit, exchange: NDArray[np.float64], cell: MagneticCell, label: str) -> list[Bond]:
    """An orbit's bonds in the magnetic cell, each once."""
    crystal, size = cell.crystal, np.array(cell.supercell)
    tensors = orbit.exchange(exchange)
    if isotropic(exchange):
        tensors[:] = exchange  # without the rounding of the turns
    out = []
    for number, place in enumerate(np.ndindex(*cell.supercell)):
        for bond, tensor in zip(orbit.bonds, tensors, strict=True):
            target = (np.array(place) + bond.cell) % size
            end = int(np.ravel_multi_index(tuple(target), cell.supercell)) * len(crystal) + bond.end
            vector = crystal.vector(bond) / size
            out.append(Bond(number * len(crystal) + bond.start, end, tuple(vector.tolist()), tensor, label))
    return out
