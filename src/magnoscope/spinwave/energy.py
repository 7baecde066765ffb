"""Classical energy of a magnetic structure, and its slopes.

For spins S_i v_i on one magnetic cell

    E(v) = 1/2 v . M . v - h . v,
    M_ij = S_i S_j sum_d J_ij(d) R(2 pi k . d) + 2 S_i^2 K_i delta_ij,    h_i = S_i mu_B B . g_i

where R turns about the rotation axis of a structure with a propagation vector k and is 1 without one. The directions v
of such a structure are those of the rotating frame (:mod:`.rotating_frame`).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import StudyError
from ..hamiltonian import SpinModel
from .rotating_frame import check_invariant, generator, rotating_moments, turn


class ClassicalEnergy:
    """The classical energy of a model as a function of parameters, directions of the spins, and k.

    Attributes
    ----------
    model : SpinModel
    steps : (n_bonds, 3)
        Displacements along the bonds, in cells of the lattice, so that k . d counts turns.

    Raises
    ------
    StudyError
        If the model has a propagation vector and is not the same in the rotating frame everywhere.
    """

    def __init__(self, model: SpinModel) -> None:
        check_invariant(model)
        self.model = model
        spins = np.array([s.spin for s in model.sites])
        self._start = np.array([b.start for b in model.bonds], int)
        self._end = np.array([b.end for b in model.bonds], int)
        pairs = spins[self._start] * spins[self._end]
        count = len(model.parameters) + 1
        bare = np.array([b.exchange for b in model.bonds], float).reshape(-1, count, 3, 3)
        self._exchange = bare * pairs[:, None, None, None]
        # k counts in r.l.u. of the lattice, bond vectors in magnetic cells
        self.steps = np.array([b.vector for b in model.bonds], float).reshape(-1, 3) * np.array(model.supercell)
        self._single = 2 * np.asarray(model.anisotropy) * (spins**2)[:, None, None, None]
        self._pull = model.zeeman * spins[:, None, None]

    @property
    def directions(self) -> NDArray[np.float64]:
        """Directions of the model's spins (in the rotating frame where there is one), (n_sites, 3)."""
        return rotating_moments(self.model)

    def bond_matrices(self, values: ArrayLike, k: ArrayLike | None = None) -> NDArray[np.float64]:
        """S_i S_j J R(2 pi k . d) of each bond, (n_bonds, 3, 3) meV; k in r.l.u., the model's own if not given."""
        matrices = np.einsum("p,bpxy->bxy", self._weights(values), self._exchange)
        k = self.model.propagation if k is None else k
        if k is None:
            return matrices
        return np.asarray(matrices @ turn(self.model, self.steps @ np.asarray(k, float)))

    def quadratic(self, values: ArrayLike, k: ArrayLike | None = None) -> NDArray[np.float64]:
        """The matrix M, (3 n_sites, 3 n_sites) meV, symmetric."""
        n = len(self.model.sites)
        matrix = np.zeros((n, n, 3, 3))
        bonds = self.bond_matrices(values, k)
        np.add.at(matrix, (self._start, self._end), bonds)
        np.add.at(matrix, (self._end, self._start), bonds.transpose(0, 2, 1))
        matrix[np.arange(n), np.arange(n)] += self.onsite(values)
        return matrix.transpose(0, 2, 1, 3).reshape(3 * n, 3 * n)

    def onsite(self, values: ArrayLike) -> NDArray[np.float64]:
        """The single-ion part 2 S_i^2 K_i of M, (n_sites, 3, 3) meV."""
        return np.asarray(np.einsum("p,ipxy->ixy", self._weights(values), self._single))

    def linear(self, values: ArrayLike) -> NDArray[np.float64]:
        """The vector h, (n_sites, 3) meV."""
        return np.asarray(np.einsum("p,ipx->ix", self._weights(values), self._pull))

    def energy(
        self, values: ArrayLike, directions: NDArray[np.float64] | None = None, k: ArrayLike | None = None
    ) -> float:
        """Classical energy per magnetic cell.

        Parameters
        ----------
        values : (n_parameters,) meV
        directions : (n_sites, 3), optional
            Unit vectors; the model's own if not given.
        k : (3,) r.l.u., optional
            The model's own if not given.

        Returns
        -------
        float
            meV per magnetic cell, without any quantum correction.
        """
        v = self.directions if directions is None else directions
        return float(v.ravel() @ self.quadratic(values, k) @ v.ravel() / 2 - (self.linear(values) * v).sum())

    def slopes(
        self, values: ArrayLike, directions: NDArray[np.float64] | None = None, k: ArrayLike | None = None
    ) -> NDArray[np.float64]:
        """dE/dv of each spin, (n_sites, 3) meV: minus its length times the field it feels."""
        v = self.directions if directions is None else directions
        return (self.quadratic(values, k) @ v.ravel()).reshape(-1, 3) - self.linear(values)

    def torques(self, values: ArrayLike, directions: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """Torque on each spin, S_i x B_i with B_i = - dE/dS_i: (n_sites, 3) meV; zero where it is stationary."""
        v = self.directions if directions is None else directions
        return -np.cross(v, self.slopes(values, v))

    def slope_in_k(
        self, values: ArrayLike, directions: NDArray[np.float64] | None = None, k: ArrayLike | None = None
    ) -> NDArray[np.float64]:
        """dE/dk of a structure in its rotating frame, (3,) meV per r.l.u.

        Raises
        ------
        StudyError
            If the model has no propagation vector.
        """
        if self.model.propagation is None:
            raise StudyError(f"model {self.model.name} has no propagation vector; its energy does not depend on one")
        v = self.directions if directions is None else directions
        # R commutes with its generator, and J with both
        turned = self.bond_matrices(values, k) @ generator(self.model)
        along = np.einsum("bx,bxy,by->b", v[self._start], turned, v[self._end])
        return np.asarray(2 * np.pi * along @ self.steps)

    @property
    def scales(self) -> NDArray[np.float64]:
        """The largest slope that a spin could feel per unit of each parameter, and from the constant terms.

        Returns
        -------
        (n_parameters + 1,) meV
        """
        most = np.zeros((len(self.model.sites), len(self.model.parameters) + 1))
        bonds = np.linalg.norm(self._exchange, axis=(2, 3))
        np.add.at(most, self._start, bonds)
        np.add.at(most, self._end, bonds)
        most += np.linalg.norm(self._single, axis=(2, 3)) + np.linalg.norm(self._pull, axis=2)
        return np.asarray(most.max(0))

    def _weights(self, values: ArrayLike) -> NDArray[np.float64]:
        """Parameter values with the constant's 1 behind them."""
        values = np.asarray(values, float)
        names = [p.name for p in self.model.parameters]
        if values.shape != (len(names),):
            raise StudyError(
                f"parameter values have shape {values.shape}; the energy of model {self.model.name} needs "
                f"({len(names)},): {', '.join(names) or 'no parameters'}"
            )
        return np.append(values, 1.0)
