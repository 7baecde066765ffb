"""Magnetic form factors, dipole approximation <j0>, from periodictable (International Tables C, 4.4.5)."""

import re
from functools import cache

import numpy as np
import periodictable
import torch

from ..errors import StudyError


@cache
def j0_coefficients(ion: str) -> tuple[float, ...]:
    """Coefficients (A, a, B, b, C, c, D) of <j0> for an ion such as ``"Mn3+"``.

    Raises
    ------
    StudyError
        If there is no such ion in the table.
    """
    match = re.fullmatch(r"([A-Z][a-z]?)(\d)\+", ion)
    if match:
        element = getattr(periodictable, match[1], None)
        table = getattr(element, "magnetic_ff", None) or {}
        if int(match[2]) in table:
            return tuple(float(x) for x in table[int(match[2])].j0)
        known = ", ".join(f"{match[1]}{charge}+" for charge in table)
        raise StudyError(f"ion {ion} has no magnetic form factor; known for {match[1]}: {known or 'none'}")
    raise StudyError(f'ion "{ion}" is not understood; write the element and its charge, such as "Mn3+"')


def form_factor(ion: str, q: torch.Tensor | np.ndarray | float) -> torch.Tensor:
    """<j0>(|Q|) of an ion; ``q`` in 1/Å, any shape."""
    q = torch.as_tensor(q)
    s2 = (q / (4 * np.pi)) ** 2
    a1, b1, a2, b2, a3, b3, d = j0_coefficients(ion)
    return a1 * torch.exp(-b1 * s2) + a2 * torch.exp(-b2 * s2) + a3 * torch.exp(-b3 * s2) + d
