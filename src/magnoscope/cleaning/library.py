"""A library of simulations that spectra are compared with, tile by tile, all at once."""

from dataclasses import dataclass

import numpy as np
import torch

from ..dataset.parts import Part

SIZE = 300
"""Simulations of each candidate."""


@dataclass(frozen=True)
class Library:
    """Simulations of every candidate.

    Attributes
    ----------
    tiles : (n_tiles, n_simulations, n_pixels)
    labels : (n_simulations,)
    """

    tiles: torch.Tensor
    labels: torch.Tensor

    @classmethod
    def of(cls, part: Part, size: int = SIZE) -> "Library":
        """The first simulations of each candidate in a part of a training set."""
        index = np.concatenate([np.flatnonzero(part.labels == c)[:size] for c in np.unique(part.labels)])
        images = torch.as_tensor(np.asarray(part.images[index]).astype(np.float32))
        return cls(_tiles(images), torch.as_tensor(part.labels[index]))

    def chi_squares(self, images: torch.Tensor, valid: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Sum over tiles of least squares over the noise's variance (n, n_tiles), (n, n_simulations).

        Scale (not negative) and background of each tile are free.
        """
        total = torch.zeros(len(images), len(self.labels))
        for y, v, x, level in zip(_tiles(images), _tiles(valid.float()), self.tiles, noise.T, strict=True):
            left, _ = _laid(y, v, v @ x.T, v @ (x * x).T, (y * v) @ x.T)
            total += left / level.clamp_min(1e-20)[:, None]
        return total

    def explained(self, images: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Mean over tiles of the share of the structure that the likest simulation explains, (n,)."""
        total, tiles = torch.zeros(len(images), len(self.labels)), torch.zeros(len(images), 1)
        for y, v, x in zip(_tiles(images), _tiles(valid.float()), self.tiles, strict=True):
            left, whole = _laid(y, v, v @ x.T, v @ (x * x).T, (y * v) @ x.T)
            seen = whole > 0
            total += torch.where(seen, 1 - left / whole.clamp_min(1e-20), 0.0)
            tiles += seen[:, :1]
        return (total / tiles.clamp_min(1)).amax(1)

    def residual(self, images: torch.Tensor, valid: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        """Mean square of what is left of images once one simulation each is laid onto them, (n, n_tiles)."""
        y, v, x = (_tiles(a.float()) for a in (images, valid, own))
        sums = [(v * a).sum(-1)[..., None] for a in (x, x * x, x * y)]
        left, _ = _laid(y, v, *sums)
        return (left[..., 0] / v.sum(-1).clamp_min(1)).T

    def own_is_best(
        self, images: torch.Tensor, valid: torch.Tensor, own: torch.Tensor, labels: torch.Tensor, noise: torch.Tensor
    ) -> torch.Tensor:
        """Whether the simulation that images come from, or another of its candidate, is likest of all, (n,) bool."""
        chi = self.chi_squares(images, valid, noise)
        same = labels[:, None] == self.labels
        mine = (self.residual(images, valid, own) / noise.clamp_min(1e-20) * valid.sum((3, 4)).flatten(1)).sum(1)
        mine = torch.minimum(mine, chi.masked_fill(~same, torch.inf).amin(1))
        return mine < chi.masked_fill(same, torch.inf).amin(1)


def _tiles(images: torch.Tensor) -> torch.Tensor:
    """From (n, runs, slices, x, y) to (runs * slices, n, x * y)."""
    return images.flatten(3).flatten(1, 2).transpose(0, 1).contiguous()


def _laid(
    y: torch.Tensor, v: torch.Tensor, s_x: torch.Tensor, s_xx: torch.Tensor, s_xy: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum of squares left by ``scale * x + background``, and without it, from sums over valid pixels.

    Parameters
    ----------
    y, v : (..., n, n_pixels)
    s_x, s_xx, s_xy : (..., n, n_simulations)
    """
    n = v.sum(-1, keepdim=True).clamp_min(1)
    s_y, s_yy = ((v * a).sum(-1, keepdim=True) for a in (y, y * y))
    along, x_x, y_y = s_xy - s_x * s_y / n, s_xx - s_x**2 / n, (s_yy - s_y**2 / n).clamp_min(0)
    left = y_y - along.clamp_min(0) ** 2 / x_x.clamp_min(1e-12)
    return left.clamp_min(0), y_y.expand_as(left)
