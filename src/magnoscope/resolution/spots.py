"""Modes of fine points as Gaussian spots of the resolution, and their way into the pixels of a run."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import partial

import torch

from .landing import Spots, Tile
from .spread import Spread

LOT = 1 << 15
"""Modes worked on at a time: enough that what a call of PyTorch costs is little beside them."""
BLOCK_SHARES = 27 << 13
"""Shares in pixels and slices of a block of modes, in which correlations of the axes are heeded or not."""
WIDTH_OF_CELL = 0.4
"""Least standard deviation of a spot, in steps of the fine grid."""
FAINT = 1e-3
"""Spots fainter than this share of the mean are left out."""
SKEWED = 0.3
"""Spots fainter than this share of the mean are Gaussian, whatever the pulse."""
DRAWN = 0.3
"""Spots fainter than this share of the mean get no draws: the correction to them would be lost in its noise."""


@dataclass(frozen=True)
class Peaks:
    """Modes, or bundles of them, of fine points as flat lists.

    Attributes
    ----------
    point, number : (n,) int
        Fine point, and number of the (first) mode.
    energy : (n,) meV
    weight : (n,)
        Intensity.
    slope_x, slope_y : (n,) meV / r.l.u.
        Of the energy along the view's two axes.
    """

    point: torch.Tensor
    number: torch.Tensor
    energy: torch.Tensor
    weight: torch.Tensor
    slope_x: torch.Tensor
    slope_y: torch.Tensor

    def chosen(self, index: torch.Tensor) -> "Peaks":
        """Those of an index (n,)."""
        return Peaks(*(getattr(self, f.name).index_select(0, index) for f in fields(self)))

    def lots(self, size: int) -> "Iterator[Peaks]":
        """All of them, so many at a time."""
        for parts in zip(*(getattr(self, f.name).split(size) for f in fields(self)), strict=True):
            yield Peaks(*parts)

    @classmethod
    def joined(cls, parts: "list[Peaks]") -> "Peaks":
        """Several lists as one."""
        return cls(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(cls)))


@dataclass(frozen=True)
class Cells:
    """The fine points of a view: coordinates (n_points,) along its two axes, r.l.u., and steps between them."""

    x: torch.Tensor
    y: torch.Tensor
    steps: tuple[float, float]


def record(peaks: Peaks, cells: Cells, spread: Spread, tile: Tile, draws: int, buffer: torch.Tensor) -> None:
    """Add modes to a run's buffer.

    Parameters
    ----------
    peaks : Peaks
    cells : Cells
    spread : Spread
        The run's resolution.
    tile : Tile
    draws : int
        Draws that correct each mode; no more than the spread has.
    buffer
        Of :meth:`Tile.empty`.
    """
    if not len(peaks.point):
        return
    draws = min(draws, spread.draws)
    mean = float(peaks.weight.mean())
    bright = (peaks.weight > FAINT * mean).nonzero()[:, 0]
    weight = peaks.weight.index_select(0, bright)
    kept, total = float(weight.double().sum()), float(peaks.weight.double().sum())
    # the intensity of what is left out goes to the rest
    share = cells.steps[0] * cells.steps[1] / (tile.x.width * tile.y.width) * (total / kept if kept else 1.0)
    lots = partial(_lots, peaks, bright, max(16, BLOCK_SHARES // tile.window))
    skewed = weight >= (SKEWED * mean if spread.skewed else torch.inf)
    for chosen, pulse in ((~skewed, False), (skewed, True)):
        for some, block in lots(chosen):
            blur = spread.covariance(some.point, some.energy)
            spots, cell = _spots(some, cells, share), _cell(some, cells, blur)
            shapes = spread.components(some.point, some.energy, blur) if pulse else [(1.0, None, blur)]
            for part, moved, covariance in shapes:
                _land(tile, buffer, spots, part, moved, covariance, cell, block)
    if not draws:
        return
    for some, block in lots(weight > DRAWN * mean):
        spots, cell = _spots(some, cells, share), _cell(some, cells, spread.covariance(some.point, some.energy))
        covariance = spread.covariance(some.point, some.energy, drawn=True)
        for extra in range(draws):
            draw = (some.number * draws + extra) % spread.draws
            for shape, sign in enumerate((1 / draws, -1 / draws)):
                moved = spread.shift(some.point, draw, some.energy, shape)
                _land(tile, buffer, spots, sign, moved, covariance, cell, block)


def _lots(peaks: Peaks, listed: torch.Tensor, size: int, chosen: torch.Tensor) -> Iterator[tuple[Peaks, torch.Tensor]]:
    """Chosen ones of listed peaks, so many at a time, and which block of ``size`` listed peaks each is of."""
    for place in chosen.nonzero()[:, 0].split(LOT):
        yield peaks.chosen(listed[place]), place // size


def _spots(peaks: Peaks, cells: Cells, share: float) -> list[torch.Tensor]:
    x, y = (axis.index_select(0, peaks.point) for axis in (cells.x, cells.y))
    return [x, y, peaks.energy, peaks.weight * share]


def _cell(peaks: Peaks, cells: Cells, blur: torch.Tensor) -> list[torch.Tensor]:
    """Covariance of each point's cell, over which the energy follows the slope.

    A cell that the resolution does not blur is widened, so that no gaps show between cells.
    """
    in_x, in_y = (
        ((WIDTH_OF_CELL * step) ** 2 - variance).clamp_min_(step**2 / 12)
        for step, variance in zip(cells.steps, (blur[0], blur[2]), strict=True)
    )
    xe, ye = in_x * peaks.slope_x, in_y * peaks.slope_y
    return [in_x, torch.zeros_like(in_x), in_y, xe, ye, xe * peaks.slope_x + ye * peaks.slope_y]


def _land(
    tile: Tile,
    buffer: torch.Tensor,
    spots: list[torch.Tensor],
    weight: float,
    moved: torch.Tensor | None,
    covariance: torch.Tensor,
    cell: list[torch.Tensor],
    block: torch.Tensor,
) -> None:
    x, y, energy, size = spots
    if moved is not None:
        x, y, energy = x + moved[0], y + moved[1], energy + moved[2]
    whole = [c + more for c, more in zip(covariance, cell, strict=True)]
    tile.add(Spots(x, y, energy, size * weight, *whole), buffer, block)
