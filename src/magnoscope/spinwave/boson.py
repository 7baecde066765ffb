"""The quadratic boson Hamiltonian of linear spin wave theory.

Holstein-Primakoff about the ordered moments (Toth and Lake, J. Phys.: Condens. Matter 27, 166002 (2015); Colpa,
Physica A 93, 327 (1978)). With u = e1 + i e2 and v = e3 of each site's local frame (e3 along the moment),

    A_ij(q) = sqrt(S_i S_j)/2 u_i . J_ij(q) . u_j*  -  delta_ij sum_l S_l v_i . J_il(0) . v_l
    B_ij(q) = sqrt(S_i S_j)/2 u_i . J_ij(q) . u_j

where J_ij(q) sums exp(i q . d) over displacements d in both senses of each bond, the single-ion matrix K enters
as J_ii += 2 K, and a field adds mu_B B . g_i . v_i to A_ii. A structure with a propagation vector is
solved in its rotating frame (:mod:`.rotating_frame`).
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ..hamiltonian import SpinModel
from .reduction import find_exchanges, flat_offsets, no_exchanges
from .rotating_frame import check_invariant, rotating_moments, turned_exchange


def local_frames(model: SpinModel) -> tuple[torch.Tensor, torch.Tensor]:
    """Transverse vectors ``u`` (n_sites, 3) complex and moment directions ``v`` (n_sites, 3) of the sites.

    Antiparallel moments get conjugate ``u``: then the two blocks of a collinear magnet are symmetric, and the
    problem halves. Of a model with a propagation vector these are the vectors in the rotating frame.
    """
    v = rotating_moments(model)
    u = np.full((len(v), 3), np.nan, complex)
    for i, direction in enumerate(v):
        if np.isnan(u[i, 0]):
            e1 = np.cross(np.eye(3)[np.argmin(np.abs(direction))], direction)
            e1 /= np.linalg.norm(e1)
            transverse = e1 + 1j * np.cross(direction, e1)
            u[np.abs(v - direction).max(1) < 1e-9] = transverse
            u[np.abs(v + direction).max(1) < 1e-9] = transverse.conj()
    return torch.as_tensor(u), torch.as_tensor(v)


@dataclass(frozen=True)
class BosonHamiltonian:
    """A model in boson form: couplings that are linear in the parameters, ready for any batch of q.

    A reduced one holds the blocks that its matrices split into where exchanges of sites leave the couplings as they are
    (:mod:`.reduction`), one for each character of the group of exchanges.

    Attributes
    ----------
    shape : (n_sites, n_sites), or (n_blocks, size, size) if reduced
    phases : (n_steps, 3) Å
        Displacements, each of a pair +-d once.
    normal, anomalous : Couplings
        What makes up A and B.
    conjugate : (n_blocks,) int
        The block whose character is the conjugate of each one's: its partner at -q.
    offsets : (n_sites, 3) Å
        Site i has the phase exp(-i q . offset) on top of what the blocks say.
    weights : (n_blocks, n_sites) complex
        Share of each site in the boson of its orbit in each block.
    orbit : (n_sites,) int
        Which boson of a block each site belongs to.
    """

    shape: tuple[int, ...]
    phases: torch.Tensor
    normal: "Couplings"
    anomalous: "Couplings"
    conjugate: torch.Tensor
    offsets: torch.Tensor
    weights: torch.Tensor
    orbit: torch.Tensor

    def blocks(self, values: torch.Tensor, q: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Blocks A(q) and B(q).

        Parameters
        ----------
        values : (..., n_parameters) meV
        q : (n_q, 3) Cartesian, 1/Å

        Returns
        -------
        A, B : (..., n_q, *shape) complex, meV
        """
        waves = self._waves(q)
        return self._place(self.normal, values, waves), self._place(self.anomalous, values, waves)

    def matrix(self, values: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
        """The full matrix [[A(q), B(q)], [B(q)^H, A(-q)*]], (..., n_q, 2 n_sites, 2 n_sites) meV, or of each block."""
        a, b = self.blocks(values, q)
        return torch.cat([torch.cat([a, b], -1), torch.cat([b.mH, self.partner(values, q)], -1)], -2)

    def partner(self, values: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
        """Block A(-q)* that belongs to the same character as A(q)."""
        a = self._place(self.normal, values, self._waves(-q)).conj()
        return a if len(self.shape) == 2 else a[..., self.conjugate, :, :]

    def at_sites(self, vectors: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
        """Eigenvectors of the blocks (..., n_q, *shape), modes last, on the sites: (..., n_q, n_sites, n_modes)."""
        if len(self.shape) == 3:
            vectors = vectors[..., self.orbit, :] * self.weights[..., None]
            vectors = vectors.transpose(-2, -3).flatten(-2)
        if bool(self.offsets.any()):
            turns = q @ self.offsets.T
            vectors = vectors * torch.complex(turns.cos(), -turns.sin())[..., None]
        return vectors

    def _waves(self, q: torch.Tensor) -> torch.Tensor:
        """cos(q . d) and sin(q . d), (n_q, 2 n_steps)."""
        turns = q.to(self.phases.dtype) @ self.phases.T
        return torch.cat([turns.cos(), turns.sin()], -1)

    def _place(self, couplings: "Couplings", values: torch.Tensor, waves: torch.Tensor) -> torch.Tensor:
        """Matrices of all blocks from their entries."""
        entries = torch.view_as_complex((waves @ couplings.table(values)).unflatten(-1, (-1, 2)))
        number = math.prod(self.shape)
        if len(couplings.entries) < number:
            full = entries.new_zeros((*entries.shape[:-1], number))
            entries = full.index_copy(-1, couplings.entries, entries)
        return entries.unflatten(-1, self.shape)


@dataclass(frozen=True)
class Couplings:
    """What the couplings add to the entries of a matrix: sum over terms of c exp(i q . d), with c linear in parameters.

    Attributes
    ----------
    entries : (n_entries,) int
        Flat positions of the entries that are not zero throughout.
    slot : (n_terms,) int
        Which displacement and entry a term belongs to: ``step * n_entries + entry``.
    sense : (n_terms,)
        1 or -1 where the term goes along +d or -d.
    coefficients : (n_parameters + 1, n_terms) complex
        Per unit of each parameter; last row: the constant.
    n_steps : int
    """

    entries: torch.Tensor
    slot: torch.Tensor
    sense: torch.Tensor
    coefficients: torch.Tensor
    n_steps: int

    def table(self, values: torch.Tensor) -> torch.Tensor:
        """Factors of cos(q . d) and sin(q . d), (..., 2 n_steps, 2 n_entries): each entry's real and imaginary part."""
        one = values.new_ones((*values.shape[:-1], 1))
        terms = torch.cat([values, one], -1).to(self.coefficients.dtype) @ self.coefficients
        shape = (*terms.shape[:-1], self.n_steps * len(self.entries))
        even = terms.new_zeros(shape).index_add(-1, self.slot, terms)
        odd = terms.new_zeros(shape).index_add(-1, self.slot, 1j * self.sense * terms)
        both = torch.stack([even, odd], -2).reshape(*terms.shape[:-1], 2 * self.n_steps, len(self.entries))
        return torch.view_as_real(both).flatten(-2)


def boson_hamiltonian(model: SpinModel, device: torch.device | str = "cpu", reduce: bool = False) -> BosonHamiltonian:
    """Work out a model's boson form once, for any parameters and q.

    Parameters
    ----------
    reduce : bool
        Whether to split the matrices by the exchanges of sites that the couplings allow.

    Raises
    ------
    StudyError
        If the model has a propagation vector and is not the same in the rotating frame everywhere.
    """
    check_invariant(model)
    terms = _terms(model)
    n = len(model.sites)
    offsets = flat_offsets(n, terms.start, terms.end, terms.steps) if reduce else np.zeros((n, 3))
    terms = replace(terms, steps=terms.steps - offsets[terms.end] + offsets[terms.start])
    group = find_exchanges(_probes(terms, n)) if reduce else no_exchanges(n)
    n_blocks = len(group.characters)
    size = n // n_blocks
    # rows of the first site of each orbit; sum over elements g of character(g) A[o, g o']
    first = np.flatnonzero(group.element[terms.start] == 0)
    steps, step, sense = _steps(terms.steps[first])
    character = group.characters[:, group.element[terms.end[first]]]
    row, column = group.orbit[terms.start[first]], group.orbit[terms.end[first]]
    index = (np.arange(n_blocks)[:, None] * size + row) * size + column

    def couplings(coefficients: NDArray[np.complex128]) -> Couplings:
        every = coefficients[:, None, first] * character
        keep = np.abs(every).max(0) > 0
        entries, entry = np.unique(index[keep], return_inverse=True)
        slot = np.broadcast_to(step, index.shape)[keep] * len(entries) + entry
        return Couplings(
            torch.as_tensor(entries, device=device),
            torch.as_tensor(slot, device=device),
            torch.as_tensor(np.broadcast_to(sense, index.shape)[keep], device=device),
            torch.as_tensor(every[:, keep], device=device),
            len(steps),
        )

    return BosonHamiltonian(
        shape=(n_blocks, size, size) if n_blocks > 1 else (n, n),
        phases=torch.as_tensor(steps, device=device),
        normal=couplings(terms.normal),
        anomalous=couplings(terms.anomalous),
        conjugate=torch.as_tensor(group.conjugate, device=device),
        offsets=torch.as_tensor(offsets, device=device),
        weights=torch.as_tensor(group.characters[:, group.element] / np.sqrt(n_blocks), device=device),
        orbit=torch.as_tensor(group.orbit, device=device),
    )


@dataclass(frozen=True)
class _Terms:
    """Directed couplings: sites, displacements (n_terms, 3) Å, and what they add to A and B (n_weights, n_terms)."""

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    steps: NDArray[np.float64]
    normal: NDArray[np.complex128]
    anomalous: NDArray[np.complex128]


def _terms(model: SpinModel) -> _Terms:
    """The couplings of a model, each bond in both senses, and what acts on each site alone."""
    u, v = (x.numpy() for x in local_frames(model))
    spins = np.array([s.spin for s in model.sites])
    n, n_weights = len(spins), len(model.parameters) + 1
    terms: list[tuple[int, int, np.ndarray, np.ndarray, np.ndarray]] = []
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
            normal, anomalous = (scale * project(u[i], exchange, x) for x in (u[j].conj(), u[j]))
            terms.append((i, j, step, normal, anomalous))
            onsite_normal[:, i] -= spins[j] * project(v[i], exchange, v[j])
    for i, single in enumerate(model.anisotropy):
        onsite_normal[:, i] += spins[i] * (project(u[i], single, u[i].conj()) - 2 * project(v[i], single, v[i]))
        onsite_anomalous[:, i] += spins[i] * project(u[i], single, u[i])
        onsite_normal[:, i] += model.zeeman[i] @ v[i]
    terms += [(i, i, np.zeros(3), onsite_normal[:, i], onsite_anomalous[:, i]) for i in range(n)]
    start, end, steps, normal, anomalous = (np.array(x) for x in zip(*terms, strict=True))
    return _Terms(start, end, steps, normal.T, anomalous.T)


def _probes(terms: _Terms, n: int) -> NDArray[np.complex128]:
    """A and B mixed, (3, n, n), at random wave vectors and parameters."""
    rng = np.random.default_rng(0)
    probes = np.zeros((3, n, n), complex)
    for probe in probes:
        weights = rng.uniform(0.5, 1.5, len(terms.normal))
        wave = np.exp(1j * (terms.steps @ rng.uniform(-1, 1, 3)))
        mixed = (weights @ terms.normal + rng.uniform(0.5, 1.5) * (weights @ terms.anomalous)) * wave
        np.add.at(probe, (terms.start, terms.end), mixed)
    return probes


def _steps(d: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Displacements that differ, a pair +-d counted once; which one each of (n, 3) is, and in which sense."""
    rounded = np.round(d, 9) + 0.0
    sense = np.where((rounded * [1e6, 1e3, 1]).sum(1) < 0, -1.0, 1.0)
    _, at, number = np.unique(np.round(d * sense[:, None], 9) + 0.0, axis=0, return_index=True, return_inverse=True)
    return (d * sense[:, None])[at], number.reshape(-1), sense
