"""Modes that disperse along every direction, where a run's kinematics meet them.

A run sees, at each point (x, y) of its view, only those (l, E) on the curve E(l) = E_i - |k_i - Q|^2 h^2 / 2m. A mode
is seen where its energy crosses that curve, w(x, y, l) = E(x, y, l), with intensity S_perp / |1 - dw/dE|, dw/dE taken
along the curve. Modes are solved once, on a grid of the magnetic zone that is hit exactly, layer by layer of l, for all
runs and domains; between four layers energies and intensities are interpolated by cubic polynomials, and the crossing
is found by Newton's method.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from .hamiltonian import SpinModel
from .resolution.kinematics import Scan
from .resolution.spots import Peaks
from .spinwave import ModeSolver, check_stable
from .spinwave.form_factor import form_factor
from .spinwave.layers import boson_amplitudes
from .units import ENERGY_PER_K2

NEWTON = 3
"""Steps in which a crossing is found."""
SOLVED = 1 << 12
"""Wave vectors solved at a time."""


@dataclass(frozen=True)
class Layers:
    """The fine points of a view repeated at equal steps of l, reduced to the magnetic zone, for all domains.

    Attributes
    ----------
    shape : (n_x, n_y)
    x, y : (n_points,) r.l.u.
    steps : (dx, dy, dl) r.l.u.
    heights : (n_layers,) r.l.u.
    zone : (n_zone, 3) r.l.u.
        Wave vectors to solve.
    places : (n_domains, n_layers, n_points) int32
        Which of them each point is.
    axes : (3, 3) r.l.u.
    domains
        Matrix and volume fraction of each.
    """

    shape: tuple[int, int]
    x: torch.Tensor
    y: torch.Tensor
    steps: tuple[float, float, float]
    heights: NDArray[np.float64]
    zone: NDArray[np.float64]
    places: torch.Tensor
    axes: NDArray[np.float64]
    domains: Sequence[tuple[NDArray[np.float64], float]]

    @classmethod
    def of(
        cls,
        model: SpinModel,
        grid: tuple[NDArray[np.float64], NDArray[np.float64]],
        heights: NDArray[np.float64],
        axes: NDArray[np.float64],
        domains: Sequence[tuple[NDArray[np.float64], float]],
    ) -> "Layers":
        """Reduce the points of a grid at layers of l."""
        x, y = (a.ravel() for a in np.meshgrid(*grid, indexing="ij"))
        supercell = np.array(model.supercell)
        reduced = []
        for matrix, _ in domains:
            turned = axes @ matrix.T * supercell
            plane = x[:, None] * turned[0] + y[:, None] * turned[1]
            for layer in heights:
                q = plane + layer * turned[2]
                reduced.append(np.round((q - np.floor(q + 1e-7)) * 1e7).astype(np.int64))
        whole = np.concatenate(reduced)
        key = (whole[:, 0] * 20_000_003 + whole[:, 1]) * 20_000_003 + whole[:, 2]
        _, first, which = np.unique(key, return_index=True, return_inverse=True)
        steps = (float(grid[0][1] - grid[0][0]), float(grid[1][1] - grid[1][0]), float(heights[1] - heights[0]))
        places = torch.as_tensor(which.reshape(len(domains), len(heights), -1).astype(np.int32))
        return cls(
            (len(grid[0]), len(grid[1])),
            torch.as_tensor(x),
            torch.as_tensor(y),
            steps,
            heights,
            whole[first] / 1e7 / supercell,
            places,
            axes,
            domains,
        )


@dataclass(frozen=True)
class _Solved:
    """What was solved on the zone: energies (n_zone, n_modes) meV and amplitudes (n_zone, n_sites, n_modes, 3)."""

    model: SpinModel
    layers: Layers
    energies: torch.Tensor
    bosons: torch.Tensor

    def intensity(self, domain: int, layer: int, q: torch.Tensor) -> torch.Tensor:
        """S_perp with form factor at the points of a layer, (n_points, n_modes) float32; q (n_points, 3) r.l.u."""
        place = self.layers.places[domain, layer].long()
        supercell = torch.as_tensor(self.model.supercell, dtype=q.dtype)
        offset = (q - torch.as_tensor(self.layers.zone)[place]) * supercell
        positions = torch.as_tensor(np.array([s.position for s in self.model.sites]))
        cartesian = q @ torch.as_tensor(self.model.lattice.reciprocal)
        length = cartesian.norm(dim=1).clamp_min(1e-9)
        factors = {ion: form_factor(ion, length) for ion in {s.ion for s in self.model.sites}}
        size = torch.stack([factors[s.ion] for s in self.model.sites], 1)
        phases = torch.polar(size, 2 * np.pi * (offset.round() @ positions.T)).to(torch.complex64)
        unit = (cartesian / length[:, None]).float()
        out = []
        for some, phase, direction in zip(place.split(2048), phases.split(2048), unit.split(2048), strict=True):
            moved = self.bosons[some]
            w = torch.bmm(phase[:, None, :], moved.flatten(2))[:, 0].unflatten(1, moved.shape[2:])
            along = (w * direction[:, None, :]).sum(-1)
            out.append((w.real**2 + w.imag**2).sum(-1) - (along.real**2 + along.imag**2))
        return torch.cat(out)


def seen_modes(
    solver: ModeSolver,
    values: ArrayLike,
    layers: Layers,
    scans: Sequence[Scan],
    windows: Sequence[tuple[float, float]],
) -> list[Peaks]:
    """Modes where each run sees them.

    Parameters
    ----------
    solver : ModeSolver
    values : (n_parameters,) meV
    layers : Layers
    scans, windows
        Of each run: its kinematics, and the energy transfers (meV) that matter.

    Raises
    ------
    InstabilityError
        If the structure is no energy minimum at one of the points.
    """
    solved = _solve(solver, values, layers)
    found: list[list[Peaks]] = [[] for _ in scans]
    for domain, (matrix, fraction) in enumerate(layers.domains):
        for low, energies, strengths in _four_layers(solved, domain, matrix):
            for own, scan, window in zip(found, scans, windows, strict=True):
                own += _crossings(layers, scan, window, low, energies, strengths, fraction)
    none = torch.zeros(0, dtype=torch.int64)
    empty = torch.zeros(0)
    return [Peaks.joined([Peaks(none, none, empty, empty, empty, empty), *own]) for own in found]


def _solve(solver: ModeSolver, values: ArrayLike, layers: Layers) -> _Solved:
    energies, bosons = [], []
    for start in range(0, len(layers.zone), SOLVED):
        modes = solver.solve(values, layers.zone[start : start + SOLVED])
        check_stable(solver, values, modes)
        energies.append(modes.energies)
        bosons.append(boson_amplitudes(modes))
    return _Solved(solver.model, layers, torch.cat(energies), torch.cat(bosons))


def _four_layers(
    solved: _Solved, domain: int, matrix: NDArray[np.float64]
) -> Iterator[tuple[int, list[torch.Tensor], list[torch.Tensor]]]:
    """Between each two layers: the lower one's number; energies and intensities of both and of those beside them."""
    layers = solved.layers
    count = len(layers.heights)
    grid = torch.as_tensor(layers.axes @ matrix.T)
    energies: list[torch.Tensor] = []
    strengths: list[torch.Tensor] = []
    for layer in range(count):
        energies.append(solved.energies[layers.places[domain, layer].long()])
        place = torch.stack([layers.x, layers.y, torch.full_like(layers.x, float(layers.heights[layer]))], 1)
        strengths.append(solved.intensity(domain, layer, place @ grid))
        energies, strengths = energies[-4:], strengths[-4:]
        if layer >= 3:
            yield layer - 2, energies, strengths


def _curve(layers: Layers, scan: Scan, point: torch.Tensor, height: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Energy transfer E (n,) at a height l, and its slopes (3, n) along both axes and l: what a run's kinematics leave.

    NaN where k_f would point backwards along the hidden axis.
    """
    view = torch.as_tensor(scan.view)
    k_f = -(torch.stack([layers.x[point], layers.y[point], height], 1) @ view)
    k_f[:, 0] += (scan.ei / ENERGY_PER_K2) ** 0.5
    energy = scan.ei - ENERGY_PER_K2 * (k_f**2).sum(1)
    slopes = 2 * ENERGY_PER_K2 * (k_f @ view.T).T
    return torch.where(slopes[2] > 0, energy, torch.nan), slopes


def _cubic(rows: list[torch.Tensor], t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Value and slope at t, 0 to 1, between the middle two of four values at -1, 0, 1 and 2."""
    a, b, c, d = rows
    first, second, third = (c - a) / 2, a - 2.5 * b + 2 * c - 0.5 * d, (d - a) / 2 + 1.5 * (b - c)
    return b + t * (first + t * (second + t * third)), first + t * (2 * second + 3 * t * third)


def _crossings(
    layers: Layers,
    scan: Scan,
    window: tuple[float, float],
    low: int,
    energies: list[torch.Tensor],
    strengths: list[torch.Tensor],
    fraction: float,
) -> list[Peaks]:
    """Modes that meet a run's curve between two layers, ``low`` and the next."""
    every = torch.arange(len(layers.x))
    below, above = (
        _curve(layers, scan, every, torch.full_like(layers.x, float(layers.heights[n])))[0] for n in (low, low + 1)
    )
    if not bool(((above > window[0]) & (below < window[1])).any()):
        return []
    under, over = energies[1] - below[:, None], energies[2] - above[:, None]
    # half open, so that a mode on a layer counts once
    point, mode = ((under >= 0) != (over >= 0)).logical_and_((under + over).isfinite()).nonzero(as_tuple=True)
    if not len(point):
        return []
    rows = [e[point, mode] for e in energies]
    dl = layers.steps[2]
    t = under[point, mode] / (under[point, mode] - over[point, mode])
    for _ in range(NEWTON):
        mode_energy, rise = _cubic(rows, t)
        seen, slopes = _curve(layers, scan, point, float(layers.heights[low]) + t * dl)
        step = (mode_energy - seen) / (rise - slopes[2] * dl)
        t = (t - step.nan_to_num()).clamp(0, 1)
    mode_energy, rise = _cubic(rows, t)
    seen, slopes = _curve(layers, scan, point, float(layers.heights[low]) + t * dl)
    along = rise / dl
    # a band that runs along the curve is seen over a range of energies; this limits what one crossing may carry
    against = (1 - along / slopes[2]).abs().clamp_min(0.02)
    strength = _cubic([s[point, mode] for s in strengths], t.float())[0].clamp_min(0) * fraction
    inside = ((mode_energy > window[0]) & (mode_energy < window[1]) & seen.isfinite()).nonzero()[:, 0]
    slope = [
        flat + along * (kinematic - flat) / (along - slopes[2])
        for flat, kinematic in zip(_slopes(layers, energies, point, mode, t), slopes[:2], strict=True)
    ]
    parts = (point, mode, mode_energy.float(), (strength / against).float(), slope[0].float(), slope[1].float())
    return [Peaks(*(part[inside] for part in parts))]


def _slopes(
    layers: Layers, energies: list[torch.Tensor], point: torch.Tensor, mode: torch.Tensor, t: torch.Tensor
) -> list[torch.Tensor]:
    """Slopes (n,) of modes along both axes at constant l, by central differences; meV / r.l.u."""
    nx, ny = layers.shape
    place = [point // ny, point % ny]
    out = []
    for axis, (count, stride) in enumerate(((nx, ny), (ny, 1))):
        before, after = (place[axis] > 0).long(), (place[axis] < count - 1).long()
        rises = [(e[point + after * stride, mode] - e[point - before * stride, mode]) for e in energies[1:3]]
        out.append(torch.lerp(rises[0], rises[1], t) / ((before + after) * layers.steps[axis]))
    return out
