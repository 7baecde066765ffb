"""Symmetry operations by which a measurement may be folded."""

from collections.abc import Sequence

import gemmi
import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

MOST_OPERATIONS = 192


def operations(texts: Sequence[str]) -> NDArray[np.float64]:
    """The group (n, 3, 3) that operations such as ``-h,k,l`` or a point group's space group such as ``P m m m`` make.

    Raises
    ------
    DataError
        If a text is not understood.
    """
    found = [np.eye(3, dtype=int)]
    for text in texts:
        found += _matrices(text)
    group = {m.tobytes(): m for m in found}
    while True:
        more = {p.tobytes(): p for a in group.values() for b in found for p in (a @ b,)} | group
        if len(more) == len(group):
            break
        if len(more) > MOST_OPERATIONS:
            raise DataError(f"--fold {' '.join(texts)} makes more than {MOST_OPERATIONS} operations; give fewer")
        group = more
    return np.array(list(group.values()), float)


def _matrices(text: str) -> list[NDArray[np.int64]]:
    if "," not in text:
        space_group = gemmi.find_spacegroup_by_name(text)
        if space_group is None:
            raise DataError(f'--fold "{text}" is not understood; give an operation such as -h,k,l or a space group')
        # on (h, k, l) the transposed rotations act; a group contains every one's inverse
        return [np.array(op.rot, int).T // op.DEN for op in space_group.operations().sym_ops]
    rows = []
    for part in text.replace(" ", "").lower().split(","):
        row = np.zeros(3, int)
        sign, ok = 1, bool(part)
        for letter in part:
            if letter in "+-":
                sign = -1 if letter == "-" else 1
            elif letter in "hkl":
                row["hkl".index(letter)] += sign
                sign = 1
            else:
                ok = False
        if not ok or not row.any():
            raise DataError(f'--fold "{text}" is not understood; give an operation such as -h,k,l or k,h,l')
        rows.append(row)
    matrix = np.array(rows)
    if matrix.shape != (3, 3) or abs(round(np.linalg.det(matrix))) != 1:
        raise DataError(f'--fold "{text}" is no symmetry operation; give three parts such as -h,k,l')
    return [matrix]
