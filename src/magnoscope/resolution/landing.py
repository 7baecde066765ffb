"""What part of a Gaussian spot in (x, y, energy) falls into each pixel and slice of a map.

A spot is the kernel of the resolution around one mode of one fine point of Q, together with that point's cell, over
which the mode's energy runs along its slope. It is integrated pixel by pixel along x, then along y given x, then over
the slices given both: error functions throughout, with the mean and the variance of what a pixel has cut out of the
Gaussian handed on to the next direction. Nothing is drawn at random and no intensity is lost.
"""

from dataclasses import dataclass

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

    def cut(self, centre: torch.Tensor, sigma: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Shares of one-dimensional Gaussians in their windows.

        Parameters
        ----------
        centre, sigma : (..., n)

        Returns
        -------
        first : (..., n) int64
            First bin of the window, counted from the padding's beginning.
        share, mean, variance : (window, ..., n)
            Probability, mean displacement from the centre, and variance, of what each bin takes.
        """
        place = (centre - self.start) / self.width
        first = place.floor()
        below, z = self._below(first - place, sigma)
        density = torch.exp(z * z * -0.5).mul_(1 / ROOT_TWO_PI)
        share = below.diff(dim=0)
        per_share = share.clamp_min(1e-6).reciprocal_()
        nothing = torch.zeros_like(share[:1])
        mean = torch.cat([nothing, density, nothing]).diff(dim=0).neg_().mul_(per_share)
        moment = torch.cat([nothing, density.mul_(z), nothing]).diff(dim=0).mul_(per_share)
        variance = torch.addcmul(1 - moment, mean, mean, value=-1).clamp_(0, 1)
        # a bin that takes next to nothing has no moments worth passing on
        mean = mean.clamp_(-FAR, FAR) * sigma
        return self._first(first), share, mean, variance.mul_(sigma * sigma)

    def slices(self, energy: torch.Tensor, sigma: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """First bin (as in :meth:`cut`) and what lies below each inner edge of the window, (window + 1, ..., n)."""
        place = (energy - self.start) / self.width
        first = place.floor()
        below, _ = self._below(first - place, sigma)
        return self._first(first), below

    def _below(self, before: torch.Tensor, sigma: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Probability (less a half) below each edge of the window, (window + 1, ..., n), and where the inner edges lie.

        ``before`` is the place of the lower edge of the bin that holds the centre, in bins from the centre. All of what
        is below the window counts to its first bin, all of what is above to its last.
        """
        steps = torch.arange(1, self.window, dtype=before.dtype, device=before.device) - self.window // 2
        z = (before + steps.reshape(-1, *[1] * before.ndim)).mul_(self.width / sigma).clamp_(-FAR, FAR)
        below = torch.empty(self.window + 1, *z.shape[1:], dtype=z.dtype, device=z.device)
        below[0], below[-1] = -0.5, 0.5
        torch.mul(z, ROOT_HALF, out=below[1:-1])
        below[1:-1].erf_().mul_(0.5)
        return below, z

    def _first(self, first: torch.Tensor) -> torch.Tensor:
        """Number of the window's first bin, from the padding's beginning, for windows about bins."""
        return (first + (self.padding - self.window // 2)).clamp_(0, self.count + self.padding).long()


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

    def empty(self) -> torch.Tensor:
        """A buffer for :meth:`add`, float32."""
        return torch.zeros([b.count + 2 * b.padding for b in (self.x, self.y, self.energy)])

    def inner(self, buffer: torch.Tensor) -> torch.Tensor:
        """The part of a buffer inside the tile, (slices, x, y)."""
        for axis, b in enumerate((self.x, self.y, self.energy)):
            buffer = buffer.narrow(axis, b.padding, b.count)
        return buffer.permute(2, 0, 1)

    def add(self, spots: Spots, buffer: torch.Tensor) -> None:
        """Add spots to a buffer."""
        sigma_x = spots.xx.sqrt()
        slope_yx, slope_ex = spots.xy / spots.xx, spots.xe / spots.xx
        yy = (spots.yy - spots.xy * slope_yx).clamp_min(1e-12)
        slope_ey = (spots.ye - spots.xy * slope_ex) / yy
        ee = (spots.ee - spots.xe * slope_ex - slope_ey * slope_ey * yy).clamp_min(1e-8)

        ix, share_x, mean_x, variance_x = self.x.cut(spots.x, sigma_x)  # (n,), (wx, n) ..
        if bool((slope_yx.abs() * sigma_x > ALONG * yy.sqrt()).any()):
            # what is left to y within a pixel of x: its own part, and what it follows x by
            in_y, own = yy + slope_yx**2 * variance_x, slope_ey * yy + slope_ex * slope_yx * variance_x
            centre_y = spots.y + slope_yx * mean_x
        else:
            in_y, own, centre_y = yy[None], (slope_ey * yy)[None], spots.y[None]
        iy, share_y, mean_y, variance_y = self.y.cut(centre_y, in_y.sqrt())  # (wx or 1, n), (wy, wx or 1, n) ..
        gain = own / in_y
        energy = spots.energy + slope_ex * mean_x + gain * mean_y
        left = ee + slope_ex**2 * variance_x + slope_ey**2 * yy + gain**2 * (variance_y - in_y)
        ie, below = self.energy.slices(energy, left.clamp_min_(1e-8).sqrt_())  # (wy, wx, n), (we + 1, wy, wx, n)
        weight = share_y * (share_x * spots.weight)

        nx, ny, depth = buffer.shape
        place = (ix * ny + iy).expand_as(ie) * depth + ie
        rows = torch.arange(self.x.window, device=ie.device)[:, None] * (ny * depth)
        columns = torch.arange(self.y.window, device=ie.device)[:, None, None] * depth
        place = (place + (rows + columns)).reshape(-1)
        for layer in range(self.energy.window):
            share = (below[layer + 1] - below[layer]).mul_(weight).reshape(-1)
            buffer.view(-1)[layer:].scatter_add_(0, place, share)
