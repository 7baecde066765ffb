"""The coarse Gaussian method of a published study, kept because its failure is a result.

K. T. Butler et al., J. Phys.: Condens. Matter 33, 194006 (2021), section 3.2. S(Q, w) is known on a grid of points of
each slice (80 x 80) only, and each point of a slice receives what Gaussians about the modes of all points have there,
at the energy of the slice's centre, with the norm 1 / (2 pi) and not 1 / sqrt((2 pi)^3 det Sigma). The covariance is
looked up at the nearest of 8 x 8 places of the slice and at its centre in energy. Nothing is integrated over a pixel or
a slice. Where the paper does not say how, this is the simplest.
"""

import numpy as np
import torch

from .landing import Tile
from .spots import Cells, Peaks
from .spread import Spread

LOOKED_UP = 8
"""Places along each side of a slice at which the covariance is known."""
REACH = 3.5
"""Standard deviations beyond which nothing is looked for."""


def record_coarse(peaks: Peaks, cells: Cells, shape: tuple[int, int], spread: Spread, tile: Tile) -> torch.Tensor:
    """A run's slices.

    Parameters
    ----------
    peaks : Peaks
    cells : Cells
        The grid, which has no margin.
    shape : (nx, ny)
        Of the grid.
    spread : Spread
        The run's resolution on that grid.
    tile : Tile

    Returns
    -------
    (slices, x, y) float64
        Mean over the points of each pixel, of intensity times r.l.u.^2 / (2 pi), which is no density in energy.
    """
    known = _nearest_known(shape)[peaks.point]
    reach = [int(np.ceil(REACH * w / step)) for w, step in zip(spread.widest[:2], cells.steps, strict=True)]
    out = []
    for number in range(tile.energy.count):
        centre = tile.energy.start + (number + 0.5) * tile.energy.width
        near = ((peaks.energy - centre).abs() < REACH * spread.widest[2]).nonzero()[:, 0]
        xx, xy, yy, xe, ye, ee = spread.covariance(known[near], torch.full((len(near),), centre)).double()
        covariance = torch.stack([xx, xy, xe, xy, yy, ye, xe, ye, ee], 1).reshape(-1, 3, 3)
        inverse = torch.linalg.inv(covariance).float()
        out.append(_slice(peaks.chosen(near), inverse, cells, shape, centre, reach))
    share = cells.steps[0] * cells.steps[1] / (2 * torch.pi)
    return _in_pixels(torch.stack(out).double() * share, tile)


def _slice(
    peaks: Peaks, inverse: torch.Tensor, cells: Cells, shape: tuple[int, int], centre: float, reach: list[int]
) -> torch.Tensor:
    """Sum of Gaussians about modes, without norm, at all points of the grid, (nx, ny)."""
    nx, ny = shape
    # a border, into which falls what leaves the grid
    sums = torch.zeros(nx + 2 * reach[0], ny + 2 * reach[1])
    place = (peaks.point // ny) * sums.shape[1] + peaks.point % ny
    e = centre - peaks.energy
    own = inverse[:, 2, 2] * e * e
    for i in range(-reach[0], reach[0] + 1):
        x = i * cells.steps[0]
        with_x = own + (inverse[:, 0, 0] * x + 2 * inverse[:, 0, 2] * e) * x
        slope = 2 * (inverse[:, 0, 1] * x + inverse[:, 1, 2] * e)
        for j in range(-reach[1], reach[1] + 1):
            y = j * cells.steps[1]
            square = with_x + (inverse[:, 1, 1] * y + slope) * y
            start = (i + reach[0]) * sums.shape[1] + j + reach[1]
            sums.view(-1)[start:].index_add_(0, place, square.mul_(-0.5).exp_().mul_(peaks.weight))
    return sums[reach[0] : reach[0] + nx, reach[1] : reach[1] + ny]


def _nearest_known(shape: tuple[int, int]) -> torch.Tensor:
    """The point (n_points,) of the grid at which the covariance that each point uses is known."""
    nx, ny = (torch.arange(n) for n in shape)
    x, y = (
        ((n * LOOKED_UP // len(n)) * len(n) // LOOKED_UP + len(n) // (2 * LOOKED_UP)).clamp_max(len(n) - 1)
        for n in (nx, ny)
    )
    return (x[:, None] * shape[1] + y).flatten()


def _in_pixels(grid: torch.Tensor, tile: Tile) -> torch.Tensor:
    """Mean over those points of slices (slices, nx, ny) that lie in each pixel."""
    for axis, bins in ((1, tile.x), (2, tile.y)):
        points = grid.shape[axis]
        pixel = ((torch.arange(points) + 0.5) * bins.count / points).floor().long()
        shape = list(grid.shape)
        shape[axis] = bins.count
        total = torch.zeros(shape, dtype=grid.dtype).index_add_(axis, pixel, grid)
        number = torch.bincount(pixel, minlength=bins.count).clamp_min(1)
        grid = total / (number[:, None] if axis == 1 else number)
    return grid
