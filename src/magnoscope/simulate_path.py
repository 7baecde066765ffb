"""Spectra along a path in Q against energy transfer.

Each straight segment of the path is worked out for itself, with a margin at its ends. Modes are solved once per
parameter set on points along it and, at each of these, on points across it: across the box that a study averages over,
and as far beyond as the resolution reaches. Each mode then becomes a Gaussian spot in (along, across, normal, energy),
of which the part inside the box is kept (:func:`magnoscope.resolution.path_spread.cut`); what is left along the path
and in energy is integrated over pixels and energy bins as for maps. A band without dispersion keeps its intensity
whatever the box, since shares are counted in units of their sum over the box's points.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .errors import StudyError
from .resolution.landing import Bins, Spots, Tile
from .resolution.lines import FASTEST, Slices, run_slices
from .resolution.path_spread import SIDES, WHOLE, PathSpread, cut, make_path_spread, paired_draws
from .resolution.setting import segment_axes
from .resolution.spots import DRAWN, FAINT, WIDTH_OF_CELL
from .simulate import Simulator
from .spinwave import ModeSolver, check_stable, s_perp
from .study import Study

BEYOND = 3.0
"""Standard deviations of the resolution beyond which nothing is brought in from outside the path or the box."""
NARROWEST = 0.05
"""Half width of a box in standard deviations, at least: a narrower one shows nothing else."""
ONE_BIN = Bins(-0.5, 1.0, 1, 1)


@dataclass(frozen=True)
class _Grid:
    """Points at which the modes near one segment are solved.

    Attributes
    ----------
    along, across, normal
        Distances along the three directions, 1/Å.
    steps : (3,)
    half : (2,)
        Half widths of the box across and along the normal, 1/Å.
    q : (n_points, 3) r.l.u.
        Points, normal running fastest.
    """

    along: np.ndarray
    across: np.ndarray
    normal: np.ndarray
    steps: tuple[float, float, float]
    half: tuple[float, float]
    q: torch.Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.along), len(self.across), len(self.normal)


@dataclass(frozen=True)
class _Cut:
    """What one run needs near one segment.

    Attributes
    ----------
    norm : (n_along, nodes)
        Sum of the shares of the box's points, at the nodes of ``spread``.
    draws : (2, n, n_deviations)
    """

    spread: PathSpread
    tile: Tile
    slices: Slices
    norm: torch.Tensor
    draws: torch.Tensor


@dataclass(frozen=True)
class _Modes:
    """Modes as flat lists: places in the grid, energy (meV), intensity, slopes (meV Å) and number of the mode."""

    along: torch.Tensor
    across: torch.Tensor
    normal: torch.Tensor
    energy: torch.Tensor
    weight: torch.Tensor
    slope: torch.Tensor
    number: torch.Tensor


class PathSimulator(Simulator):
    """A study of a path made ready to simulate any of its models with any parameters."""

    def _prepare(self) -> None:
        """Grids of all segments, and the resolution of every run near them."""
        path = self.study.path
        if self.resolution == "gaussian-coarse":
            raise StudyError(
                f"the view of study {self.study.name} is a path in Q; gaussian-coarse is for maps, use gaussian"
            )
        self._pieces: list[tuple[_Grid, dict[int, _Cut]]] = []
        for segment in range(len(path.segments)):
            grid = self._grid(segment)
            self._pieces.append((grid, {run: self._cut(segment, run, grid) for run in range(len(self.study.runs))}))

    def _take_runs(self, like: Simulator, studies: Sequence[Study]) -> None:
        """What :meth:`with_runs` changes; grids are as fine as each run's resolution needs."""
        pieces, whole = [], self.study
        for number, study in enumerate(studies):
            self.study = study
            self._prepare()
            pieces += [(grid, {number: own[0]}) for grid, own in self._pieces]
        self.study, self._pieces = whole, pieces

    def _energies(self, run: int) -> tuple[float, float]:
        edges = self.study.energy_edges[run]
        return max(edges[0], 1e-3), min(max(edges[-1], edges[0] + 1e-2), FASTEST * self.study.runs[run].ei)

    def _widths(self, segment: int) -> np.ndarray:
        """Largest standard deviations of any run along, across, along the normal (1/Å) and in energy (meV)."""
        length = self.study.path.segments[segment].length
        found = []
        for run in range(len(self.study.runs)):
            low, high = self._energies(run)
            spread = make_path_spread(
                self.resolution if self.resolution == "none" else "gaussian",
                self.study,
                run,
                segment,
                np.linspace(0, length, 5),
                np.zeros(1),
                (low, high),
            )
            found.append(spread.full[..., [0, 4, 7, 9]].sqrt().amax((0, 1, 2, 3)).numpy())
        return np.asarray(np.max(found, 0), float)

    def _grid(self, segment: int) -> _Grid:
        study, path, piece = self.study, self.study.path, self.study.path.segments[segment]
        axes, sigma = segment_axes(study, segment), self._widths(segment)
        reciprocal = study.lattice.reciprocal
        cell = study.lattice.direct * np.array(next(iter(study.models.values())).supercell)[:, None]
        # along a direction modes repeat themselves after this, or more slowly
        zones = 2 * np.pi / np.abs(axes @ cell.T).max(1)
        each = int(np.ceil(piece.width * self.sampling.zone_points / zones[0]))
        step = piece.width / each
        margin = int(np.ceil(BEYOND * max(sigma[0] / step, WIDTH_OF_CELL)))
        along = (np.arange(-margin, piece.points * each + margin) + 0.5) * step
        normal_half = path.normal_width * float(np.linalg.norm(study.lattice.to_cartesian(path.normal))) / 2
        half, nodes = [], []
        for wide, blur, zone in ((path.across / 2, sigma[1], zones[1]), (normal_half, sigma[2], zones[2])):
            half.append(max(wide, NARROWEST * blur, 1e-6))
            reach = half[-1] + BEYOND * blur
            number = int(np.ceil(self.sampling.across * (1 + 2 * reach / (3 * zone))))
            # points closer than the resolution, or than the fine points along the path, tell nothing new
            number = min(number, max(1, int(np.ceil(2 * reach / max(1.2 * blur, 0.5 * step)))))
            nodes.append(_points_across(2 * reach / number, half[-1], reach))
        start = study.lattice.to_cartesian(piece.start)
        offsets = np.stack(np.meshgrid(along, *nodes, indexing="ij"), -1).reshape(-1, 3)
        q = (start + offsets @ axes) @ np.linalg.inv(reciprocal)
        steps = (step, *(2 * abs(n[0]) if len(n) == 1 else n[1] - n[0] for n in nodes))
        steps = tuple(float(s) for s in steps)
        return _Grid(along, nodes[0], nodes[1], steps, (half[0], half[1]), torch.as_tensor(q))

    def _cut(self, segment: int, run: int, grid: _Grid) -> _Cut:
        study, piece = self.study, self.study.path.segments[segment]
        sigma = self._widths(segment)
        slices = run_slices(study, run, float(sigma[3]))
        spread = make_path_spread(self.resolution, study, run, segment, grid.along, grid.normal, slices.seen)
        tile = Tile(
            Bins.for_spots(0.0, piece.width, piece.points, float(np.hypot(sigma[0], grid.steps[0] / 12**0.5))),
            ONE_BIN,
            slices.bins,
        )
        draws = torch.zeros(2, 0, 0)
        if self.resolution == "montecarlo":
            draws = paired_draws(study, run, len(grid.q) * self.sampling.draws)
        return _Cut(spread, tile, slices, self._norm(spread, grid), draws)

    def _norm(self, spread: PathSpread, grid: _Grid) -> torch.Tensor:
        """Sum over the box's points, and both sides, of their shares, (n_along, nodes)."""
        total = torch.zeros(spread.full.shape[1], spread.full.shape[3])
        for side in range(len(SIDES)):
            for place, at in enumerate(grid.normal):
                covariances = spread.full[side, :, place].flatten(0, 1)[:, WHOLE]
                reached = spread.reached[side, :, place].flatten()
                for across in grid.across:
                    centre = torch.tensor([0.0, across, at, 0.0], dtype=torch.float32).expand(len(reached), -1)
                    share = _in_box(centre, covariances, grid.half)[0]
                    total += (share * reached).reshape(total.shape)
        return total

    def _signal(self, model: str, values: np.ndarray) -> np.ndarray:
        solver = self.solver(model)
        runs = [[] for _ in self.study.runs]  # type: ignore[var-annotated]
        for grid, cuts in self._pieces:
            modes = [self._modes(solver, values, grid, t.matrix, t.fraction) for t in self.study.twins]
            for run, one in cuts.items():
                buffer = one.tile.empty()
                for found in modes:
                    self._bring(grid, one, found, buffer)
                runs[run].append(one.slices.density(one.tile.inner(buffer)))
        return torch.stack([torch.cat(own, 1) for own in runs]).numpy()

    def _modes(
        self, solver: ModeSolver, values: np.ndarray, grid: _Grid, matrix: np.ndarray, fraction: float
    ) -> _Modes:
        energies, intensities = [], []
        for q in (grid.q @ torch.as_tensor(matrix.T)).split(8192):
            modes = solver.solve(values, q)
            check_stable(solver, values, modes)
            energies.append(modes.energies)
            intensities.append(s_perp(modes))
        energy, weight = torch.cat(energies).float(), torch.cat(intensities).float() * fraction
        field = energy.reshape(*grid.shape, -1)
        slope = torch.stack([_slope(field, axis, step) for axis, step in enumerate(grid.steps)], -1).flatten(0, 2)
        point, mode = (weight > FAINT * weight.mean()).nonzero(as_tuple=True)
        _, n_across, n_normal = grid.shape
        return _Modes(
            point // (n_across * n_normal),
            point // n_normal % n_across,
            point % n_normal,
            energy[point, mode],
            weight[point, mode],
            slope[point, mode],
            mode,
        )

    def _bring(self, grid: _Grid, one: _Cut, modes: _Modes, buffer: torch.Tensor) -> None:
        """Add the modes near a segment to a run's buffer."""
        low, high = one.slices.modes
        inside = ((modes.energy > low) & (modes.energy < high)).nonzero()[:, 0]
        across, normal = (torch.as_tensor(a, dtype=torch.float32) for a in (grid.across, grid.normal))
        along = torch.as_tensor(grid.along, dtype=torch.float32)
        for part in inside.split(1 << 15):
            place, energy, slope = modes.along[part], modes.energy[part], modes.slope[part]
            beside = modes.normal[part]
            laid, gain = one.slices.placed(energy)
            strength = modes.weight[part] * gain
            centre = torch.stack([along[place], across[modes.across[part]], normal[beside], laid], 1)
            for side in range(len(SIDES)):
                rows, between = one.spread.rows(side, place, beside, energy)
                weight = strength * one.spread.reach(rows, between) * grid.steps[0] / one.tile.x.width
                weight = weight / self._norm_at(one, rows, between, place)
                whole = one.spread.covariance(rows, between)
                cell = _cell(whole, slope, grid.steps)
                self._add(one, grid, centre, whole + cell, weight, buffer)
                if self.resolution == "montecarlo":
                    drawn = (weight > DRAWN * weight.mean()).nonzero()[:, 0]
                    point = (place * len(across) + modes.across[part]) * len(normal) + beside
                    draw = torch.stack([point, modes.number[part] * len(SIDES) + side], 1)
                    kept = self.sampling.smoothing * whole + cell
                    kept[:, 3, 3] += (1 - self.sampling.smoothing) * one.spread.intrinsic
                    some = [t[drawn] for t in (rows, between, draw, centre, kept, weight)]
                    self._correct(one, grid, buffer, *some)

    def _norm_at(self, one: _Cut, rows: torch.Tensor, between: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
        nodes = one.norm.shape[1]
        flat, at = one.norm.flatten(), place * nodes + rows % nodes
        return torch.lerp(flat[at], flat[at + 1], between)

    def _correct(
        self,
        one: _Cut,
        grid: _Grid,
        buffer: torch.Tensor,
        rows: torch.Tensor,
        between: torch.Tensor,
        draw: torch.Tensor,
        centre: torch.Tensor,
        kept: torch.Tensor,
        weight: torch.Tensor,
    ) -> None:
        """Spots about draws with their true shapes, less those about normal ones at the same quantiles."""
        uses = min(self.sampling.draws_per_mode, self.sampling.draws)
        point, number = draw.T
        for extra in range(uses):
            # neighbouring points take neighbours in the sequence, which are spread evenly
            own = ((number * uses + extra) % self.sampling.draws) * len(grid.q) + point
            for shape, sign in enumerate((1, -1)):
                shift = one.spread.shift(rows, between, one.draws[shape][own]) * (1 - self.sampling.smoothing) ** 0.5
                self._add(one, grid, centre + shift, kept, sign * weight / uses, buffer)

    def _add(
        self,
        one: _Cut,
        grid: _Grid,
        centre: torch.Tensor,
        covariances: torch.Tensor,
        weight: torch.Tensor,
        buffer: torch.Tensor,
    ) -> None:
        """Add what of spots falls into the box."""
        share, mean, left = _in_box(centre, covariances, grid.half)
        none = torch.zeros_like(share)
        spots = Spots(
            mean[:, 0],
            none,
            mean[:, 3],
            weight * share,
            left[:, 0, 0].clamp_min(1e-12),
            none,
            none + 1e-4,
            left[:, 0, 3],
            none,
            left[:, 3, 3].clamp_min(1e-8),
        )
        one.tile.add(spots, buffer)


def _points_across(step: float, half: float, reach: float) -> np.ndarray:
    """Points (n,) across a box of half width ``half``, out to ``reach`` or a little beyond, at most ``step`` apart.

    A box wider than that holds a whole number of steps. However far the resolution moves them, as many points then lie
    inside, and the box does not select among the deviations of a band without dispersion.
    """
    if step < 2 * half:
        step = 2 * half / np.ceil(2 * half / step - 1e-9)
    number = max(1, int(np.ceil(2 * reach / step - 1e-9)))
    return (np.arange(number) - (number - 1) / 2) * step


def _in_box(
    centre: torch.Tensor, covariances: torch.Tensor, half: tuple[float, float]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Share, mean and covariance of the part of spots (along, across, normal, energy) that lies in the box."""
    first, mean, left = cut(centre, covariances, 1, half[0])
    second, mean, left = cut(mean, left, 2, half[1])
    return first * second, mean, left


def _slope(field: torch.Tensor, axis: int, step: float) -> torch.Tensor:
    """Slope of bands (along, across, normal, modes), told apart by the order of their energies, meV Å."""
    if field.shape[axis] < 2:
        return torch.zeros_like(field)
    return torch.gradient(field, spacing=step, dim=axis)[0]


def _cell(covariances: torch.Tensor, slope: torch.Tensor, steps: tuple[float, float, float]) -> torch.Tensor:
    """Covariance of the cell that a point stands for, over which the energy follows the slopes, (n, 4, 4).

    Along the path a cell that the resolution does not blur is widened, so that no gaps show between cells.
    """
    cell = torch.zeros_like(covariances)
    along = ((WIDTH_OF_CELL * steps[0]) ** 2 - covariances[:, 0, 0]).clamp_min(steps[0] ** 2 / 12)
    cell[:, 0, 0] = along
    cell[:, 0, 3] = cell[:, 3, 0] = along * slope[:, 0]
    cell[:, 3, 3] = along * slope[:, 0] ** 2 + sum((slope[:, n] * steps[n]) ** 2 / 12 for n in (1, 2))
    return cell
