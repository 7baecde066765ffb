"""What part of a Gaussian spot in (x, y, energy) falls into each pixel and slice of a map.

A spot is the kernel of the resolution around one mode of one fine point of Q, together with that point's cell, over
which the mode's energy runs along its slope. It is integrated pixel by pixel along x, then along y given x, then over
the slices given both: error functions throughout, with the mean and the variance of what a pixel has cut out of the
Gaussian handed on to the next direction. Nothing is drawn at random and no intensity is lost.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import torch

ROOT_HALF = 0.7071067811865476
ROOT_TWO_PI = 2.5066282746310002
REACH = 2.4
"""Standard deviations of a spot that the window of pixels reaches; what is beyond goes to the outermost pixels."""
WIDEST = 40
"""Bins on either side of a spot's centre that a window has at most."""
ALONG = 0.15
"""Correlation of a spot's two axes that is passed over."""
FAR = 6.0
"""Standard deviations beyond which nothing is left of a spot."""
SMALLEST = (1e-12, 1e-8)
"""Least variance of a spot, (r.l.u.)^2 and meV^2."""
MOST_SHARES = 27 << 15
"""Shares of spots in pixels and slices worked on at a time: enough that what a call of PyTorch costs is little."""


@dataclass(frozen=True)
class Spots:
    """Gaussian spots as flat lists, float32.

    Attributes
    ----------
    x, y, energy : (n,)
        Centres; r.l.u. along the two axes of the map, meV.
    weight : (n,)
        What each spot carries in all.
    xx, xy, yy, xe, ye, ee : (n,)
        Covariance.
    """

    x: torch.Tensor
    y: torch.Tensor
    energy: torch.Tensor
    weight: torch.Tensor
    xx: torch.Tensor
    xy: torch.Tensor
    yy: torch.Tensor
    xe: torch.Tensor
    ye: torch.Tensor
    ee: torch.Tensor

    def chosen(self, index: torch.Tensor) -> "Spots":
        """Those of an index (n,)."""
        return Spots(*(getattr(self, f.name).index_select(0, index) for f in fields(self)))

    def lots(self, size: int) -> "Iterator[Spots]":
        """All of them, so many at a time."""
        for parts in zip(*(getattr(self, f.name).split(size) for f in fields(self)), strict=True):
            yield Spots(*parts)


@dataclass(frozen=True)
class Bins:
    """Equal bins along one direction of a tile, of which ``window`` may take a share of one spot."""

    start: float
    width: float
    count: int
    window: int

    @classmethod
    def for_spots(cls, start: float, width: float, count: int, sigma: float) -> "Bins":
        """Bins from the edge ``start`` on, with a window wide enough for spots of this standard deviation."""
        half = int(np.clip(np.ceil(REACH * sigma / width - 0.5), 1, WIDEST))
        return cls(start, width, count, 2 * half + 1)

    @property
    def padding(self) -> int:
        """Bins to keep on either side of the tile, so that a window next to it needs no check."""
        return self.window

    def place(self, centre: torch.Tensor) -> torch.Tensor:
        """Where centres lie, in bins; the floor is the number of their window's first bin, from the padding's start."""
        return (centre - self.start).div_(self.width).add_(self.padding - self.window // 2)

    def cut(self, place: torch.Tensor, variance: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Shares of one-dimensional Gaussians in the bins of their windows.

        Parameters
        ----------
        place, variance : (..., n)
            Where they are (:meth:`place`), and bins squared.

        Returns
        -------
        first : (..., n) int32
            First bin of the window, counted from the padding's beginning.
        share, mean, left : (window, ..., n)
            Twice the probability, and mean displacement from the centre (standard deviations) and share of the variance
            of what each bin takes.
        """
        first, below, z = self.below(place, variance)
        share = below[1:] - below[:-1]
        # a bin that takes next to nothing has no moments worth passing on
        safe = share.clamp_min(2e-6)
        density = torch.zeros_like(below)
        inner = density[1:-1]
        torch.mul(z, z, out=inner).neg_().exp_().mul_(2 / ROOT_TWO_PI)
        mean = (density[:-1] - density[1:]).div_(safe).clamp_(-FAR, FAR)
        inner.mul_(z)
        left = (density[:-1] - density[1:]).div_(safe).mul_(2 * ROOT_HALF).add_(1)
        return first, share, mean, left.addcmul_(mean, mean, value=-1).clamp_(0, 1)

    def below(self, place: torch.Tensor, variance: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What of one-dimensional Gaussians is below each edge of their windows.

        Returns
        -------
        first : (..., n) int32
            As in :meth:`cut`.
        below : (window + 1, ..., n)
            Twice the probability, less one. All of what is below the window counts to its first bin, all of what is
            above to its last.
        z : (window - 1, ..., n)
            Where the inner edges lie, in units of sqrt(2) standard deviations from the centre.
        """
        first = place.floor()
        steps = torch.arange(1, self.window, dtype=place.dtype, device=place.device) - self.window // 2
        z = torch.add(steps.mul_(ROOT_HALF).reshape(-1, *[1] * place.ndim), first - place, alpha=ROOT_HALF)
        z.mul_(variance.rsqrt())
        below = torch.empty(self.window + 1, *place.shape, dtype=place.dtype, device=place.device)
        below[0], below[-1] = -1, 1
        torch.erf(z, out=below[1:-1])
        return first.clamp_(0, self.count + self.padding).int(), below, z


@dataclass(frozen=True)
class Tile:
    """The maps of one run, as bins along x, y and energy."""

    x: Bins
    y: Bins
    energy: Bins

    @property
    def window(self) -> int:
        """Bins that one spot may touch."""
        return self.x.window * self.y.window * self.energy.window

    def empty(self, device: torch.device | str = "cpu") -> torch.Tensor:
        """A buffer for :meth:`add`, float32."""
        return torch.zeros([b.count + 2 * b.padding for b in (self.x, self.y, self.energy)], device=device)

    def inner(self, buffer: torch.Tensor) -> torch.Tensor:
        """The part of a buffer inside the tile, (slices, x, y)."""
        for axis, b in enumerate((self.x, self.y, self.energy)):
            buffer = buffer.narrow(axis, b.padding, b.count)
        return buffer.permute(2, 0, 1)

    def add(self, spots: Spots, buffer: torch.Tensor, block: torch.Tensor | None = None) -> None:
        """Add spots to a buffer.

        Parameters
        ----------
        spots : Spots
        buffer
            Of :meth:`empty`.
        block : (n,) int, optional
            Which block each spot belongs to; without it, all belong to one. In a block none of whose spots has its two
            axes correlated by more than :data:`ALONG`, such correlation is passed over.
        """
        sigma_y = (spots.yy - spots.xy**2 / spots.xx).clamp_min_(SMALLEST[0]).sqrt_()
        follows = spots.xy.abs() / spots.xx.sqrt() > ALONG * sigma_y
        size = max(16, MOST_SHARES // self.window)
        if block is None or not bool(follows.any()):
            parts = [(spots, bool(follows.any()))]
        else:
            along = torch.bincount(block[follows], minlength=int(block.max()) + 1)[block] > 0
            parts = [(spots.chosen((along == one).nonzero()[:, 0]), one) for one in (False, True)]
        for part, one in parts:
            for some in part.lots(size):
                self._add(some, one, buffer)

    def _add(self, spots: Spots, along: bool, buffer: torch.Tensor) -> None:
        """Add a few spots, all in units of bins from here on."""
        wx, wy, we = self.x.width, self.y.width, self.energy.width
        x, y, energy = self.x.place(spots.x), self.y.place(spots.y), self.energy.place(spots.energy)
        xx, xy, xe = spots.xx / wx**2, spots.xy / (wx * wy), spots.xe / (wx * we)
        slope_yx, slope_ex = xy / xx, xe / xx
        yy = (spots.yy / wy**2 - xy * slope_yx).clamp_min_(SMALLEST[0] / wy**2)
        slope_ey = (spots.ye / (wy * we) - xy * slope_ex) / yy
        own = slope_ey * yy
        ee = (spots.ee / we**2 - xe * slope_ex - slope_ey * own).clamp_min_(SMALLEST[1] / we**2)

        ix, share_x, mean_x, left_x = self.x.cut(x, xx)  # (n,), (wx, n) ..
        sigma_x = xx.sqrt()
        slope_ex = slope_ex * sigma_x
        rest = torch.addcmul(torch.addcmul(ee, slope_ey, own), slope_ex**2, left_x)
        if along:
            # what is left to y within a pixel of x: its own part, and what it follows x by
            slope_yx = slope_yx * sigma_x
            yy, own = (torch.addcmul(part, slope_yx * by, left_x) for part, by in ((yy, slope_yx), (own, slope_ex)))
            y = torch.addcmul(y, slope_yx, mean_x)
        else:
            yy, own, y = yy[None], own[None], y[None]
        iy, share_y, mean_y, left_y = self.y.cut(y, yy)  # (wx or 1, n), (wy, wx or 1, n) ..
        gain = own * yy.rsqrt()
        square = gain * gain
        place = torch.addcmul(torch.addcmul(energy, slope_ex, mean_x), gain, mean_y)  # (wy, wx, n)
        rest = torch.addcmul(rest - square, square, left_y).clamp_min_(SMALLEST[1] / we**2)
        ie, below, _ = self.energy.below(place, rest)  # (wy, wx, n), (we + 1, wy, wx, n)
        weight = share_y * (share_x * (spots.weight / 8))

        _, ny, depth = buffer.shape
        rows, columns = (torch.arange(b.window, dtype=torch.int32, device=x.device) for b in (self.x, self.y))
        pixel = (ix + rows[:, None]) * ny + (iy + columns[:, None, None])
        first = ie.add_(pixel * depth).long().reshape(-1)
        for layer in range(self.energy.window):
            share = (below[layer + 1] - below[layer]).mul_(weight).reshape(-1)
            buffer.view(-1)[layer:].scatter_add_(0, first, share)
