"""From a study, a model and its parameters to a Spectrum.

Modes are solved once per parameter set on a fine grid of the view; each mode of each fine point then becomes one
Gaussian spot, or a few where the resolution's true shape is asked for, that is integrated over pixels and slices; modes
closer than the resolution can tell share a spot. Where the modes do not disperse along the direction that the view does
not show (:meth:`SpinModel.layer_heights`), the grid is reduced to the magnetic zone, hit exactly, and serves every run,
slice, twin and l: only phases and form factors change. Otherwise the modes are solved on layers of the zone, and found
where each run's kinematics meet them (:mod:`.crossings`): slower by the number of layers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from math import gcd

import numpy as np
import torch

from .crossings import Layers, seen_modes
from .errors import StudyError
from .hamiltonian import SpinModel
from .machine import on_device, one_thread
from .resolution.coarse import record_coarse
from .resolution.coverage import coverage
from .resolution.kinematics import Scan
from .resolution.landing import Bins, Tile
from .resolution.lines import Slices, run_slices
from .resolution.setting import hidden_coordinates, pixel_wave_vectors, run_setting
from .resolution.spots import Cells, Peaks, record
from .resolution.spread import SMOOTHING, Method, NodeMaps, Spread, make_spread
from .spectrum import Spectrum
from .spinwave import ModeSolver
from .spinwave.layers import LayerTable, Plane, layer_tables
from .study import Run, Study
from .views import Axis, MapView, PathView

MARGIN = 0.08
"""How far (fraction of an axis' length) the fine grid goes beyond the view, for what the resolution carries in."""

CHUNK = 1 << 15
"""Modes whose intensity is worked out at a time: enough that what a call of PyTorch costs is little beside them."""

ALIKE = 0.6
"""Modes of one point share a spot if their energies differ by less than this share of the spot's width in energy."""

TRUE_SMOOTHING = 0.1
"""Share of the resolution's covariance that the spots about draws keep where its true shapes are asked for."""

SMALLEST_TOLERANCE = 0.002

MOST_REFINEMENTS = 4
"""Steps of :meth:`Sampling.finer` that are tried for a tolerance."""


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
        How many of them each mode of a path uses.
    smoothing : float
        Share of the resolution's covariance that the spot around each draw keeps (Monte Carlo only).
    components : int
        Gaussians that make up the moderator's pulse (maps, Monte Carlo only).
    corrections : int
        How many draws each mode of a map uses, for what boxes and the chopper's pulse change about Gaussians (Monte
        Carlo only). Without any, maps have no random part.
    layers : int
        Points along the hidden axis of the magnetic zone (only where modes disperse along it).
    across : int
        Points in each of the two directions across a path, as many again for three magnetic zones that the box spans
        (paths only).
    coarse_points : int
        Points along each side of a slice (``gaussian-coarse`` only).
    """

    zone_points: int = 20
    draws: int = 8
    draws_per_mode: int = 2
    smoothing: float = SMOOTHING
    components: int = 2
    corrections: int = 0
    layers: int = 16
    across: int = 6
    coarse_points: int = 80

    def with_true_shapes(self, draws: int) -> "Sampling":
        """All deviations with their true shapes, by so many draws a mode, of maps and of paths (Monte Carlo only)."""
        return replace(
            self,
            draws=max(self.draws, draws),
            draws_per_mode=draws,
            corrections=draws,
            smoothing=TRUE_SMOOTHING,
        )

    def finer(self) -> "Sampling":
        """About eight times the spots: a grid finer by half, twice the draws, less of the covariance in their spots."""
        return Sampling(
            zone_points=-(-3 * self.zone_points // 2),
            draws=2 * self.draws,
            draws_per_mode=2 * self.draws_per_mode,
            smoothing=self.smoothing / 2,
            components=self.components + 1,
            corrections=2 * self.corrections,
            layers=-(-3 * self.layers // 2),
            across=-(-3 * self.across // 2),
            coarse_points=-(-3 * self.coarse_points // 2),
        )


@dataclass(frozen=True)
class _RunPlan:
    """What one run needs, prepared once."""

    run: Run
    scan: Scan
    spread: Spread
    tile: Tile
    slices: Slices


class Simulator:
    """A study made ready to simulate any of its models with any parameters, whichever its view.

    Parameters
    ----------
    study : Study
    resolution : {"gaussian", "montecarlo", "none", "gaussian-coarse"}
    sampling : Sampling, optional
    device : torch.device or str
        Where images are worked out; other than the CPU for maps of modes that are flat along the hidden axis only.

    Raises
    ------
    StudyError
        If the device cannot be used for this.
    """

    def __new__(cls, study: Study, *_: object, **__: object) -> "Simulator":
        """One for the study's kind of view."""
        if cls is Simulator and isinstance(study.view, PathView):
            from .simulate_path import PathSimulator  # which is built on this module

            return super().__new__(PathSimulator)
        return super().__new__(cls)

    def __init__(
        self,
        study: Study,
        resolution: Method = "gaussian",
        sampling: Sampling | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.resolution = resolution
        self.sampling = sampling or Sampling()
        self.device = torch.device(device)
        self._take(study)
        self._prepare()
        self.reachable = self._reachable()

    def _take(self, study: Study) -> None:
        """What depends on the models."""
        self.study = study
        self._solvers = {name: ModeSolver(model, self.device) for name, model in study.models.items()}
        self._references: dict[str, np.ndarray] = {}
        maps = isinstance(study.view, MapView)
        self._flat = {name: self._heights(model) if maps else None for name, model in study.models.items()}
        self._layered_grids: dict[str, Layers] = {}
        self._planes: dict[str, tuple[Plane, list[torch.Tensor]]] = {}
        general = self.resolution == "gaussian-coarse" or any(heights is None for heights in self._flat.values())
        if general and self.device.type != "cpu":
            raise StudyError(
                f"this cannot be simulated on {self.device}: a device is for maps by the methods gaussian, montecarlo "
                "and none, of modes that do not disperse along the direction a map does not show"
            )

    def with_models(self, models: Mapping[str, SpinModel]) -> "Simulator":
        """The same spectrometer, runs and view for other models of the same magnetic cell, without preparing anew."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._take(replace(self.study, models=dict(models)))
        return other

    def with_runs(self, studies: Sequence[Study]) -> "Simulator":
        """The same models and pixels, each run as a study of its own states it: little of it is prepared anew.

        Parameters
        ----------
        studies : one for each run, each of one run
            They may differ from this one in the spectrometer, the sample, the width of modes, the energies of slices
            and in where the axes begin.
        """
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._references, other._layered_grids = {}, {}
        other._take_runs(self, studies)
        return other

    def _take_runs(self, like: "Simulator", studies: Sequence[Study]) -> None:
        """What :meth:`with_runs` changes."""
        self._plans = [self._plan(study, 0, maps) for study, maps in zip(studies, like._node_maps, strict=True)]

    @cached_property
    def _node_maps(self) -> list[NodeMaps]:
        """Of each run, for samples of any mosaic."""
        out, study = [], self.study
        turned = replace(study, sample=replace(study.sample, mosaic=(1.0, 1.0, 1.0)))
        for number, run in enumerate(study.runs):
            edges = study.view.energy_edges(run.ei)
            grid = self.grid[0], self.grid[1]
            out.append(NodeMaps.of(self.resolution, *run_setting(turned, number), grid, (edges[0], edges[-1])))
        return out

    def _prepare(self) -> None:
        """What does not depend on the model's parameters."""
        study = self.study
        if self.resolution == "gaussian-coarse":
            if study.line != "gaussian":
                raise StudyError(f"gaussian-coarse is for gaussian modes, not for a {study.line}; use gaussian")
            self.grid = tuple(_coarse_axis(axis, self.sampling.coarse_points) for axis in study.maps.axes)
        else:
            self.grid = tuple(_fine_axis(axis, study, self.sampling.zone_points) for axis in study.maps.axes)
        x, y = np.meshgrid(*self.grid, indexing="ij")
        self._x, self._y = torch.as_tensor(x.ravel()), torch.as_tensor(y.ravel())
        self._steps = (float(self.grid[0][1] - self.grid[0][0]), float(self.grid[1][1] - self.grid[1][0]))
        self._cells = on_device(Cells(self._x.float(), self._y.float(), self._steps), self.device)
        self._axes = np.array([*(a.direction for a in study.maps.axes), study.maps.hidden_direction], float)
        self._plans = [self._plan(study, number) for number in range(len(study.runs))]

    def solver(self, model: str) -> ModeSolver:
        """The spin wave solver of a candidate model."""
        return self._solvers[self.study.model(model).name]

    def _plan(self, study: Study, number: int, maps: NodeMaps | None = None) -> _RunPlan:
        run, (setting, scan) = study.runs[number], run_setting(study, number)
        edges = study.view.energy_edges(run.ei)
        spread = make_spread(
            self.resolution,
            setting,
            scan,
            (self.grid[0], self.grid[1]),
            (edges[0], edges[-1]),
            study.gaussian_width,
            self.sampling.draws if self.sampling.corrections else 0,
            self.sampling.smoothing,
            self.sampling.components,
            known=maps,
        )
        slices = run_slices(study, number, spread.widest[2])
        sigmas = [float(np.hypot(w, step / 12**0.5)) for w, step in zip(spread.widest[:2], self._steps, strict=True)]
        pixels = [
            Bins.for_spots(axis.start - axis.width / 2, axis.width, axis.points, sigma)
            for axis, sigma in zip(study.maps.axes, sigmas, strict=True)
        ]
        return _RunPlan(run, scan, on_device(spread, self.device), Tile(pixels[0], pixels[1], slices.bins), slices)

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
        if flat is None:
            scans, windows = [plan.scan for plan in self._plans], [plan.slices.crossed for plan in self._plans]
            seen = seen_modes(solver, values, self._layers(solver.model), scans, windows)
        else:
            tables = self._tables(solver, values, flat)
            slopes = self._slopes(model, tables)
            seen = self._layered(tables, slopes)
        out = []
        for plan, peaks in zip(self._plans, seen, strict=True):
            energy, gain = plan.slices.placed(peaks.energy)
            peaks = replace(peaks, energy=energy, weight=peaks.weight * gain)
            if self.resolution == "gaussian-coarse":
                shape = len(self.grid[0]), len(self.grid[1])
                out.append(record_coarse(peaks, self._cells, shape, plan.spread, plan.tile))
                continue
            buffer = plan.tile.empty(self.device)
            record(peaks, self._cells, plan.spread, plan.tile, self.sampling.corrections, buffer)
            out.append(plan.slices.density(plan.tile.inner(buffer).cpu()))
        return torch.stack(out).numpy()

    # ---- modes that are flat along the hidden axis ----------------------------------------------------------------

    def _plane(self, model: SpinModel, heights: list[np.ndarray]) -> tuple[Plane, list[torch.Tensor]]:
        """The grid reduced to the magnetic zone; and of each twin, zone points beside each along both axes.

        Neighbours (n_zone, 2, 2): before and after along each axis.
        """
        if model.name not in self._planes:
            points = np.stack([self._x.numpy(), self._y.numpy()], -1) @ self._axes[:2]
            twins = [(twin.matrix, twin.fraction) for twin in self.study.twins]
            plane = Plane.of(model, points, self._axes, twins, heights)
            beside = []
            for domain in plane.domains:
                grid = domain.zone.reshape(len(self.grid[0]), len(self.grid[1]))
                around = torch.arange(len(plane.zone))[:, None, None].repeat(1, 2, 2)
                inner = grid[1:-1, 1:-1]
                sides = [[grid[:-2, 1:-1], grid[2:, 1:-1]], [grid[1:-1, :-2], grid[1:-1, 2:]]]
                for axis, pair in enumerate(sides):
                    for end, side in enumerate(pair):
                        around[inner.ravel(), axis, end] = side.ravel()
                beside.append(around)
            self._planes[model.name] = on_device((plane, beside), self.device)
        return self._planes[model.name]

    def _tables(self, solver: ModeSolver, values: np.ndarray, heights: list[np.ndarray]) -> list[LayerTable]:
        """Modes on the grid reduced to the magnetic zone, one table for each twin."""
        plane, _ = self._plane(solver.model, heights)
        return layer_tables(solver, values, plane, ALIKE * min(plan.spread.widest[2] for plan in self._plans))

    def _layered(self, tables: list[LayerTable], slopes: list[torch.Tensor]) -> list[Peaks]:
        """What each run sees."""
        seen: list[list[Peaks]] = [[] for _ in self._plans]
        modes = [plan.slices.modes for plan in self._plans]
        windows = torch.tensor(modes, dtype=torch.float64, device=self.device)
        for table, slope in zip(tables, slopes, strict=True):
            listed = table.listed(min(low for low, _ in modes), max(high for _, high in modes))
            for bundle, point in zip(*(t.split(CHUNK) for t in listed), strict=True):
                exact = table.bundles.energy.index_select(0, bundle)
                energy, number = exact.float(), table.bundles.mode.index_select(0, bundle)
                x, y = (t.index_select(0, point) for t in (self._cells.x, self._cells.y))
                rise, terms = [t.index_select(0, bundle) for t in slope], table.terms(bundle, point)
                # energies rise, so that what a run sees of them lies together
                for own, plan, ends in zip(seen, self._plans, torch.searchsorted(exact, windows).tolist(), strict=True):
                    here = slice(*ends)
                    hidden = plan.scan.hidden(x[here], y[here], plan.slices.met(energy[here]))
                    weight = table.intensity(terms[..., here], (x[here], y[here], hidden))
                    own.append(Peaks(point[here], number[here], energy[here], weight, *(t[here] for t in rise)))
        return [Peaks.joined(own) for own in seen]

    def _slopes(self, model: str, tables: list[LayerTable]) -> list[torch.Tensor]:
        """Slopes of each twin's bundles along the two axes, (2, n_bundles) meV / r.l.u., by central differences.

        Bands are told apart by the order of their energies; where two cross, the slope is that of the sorted band.
        """
        steps = torch.tensor(self._steps, device=self.device)[:, None] * 2
        out = []
        for table, beside in zip(tables, self._planes[model][1], strict=True):
            around = table.energies.float()[beside]  # (n_zone, axes, ends, n_modes)
            rise = (around[:, :, 1] - around[:, :, 0]) / steps
            out.append(table.bundles.mean(rise.transpose(1, 2)).T.contiguous())
        return out

    # ---- modes that disperse along the hidden axis ----------------------------------------------------------------

    def _layers(self, model: SpinModel) -> Layers:
        """The fine grid at layers along the hidden direction, whole fractions of the magnetic zone."""
        if model.name not in self._layered_grids:
            zone = _zone(np.array(self.study.maps.hidden_direction), model.supercell)
            step = zone / self.sampling.layers
            ends = [
                plan.scan.hidden(self._x, self._y, torch.tensor(e)) for plan in self._plans for e in plan.slices.crossed
            ]
            seen = torch.cat([end[end.isfinite()] for end in ends])
            low, high = np.floor(float(seen.min()) / step) - 1, np.ceil(float(seen.max()) / step) + 2
            twins = [(twin.matrix, twin.fraction) for twin in self.study.twins]
            self._layered_grids[model.name] = Layers.of(
                model, (self.grid[0], self.grid[1]), np.arange(low, high + 1) * step, self._axes, twins
            )
        return self._layered_grids[model.name]


def _fine_axis(axis: Axis, study: Study, zone_points: int) -> np.ndarray:
    """Fine grid along an axis of the view: whole steps of the magnetic zone, a margin beyond the pixels."""
    step = _zone(np.array(axis.direction), next(iter(study.models.values())).supercell) / zone_points
    beyond = MARGIN * (axis.stop - axis.start) / 2 + axis.width / 2
    low, high = np.floor((axis.start - beyond) / step), np.ceil((axis.stop + beyond) / step)
    return np.arange(low, high + 1) * step


def _coarse_axis(axis: Axis, points: int) -> np.ndarray:
    """Grid along an axis of the view without a margin: centres of as many equal parts of what its pixels span."""
    step = axis.width * axis.points / points
    return axis.start - axis.width / 2 + (np.arange(points) + 0.5) * step


def _zone(direction: np.ndarray, supercell: tuple[int, int, int]) -> float:
    """Length of the magnetic zone along a direction, in units of the direction; 1 where it does not repeat."""
    in_cell = direction * np.array(supercell)
    whole = np.round(in_cell).astype(int)
    return 1 / reduce(gcd, (abs(int(i)) for i in whole)) if np.allclose(whole, in_cell) and whole.any() else 1.0


def simulate(
    study: Study, model: str, resolution: Method = "gaussian", sampling: Sampling | None = None, **parameters: float
) -> Spectrum:
    """The spectrum of one model: ``simulate(study, "goodenough", JF1=-11.0)``; see :class:`Simulator`."""
    return Simulator(study, resolution, sampling)(model, parameters)


def converged(
    study: Study,
    model: str,
    resolution: Method,
    tolerance: float,
    device: torch.device | str = "cpu",
    **parameters: float,
) -> tuple[Simulator, Spectrum, float]:
    """The spectrum of one model, sampled ever finer until that changes it by no more than the tolerance.

    Parameters
    ----------
    tolerance : float
        Relative L2 distance of an image from the next finer one; the finer one is returned.
    device
        As of :class:`Simulator`.

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
    simulator = Simulator(study, resolution, device=device)
    spectrum, distance = simulator(model, parameters), np.inf
    for _ in range(MOST_REFINEMENTS):
        simulator = Simulator(study, resolution, simulator.sampling.finer(), device)
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
