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
        first = place.floor() - self.window // 2
        steps = torch.arange(self.window + 1, dtype=centre.dtype, device=centre.device)
        steps = steps.reshape(-1, *[1] * centre.ndim)
        z = ((first - place + steps) * (self.width / sigma)).clamp_(-FAR, FAR)
        z[0], z[-1] = -FAR, FAR
        below = torch.erf(z * ROOT_HALF).mul_(0.5)
        density = torch.exp(-0.5 * z * z).div_(ROOT_TWO_PI)
        share = below[1:] - below[:-1]
        safe = share.clamp_min(1e-6)
        mean = (density[:-1] - density[1:]) / safe
        moment = (density * z).diff(dim=0).div_(safe)
        variance = (1 - moment - mean * mean).clamp_(0, 1)
        # a bin that takes next to nothing has no moments worth passing on
        mean = mean.clamp_(-6, 6) * sigma
        first = (first + self.padding).clamp_(0, self.count + self.padding)
        return first.long(), share, mean, variance * (sigma * sigma)

    def slices(self, energy: torch.Tensor, sigma: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """First bin (as in :meth:`cut`) and shares (window, ..., n) alone."""
        place = (energy - self.start) / self.width
        first = place.floor() - self.window // 2
        steps = torch.arange(1, self.window, dtype=energy.dtype, device=energy.device)
        steps = steps.reshape(-1, *[1] * energy.ndim)
        below = torch.erf((first - place + steps) * (self.width * ROOT_HALF / sigma)).mul_(0.5)
        ends = torch.full_like(below[:1], 0.5)
        share = torch.cat([-ends, below, ends]).diff(dim=0)
        return (first + self.padding).clamp_(0, self.count + self.padding).long(), share


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
        return torch.zeros([b.count + 2 * b.padding for b in (self.energy, self.x, self.y)])

    def inner(self, buffer: torch.Tensor) -> torch.Tensor:
        """The part of a buffer inside the tile, (slices, x, y)."""
        for axis, b in enumerate((self.energy, self.x, self.y)):
            buffer = buffer.narrow(axis, b.padding, b.count)
        return buffer

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
        spread = left.clamp_min(1e-8).sqrt()
        ie, share_e = self.energy.slices(energy, spread)  # (wy, wx, n), (we, wy, wx, n)
        weight = share_e * (share_y * (share_x * spots.weight))

        nx, ny = buffer.shape[1:]
        rows = torch.arange(self.x.window)[:, None]
        columns = torch.arange(self.y.window)[:, None, None]
        layers = torch.arange(self.energy.window)[:, None, None, None]
        place = (ix + rows) * ny + iy + columns + ie * (nx * ny) + layers * (nx * ny)
        buffer.view(-1).scatter_add_(0, place.reshape(-1), weight.reshape(-1))
