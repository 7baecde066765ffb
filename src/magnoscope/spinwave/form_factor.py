"""Magnetic form factors in the dipole approximation, from periodictable (International Tables C, 4.4.5).

    F(Q) = <j0>(Q) + c <j2>(Q)

where c is the share of the orbital moment in the whole: none for a spin without orbital moment.
"""

import re
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import periodictable

from ..errors import StudyError

if TYPE_CHECKING:
    import torch


def orbital_share(g: float, quenched: bool = False) -> float:
    """Share of the orbital moment in the whole, from the g-factor.

    Parameters
    ----------
    g : float
    quenched : bool
        False: g is Lande's of a free ion with total angular momentum J (rare earths), L = (2 - g) J: (2 - g) / g.
        True: g belongs to a spin whose orbital moment is all but quenched (transition metals), L = (g - 2) S:
        (g - 2) / g.

    Raises
    ------
    StudyError
        If g is not positive.
    """
    if not (np.isfinite(g) and g > 0):
        raise StudyError(f"the g-factor is {g:g}; the orbital share needs a positive one")
    return (g - 2) / g if quenched else (2 - g) / g


def j0_coefficients(ion: str) -> tuple[float, ...]:
    """Coefficients (A, a, B, b, C, c, D) of <j0> for an ion such as ``"Mn3+"``.

    Raises
    ------
    StudyError
        If there is no such ion in the table.
    """
    return _coefficients(ion, "j0")


def j2_coefficients(ion: str) -> tuple[float, ...]:
    """The same of <j2> / s^2, with s = |Q| / 4 pi."""
    return _coefficients(ion, "j2")


@cache
def _coefficients(ion: str, name: str) -> tuple[float, ...]:
    match = re.fullmatch(r"([A-Z][a-z]?)(\d)\+", ion)
    if not match:
        raise StudyError(f'ion "{ion}" is not understood; write the element and its charge, such as "Mn3+"')
    table = getattr(getattr(periodictable, match[1], None), "magnetic_ff", None) or {}
    found = getattr(table.get(int(match[2])), name, None)
    if found is None:
        known = ", ".join(f"{match[1]}{charge}+" for charge, entry in table.items() if hasattr(entry, name))
        what = "magnetic form factor" if name == "j0" else "<j2>"
        raise StudyError(f"ion {ion} has no {what}; known for {match[1]}: {known or 'none'}")
    return tuple(float(x) for x in found)


def form_factor(ion: str, q: "torch.Tensor | np.ndarray | float", orbital: float = 0.0) -> "torch.Tensor":
    """Form factor of an ion.

    Parameters
    ----------
    ion : str
    q : (...) 1/Å
    orbital : float
        Share of the orbital moment (:func:`orbital_share`).
    """
    import torch  # what reads studies needs the coefficients alone

    if not isinstance(q, torch.Tensor):
        q = torch.as_tensor(q, dtype=torch.float64)
    s2 = (q / (4 * np.pi)) ** 2
    whole = _sum(j0_coefficients(ion), s2)
    return whole + orbital * s2 * _sum(j2_coefficients(ion), s2) if orbital else whole


def _sum(table: tuple[float, ...], s2: "torch.Tensor") -> "torch.Tensor":
    a1, b1, a2, b2, a3, b3, d = table
    return a1 * (-b1 * s2).exp() + a2 * (-b2 * s2).exp() + a3 * (-b3 * s2).exp() + d
