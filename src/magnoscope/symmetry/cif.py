"""Crystals from CIF files: cell, space group, and the atoms of the asymmetric unit."""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gemmi

from ..crystal import Lattice
from ..errors import StudyError
from .space_group import SpaceGroup

LARGEST_FILE = 5_000_000
"""Bytes a crystal file may have: those of journals have some kilobytes, at most a few hundred."""
MOST_ATOMS = 10_000
"""Atoms of an asymmetric unit that are read."""
OPERATION_TAGS = (
    "_space_group_symop_operation_xyz",
    "_space_group_symop.operation_xyz",
    "_symmetry_equiv_pos_as_xyz",
    "_symmetry_equiv.pos_as_xyz",
)
NAME_TAGS = (
    "_space_group_name_H-M_alt",
    "_space_group.name_H-M_alt",
    "_symmetry_space_group_name_H-M",
    "_symmetry.space_group_name_H-M",
    "_space_group_name_H-M_full",
)
NUMBER_TAGS = ("_space_group_IT_number", "_space_group.IT_number", "_symmetry_Int_Tables_number")


@dataclass(frozen=True)
class CifAtom:
    """An atom of the asymmetric unit: label, element, position (fractions of the cell), occupancy."""

    label: str
    element: str
    position: tuple[float, float, float]
    occupancy: float


@dataclass(frozen=True)
class CifCrystal:
    """What a crystal file says that matters here."""

    name: str
    lattice: Lattice
    group: SpaceGroup
    atoms: tuple[CifAtom, ...]

    def atom(self, label: str) -> CifAtom:
        """An atom by its label.

        Raises
        ------
        StudyError
            If there is none, or there are several.
        """
        found = [a for a in self.atoms if a.label == label]
        if not found:
            known = ", ".join(a.label for a in self.atoms[:20]) + (", .." if len(self.atoms) > 20 else "")
            raise StudyError(f"the crystal file has no atom {label}; it has {known}")
        if len(found) > 1:
            raise StudyError(f"the crystal file has {len(found)} atoms labelled {label}; give each its own label")
        return found[0]


def read_cif(path: str | Path) -> CifCrystal:
    """Read the first block with a cell of a CIF file.

    Raises
    ------
    StudyError
        If the file is missing, too large or no CIF, or has no cell, no symmetry or no atom: says which.
    """
    block = _block(Path(path))
    name = str(path)
    lattice = _lattice(block, name)
    try:
        lattice.direct  # noqa: B018
        group = _group(block, lattice)
        group.cartesian(lattice)
    except StudyError as error:
        raise StudyError(f"{name}: {error}") from None
    return CifCrystal(block.name, lattice, group, _atoms(block, name))


def _block(path: Path) -> "gemmi.cif.Block":
    """The first block that has a cell, else the first."""
    try:
        if not path.exists():
            raise StudyError(f"there is no crystal file {path}")
        if not path.is_file():
            raise StudyError(f"{path} is not a file; name a CIF file")
        if os.path.getsize(path) > LARGEST_FILE:
            raise StudyError(f"{path} has more than {LARGEST_FILE // 1_000_000} MB; that is no crystal file")
        text = path.read_bytes().decode("utf-8", "replace")
    except OSError as error:
        raise StudyError(f"crystal file {path} cannot be read: {error.strerror}") from None
    try:
        document = gemmi.cif.read_string(text)
    except (ValueError, RuntimeError, UnicodeError) as error:
        said = str(error).replace("string:", "line ").splitlines() or [""]
        raise StudyError(f"{path} is not a CIF file: {said[0]}") from None
    if not len(document):
        raise StudyError(f"{path} is empty; a CIF file begins with data_")
    return next((b for b in document if _value(b, "_cell_length_a", "_cell.length_a")), document[0])


def _value(block: "gemmi.cif.Block", *tags: str) -> str:
    """The first of some values that is given, without quotes; empty if none."""
    for tag in tags:
        raw = block.find_value(tag)
        if raw and not gemmi.cif.is_null(raw):
            text = gemmi.cif.as_string(raw).strip()
            if text:
                return text
    return ""


def _lattice(block: "gemmi.cif.Block", name: str) -> Lattice:
    numbers = []
    for key in ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma"):
        text = _value(block, f"_cell_{key}", f"_cell.{key}")
        number = gemmi.cif.as_number(text) if text else math.nan
        if not text and key.startswith("angle"):
            number = 90.0  # the dictionary's default
        low, high = (0.1, 1e4) if key.startswith("length") else (1.0, 179.0)
        if not low <= number <= high:
            what = f"is {text}" if text else "is not given"
            raise StudyError(f"{name}: _cell_{key} {what}; a crystal file needs the cell in Å and degrees")
        numbers.append(float(number))
    return Lattice(*numbers)


def _group(block: "gemmi.cif.Block", lattice: Lattice) -> SpaceGroup:
    """From the operations where they are given (they know the setting), else from the name, else from the number."""
    name = _value(block, *NAME_TAGS)
    for tag in OPERATION_TAGS:
        operations = [gemmi.cif.as_string(x) for x in block.find_values(tag)]
        if len(operations) > 1_000:
            raise StudyError(f"it lists {len(operations)} symmetry operations; a space group has at most 192")
        if operations:
            found = SpaceGroup.of_operations(operations)
            symbol = name.replace("_", "").replace(" ", "").upper()
            if len(found) == 1 and symbol not in ("", "P1", "1"):
                raise StudyError(f"it lists no operation but the identity, and calls its space group {name}")
            return found
    if any(item.startswith("_space_group_symop_magn") for item in _tags(block)):
        raise StudyError("it is a magnetic CIF; give the crystal's own file, and the moments in the study")
    if name:
        return SpaceGroup.named(name, lattice)
    number = _value(block, *NUMBER_TAGS)
    if number:
        return SpaceGroup.named(number, lattice)
    raise StudyError("it names no space group and lists no symmetry operation; add _space_group_name_H-M_alt")


def _tags(block: Any) -> list[str]:
    """Names of all that a block holds."""
    out = []
    for item in block:
        if item.pair is not None:
            out.append(item.pair[0])
        elif item.loop is not None:
            out += item.loop.tags
    return out


def _atoms(block: "gemmi.cif.Block", name: str) -> tuple[CifAtom, ...]:
    prefix = "_atom_site_" if block.find_values("_atom_site_fract_x") else "_atom_site."
    table = block.find(prefix, ["fract_x", "fract_y", "fract_z", "?label", "?type_symbol", "?occupancy"])
    if not len(table):
        raise StudyError(f"{name}: it lists no atoms with _atom_site_fract_x, _y and _z")
    if len(table) > MOST_ATOMS:
        raise StudyError(f"{name}: it lists {len(table)} atoms; at most {MOST_ATOMS} are read")
    out = []
    for number, row in enumerate(table, 1):
        label = gemmi.cif.as_string(row[3]) if row.has(3) else ""
        symbol = gemmi.cif.as_string(row[4]) if row.has(4) else ""
        label = label or f"{symbol}{number}"
        letters = "".join(c for c in (symbol or label)[:2] if c.isalpha())
        element = gemmi.Element(letters)
        if element.atomic_number == 0:
            element = gemmi.Element(letters[:1])
        place = [gemmi.cif.as_number(row[i]) for i in range(3)]
        occupancy = gemmi.cif.as_number(row[5]) if row.has(5) and not gemmi.cif.is_null(row[5]) else 1.0
        if all(map(math.isfinite, place)) and max(map(abs, place)) < 100:
            out.append(CifAtom(label, element.name, tuple(place), float(occupancy)))  # type: ignore[arg-type]
    if not out:
        raise StudyError(f"{name}: none of its atoms has a position")
    return tuple(out)
