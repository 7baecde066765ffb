"""Whether a magnetic structure is a minimum of the energy."""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..hamiltonian import SpinModel
from .modes import ModeSolver, check_stable


def zone_grid(model: SpinModel, points: int = 6) -> NDArray[np.float64]:
    """Wave vectors (n_q, 3) in r.l.u. on a grid of the magnetic zone, off its symmetry points by a third of a step.

    Directions along which the modes are flat get a single point. The origin and a star of points close to it are
    added: an unstable structure often gives way at long wavelengths first.
    """
    flat = [model.layer_heights(model.lattice.to_cartesian(e)) is not None for e in np.eye(3)]
    axes = [np.array([0.0]) if f else (np.arange(points) + 1 / 3) / points for f in flat]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    near = np.array([[x, y, z] for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (0, 1)]) * 0.03 * ~np.array(flat)
    return np.concatenate([np.unique(near, axis=0), grid]) / np.array(model.supercell)


def is_stable(solver: ModeSolver, values: ArrayLike, points: int = 6) -> torch.Tensor:
    """Whether the structure is a minimum at each parameter set, judged on :func:`zone_grid`.

    Parameters
    ----------
    values : (..., n_parameters) meV

    Returns
    -------
    (...,) bool
    """
    return solver.solve(values, zone_grid(solver.model, points)).stable.all(-1)


def require_minimum(solver: ModeSolver, values: ArrayLike, points: int = 6) -> None:
    """Stop on a structure that is no minimum of the energy, judged on :func:`zone_grid`.

    Raises
    ------
    InstabilityError
        Naming the spin with the largest torque, or the first q at which the structure gives way.
    """
    check_stable(solver, values, solver.solve(values, zone_grid(solver.model, points)))
