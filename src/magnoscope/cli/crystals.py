"""Bonds of a crystal: shells, and the exchange that symmetry allows on them."""

import re
from pathlib import Path
from typing import Annotated, Any

import periodictable
import typer

from ..errors import MagnoscopeError, StudyError
from ..studies import load_magnet
from ..symmetry import Crystal, Orbit, read_cif
from .common import Json, app, print_json

SourceArgument = Annotated[str, typer.Argument(metavar="STUDY|CIF", help="A study, or a crystal file (.cif, .mcif).")]

BLOCKS = ((21, 30), (39, 48), (57, 80), (89, 103))
"""Atomic numbers of the d and f elements."""


@app.command()
def bonds(
    source: SourceArgument,
    shells: Annotated[int, typer.Option("--shells", min=1, max=50, help="How many shells of neighbours.")] = 6,
    site: Annotated[
        list[str] | None, typer.Option("--site", metavar="LABEL", help="Magnetic atom of a CIF; may be given often.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Shells of neighbours of the magnetic sites, and what symmetry allows on each: exchange, anisotropy.

    Each shell comes with the lines that use it in a study file. Matrices and vectors are Cartesian: x along a, y in the
    plane of a and b, z along c*.
    """
    if Path(source).suffix.lower() in (".cif", ".mcif"):
        title, crystal = source, crystal_of(Path(source), site)
    elif site:
        raise StudyError("--site picks atoms of a CIF; the sites of a study are its own")
    else:
        found = load_magnet(source)
        title, crystal = found.title, found.crystal
    orbits = crystal.shells(shells)
    if as_json:
        print_json(_summary(crystal, orbits))
        return
    print(f"{title}: space group {crystal.group.name}, {len(crystal)} magnetic sites a cell")
    print("Cartesian frame: x along a, y in the plane of a and b, z along c*")
    if len(crystal.group) == 1:
        _print_plain(crystal, orbits)
        return
    for number in _first_sites(crystal):
        position = ", ".join(f"{x:.5g}" for x in crystal.positions[number])
        print(f"\nsite {crystal.names[number]} at ({position}), of {_multiplicity(crystal, number)} a cell")
        _print_matrix("anisotropy K", _symmetric(crystal, number))
        _print_matrix("g-tensor", crystal.site_form(number, "g").matrix)
    for orbit in orbits:
        _print_orbit(crystal, orbit)


def crystal_of(path: Path, labels: list[str] | None) -> Crystal:
    """Magnetic sites of a crystal file: the atoms named, or all of elements that have a magnetic ion."""
    cif = read_cif(path)
    if labels:
        atoms = [cif.atom(label) for label in dict.fromkeys(labels)]
    else:
        atoms = [a for a in cif.atoms if _magnetic(a.element)]
    if not atoms:
        raise MagnoscopeError(f"{path} has no atom of an element with a magnetic ion; name one by --site")
    kinds = [(re.sub(r"[^A-Za-z0-9_]", "_", a.label), a.position) for a in atoms]
    try:
        return Crystal.generate(cif.lattice, cif.group, kinds)
    except StudyError as error:
        raise StudyError(f"{path}: {error}; pick the magnetic atoms by --site") from None


def _magnetic(element: str) -> bool:
    """Whether an element has an open d or f shell in some ion whose form factor is known."""
    found: Any = getattr(periodictable, element, None)
    return bool(getattr(found, "magnetic_ff", None)) and any(first <= found.number <= last for first, last in BLOCKS)


def example(crystal: Crystal, orbit: Orbit) -> str:
    """Lines of a study file that give an orbit an exchange, with a Dzyaloshinskii-Moriya vector where there is one."""
    name = f"J{orbit.label}"
    form = crystal.bond_form(orbit.bond)
    exchange = f'"{name}"'
    if len(form.antisymmetric):
        own = [re.sub("D([xyz])", f"D{orbit.label}" + r"\1", component) for component in form.vector]
        vector = ", ".join(x if x == "0" else f'"{x}"' for x in own)
        exchange = f'{{ heisenberg = "{name}", dm = [{vector}] }}'
    shell = f'"{orbit.label}"' if orbit.letter else orbit.label
    return f"[[models.NAME.bonds]]\nshell = {shell}\nexchange = {exchange}"


def _first_sites(crystal: Crystal) -> list[int]:
    """One site of each kind, or of sites that symmetry does not relate."""
    seen: set[int] = set()
    first = []
    for number in range(len(crystal)):
        if number not in seen:
            first.append(number)
            seen |= set(crystal.site_orbit(number))
    return first


def _multiplicity(crystal: Crystal, site: int) -> int:
    return len(crystal.site_orbit(site))


def _symmetric(crystal: Crystal, site: int) -> list[list[str]]:
    return crystal.site_form(site).even.matrix


def _neighbours(crystal: Crystal, orbit: Orbit) -> dict[str, int]:
    ends = dict.fromkeys((orbit.bond.start, orbit.bond.end))
    return {crystal.names[site]: crystal.neighbours(orbit, site) for site in ends}


def _summary(crystal: Crystal, orbits: tuple[Orbit, ...]) -> dict[str, Any]:
    lattice = crystal.lattice
    return {
        "space_group": crystal.group.name,
        "lattice": {key: getattr(lattice, key) for key in ("a", "b", "c", "alpha", "beta", "gamma")},
        "sites": [
            {
                "name": name,
                "position": crystal.positions[number].tolist(),
                "anisotropy": _symmetric(crystal, number),
                "g": crystal.site_form(number, "g").matrix,
            }
            for number, name in enumerate(crystal.names)
        ],
        "shells": [
            {
                "label": orbit.label,
                "length_angstrom": orbit.length,
                "bonds_per_cell": len(orbit.bonds),
                "neighbours": _neighbours(crystal, orbit),
                "from": crystal.names[orbit.bond.start],
                "to": crystal.names[orbit.bond.end],
                "cell": list(orbit.bond.cell),
                "exchange": crystal.bond_form(orbit.bond).matrix,
                "dm": crystal.bond_form(orbit.bond).vector,
                "example": example(crystal, orbit),
            }
            for orbit in orbits
        ],
    }


def _print_plain(crystal: Crystal, orbits: tuple[Orbit, ...]) -> None:
    """Shells of sites without symmetry: who is joined; any exchange is allowed."""
    print("no symmetry is stated: any exchange is allowed on any bond; `cif` or `space_group` in the file state it")
    for number in sorted({o.shell for o in orbits}):
        own = [o for o in orbits if o.shell == number]
        kinds: dict[str, int] = {}
        for orbit in own:
            ends = sorted(crystal.names[i].split(".")[0] for i in (orbit.bond.start, orbit.bond.end))
            kinds[" - ".join(ends)] = kinds.get(" - ".join(ends), 0) + 1
        joined = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        print(f"shell {number}: {own[0].length:.4f} Å, {len(own)} bonds a cell: {joined}")


def _print_orbit(crystal: Crystal, orbit: Orbit) -> None:
    each = ", ".join(f"{n} at {name}" for name, n in _neighbours(crystal, orbit).items())
    bond = orbit.bond
    start, end = crystal.names[bond.start], crystal.names[bond.end]
    print(f"\nshell {orbit.label}: {orbit.length:.4f} Å, {len(orbit.bonds)} bonds a cell, {each}")
    print(f'  bond = {{ from = "{start}", to = "{end}", cell = {list(bond.cell)} }}')
    form = crystal.bond_form(bond)
    _print_matrix("exchange J", form.matrix)
    print(f"  Dzyaloshinskii-Moriya vector D = ({', '.join(form.vector)})")
    print("    " + example(crystal, orbit).replace("\n", "\n    "))


def _print_matrix(name: str, rows: list[list[str]]) -> None:
    widths = [max(len(row[c]) for row in rows) for c in range(3)]
    for number, row in enumerate(rows):
        head = f"  {name} = " if number == 1 else " " * (len(name) + 5)
        print(head + "[ " + "  ".join(x.rjust(w) for x, w in zip(row, widths, strict=True)) + " ]")
