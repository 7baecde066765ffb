"""Modes that are flat along one direction of Q, solved once in the magnetic zone and reused everywhere.

Where heights z_i exist with d . n = z_j - z_i for every bond (:meth:`SpinModel.layer_heights`), a shift of q along n or
by a reciprocal lattice vector, changes no more than the phase of each site. Sites of one ion at one height share their
phase and their form factor; their amplitudes are summed once for every set of phases that occurs, and an intensity at
any Q is then a sum over these few groups.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..hamiltonian import SpinModel
from .boson import local_frames
from .form_factor import form_factor
from .modes import Modes, ModeSolver, check_stable

DARK = 1e-3
"""Modes below this share of the median intensity in every copy of the zone are left out."""


@dataclass(frozen=True)
class GroupAmplitudes:
    """Amplitudes of the modes, summed over the sites of one ion at one height.

    Attributes
    ----------
    table : (n_copies, n_zone, n_modes, n_groups, n_components) complex64
    components : list of int
        Cartesian components that are not zero.
    groups : list of (ion, height in Å)
    """

    table: torch.Tensor
    components: list[int]
    groups: list[tuple[str, float]]


@dataclass(frozen=True)
class LayerTable:
    """Modes of one domain at a list of points, whatever their coordinate along the flat direction.

    Attributes
    ----------
    fraction : float
        Volume fraction of the domain.
    energies : (n_zone, n_modes) meV
    carries : (n_zone, n_modes) bool
        False where a mode carries no intensity in any copy of the zone.
    zone, copy : (n_points,)
        Which point of the zone, and which set of phases, each point is.
    turn : (3, 3)
        Takes coordinates along the axes to the domain's Cartesian frame, 1/Å.
    """

    fraction: float
    energies: torch.Tensor
    carries: torch.Tensor
    zone: torch.Tensor
    copy: torch.Tensor
    amplitudes: GroupAmplitudes
    turn: NDArray[np.float64]

    def intensity(self, point: torch.Tensor, mode: torch.Tensor, coordinates: torch.Tensor) -> torch.Tensor:
        """S_perp with form factor, times the domain's fraction.

        Parameters
        ----------
        point, mode : (n,)
        coordinates : (n, 3)
            Along the two axes of the points and along the flat direction, r.l.u.; NaN where out of reach.

        Returns
        -------
        (n,) float32
            Zero out of reach.
        """
        reached = coordinates[:, 2].isfinite()
        place = coordinates.nan_to_num().float()
        q = place @ torch.as_tensor(self.turn, dtype=torch.float32)
        length = q.norm(dim=1)
        unit = q[:, self.amplitudes.components] / length.clamp_min(1e-6)[:, None]
        groups = self.amplitudes.groups
        factors = {ion: form_factor(ion, length) for ion, _ in groups}
        along = float(np.linalg.norm(self.turn[2]))
        one = torch.ones_like(length)
        phases = {height: torch.polar(one, place[:, 2] * (along * height)) for _, height in groups}
        coefficient = torch.stack([phases[height] * factors[ion] for ion, height in groups], 1)
        n_zone, n_modes = self.energies.shape
        row = (self.copy[point] * n_zone + self.zone[point]) * n_modes + mode
        table = self.amplitudes.table.reshape(-1, len(groups) * len(self.amplitudes.components))
        amplitude = table.index_select(0, row).reshape(len(row), len(groups), len(self.amplitudes.components))
        total = (coefficient[:, :, None] * amplitude).sum(1)
        along_q = (total * unit).sum(1)
        perpendicular = (total.real**2 + total.imag**2).sum(1) - (along_q.real**2 + along_q.imag**2)
        return perpendicular.clamp_min(0) * reached * self.fraction


def layer_tables(
    solver: ModeSolver,
    values: ArrayLike,
    points: NDArray[np.float64],
    axes: NDArray[np.float64],
    domains: Sequence[tuple[NDArray[np.float64], float]],
    heights: Sequence[NDArray[np.float64]],
) -> list[LayerTable]:
    """Solve a model at points of a plane of Q, in every domain.

    Parameters
    ----------
    solver : ModeSolver
    values : (n_parameters,) meV
    points : (n_points, 3) r.l.u.
    axes : (3, 3) r.l.u.
        Rows: two axes of the plane, then the flat direction.
    domains
        Matrix and volume fraction of each.
    heights
        Of the sites along the flat direction of each domain, Å.

    Raises
    ------
    InstabilityError
        If the structure is no energy minimum at one of the points.
    """
    model = solver.model
    supercell = np.array(model.supercell)
    in_cell = [points @ matrix.T * supercell for matrix, _ in domains]
    offsets = [np.floor(q + 1e-7) for q in in_cell]
    reduced = np.round(np.concatenate([q - o for q, o in zip(in_cell, offsets, strict=True)]), 9)
    zone, which = np.unique(reduced, axis=0, return_inverse=True)
    places = torch.as_tensor(which.reshape(len(domains), -1))
    modes = solver.solve(values, zone / supercell)
    check_stable(solver, values, modes)
    bosons = _boson_amplitudes(modes)
    tables = []
    for alike in _alike(heights):
        phases, copies = _lattice_phases(model, np.concatenate([offsets[t] for t in alike]))
        amplitudes = _group_amplitudes(model, bosons, phases, heights[alike[0]])
        size = (amplitudes.table.real**2 + amplitudes.table.imag**2).sum((3, 4)).amax(0)
        carries = size > DARK * size.median()
        for t, copy in zip(alike, np.split(copies, len(alike)), strict=True):
            matrix, fraction = domains[t]
            turn = axes @ matrix.T @ model.lattice.reciprocal
            tables.append(
                LayerTable(fraction, modes.energies, carries, places[t], torch.as_tensor(copy), amplitudes, turn)
            )
    return tables


def _alike(heights: Sequence[NDArray[np.float64]]) -> list[list[int]]:
    """Indices of domains grouped by equal heights."""
    groups: list[list[int]] = []
    for t, own in enumerate(heights):
        for group in groups:
            if np.allclose(heights[group[0]], own, atol=1e-6):
                group.append(t)
                break
        else:
            groups.append([t])
    return groups


def _boson_amplitudes(modes: Modes) -> torch.Tensor:
    """Amplitude of each site in each mode without form factor or phases, (n_q, n_sites, n_modes, 3) complex64."""
    frames, _ = local_frames(modes.model)
    scale = torch.as_tensor([(s.spin / 2) ** 0.5 for s in modes.model.sites])
    frames = (frames * scale[:, None]).to(torch.complex64)
    u, v = (x.conj().to(torch.complex64)[..., None] for x in (modes.u, modes.v))
    return u * frames[:, None] + v * frames[:, None].conj()


def _lattice_phases(model: SpinModel, offsets: NDArray[np.float64]) -> tuple[NDArray, NDArray]:
    """Distinct phases exp(i G . r) of the sites, (n_copies, n_sites), and which of them each offset has."""
    vectors, which = np.unique(offsets, axis=0, return_inverse=True)
    phases = np.exp(2j * np.pi * vectors @ np.array([s.position for s in model.sites]).T)
    _, first, alike = np.unique(np.round(phases, 9), axis=0, return_index=True, return_inverse=True)
    return phases[first], alike.ravel()[which.ravel()]


def _group_amplitudes(
    model: SpinModel, bosons: torch.Tensor, phases: NDArray, heights: NDArray[np.float64]
) -> GroupAmplitudes:
    """Sum the sites' amplitudes within each group, for every set of phases."""
    kinds = [(s.ion, round(float(h), 6)) for s, h in zip(model.sites, heights, strict=True)]
    groups = sorted(set(kinds))
    member = np.array([[kind == g for kind in kinds] for g in groups], float)
    size = (bosons.real**2 + bosons.imag**2).sum((0, 1, 2))
    components = [c for c in range(3) if float(size[c]) > 1e-10 * float(size.sum())]
    left = torch.as_tensor(phases[:, None] * member[None]).to(torch.complex64)  # (copies, groups, sites)
    n_zone, n_sites, n_modes, _ = bosons.shape
    right = bosons[..., components].permute(1, 0, 2, 3).reshape(n_sites, -1)
    flat = left.reshape(-1, n_sites) @ right
    table = flat.reshape(len(phases), len(groups), n_zone, n_modes, len(components)).permute(0, 2, 3, 1, 4)
    return GroupAmplitudes(table.contiguous(), components, groups)
