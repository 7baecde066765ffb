"""From a study, a model and its parameters to a Spectrum.

Modes are solved once per parameter set on a fine grid of the view; each mode of each fine point is then displaced by
its draws of the resolution into a pixel, and its width in energy spread over the slices. Where the modes do not
disperse along the direction that the view does not show (:meth:`SpinModel.layer_heights`), the grid is reduced to the
magnetic zone, hit exactly, and serves every run, slice, twin and l: only phases and form factors change. Otherwise the
modes are solved at the l of a number of energy transfers for each run, and weighted between them: slower by the number
of runs times that of energies.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import reduce
from math import gcd

import numpy as np
import torch

from .hamiltonian import SpinModel
from .machine import one_thread
from .resolution.kinematics import Scan
from .resolution.setting import run_setting
from .resolution.spread import Method, Spread, make_spread
from .spectrum import Spectrum
from .spinwave import ModeSolver, check_stable, s_perp
from .spinwave.layers import LayerTable, layer_tables
from .study import Axis, Run, Study

MARGIN = 0.08
"""How far (fraction of an axis' length) the fine grid goes beyond the view, for what the resolution carries in."""


CHUNK = 1 << 14
"""Modes worked on at a time: few enough to stay in the processor's cache."""


FAINT = 0.1
"""Modes fainter than this share of the mean use a single draw of the resolution."""


@dataclass(frozen=True)
class Sampling:
    """How finely to simulate.

    Attributes
    ----------
    zone_points : int
        Fine points along each axis of the magnetic zone.
    draws : int
        Draws of the resolution kept per fine point; the modes of a point share them out.
    draws_per_mode : int
        How many of them each mode uses.
    energies : int
        Energy transfers per run at which dispersive modes are solved (only where they disperse along the hidden axis).
    """

    zone_points: int = 24
    draws: int = 8
    draws_per_mode: int = 4
    energies: int = 24


@dataclass(frozen=True)
class _RunPlan:
    """What one run needs, prepared once."""

    run: Run
    scan: Scan
    spread: Spread
    window: tuple[float, float]


@dataclass(frozen=True)
class _Peaks:
    """Modes as flat lists: fine point, mode, energy (meV), intensity, and slope (n, 2) in meV / r.l.u."""

    point: torch.Tensor
    mode: torch.Tensor
    energy: torch.Tensor
    weight: torch.Tensor
    slope: torch.Tensor

    def where(self, chosen: torch.Tensor) -> "_Peaks":
        """Some of the modes."""
        return _Peaks(*(getattr(self, f.name)[chosen] for f in fields(self)))


class Simulator:
    """A study made ready to simulate any of its models with any parameters."""

    def __init__(self, study: Study, resolution: Method = "gaussian", sampling: Sampling | None = None) -> None:
        self.study = study
        self.resolution = resolution
        self.sampling = sampling or Sampling()
        self.grid = tuple(_fine_axis(axis, study, self.sampling.zone_points) for axis in study.view.axes)
        x, y = np.meshgrid(*self.grid, indexing="ij")
        self._x, self._y = torch.as_tensor(x.ravel()), torch.as_tensor(y.ravel())
        self._axes = np.array([*(a.direction for a in study.view.axes), study.view.hidden_direction], float)
        self._plans = [self._plan(number, run) for number, run in enumerate(study.runs)]
        self._solvers = {name: ModeSolver(model) for name, model in study.models.items()}
        self._flat = {name: self._heights(model) for name, model in study.models.items()}
        self._references: dict[str, np.ndarray] = {}
        self.reachable = self._reachable()

    def solver(self, model: str) -> ModeSolver:
        """The spin wave solver of a candidate model."""
        return self._solvers[self.study.model(model).name]

    def _plan(self, number: int, run: Run) -> _RunPlan:
        study = self.study
        setting, scan = run_setting(study, number)
        edges = study.view.energy_edges(run.ei)
        spread = make_spread(
            self.resolution,
            setting,
            scan,
            (self.grid[0], self.grid[1]),
            (edges[0], edges[-1]),
            study.intrinsic_width,
            self.sampling.draws,
        )
        beyond = spread.reach + 3 * spread.widest
        window = (max(edges[0] - beyond, 1e-3), min(edges[-1] + beyond, 0.97 * run.ei))
        return _RunPlan(run, scan, spread, window)

    def _heights(self, model: SpinModel) -> list[np.ndarray] | None:
        """Heights of the sites along the hidden direction of each twin, None if modes disperse along one."""
        hidden = np.asarray(self.study.view.hidden_direction, float)
        heights = [model.layer_heights(model.lattice.to_cartesian(t.matrix @ hidden)) for t in self.study.twins]
        return None if any(h is None for h in heights) else heights  # type: ignore[return-value]

    def _reachable(self) -> np.ndarray:
        """Pixels whose centre the kinematics reach at both edges of their slice, (runs, slices, x, y)."""
        x, y = np.meshgrid(*(a.centres for a in self.study.view.axes), indexing="ij")
        out = np.empty(self.study.shape, bool)
        for number, plan in enumerate(self._plans):
            at_edges = [np.isfinite(plan.scan.q_spectrometer(x, y, e)).all(-1) for e in self.study.energy_edges[number]]
            out[number] = [a & b for a, b in zip(at_edges[:-1], at_edges[1:], strict=True)]
        return out

    def hidden_axis(self) -> np.ndarray:
        """Coordinate (r.l.u.) along the hidden direction at pixel and slice centres, (runs, slices, x, y)."""
        x, y = (torch.as_tensor(a) for a in np.meshgrid(*(a.centres for a in self.study.view.axes), indexing="ij"))
        centres = (self.study.energy_edges[:, 1:] + self.study.energy_edges[:, :-1]) / 2
        return np.stack(
            [
                np.stack([p.scan.hidden(x, y, torch.as_tensor(e)).numpy() for e in row])
                for p, row in zip(self._plans, centres, strict=True)
            ]
        )

    def __call__(self, model: str, changes: Mapping[str, float] | None = None) -> Spectrum:
        """The spectrum of a model.

        Parameters
        ----------
        model : str
            Name of a candidate model.
        changes : mapping of str to float
            Parameters that differ from their reference values, meV.

        Returns
        -------
        Spectrum
            S_perp with form factor per magnetic cell, averaged over each pixel and slice, 1/meV; pixels that the
            kinematics do not reach are not valid.

        Raises
        ------
        StudyError
            If the model or a parameter is unknown.
        InstabilityError
            If the magnetic structure is no energy minimum for these parameters.
        """
        spin_model = self.study.model(model)
        signal = self.signal(model, spin_model.values(changes))
        return Spectrum(self.study, np.where(self.reachable, signal, np.nan), self.reachable)

    def reference(self, model: str) -> np.ndarray:
        """The bare array of a model at its reference values, worked out once."""
        if model not in self._references:
            self._references[model] = self.signal(model, self.study.model(model).reference)
        return self._references[model]

    def signal(self, model: str, values: np.ndarray) -> np.ndarray:
        """The bare array of a model at a full parameter vector (n_parameters,): (runs, slices, x, y)."""
        with one_thread():
            return self._signal(model, values)

    def _signal(self, model: str, values: np.ndarray) -> np.ndarray:
        solver = self.solver(model)
        flat = self._flat[model]
        tables = None if flat is None else self._tables(solver, values, flat)
        out = []
        for plan in self._plans:
            slices, *pixels = self.study.shape[1:]
            buffer = torch.zeros(slices + 2, *pixels)
            peaks = self._dispersive(solver, values, plan) if tables is None else self._layered(tables, plan)
            for batch in peaks:
                faint = batch.weight < FAINT * batch.weight.mean()
                self._deposit(plan, batch.where(faint), buffer, 1)
                self._deposit(plan, batch.where(~faint), buffer, self.sampling.draws_per_mode)
            widths = torch.as_tensor(self.study.view.energy_edges(plan.run.ei)).diff()
            out.append(buffer[1:-1].double() / widths[:, None, None])
        return torch.stack(out).numpy()

    # ---- modes that are flat along the hidden axis ----------------------------------------------------------------

    def _tables(self, solver: ModeSolver, values: np.ndarray, heights: list[np.ndarray]) -> list[LayerTable]:
        """Modes on the grid reduced to the magnetic zone, one table for each twin."""
        points = np.stack([self._x.numpy(), self._y.numpy()], -1) @ self._axes[:2]
        domains = [(twin.matrix, twin.fraction) for twin in self.study.twins]
        return layer_tables(solver, values, points, self._axes, domains, heights)

    def _layered(self, tables: list[LayerTable], plan: _RunPlan) -> Iterator[_Peaks]:
        low, high = plan.window
        for table in tables:
            slopes = self._slopes(table.energies[table.zone])
            inside = (table.energies > low) & (table.energies < high) & table.carries
            point, mode = inside[table.zone].nonzero(as_tuple=True)
            for p, m in zip(point.split(CHUNK), mode.split(CHUNK), strict=True):
                energy = table.energies[table.zone[p], m]
                x, y = self._x[p], self._y[p]
                hidden = plan.scan.hidden(x, y, energy)
                intensity = table.intensity(p, m, torch.stack([x, y, hidden], 1))
                yield _Peaks(p, m, energy, intensity, slopes[p, m])

    def _slopes(self, energies: torch.Tensor) -> torch.Tensor:
        """Slopes (n_points, n_modes, 2) of the bands on the fine grid, meV / r.l.u., by central differences.

        Bands are told apart by the order of their energies; where two cross, the slope is that of the sorted band.
        """
        grid = energies.reshape(len(self.grid[0]), len(self.grid[1]), -1).float()
        steps = [float(g[1] - g[0]) for g in self.grid]
        return torch.stack(torch.gradient(grid, spacing=steps, dim=(0, 1)), -1).reshape(*energies.shape, 2)

    # ---- modes that disperse along the hidden axis ----------------------------------------------------------------

    def _dispersive(self, solver: ModeSolver, values: np.ndarray, plan: _RunPlan) -> Iterator[_Peaks]:
        low, high = plan.window
        nodes = torch.linspace(low, high, self.sampling.energies, dtype=torch.float64)
        step = float(nodes[1] - nodes[0])
        for twin in self.study.twins:
            turn = torch.as_tensor(self._axes @ twin.matrix.T)
            for node in nodes:
                hidden = plan.scan.hidden(self._x, self._y, node)
                reached = hidden.isfinite().nonzero()[:, 0]
                for part in reached.split(8192):
                    q = torch.stack([self._x[part], self._y[part], hidden[part]], -1) @ turn
                    modes = solver.solve(values, q)
                    check_stable(solver, values, modes)
                    share = (1 - (modes.energies - node).abs() / step).clamp_min(0)
                    weight = s_perp(modes) * share * twin.fraction
                    row, mode = (weight > 0).nonzero(as_tuple=True)
                    energy = modes.energies[row, mode]
                    yield _Peaks(part[row], mode, energy, weight[row, mode].float(), torch.zeros(len(row), 2))

    # ---- into pixels ----------------------------------------------------------------------------------------------

    def _deposit(self, plan: _RunPlan, peaks: _Peaks, buffer: torch.Tensor, draws: int) -> None:
        """Add modes to a run's buffer, (slices + 2, x, y): the first and last slot take what falls outside."""
        edges = torch.as_tensor(self.study.view.energy_edges(plan.run.ei), dtype=torch.float32)
        last, pixels = len(edges), buffer[0].numel()
        nearby = int(np.ceil(3.5 * plan.spread.widest / float(edges.diff().min())))
        x_axis, y_axis = self.study.view.axes
        cell = float((self.grid[0][1] - self.grid[0][0]) * (self.grid[1][1] - self.grid[1][0]))
        scale = cell / (x_axis.width * y_axis.width) / draws
        x0, y0, energy0 = self._x[peaks.point].float(), self._y[peaks.point].float(), peaks.energy.float()
        padded = torch.cat([edges[:1] - 1e6, edges, edges[-1:] + 1e6])
        for extra in range(draws):
            draw = (peaks.mode * draws + extra) % self.sampling.draws
            dx, dy, de, sigma = plan.spread.at(draw, peaks.point, energy0)
            ix = ((x0 + dx - x_axis.start) / x_axis.width + 0.5).floor()
            iy = ((y0 + dy - y_axis.start) / y_axis.width + 0.5).floor()
            inside = (ix >= 0) & (ix < x_axis.points) & (iy >= 0) & (iy < y_axis.points)
            pixel = (ix * y_axis.points + iy).long() * inside
            weight = peaks.weight * inside * (0.5 * scale)
            energy = energy0 + de + (plan.spread.jitter[draw, peaks.point] * peaks.slope).sum(1)
            root = 0.7071067811865476 / sigma
            first = (torch.bucketize(energy, edges) - nearby).clamp(0, last)
            below = torch.erf((padded[first] - energy) * root)
            for step in range(2 * nearby + 1):
                slot = (first + step).clamp_max(last)
                above = torch.erf((padded[slot + 1] - energy) * root)
                buffer.view(-1).index_add_(0, slot * pixels + pixel, (above - below) * weight)
                below = above


def _fine_axis(axis: Axis, study: Study, zone_points: int) -> np.ndarray:
    """Fine grid along an axis of the view: whole steps of the magnetic zone, a margin beyond the pixels."""
    supercell = next(iter(study.models.values())).supercell
    in_cell = np.array(axis.direction) * np.array(supercell)
    whole = np.round(in_cell).astype(int)
    zone = 1 / reduce(gcd, (abs(int(i)) for i in whole)) if np.allclose(whole, in_cell) and whole.any() else 1.0
    step = zone / zone_points
    beyond = MARGIN * (axis.stop - axis.start) / 2 + axis.width / 2
    low, high = np.floor((axis.start - beyond) / step), np.ceil((axis.stop + beyond) / step)
    return np.arange(low, high + 1) * step


def simulate(
    study: Study, model: str, resolution: Method = "gaussian", sampling: Sampling | None = None, **parameters: float
) -> Spectrum:
    """The spectrum of one model: ``simulate(study, "goodenough", JF1=-11.0)``; see :class:`Simulator`."""
    return Simulator(study, resolution, sampling)(model, parameters)
