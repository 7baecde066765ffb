"""Modes that are flat along one direction of Q, solved once in the magnetic zone and reused everywhere.

Where heights z_i exist with d . n = z_j - z_i for every bond (:meth:`SpinModel.layer_heights`), a shift of q along n or
by a reciprocal lattice vector, changes no more than the phase of each site. Sites of one ion at one height share their
phase and their form factor, so that the intensity at any Q of modes too close in energy to be told apart is

    sum_ab (delta_ab - Qa Qb / Q^2) sum_gg' conj(c_g) c_g' T^ab_gg',    c_g = F_g(Q) exp(i Q . n z_g),

with a matrix T of the groups g that is summed over the sites and these modes once, for every copy of the zone; pairs of
groups that share F_g F_g' and z_g' - z_g share a term.
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
from .rotating_frame import projections

DARK = 1e-3
"""Modes that at no l exceed this share of the mean intensity in a copy of the zone are left out of it."""


Kind = tuple[str, float]
"""An ion and the share of its orbital moment: what a form factor depends on."""


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
        begins = torch.ones(energies.shape, dtype=torch.bool, device=energies.device)
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
class Domain:
    """Where the points of a plane of Q lie for one domain, whatever the parameters.

    Attributes
    ----------
    fraction : float
        Volume fraction.
    turn : (3, 3)
        Takes coordinates along the axes to the domain's Cartesian frame, 1/Å.
    heights : (n_sites,) Å
        Of the sites along the flat direction.
    zone : (n_points,)
        Which point of the zone each point is.
    copies : (n_points,)
        Which copy of the zone (which set of phases) it lies in.
    """

    fraction: float
    turn: NDArray[np.float64]
    heights: NDArray[np.float64]
    zone: torch.Tensor
    copies: torch.Tensor

    def of_zone(self, zone: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """All points at each of a list of zone points: the list's index, and the point, as flat lists."""
        order = self.zone.argsort()
        counts = torch.bincount(self.zone, minlength=int(zone.max()) + 1 if len(zone) else 1)
        index = torch.arange(len(zone), device=zone.device).repeat_interleave(counts[zone])
        first = (counts.cumsum(0) - counts)[zone]
        before = counts[zone].cumsum(0) - counts[zone]
        return index, order[torch.arange(len(index), device=zone.device) + (first - before)[index]]


@dataclass(frozen=True)
class Plane:
    """Points of a plane of Q reduced to the magnetic zone of one model in every domain; made once.

    Attributes
    ----------
    zone : (n_zone, 3) r.l.u.
        Wave vectors to solve.
    phases : (n_copies, n_sites) complex
        exp(i G . r) of the sites in every copy of the zone.
    """

    zone: NDArray[np.float64]
    phases: NDArray[np.complex128]
    domains: list[Domain]

    @classmethod
    def of(
        cls,
        model: SpinModel,
        points: NDArray[np.float64],
        axes: NDArray[np.float64],
        domains: Sequence[tuple[NDArray[np.float64], float]],
        heights: Sequence[NDArray[np.float64]],
    ) -> "Plane":
        """Reduce points.

        Parameters
        ----------
        points : (n_points, 3) r.l.u.
        axes : (3, 3) r.l.u.
            Rows: two axes of the plane, then the flat direction.
        domains
            Matrix and volume fraction of each.
        heights
            Of the sites along the flat direction of each domain, Å.
        """
        supercell = np.array(model.supercell)
        in_cell = [points @ matrix.T * supercell for matrix, _ in domains]
        offsets = [np.floor(q + 1e-7) for q in in_cell]
        reduced = np.round(np.concatenate([q - o for q, o in zip(in_cell, offsets, strict=True)]), 9)
        zone, which = np.unique(reduced, axis=0, return_inverse=True)
        phases, copies = _lattice_phases(model, np.concatenate(offsets))
        kept = [
            Domain(
                fraction, axes @ matrix.T @ model.lattice.reciprocal, own, torch.as_tensor(place), torch.as_tensor(copy)
            )
            for (matrix, fraction), own, place, copy in zip(
                domains, heights, which.reshape(len(domains), -1), copies.reshape(len(domains), -1), strict=True
            )
        ]
        return cls(zone / supercell, phases, kept)


@dataclass(frozen=True)
class Harmonics:
    """The distinct functions of l and |Q| that an intensity is made of: F_a F_b cos(angle) and F_a F_b sin(angle).

    Attributes
    ----------
    pairs : list of (kind, kind, height)
        Two kinds of ion and the distance (Å, not below 0) of their layers; each has a cosine.
    sines : list of int
        Those of the pairs that also have a sine.
    """

    pairs: list[tuple[Kind, Kind, float]]
    sines: list[int]

    @classmethod
    def of(cls, groups: list[tuple[Kind, float]]) -> "Harmonics":
        """Of groups of sites, (kind, height)."""
        pairs = sorted({cls.key(g, h)[0] for n, g in enumerate(groups) for h in groups[n:]})
        return cls(pairs, [n for n, pair in enumerate(pairs) if pair[2] > 0])

    @staticmethod
    def key(one: tuple[Kind, float], other: tuple[Kind, float]) -> tuple[tuple[Kind, Kind, float], float]:
        """The pair that two groups belong to, and the sign of its sine."""
        rise = round(other[1] - one[1], 6)
        first, second = sorted((one[0], other[0]))
        return (first, second, abs(rise)), 1.0 if rise > 0 else -1.0

    def __len__(self) -> int:
        return len(self.pairs) + len(self.sines)

    def __call__(self, length: torch.Tensor, along: torch.Tensor) -> torch.Tensor:
        """Values (len, n) at |Q| and the component of Q along the flat direction (n,), 1/Å."""
        factors = {kind: form_factor(kind[0], length, kind[1]) for kind in {k for pair in self.pairs for k in pair[:2]}}
        out = torch.empty(len(self), *length.shape, dtype=length.dtype, device=length.device)
        turns = {height: along * height for height in {pair[2] for pair in self.pairs} if height}
        cosines = {height: torch.cos(turn) for height, turn in turns.items()}
        sines = {height: torch.sin(turn) for height, turn in turns.items()}
        for n, (ion, other, height) in enumerate(self.pairs):
            size = torch.mul(factors[ion], factors[other], out=out[n])
            if height:
                torch.mul(size, sines[height], out=out[len(self.pairs) + self.sines.index(n)])
                size.mul_(cosines[height])
        return out


@dataclass(frozen=True)
class LayerTable:
    """Modes of one domain at the points of a plane, whatever their coordinate along the flat direction.

    Attributes
    ----------
    domain : Domain
    energies : (n_zone, n_modes) meV
    bundles : Bundles
    bright : (n_bundles, n_copies) bool
        False where a bundle carries next to no intensity in a copy of the zone, at any l.
    components : list of int
        Cartesian components in which the moments move.
    harmonics : Harmonics
    matrix : (n_pairs_of_components * len(harmonics), n_bundles * n_copies) float32
        T, as what multiplies each of the harmonics.
    """

    domain: Domain
    energies: torch.Tensor
    bundles: Bundles
    bright: torch.Tensor
    components: list[int]
    harmonics: Harmonics
    matrix: torch.Tensor

    def listed(self, low: float, high: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Bundles between two energies (meV), by rising energy, at each point where they are bright: two flat lists."""
        energy, order = self.bundles.energy.sort()
        inside = order[int(torch.searchsorted(energy, low)) : int(torch.searchsorted(energy, high))]
        if not len(inside):
            return inside, inside
        index, point = self.domain.of_zone(self.bundles.zone[inside])
        bundle = inside[index]
        bright = self.bright.flatten().index_select(0, self._row(bundle, point)).nonzero()[:, 0]
        return bundle[bright], point[bright]

    def _row(self, bundle: torch.Tensor, point: torch.Tensor) -> torch.Tensor:
        """Number of a bundle in the copy of the zone that a point lies in."""
        return bundle * self.bright.shape[1] + self.domain.copies.index_select(0, point)

    def terms(self, bundle: torch.Tensor, point: torch.Tensor) -> torch.Tensor:
        """T of bundles at points (n,), (n_pairs_of_components, len(harmonics), n)."""
        return self.matrix.index_select(1, self._row(bundle, point)).unflatten(0, (-1, len(self.harmonics)))

    def intensity(self, terms: torch.Tensor, coordinates: Sequence[torch.Tensor]) -> torch.Tensor:
        """S_perp with form factor of bundles at points, times the domain's fraction.

        Parameters
        ----------
        terms : (n_pairs_of_components, len(harmonics), n)
            Of :meth:`terms`.
        coordinates : three of (n,)
            Along the two axes of the points and along the flat direction, r.l.u.; NaN where out of reach.

        Returns
        -------
        (n,) float32
            Zero out of reach.
        """
        place = torch.stack(tuple(coordinates)).float()
        turn = torch.as_tensor(self.domain.turn.T, dtype=torch.float32, device=place.device)
        q = turn @ place
        square = (q * q).sum(0).clamp_min_(1e-12)
        values = self.harmonics(square.sqrt(), place[2] * float(np.linalg.norm(self.domain.turn[2])))
        parts = terms[:, 0] * values[0]
        for n in range(1, len(values)):
            parts.addcmul_(terms[:, n], values[n])
        total = torch.zeros_like(square)
        for pair, part in zip(_pairs(len(self.components)), parts, strict=True):
            a, b = (self.components[c] for c in pair)
            along = q[a] * q[b] / square
            total.addcmul_(part, 1 - along if a == b else -along)
        return torch.where(place[2].isfinite(), total.clamp_min_(0).mul_(self.domain.fraction), 0.0)


def layer_tables(solver: ModeSolver, values: ArrayLike, plane: Plane, tolerance: float = 0.0) -> list[LayerTable]:
    """Solve a model at the points of a plane of Q, in every domain.

    Parameters
    ----------
    solver : ModeSolver
    values : (n_parameters,) meV
    plane : Plane
    tolerance : float
        Modes of one point that are closer in energy than this are bundled, meV.

    Raises
    ------
    InstabilityError
        If the structure is no energy minimum at one of the points.
    """
    modes = solver.solve(values, plane.zone)
    check_stable(solver, values, modes)
    bosons = boson_amplitudes(modes)
    bundles = Bundles.of(modes.energies, tolerance)
    tables: dict[int, LayerTable] = {}
    for alike in _alike([domain.heights for domain in plane.domains]):
        shared = _group_matrix(solver.model, bosons, plane.phases, plane.domains[alike[0]].heights, bundles)
        for number in alike:
            tables[number] = LayerTable(plane.domains[number], modes.energies, bundles, *shared)
    return [tables[number] for number in range(len(plane.domains))]


def _pairs(count: int) -> list[tuple[int, int]]:
    return [(a, b) for a in range(count) for b in range(a, count)]


def _sum_rows(rows: torch.Tensor, number: torch.Tensor, mean: bool = False) -> torch.Tensor:
    """Sums of consecutive rows (n, ...) that share a number."""
    flat = number.flatten()
    total = rows.new_zeros(int(flat[-1]) + 1, *rows.shape[1:]).index_add_(0, flat, rows)
    if not mean:
        return total
    return total / torch.bincount(flat).reshape(-1, *[1] * (rows.ndim - 1))


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


def boson_amplitudes(modes: Modes) -> torch.Tensor:
    """Amplitude of each site in each mode without form factor or phases, (n_q, n_sites, n_modes, 3) complex64."""
    frames, _ = local_frames(modes.model)
    scale = torch.as_tensor([(s.spin / 2) ** 0.5 for s in modes.model.sites])
    frames = (frames * scale[:, None]).to(modes.u.device, torch.complex64)
    u, v = (x.conj().to(torch.complex64)[..., None] for x in (modes.u, modes.v))
    moved = u * frames[:, None] + v * frames[:, None].conj()
    if modes.channel is None:
        return moved
    turns = torch.as_tensor(projections(modes.model)).to(modes.u.device, torch.complex64)
    return torch.einsum("qnab,qinb->qina", turns[modes.channel], moved)


def _lattice_phases(model: SpinModel, offsets: NDArray[np.float64]) -> tuple[NDArray, NDArray]:
    """Distinct phases exp(i G . r) of the sites, (n_copies, n_sites), and which of them each offset has."""
    vectors, which = np.unique(offsets, axis=0, return_inverse=True)
    phases = np.exp(2j * np.pi * vectors @ np.array([s.position for s in model.sites]).T)
    _, first, alike = np.unique(np.round(phases, 9), axis=0, return_index=True, return_inverse=True)
    return phases[first], alike.ravel()[which.ravel()]


def _group_matrix(
    model: SpinModel, bosons: torch.Tensor, phases: NDArray, heights: NDArray[np.float64], bundles: Bundles
) -> tuple[torch.Tensor, list[int], Harmonics, torch.Tensor]:
    """What :class:`LayerTable` holds of T: bright, components, harmonics and the matrix."""
    kinds = [((s.ion, s.orbital), round(float(h), 6)) for s, h in zip(model.sites, heights, strict=True)]
    groups = sorted(set(kinds))
    harmonics = Harmonics.of(groups)
    size = (bosons.real**2 + bosons.imag**2).sum((0, 1, 2))
    components = [c for c in range(3) if float(size[c]) > 1e-10 * float(size.sum())]
    n_zone, _, n_modes, _ = bosons.shape
    amplitudes: list[list[torch.Tensor]] = []
    for group in groups:
        own = [site for site, kind in enumerate(kinds) if kind == group]
        left = torch.as_tensor(phases[:, own].T).to(bosons.device, torch.complex64)  # (sites, copies)
        moved = (bosons[:, own, :, c].transpose(1, 2).reshape(-1, len(own)) for c in components)
        amplitudes.append([right @ left for right in moved])  # (zone and mode, copies)
    pairs = _pairs(len(components))
    parts = torch.zeros(n_zone * n_modes, len(pairs), len(harmonics), len(phases), device=bosons.device)
    trace = torch.zeros(n_zone * n_modes, len(phases), device=bosons.device)
    for n, group in enumerate(groups):
        for m, other in list(enumerate(groups))[n:]:
            # both (g, h) and (h, g) are in the sum
            times = 1.0 if n == m else 2.0
            key, sign = Harmonics.key(group, other)
            place = harmonics.pairs.index(key)
            for pair, (a, b) in enumerate(pairs):
                product = amplitudes[n][a].conj() * amplitudes[m][b]
                if a != b:
                    product = product + amplitudes[n][b].conj() * amplitudes[m][a]
                parts[:, pair, place].add_(product.real, alpha=times)
                if key[2]:
                    sine = len(harmonics.pairs) + harmonics.sines.index(place)
                    parts[:, pair, sine].add_(product.imag, alpha=-times * sign)
                if n == m and a == b:
                    trace += product.real
    # no phases between the groups can make more of it
    most = _sum_rows(trace, bundles.number) * len(groups)
    matrix = _sum_rows(parts.flatten(1), bundles.number).unflatten(1, (-1, len(phases)))
    matrix = matrix.transpose(0, 1).reshape(len(pairs) * len(harmonics), -1).contiguous()
    return most > DARK * most.mean(), components, harmonics, matrix
