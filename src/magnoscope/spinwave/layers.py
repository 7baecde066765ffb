"""Modes that are flat along one direction of Q, solved once in the magnetic zone and reused everywhere.

Where heights z_i exist with d . n = z_j - z_i for every bond (:meth:`SpinModel.layer_heights`), a shift of q along n or
by a reciprocal lattice vector, changes no more than the phase of each site. Sites of one ion at one height share their
phase and their form factor, so that the intensity at any Q of modes too close in energy to be told apart is

    sum_ab (delta_ab - Qa Qb / Q^2) sum_gg' conj(c_g) c_g' T^ab_gg',    c_g = F_g(Q) exp(i Q . n z_g),

with a matrix T of the groups g that is summed over the sites and these modes once, for every copy of the zone.
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
class Bundles:
    """Modes of the points of a zone, those of one point that are close in energy taken together.

    Attributes
    ----------
    zone, mode : (n_bundles,) int
        Point of the zone, and number of the first mode.
    energy : (n_bundles,) meV
        Mean over the modes of a bundle.
    number : (n_zone, n_modes) int
        The bundle of each mode.
    """

    zone: torch.Tensor
    mode: torch.Tensor
    energy: torch.Tensor
    number: torch.Tensor

    @classmethod
    def of(cls, energies: torch.Tensor, tolerance: float) -> "Bundles":
        """Bundle modes (n_zone, n_modes), energies falling, that are closer than ``tolerance`` meV to the first one."""
        begins = torch.ones(energies.shape, dtype=torch.bool)
        first = energies[:, 0]
        for column in range(1, energies.shape[1]):
            begins[:, column] = first - energies[:, column] > tolerance
            first = torch.where(begins[:, column], energies[:, column], first)
        number = (begins.flatten().cumsum(0) - 1).reshape(energies.shape)
        zone, mode = begins.nonzero(as_tuple=True)
        return cls(zone, mode, _sum_rows(energies.reshape(-1, 1), number, mean=True)[:, 0], number)

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Means (n_bundles, ...) of what each mode (n_zone, n_modes, ...) has."""
        return _sum_rows(values.flatten(0, 1), self.number, mean=True)


@dataclass(frozen=True)
class Block:
    """Points of one copy of the zone.

    Attributes
    ----------
    copy : int
        Which set of phases they have.
    points : (n_zone,) int
        The point at each place of the zone, -1 where there is none.
    """

    copy: int
    points: torch.Tensor


@dataclass(frozen=True)
class LayerTable:
    """Modes of one domain at a list of points, whatever their coordinate along the flat direction.

    Attributes
    ----------
    fraction : float
        Volume fraction of the domain.
    energies : (n_zone, n_modes) meV
    bundles : Bundles
    carries : (n_bundles,) bool
        False where a bundle carries no intensity in any copy of the zone.
    zone : (n_points,)
        Which point of the zone each point is.
    blocks : list of Block
        The points sorted by the copy of the zone they lie in.
    groups : list of (ion, height in Å)
    components : list of int
        Cartesian components in which the moments move.
    matrix : (n_bundles, n_copies, n_pairs_of_components, n_groups^2) float32
        T, as real numbers: real parts of g <= g', then imaginary parts of g < g'.
    turn : (3, 3)
        Takes coordinates along the axes to the domain's Cartesian frame, 1/Å.
    """

    fraction: float
    energies: torch.Tensor
    bundles: Bundles
    carries: torch.Tensor
    zone: torch.Tensor
    blocks: list[Block]
    groups: list[tuple[str, float]]
    components: list[int]
    matrix: torch.Tensor
    turn: NDArray[np.float64]

    def intensity(self, bundle: torch.Tensor, copy: torch.Tensor, coordinates: torch.Tensor) -> torch.Tensor:
        """S_perp with form factor of bundles, times the domain's fraction.

        Parameters
        ----------
        bundle, copy : (n,) int
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
        unit = (q[:, self.components] / length.clamp_min(1e-6)[:, None]).T.contiguous()
        factors = {ion: form_factor(ion, length) for ion in {ion for ion, _ in self.groups}}
        angles = place[:, 2] * float(np.linalg.norm(self.turn[2]))
        real, imaginary = [], []
        for g, (ion, height) in enumerate(self.groups):
            for other, height_other in self.groups[g:]:
                size = factors[ion] * factors[other]
                if height_other == height:
                    real.append(size)
                else:
                    real.append(size * torch.cos(angles * (height_other - height)))
        for g, (ion, height) in enumerate(self.groups):
            for other, height_other in self.groups[g + 1 :]:
                imaginary.append(-factors[ion] * factors[other] * torch.sin(angles * (height_other - height)))
        phases = torch.stack([*real, *imaginary], 1)
        rows = self.matrix.flatten(0, 1).index_select(0, bundle * self.matrix.shape[1] + copy)
        parts = torch.bmm(rows, phases[:, :, None])[:, :, 0].T.contiguous()
        total = torch.zeros_like(length)
        for pair, (a, b) in enumerate(_pairs(len(self.components))):
            total += parts[pair] * (float(a == b) - unit[a] * unit[b])
        return (total * reached).clamp_min(0) * self.fraction


def layer_tables(
    solver: ModeSolver,
    values: ArrayLike,
    points: NDArray[np.float64],
    axes: NDArray[np.float64],
    domains: Sequence[tuple[NDArray[np.float64], float]],
    heights: Sequence[NDArray[np.float64]],
    tolerance: float = 0.0,
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
    tolerance : float
        Modes of one point that are closer in energy than this are bundled, meV.

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
    bundles = Bundles.of(modes.energies, tolerance)
    tables = []
    for alike in _alike(heights):
        phases, copies = _lattice_phases(model, np.concatenate([offsets[t] for t in alike]))
        groups, components, matrix = _group_matrix(model, bosons, phases, heights[alike[0]], bundles)
        size = matrix[:, :, [p for p, (a, b) in enumerate(_pairs(len(components))) if a == b]].sum(2)
        size = size[:, :, _diagonal(len(groups))].sum(2).amax(1)
        carries = size > DARK * size.median()
        for t, copy in zip(alike, np.split(copies, len(alike)), strict=True):
            fraction = domains[t][1]
            turn = axes @ domains[t][0].T @ model.lattice.reciprocal
            blocks = _blocks(offsets[t], copy, places[t].numpy(), len(zone))
            tables.append(
                LayerTable(
                    fraction, modes.energies, bundles, carries, places[t], blocks, groups, components, matrix, turn
                )
            )
    return tables


def _pairs(count: int) -> list[tuple[int, int]]:
    return [(a, b) for a in range(count) for b in range(a, count)]


def _diagonal(count: int) -> list[int]:
    return [n for n, (a, b) in enumerate(_pairs(count)) if a == b]


def _sum_rows(rows: torch.Tensor, number: torch.Tensor, mean: bool = False) -> torch.Tensor:
    """Sums of consecutive rows (n, ...) that share a number."""
    flat = number.flatten()
    total = rows.new_zeros(int(flat[-1]) + 1, *rows.shape[1:]).index_add_(0, flat, rows)
    if not mean:
        return total
    return total / torch.bincount(flat).reshape(-1, *[1] * (rows.ndim - 1))


def _blocks(offsets: NDArray[np.float64], copies: NDArray, places: NDArray, n_zone: int) -> list[Block]:
    """Points sorted by the copy of the zone that they lie in."""
    _, first, which = np.unique(offsets, axis=0, return_index=True, return_inverse=True)
    blocks = []
    for number, some in enumerate(first):
        points = torch.full((n_zone,), -1)
        own = np.flatnonzero(which.ravel() == number)
        points[places[own]] = torch.as_tensor(own)
        blocks.append(Block(int(copies[some]), points))
    return blocks


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


def _group_matrix(
    model: SpinModel, bosons: torch.Tensor, phases: NDArray, heights: NDArray[np.float64], bundles: Bundles
) -> tuple[list[tuple[str, float]], list[int], torch.Tensor]:
    """Groups, components and the matrix T of :class:`LayerTable`."""
    kinds = [(s.ion, round(float(h), 6)) for s, h in zip(model.sites, heights, strict=True)]
    groups = sorted(set(kinds))
    size = (bosons.real**2 + bosons.imag**2).sum((0, 1, 2))
    components = [c for c in range(3) if float(size[c]) > 1e-10 * float(size.sum())]
    n_zone, _, n_modes, _ = bosons.shape
    amplitudes: dict[tuple[int, int], torch.Tensor] = {}
    for g, group in enumerate(groups):
        own = [site for site, kind in enumerate(kinds) if kind == group]
        left = torch.as_tensor(phases[:, own].T).to(torch.complex64)  # (sites, copies)
        for c, component in enumerate(components):
            right = bosons[:, own, :, component].transpose(1, 2).reshape(-1, len(own))
            amplitudes[g, c] = right @ left  # (zone and mode, copies)
    elements = [(g, h) for g in range(len(groups)) for h in range(g, len(groups))]
    width = len(groups) ** 2
    matrix = torch.empty(len(bundles.zone), len(phases), len(_pairs(len(components))), width)
    for pair, (a, b) in enumerate(_pairs(len(components))):
        position = len(elements)
        for n, (g, h) in enumerate(elements):
            product = amplitudes[g, a].conj() * amplitudes[h, b]
            if a != b:
                product = product + amplitudes[g, b].conj() * amplitudes[h, a]
            # both (g, h) and (h, g) are in the sum
            product = _sum_rows(torch.view_as_real(product).flatten(1), bundles.number).unflatten(1, (-1, 2))
            matrix[:, :, pair, n] = product[..., 0] * (1 if g == h else 2)
            if g != h:
                matrix[:, :, pair, position] = product[..., 1] * 2
                position += 1
    return groups, components, matrix
