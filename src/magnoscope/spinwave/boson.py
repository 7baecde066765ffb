"""The quadratic boson Hamiltonian of linear spin wave theory.

Holstein-Primakoff about the ordered moments (Toth and Lake, J. Phys.: Condens. Matter 27, 166002 (2015); Colpa,
Physica A 93, 327 (1978)). With u = e1 + i e2 and v = e3 of each site's local frame (e3 along the moment),

    A_ij(q) = sqrt(S_i S_j)/2 u_i . J_ij(q) . u_j*  -  delta_ij sum_l S_l v_i . J_il(0) . v_l
    B_ij(q) = sqrt(S_i S_j)/2 u_i . J_ij(q) . u_j

where J_ij(q) sums exp(i q . d) over displacements d in both senses of each bond, the single-ion matrix K enters
as J_ii += 2 K, and a field adds mu_B B . g_i . v_i to A_ii. A structure with a propagation vector is
solved in its rotating frame (:mod:`.rotating_frame`).
"""

from dataclasses import dataclass

import numpy as np
import torch

from ..hamiltonian import SpinModel
from .rotating_frame import check_invariant, rotating_moments, turned_exchange


def local_frames(model: SpinModel) -> tuple[torch.Tensor, torch.Tensor]:
    """Transverse vectors ``u`` (n_sites, 3) complex and moment directions ``v`` (n_sites, 3) of the sites.

    Antiparallel moments get conjugate ``u``: then the two blocks of a collinear magnet are symmetric, and the
    problem halves. Of a model with a propagation vector these are the vectors in the rotating frame.
    """
    v = rotating_moments(model)
    u = np.empty((len(v), 3), complex)
    axes: list[tuple[np.ndarray, np.ndarray]] = []
    for i, direction in enumerate(v):
        for known, transverse in axes:
            if np.allclose(direction, known, atol=1e-9):
                u[i] = transverse
                break
            if np.allclose(direction, -known, atol=1e-9):
                u[i] = transverse.conj()
                break
        else:
            e1 = np.cross(np.eye(3)[np.argmin(np.abs(direction))], direction)
            e1 /= np.linalg.norm(e1)
            u[i] = e1 + 1j * np.cross(direction, e1)
            axes.append((direction, u[i]))
    return torch.as_tensor(u), torch.as_tensor(v)


@dataclass(frozen=True)
class BosonHamiltonian:
    """A model in boson form: couplings that are linear in the parameters, ready for any batch of q.

    Attributes
    ----------
    phases : (n_terms, 3) Å
        Displacement of each directed coupling.
    index : (n_terms,) int
        Flat position ``i * n_sites + j`` of each coupling.
    normal, anomalous : (n_parameters + 1, n_terms) complex
        What each adds to A and B per unit of each parameter (last row: the constant).
    """

    n_sites: int
    phases: torch.Tensor
    index: torch.Tensor
    normal: torch.Tensor
    anomalous: torch.Tensor

    def blocks(self, values: torch.Tensor, q: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Blocks A(q) and B(q).

        Parameters
        ----------
        values : (..., n_parameters) meV
        q : (n_q, 3) Cartesian, 1/Å

        Returns
        -------
        A, B : (..., n_q, n_sites, n_sites) complex, meV
        """
        one = values.new_ones((*values.shape[:-1], 1))
        weights = torch.cat([values, one], -1).to(self.normal.dtype)
        wave = torch.exp(1j * (q.to(self.phases.dtype) @ self.phases.T))
        size = self.n_sites**2
        place = torch.zeros(len(self.index), size, dtype=self.normal.dtype, device=q.device)
        place[torch.arange(len(self.index), device=q.device), self.index] = 1
        shape = (*values.shape[:-1], len(q), self.n_sites, self.n_sites)
        normal = wave @ ((weights @ self.normal)[..., None] * place)
        anomalous = wave @ ((weights @ self.anomalous)[..., None] * place)
        return normal.reshape(shape), anomalous.reshape(shape)

    def matrix(self, values: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
        """The full matrix [[A(q), B(q)], [B(q)^H, A(-q)*]], (..., n_q, 2 n_sites, 2 n_sites) meV."""
        a, b = self.blocks(values, q)
        a_minus, _ = self.blocks(values, -q)
        return torch.cat([torch.cat([a, b], -1), torch.cat([b.mH, a_minus.conj()], -1)], -2)


def boson_hamiltonian(model: SpinModel, device: torch.device | str = "cpu") -> BosonHamiltonian:
    """Work out a model's boson form once, for any parameters and q.

    Raises
    ------
    StudyError
        If the model has a propagation vector and is not the same in the rotating frame everywhere.
    """
    check_invariant(model)
    u, v = (x.numpy() for x in local_frames(model))
    spins = np.array([s.spin for s in model.sites])
    n, n_weights = len(spins), len(model.parameters) + 1
    terms: list[tuple[int, np.ndarray, np.ndarray, np.ndarray]] = []
    onsite_normal = np.zeros((n_weights, n), complex)
    onsite_anomalous = np.zeros((n_weights, n), complex)

    def project(left: np.ndarray, matrices: np.ndarray, right: np.ndarray) -> np.ndarray:
        return np.einsum("a,pab,b->p", left, matrices, right)

    for bond, d in zip(model.bonds, model.bond_vectors, strict=True):
        forth = turned_exchange(model, bond)
        for i, j, exchange, step in (
            (bond.start, bond.end, forth, d),
            (bond.end, bond.start, forth.transpose(0, 2, 1), -d),
        ):
            scale = np.sqrt(spins[i] * spins[j]) / 2
            terms.append(
                (i * n + j, step, scale * project(u[i], exchange, u[j].conj()), scale * project(u[i], exchange, u[j]))
            )
            onsite_normal[:, i] -= spins[j] * project(v[i], exchange, v[j])
    for i, single in enumerate(model.anisotropy):
        onsite_normal[:, i] += spins[i] * (project(u[i], single, u[i].conj()) - 2 * project(v[i], single, v[i]))
        onsite_anomalous[:, i] += spins[i] * project(u[i], single, u[i])
        onsite_normal[:, i] += model.zeeman[i] @ v[i]
    terms += [(i * n + i, np.zeros(3), onsite_normal[:, i], onsite_anomalous[:, i]) for i in range(n)]
    index, steps, normal, anomalous = zip(*terms, strict=True)
    return BosonHamiltonian(
        n_sites=n,
        phases=torch.as_tensor(np.array(steps), device=device),
        index=torch.as_tensor(index, device=device),
        normal=torch.as_tensor(np.array(normal).T, device=device),
        anomalous=torch.as_tensor(np.array(anomalous).T, device=device),
    )
