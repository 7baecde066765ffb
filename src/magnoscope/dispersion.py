"""Spin waves along a path in Q: energies and intensities of every mode, domains included."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .crystal import Lattice
from .errors import StudyError
from .hamiltonian import SpinModel
from .spinwave import Dispersion, ModeSolver, check_stable
from .spinwave.correlations import ONE_DOMAIN
from .spinwave.correlations import dispersion as of_all_domains
from .study import Twin

MOST_POINTS = 20_000
"""Points that a path may have."""


@dataclass(frozen=True)
class Path:
    """Points on straight lines between corners.

    Attributes
    ----------
    q : (n_points, 3) r.l.u.
    distance : (n_points,) 1/Å
        Length of the path up to each point.
    labels : tuple of str
        Names of the corners.
    ticks : (n_corners,) 1/Å
        Where they are along the path.
    """

    q: NDArray[np.float64]
    distance: NDArray[np.float64]
    labels: tuple[str, ...]
    ticks: NDArray[np.float64]

    @classmethod
    def through(cls, lattice: Lattice, corners: ArrayLike, labels: Sequence[str] = (), points: int = 200) -> "Path":
        """A path through corners (n_corners, 3) r.l.u., with about so many points at about equal distances.

        Raises
        ------
        StudyError
            If there are fewer than two corners, or two in succession are the same.
        """
        q = np.asarray(corners, float).reshape(-1, 3)
        names = tuple(labels) or tuple("(" + ", ".join(f"{x:.4g}" for x in corner) + ")" for corner in q)
        lengths = np.linalg.norm(lattice.to_cartesian(np.diff(q, axis=0)), axis=1)
        if len(q) < 2 or not lengths.min() > 1e-9:
            raise StudyError("a path needs two corners at least, and no two in succession the same")
        if not 2 <= points <= MOST_POINTS:
            raise StudyError(f"a path of {points} points is not possible; ask for 2 to {MOST_POINTS}")
        ticks = np.append(0.0, np.cumsum(lengths))
        counts = np.maximum(1, np.round(lengths / ticks[-1] * (points - 1)).astype(int))
        share = [np.arange(n) / n for n in counts]
        place = np.append(np.concatenate([i + s for i, s in enumerate(share)]), len(counts))
        at = np.arange(len(q))
        along = np.stack([np.interp(place, at, q[:, axis]) for axis in range(3)], -1)
        return cls(along, np.interp(place, at, ticks), names, ticks)


def dispersion(
    model: SpinModel,
    values: ArrayLike,
    q: ArrayLike,
    twins: Sequence[Twin] = (),
    form_factor: bool = True,
    temperature: float = 0.0,
) -> Dispersion:
    """Modes of a model, of all domains, at wave vectors.

    Parameters
    ----------
    model : SpinModel
    values : (n_parameters,) meV
    q : (n_q, 3) r.l.u.
    twins : sequence of Twin
        Domains; none: the crystal is one.
    form_factor : bool
        Whether intensities hold it.
    temperature : float
        K; intensities hold the factor n + 1 of a neutron that loses energy.

    Raises
    ------
    InstabilityError
        If the magnetic structure is no energy minimum: at one of these wave vectors, or on a grid of the zone.
    """
    points = np.asarray(q, float).reshape(-1, 3)
    solver = ModeSolver(model)
    check_stable(solver, values, solver.solve(values, points))
    return of_all_domains(solver, values, points, temperature, twins or ONE_DOMAIN, form_factor)
