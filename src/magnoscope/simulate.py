"""From a study, a model and its parameters to a Spectrum.

Modes are solved once per parameter set on a fine grid of the view; each mode of each fine point then becomes one
Gaussian spot, corrected by a few about draws of the true resolution, that is integrated over pixels and slices; modes
closer than the resolution can tell share a spot. Where the modes do not disperse along the direction that the view does
not show (:meth:`SpinModel.layer_heights`), the grid is reduced to the magnetic zone, hit exactly, and serves every run,
slice, twin and l: only phases and form factors change. Otherwise the modes are solved at the l of a number of energy
transfers for each run, and weighted between them: slower by the number of runs times that of energies.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from math import gcd

import numpy as np
import torch

from .errors import StudyError
from .hamiltonian import SpinModel
from .machine import one_thread
from .resolution.coverage import coverage
from .resolution.kinematics import Scan
from .resolution.landing import Bins, Spots, Tile
from .resolution.setting import hidden_coordinates, pixel_wave_vectors, run_setting
from .resolution.spread import SMOOTHING, Method, Spread, make_spread
from .spectrum import Spectrum
from .spinwave import ModeSolver, check_stable, s_perp
from .spinwave.layers import LayerTable, layer_tables
from .study import Run, Study
from .views import Axis, MapView, PathView

MARGIN = 0.08
"""How far (fraction of an axis' length) the fine grid goes beyond the view, for what the resolution carries in."""

FARTHEST = 4.0
"""Standard deviations in energy from beyond the slices that are still brought in."""

CHUNK = 1 << 14
"""Fine points, or spots, worked on at a time: few enough to stay in the processor's cache."""

MOST_SHARES = 27 * CHUNK
"""Shares of spots in pixels and slices worked on at a time."""

ALIKE = 0.6
"""Modes of one point share a spot if their energies differ by less than this share of the spot's width in energy."""

SMALLEST_TOLERANCE = 0.002

MOST_REFINEMENTS = 4
"""Steps of :meth:`Sampling.finer` that are tried for a tolerance."""

WIDTH_OF_CELL = 0.4
"""Least standard deviation of a spot, in steps of the fine grid."""

FAINT = 1e-4
"""Spots fainter than this share of the mean are left out."""

DRAWN = 0.3
"""Spots fainter than this share of the mean stay Gaussian: the draws' correction to them would be lost in its noise."""


@dataclass(frozen=True)
class Sampling:
    """How finely to simulate.

    Attributes
    ----------
    zone_points : int
        Fine points along each axis of the magnetic zone.
    draws : int
        Draws of the resolution kept per fine point (Monte Carlo only); the modes of a point share them out.
    draws_per_mode : int
        How many of them each mode uses.
    smoothing : float
        Share of the resolution's covariance that the spot around each draw keeps (Monte Carlo only).
    energies : int
        Energy transfers per run at which dispersive modes are solved (only where they disperse along the hidden axis).
    across : int
        Points in each of the two directions across a path (paths only).
    """

    zone_points: int = 20
    draws: int = 8
    draws_per_mode: int = 2
    smoothing: float = SMOOTHING
    energies: int = 24
    across: int = 7

    def finer(self) -> "Sampling":
        """About eight times the spots: a grid finer by half, twice the draws, less of the covariance in their spots."""
        return Sampling(
            zone_points=-(-3 * self.zone_points // 2),
            draws=2 * self.draws,
            draws_per_mode=2 * self.draws_per_mode,
            smoothing=self.smoothing / 2,
            energies=-(-3 * self.energies // 2),
            across=-(-3 * self.across // 2),
        )


@dataclass(frozen=True)
class _RunPlan:
    """What one run needs, prepared once."""

    run: Run
    scan: Scan
    spread: Spread
    tile: Tile
    window: tuple[float, float]


@dataclass(frozen=True)
class _Peaks:
    """Modes, or bundles of them, as flat lists: fine point, number, energy (meV), intensity, slopes in meV / r.l.u."""

    point: torch.Tensor
    number: torch.Tensor
    energy: torch.Tensor
    weight: torch.Tensor
    slope_x: torch.Tensor
    slope_y: torch.Tensor


class Simulator:
    """A study made ready to simulate any of its models with any parameters, whichever its view."""

    def __new__(cls, study: Study, *_: object, **__: object) -> "Simulator":
        """One for the study's kind of view."""
        if cls is Simulator and isinstance(study.view, PathView):
            from .simulate_path import PathSimulator  # which is built on this module

            return super().__new__(PathSimulator)
        return super().__new__(cls)

    def __init__(self, study: Study, resolution: Method = "gaussian", sampling: Sampling | None = None) -> None:
        self.study = study
        self.resolution = resolution
        self.sampling = sampling or Sampling()
        self._solvers = {name: ModeSolver(model) for name, model in study.models.items()}
        self._references: dict[str, np.ndarray] = {}
        self._prepare()
        self.reachable = self._reachable()

    def _prepare(self) -> None:
        """What does not depend on the model's parameters."""
        study = self.study
        self.grid = tuple(_fine_axis(axis, study, self.sampling.zone_points) for axis in study.maps.axes)
        x, y = np.meshgrid(*self.grid, indexing="ij")
        self._x, self._y = torch.as_tensor(x.ravel()), torch.as_tensor(y.ravel())
        self._x32, self._y32 = self._x.float(), self._y.float()
        self._steps = [float(g[1] - g[0]) for g in self.grid]
        self._axes = np.array([*(a.direction for a in study.maps.axes), study.maps.hidden_direction], float)
        self._plans = [self._plan(number, run) for number, run in enumerate(study.runs)]
        self._flat = {name: self._heights(model) for name, model in study.models.items()}

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
            self.sampling.smoothing,
        )
        beyond = FARTHEST * spread.widest[2]
        window = (max(edges[0] - beyond, 1e-3), min(edges[-1] + beyond, 0.97 * run.ei))
        sigmas = [float(np.hypot(w, step / 12**0.5)) for w, step in zip(spread.widest[:2], self._steps, strict=True)]
        pixels = [
            Bins.for_spots(axis.start - axis.width / 2, axis.width, axis.points, sigma)
            for axis, sigma in zip(study.maps.axes, sigmas, strict=True)
        ]
        slices = Bins.for_spots(float(edges[0]), float(edges[1] - edges[0]), len(edges) - 1, spread.widest[2])
        return _RunPlan(run, scan, spread, Tile(pixels[0], pixels[1], slices), window)

    def _heights(self, model: SpinModel) -> list[np.ndarray] | None:
        """Heights of the sites along the hidden direction of each twin, None if modes disperse along one."""
        hidden = np.asarray(self.study.maps.hidden_direction, float)
        heights = [model.layer_heights(model.lattice.to_cartesian(t.matrix @ hidden)) for t in self.study.twins]
        return None if any(h is None for h in heights) else heights  # type: ignore[return-value]

    def _reachable(self) -> np.ndarray:
        """Pixels whose centre the kinematics reach at both edges of their slice, (runs, slices, x, y)."""
        out = np.empty(self.study.shape, bool)
        for number, edges in enumerate(self.study.energy_edges):
            reached = np.isfinite(pixel_wave_vectors(self.study, number, edges))
            out[number] = np.logical_and(reached[:-1], reached[1:]).all(-1)
            if self.study.coverage and isinstance(self.study.view, MapView):
                out[number] &= coverage(self.study, number)
        return out

    def hidden_axis(self) -> np.ndarray:
        """Coordinate (r.l.u.) along the hidden direction at pixel and slice centres, (runs, slices, x, y)."""
        centres = (self.study.energy_edges[:, 1:] + self.study.energy_edges[:, :-1]) / 2
        return np.stack([hidden_coordinates(self.study, number, row) for number, row in enumerate(centres)])

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
        slopes = [] if tables is None else [self._slopes(table) for table in tables]
        out = []
        for plan in self._plans:
            buffer = plan.tile.empty()
            if tables is None:
                found = self._dispersive(solver, values, plan)
            else:
                found = self._layered(tables, slopes, plan)
            for peaks in found:
                self._deposit(plan, peaks, buffer)
            # differences of draws may leave a trace below zero
            out.append(plan.tile.inner(buffer).double().clamp_min(0) / plan.tile.energy.width)
        return torch.stack(out).numpy()

    # ---- modes that are flat along the hidden axis ----------------------------------------------------------------

    def _tables(self, solver: ModeSolver, values: np.ndarray, heights: list[np.ndarray]) -> list[LayerTable]:
        """Modes on the grid reduced to the magnetic zone, one table for each twin."""
        points = np.stack([self._x.numpy(), self._y.numpy()], -1) @ self._axes[:2]
        domains = [(twin.matrix, twin.fraction) for twin in self.study.twins]
        tolerance = ALIKE * min(plan.spread.widest[2] for plan in self._plans)
        return layer_tables(solver, values, points, self._axes, domains, heights, tolerance)

    def _layered(self, tables: list[LayerTable], slopes: list[torch.Tensor], plan: _RunPlan) -> Iterator[_Peaks]:
        low, high = plan.window
        for table, slope in zip(tables, slopes, strict=True):
            bundles = table.bundles
            inside = (table.carries & (bundles.energy > low) & (bundles.energy < high)).nonzero()[:, 0]
            zone, chosen, copies, points = bundles.zone[inside], [], [], []
            for block in table.blocks:
                point = block.points[zone]
                there = (point >= 0).nonzero()[:, 0]
                chosen.append(inside[there])
                points.append(point[there])
                copies.append(torch.full_like(there, block.copy))
            for bundle, copy, point in zip(
                *(torch.cat(parts).split(CHUNK) for parts in (chosen, copies, points)), strict=True
            ):
                energy = bundles.energy[bundle]
                x, y = self._x[point], self._y[point]
                hidden = plan.scan.hidden(x, y, energy)
                weight = table.intensity(bundle, copy, torch.stack([x, y, hidden], 1))
                yield _Peaks(point, bundles.mode[bundle], energy.float(), weight, slope[bundle, 0], slope[bundle, 1])

    def _slopes(self, table: LayerTable) -> torch.Tensor:
        """Slopes of the bundles along the two axes, (n_bundles, 2) meV / r.l.u., by central differences.

        Bands are told apart by the order of their energies; where two cross, the slope is that of the sorted band.
        """
        shape = [len(g) for g in self.grid]
        grid = table.energies[table.zone].float().reshape(*shape, -1)
        inner = torch.arange(len(self._x)).reshape(shape)[1:-1, 1:-1]
        slopes = torch.zeros(*table.energies.shape, 2)
        for axis, step in enumerate(self._steps):
            rise = (grid.roll(-1, axis) - grid.roll(1, axis)) / (2 * step)
            slopes[table.zone[inner].ravel(), :, axis] = rise[1:-1, 1:-1].flatten(0, 1)
        return table.bundles.mean(slopes)

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
                    flat = torch.zeros(len(row))
                    yield _Peaks(part[row], mode, energy.float(), weight[row, mode].float(), flat, flat)

    # ---- into pixels ----------------------------------------------------------------------------------------------

    def _deposit(self, plan: _RunPlan, peaks: _Peaks, buffer: torch.Tensor) -> None:
        """Add modes to a run's buffer."""
        spread = plan.spread
        uses = min(self.sampling.draws_per_mode, spread.draws)
        x_axis, y_axis = self.study.maps.axes
        share = self._steps[0] * self._steps[1] / (x_axis.width * y_axis.width)
        mean = peaks.weight.mean()
        bright = (peaks.weight > FAINT * mean).nonzero()[:, 0]
        for part in bright.split(max(16, MOST_SHARES // plan.tile.window)):
            point, energy = peaks.point[part], peaks.energy[part]
            x, y, weight = self._x32[point], self._y32[point], peaks.weight[part] * share
            slope_x, slope_y = peaks.slope_x[part], peaks.slope_y[part]
            spots = spread.covariance(point, energy)
            # the fine point stands for its cell, over which the energy follows the slope; a cell that the resolution
            # does not blur is widened, so that no gaps show between cells
            in_x, in_y = (
                (WIDTH_OF_CELL * step) ** 2 - blur for step, blur in zip(self._steps, (spots[0], spots[2]), strict=True)
            )
            in_x, in_y = in_x.clamp_min(self._steps[0] ** 2 / 12), in_y.clamp_min(self._steps[1] ** 2 / 12)
            cell: tuple[torch.Tensor | float, ...] = (
                in_x,
                0.0,
                in_y,
                in_x * slope_x,
                in_y * slope_y,
                in_x * slope_x**2 + in_y * slope_y**2,
            )
            whole = [c + more for c, more in zip(spots, cell, strict=True)]
            plan.tile.add(Spots(x, y, energy, weight, *whole), buffer)
            if not uses:
                continue
            kept = [c + more for c, more in zip(spread.covariance(point, energy, drawn=True), cell, strict=True)]
            drawn = (peaks.weight[part] > DRAWN * mean).nonzero()[:, 0]
            point, number, *about = (t[drawn] for t in (point, peaks.number[part], x, y, energy, weight / uses))
            kept = [k[drawn] for k in kept]
            x, y, energy, weight = about
            for extra in range(uses):
                draw = (number * uses + extra) % spread.draws
                for shape, sign in enumerate((1, -1)):
                    dx, dy, de = spread.shift(point, draw, energy, shape)
                    plan.tile.add(Spots(x + dx, y + dy, energy + de, sign * weight, *kept), buffer)


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


def converged(
    study: Study, model: str, resolution: Method, tolerance: float, **parameters: float
) -> tuple[Simulator, Spectrum, float]:
    """The spectrum of one model, sampled ever finer until that changes it by no more than the tolerance.

    Parameters
    ----------
    tolerance : float
        Relative L2 distance of an image from the next finer one; the finer one is returned.

    Returns
    -------
    simulator, spectrum, distance

    Raises
    ------
    StudyError
        If the tolerance is out of range, or not met by the finest sampling that is tried.
    """
    if not SMALLEST_TOLERANCE <= tolerance < 1:
        raise StudyError(f"a tolerance of {tolerance:g} cannot be met; give one from {SMALLEST_TOLERANCE:g} to below 1")
    simulator = Simulator(study, resolution)
    spectrum, distance = simulator(model, parameters), np.inf
    for _ in range(MOST_REFINEMENTS):
        simulator = Simulator(study, resolution, simulator.sampling.finer())
        finer = simulator(model, parameters)
        both = finer.valid & spectrum.valid
        size = float(np.sqrt((finer.signal[both] ** 2).sum()))
        distance = float(np.sqrt(((finer.signal[both] - spectrum.signal[both]) ** 2).sum())) / max(size, 1e-30)
        spectrum = finer
        if distance <= tolerance:
            return simulator, spectrum, distance
    raise StudyError(
        f"the tolerance {tolerance:g} is not met at {simulator.sampling.zone_points} points a zone (the last step "
        f"still changed the image by {distance:.2g}); give a larger one"
    )
