"""Space groups: by name, by number, or by their operations."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import gemmi
import numpy as np
from numpy.typing import NDArray

from ..crystal import Lattice
from ..errors import StudyError

METRIC = 1e-3
"""How far (relative) a lattice may be from the symmetry of its space group; cell constants are given to such digits."""
SAME = 1e-4
"""How closely two translations (fractions of the cell) agree."""
MOST_OPERATIONS = 192
"""Operations of the largest space group, in its conventional cell."""


@dataclass(frozen=True)
class SpaceGroup:
    """The symmetry operations x -> W x + w of a crystal, on fractional coordinates, up to lattice translations.

    Attributes
    ----------
    name : str
        Extended Hermann-Mauguin symbol, or what else is known of it.
    number : int
        In International Tables; 0 if unknown.
    rotations : (n, 3, 3) int
    translations : (n, 3), within [0, 1)
    """

    name: str
    number: int
    rotations: NDArray[np.int64]
    translations: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.rotations)

    @classmethod
    def trivial(cls) -> "SpaceGroup":
        """No symmetry but translations."""
        return cls("P 1", 1, np.eye(3, dtype=int)[None], np.zeros((1, 3)))

    @classmethod
    def named(cls, name: str | int, lattice: Lattice) -> "SpaceGroup":
        """A group by its Hermann-Mauguin symbol in any setting (``"P 42/m n m"``, ``"Fd-3m:2"``) or its number.

        Parameters
        ----------
        name : str or int
        lattice : Lattice
            Tells hexagonal from rhombohedral axes where the name does not.

        Raises
        ------
        StudyError
            If there is no such group, or the name leaves the choice between two origins open.
        """
        text = str(name).strip()
        by_number = gemmi.find_spacegroup_by_number(int(text)) if text.isascii() and text.isdigit() else None
        symbol = by_number.hm if by_number else text
        found = gemmi.find_spacegroup_by_name(symbol, lattice.alpha, lattice.gamma)
        if found is None:
            raise StudyError(f'there is no space group "{text}"; write a symbol such as "P 42/m n m", or a number')
        if found.ext in "12" and ":" not in text:
            raise StudyError(
                f'space group "{text}" has two choices of origin; write "{found.hm}:1", or "{found.hm}:2" with the '
                "origin at the centre of inversion"
            )
        return cls.of_operations(list(found.operations()), found.xhm(), found.number)

    @classmethod
    def of_operations(
        cls, operations: Sequence["gemmi.Op | str"], name: str | None = None, number: int = 0
    ) -> "SpaceGroup":
        """The group of the operations given, such as ``"x, y+1/2, -z"``; all of them, or some that generate it.

        Raises
        ------
        StudyError
            If one is no operation, or they make no space group.
        """
        rows = []
        for text in operations:
            try:
                op = text if isinstance(text, gemmi.Op) else gemmi.Op(text)
            except (RuntimeError, ValueError):
                raise StudyError(
                    f'"{text}" is no symmetry operation; write three parts such as "x, y+1/2, -z"'
                ) from None
            rotation = np.array(op.rot) / gemmi.Op.DEN
            if not np.array_equal(np.linalg.matrix_power(np.round(rotation).astype(int), 12), np.eye(3)) or np.any(
                rotation != np.round(rotation)
            ):
                raise StudyError(f'"{op.triplet()}" is no symmetry of a lattice; write one such as "x, y+1/2, -z"')
            rows.append(op)
        group = _closed(rows)
        if name is None:
            known = gemmi.find_spacegroup_by_ops(gemmi.symops_from_hall("P 1") if not group else _group_ops(group))
            name, number = (known.xhm(), known.number) if known else (f"of {len(group)} operations", 0)
        rotations = np.round(np.array([op.rot for op in group]) / gemmi.Op.DEN).astype(int)
        return cls(name, number, rotations, np.array([op.tran for op in group]) / gemmi.Op.DEN)

    def cartesian(self, lattice: Lattice) -> NDArray[np.float64]:
        """The rotations in the Cartesian frame of a lattice, orthogonal matrices (n, 3, 3).

        Raises
        ------
        StudyError
            If the lattice does not have the symmetry of the group.
        """
        columns = lattice.direct.T
        turned = columns @ self.rotations @ np.linalg.inv(columns)
        left, stretch, right = np.linalg.svd(turned)
        if np.abs(stretch - 1).max() > METRIC:
            lengths = ", ".join(f"{x:g}" for x in (lattice.a, lattice.b, lattice.c))
            angles = ", ".join(f"{x:g}" for x in (lattice.alpha, lattice.beta, lattice.gamma))
            raise StudyError(
                f"the lattice {lengths}; {angles} does not have the symmetry of space group {self.name}; "
                "check the lengths, the angles and the setting of the group"
            )
        return np.asarray(left @ right, float)

    @cached_property
    def has_inversion(self) -> bool:
        """Whether the group is centrosymmetric."""
        return bool(np.any(np.all(self.rotations == -np.eye(3, dtype=int), axis=(1, 2))))


def _group_ops(operations: list[gemmi.Op]) -> gemmi.GroupOps:
    return gemmi.GroupOps(operations)


def _closed(operations: list[gemmi.Op]) -> list[gemmi.Op]:
    """All products of operations modulo lattice translations, the identity first."""
    identity = gemmi.Op("x,y,z")
    group = {identity.triplet(): identity}
    given = list({op.wrap().triplet(): op.wrap() for op in operations}.values())
    front = [identity]
    while front:
        last = front.pop()
        for op in given:
            product = (op * last).wrap()
            if product.triplet() not in group:
                if len(group) == MOST_OPERATIONS:
                    raise StudyError(
                        f"the symmetry operations make no space group: there would be more than {MOST_OPERATIONS}"
                    )
                group[product.triplet()] = product
                front.append(product)
    return list(group.values())
