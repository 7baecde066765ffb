"""A lower bound on the classical energy of any structure, and the wave vector at which it lies.

J. M. Luttinger and L. Tisza, Phys. Rev. 70, 954 (1946): where only the sum of all squared spins is held, and not each,
the energy of M(k) = sum_d S_i S_j J_ij(d) exp(i k . d) is least in the eigenvector of its lowest eigenvalue. If a
structure of spins of full length reaches the bound, it is the ground state; where sites are not equivalent none may.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize

from ..hamiltonian import SpinModel
from .energy import ClassicalEnergy


@dataclass(frozen=True)
class Bound:
    """The bound of Luttinger and Tisza.

    Attributes
    ----------
    energy : float
        No structure has less, meV per magnetic cell.
    k : (3,) r.l.u. of the lattice
        Where the lowest eigenvalue lies, within the first magnetic zone; zero along flat directions.
    """

    energy: float
    k: NDArray[np.float64]


def luttinger_tisza(model: SpinModel, values: ArrayLike, points: int = 12) -> Bound:
    """The bound, from a grid of the magnetic zone and a descent from its lowest points.

    Parameters
    ----------
    model : SpinModel
        Its moments and its propagation vector play no part.
    values : (n_parameters,) meV
    points : int
        Of the grid, along each axis along which there are bonds between cells.
    """
    energy = ClassicalEnergy(model)
    cell, n = np.array(model.supercell), len(model.sites)
    bonds = energy.bond_matrices(values, np.zeros(3) if model.propagation is not None else None)
    start, end = (np.array([getattr(b, name) for b in model.bonds], int) for name in ("start", "end"))
    positions = np.array([s.position for s in model.sites])
    # whole cells from bond to bond: exactly periodic in the zone
    cells = np.round(energy.steps / cell - positions[end] + positions[start])
    onsite = energy.onsite(values)
    along = np.abs(cells).max(0, initial=0) > 0

    def lowest(k: NDArray[np.float64]) -> float:
        wave = np.exp(2j * np.pi * cells @ k)[:, None, None] * bonds
        matrix = np.zeros((n, n, 3, 3), complex)
        np.add.at(matrix, (start, end), wave)
        np.add.at(matrix, (end, start), wave.conj().transpose(0, 2, 1))
        matrix[np.arange(n), np.arange(n)] += onsite
        return float(np.linalg.eigvalsh(matrix.transpose(0, 2, 1, 3).reshape(3 * n, 3 * n))[0])

    axes = [np.arange(points) / points if a else np.zeros(1) for a in along]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    grid = grid[(grid[:, along][:, :1] <= 0.5).all(1)]  # M(-k) = M(k)*
    heights = np.array([lowest(k) for k in grid])
    best, where = heights.min(), grid[heights.argmin()]
    for k in grid[np.argsort(heights, kind="stable")[:3]] if along.any() else []:

        def from_k(x: NDArray[np.float64]) -> float:
            full = np.zeros(3)
            full[along] = x
            return lowest(full)

        options = {"xatol": 1e-7, "fatol": 1e-12, "initial_simplex": _simplex(k[along], 0.5 / points)}
        end_point = minimize(from_k, k[along], method="Nelder-Mead", options=options)
        if end_point.fun < best - 1e-9 * abs(best):
            best = float(end_point.fun)
            where = np.zeros(3)
            where[along] = end_point.x
    pull = float(np.linalg.norm(energy.linear(values), axis=1).sum())
    where = where - np.ceil(where - 0.5 - 1e-9)
    return Bound(n * float(best) / 2 - pull, where / cell)


def _simplex(x: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    return np.vstack([x, x + step * np.eye(len(x))])
