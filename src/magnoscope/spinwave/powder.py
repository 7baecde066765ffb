"""Powder averages: S(|Q|, w) over all directions of Q, by a quadrature that is refined until it has settled."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import StudyError
from .broadening import Line
from .correlations import check_edges, summed_modes
from .modes import ModeSolver
from .stability import require_minimum
from .thermal import check_temperature

FIRST = 144
"""Directions of the coarsest quadrature."""

MOST = FIRST << 10
"""Directions after which a |Q| is given up."""


@dataclass(frozen=True)
class PowderSpectrum:
    """S_perp(|Q|, w) of a powder.

    Attributes
    ----------
    model : str
    q : (n_q,) 1/Å
    energy_edges : (n_energies + 1,) meV
    intensity : (n_q, n_energies) 1/meV
        Per magnetic cell, spin squared.
    change : (n_q,)
        What the last doubling of the directions changed, relative L2: an upper estimate of the error at most |Q|.
    directions : (n_q,) int
        Directions averaged over in the end.
    temperature : float
        K.
    """

    model: str
    q: NDArray[np.float64]
    energy_edges: NDArray[np.float64]
    intensity: NDArray[np.float64]
    change: NDArray[np.float64]
    directions: NDArray[np.int64]
    temperature: float

    @property
    def energies(self) -> NDArray[np.float64]:
        """Centres of the bins, (n_energies,) meV."""
        return (self.energy_edges[1:] + self.energy_edges[:-1]) / 2


def sphere(count: int) -> NDArray[np.float64]:
    """Unit vectors (count, 3) that cover the sphere evenly: Fibonacci's lattice, each of the same weight.

    A. Gonzalez, Mathematical Geosciences 42, 49 (2010). It has no symmetry of a crystal, so that none of its points
    repeats another.
    """
    number = np.arange(count)
    z = 1 - (2 * number + 1) / count
    angle = np.pi * (1 + 5**0.5) * number
    across = np.sqrt(1 - z**2)
    return np.stack([across * np.cos(angle), across * np.sin(angle), z], 1)


def powder_spectrum(
    solver: ModeSolver,
    values: ArrayLike,
    q: ArrayLike,
    energy_edges: ArrayLike,
    line: Line,
    temperature: float = 0.0,
    tolerance: float = 0.02,
    include_form_factor: bool = True,
    most_directions: int = MOST,
    progress: Callable[[int, int], None] | None = None,
) -> PowderSpectrum:
    """The powder average of S_perp(Q, w).

    The directions of each length of Q are doubled until that changes its spectrum by less than the tolerance.

    Parameters
    ----------
    solver : ModeSolver
    values : (n_parameters,) meV
    q : (n_q,) 1/Å, positive
    energy_edges : (n_energies + 1,) meV, rising
    line : Line
        Shape and width of a mode; the narrower, the more directions are needed.
    temperature : float
        K.
    tolerance : float
        Relative L2 change of a spectrum that is allowed in the last doubling.
    include_form_factor : bool
    most_directions : int
        Where the doubling ends.
    progress : callable, optional
        Told how many of how many lengths are done.

    Raises
    ------
    InstabilityError
        If the structure is no energy minimum.
    StudyError
        If an argument has the wrong shape or sign, or a spectrum does not settle.
    """
    check_temperature(temperature)
    q, edges = _check_lengths(q), check_edges(energy_edges)
    if not 0 < tolerance < 1:
        raise StudyError(f"the tolerance of a powder average is {tolerance:g}; it must lie between 0 and 1")
    require_minimum(solver, values)
    to_rlu = np.linalg.inv(solver.model.lattice.reciprocal)

    def average(length: float, count: int) -> NDArray[np.float64]:
        points = length * sphere(count) @ to_rlu
        return summed_modes(solver, values, points, edges, line, temperature, include_form_factor).mean(0)

    found = []
    for number, length in enumerate(q):
        found.append(_settled(partial(average, length), length, tolerance, most_directions))
        if progress is not None:
            progress(number + 1, len(q))
    rows, changes, directions = (np.array(part) for part in zip(*found, strict=True))
    return PowderSpectrum(solver.model.name, q, edges, rows, changes, directions, temperature)


def _check_lengths(q: ArrayLike) -> NDArray[np.float64]:
    """Lengths of Q as (n_q,) 1/Å."""
    q = np.asarray(q, float)
    if q.ndim != 1 or not len(q) or not np.isfinite(q).all() or (q <= 0).any():
        raise StudyError("|Q| of a powder must be a list of at least one positive finite number, in 1/Å")
    return q


def _settled(
    average: Callable[[int], NDArray[np.float64]], length: float, tolerance: float, most: int
) -> tuple[NDArray[np.float64], float, int]:
    """A spectrum at one |Q| (1/Å), what the last doubling of its directions changed, and their number in the end."""
    count, before = FIRST, average(FIRST)
    while True:
        count *= 2
        after = average(count)
        size = float(np.linalg.norm(after))
        change = float(np.linalg.norm(after - before)) / size if size else 0.0
        if change <= tolerance:
            return after, change, count
        if 2 * count > most:
            raise StudyError(
                f"the powder average at |Q| = {length:g} 1/Å still changes by {100 * change:.2g} % at {count} "
                "directions; allow a larger tolerance, a wider line or wider bins of energy"
            )
        before = after
