"""Interpretable by construction: evidence by pixel that adds up to what the network says."""

import torch
from torch import nn
from torch.nn import functional

from .base import Output, Sizes, SpectrumNetwork, of_sigmoids

SMALLEST = 8
"""Axes of fewer pixels are never thinned out."""


class AdditiveNetwork(SpectrumNetwork):
    """The logit of each class is the sum of local evidence over runs, slices and pixels, and a bias.

    Every run is looked at by itself (grouped convolutions), every pixel with its surroundings alone: three to nineteen
    pixels across and two slices up and down, in units of its run's mean and spread. There is no dense trunk behind the
    evidence, nothing global that could decide and then be spread over the image. The scores are sigmoids of the
    logits. Parameters are estimated beside it from the same features; no evidence depends on them.

    Parameters
    ----------
    sizes : Sizes
    width : int
        Channels of each run at the end, a multiple of 16.
    """

    def __init__(self, sizes: Sizes, width: int = 32) -> None:
        super().__init__()
        runs, slices, nx, ny = sizes.shape
        self.shape, self.classes = sizes.shape, sizes.classes
        thin = (1, 2 if nx >= SMALLEST else 1, 2 if ny >= SMALLEST else 1)

        def layer(inputs: int, outputs: int, stride: tuple[int, int, int], deep: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv3d(
                    runs * inputs, runs * outputs, (deep, 3, 3), stride, (deep // 2, 1, 1), groups=runs, bias=False
                ),
                nn.GroupNorm(runs, runs * outputs),
                nn.GELU(),
            )

        self.convolutions = nn.Sequential(
            layer(2, width // 2, thin, 3),
            layer(width // 2, width // 2, (1, 1, 1), 1),
            layer(width // 2, width, thin, 3),
            layer(width, width, (1, 1, 1), 1),
        )
        self.weigh = nn.Conv3d(runs * width, runs * sizes.classes, 1, groups=runs)
        self.bias = nn.Parameter(torch.zeros(sizes.classes))
        self.regression = nn.Sequential(
            nn.Linear(2 * runs * width * slices, 64), nn.GELU(), nn.Linear(64, sizes.classes * sizes.parameters)
        )
        self.n_features = sizes.classes * runs * slices

    def cells(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Evidence (n, classes, runs, slices, cells, cells) of prepared inputs, and the maps it was made of.

        Each cell's is divided by the root of the number of cells, so that its sum starts at a size of one.
        """
        runs = self.shape[0]
        # a run's intensity beside its mask
        image, mask = inputs.split(runs, 1)
        maps = self.convolutions(torch.stack([image, mask], 2).flatten(1, 2))
        found = self.weigh(maps).float()
        found = found.reshape(len(inputs), runs, self.classes, *found.shape[2:]).transpose(1, 2)
        return found / float(found[0, 0].numel()) ** 0.5, maps

    def evidence(self, inputs: torch.Tensor) -> torch.Tensor:
        """Evidence of each pixel, (n, classes, runs, slices, x, y): that of its cell, shared equally."""
        cells, _ = self.cells(inputs)
        n, classes, runs, slices, cx, cy = cells.shape
        nx, ny = self.shape[2:]
        rows, columns = (torch.arange(size) * cell // size for size, cell in ((nx, cx), (ny, cy)))
        share = 1 / (torch.bincount(rows, minlength=cx)[rows][:, None] * torch.bincount(columns, minlength=cy)[columns])
        return cells[..., rows[:, None], columns[None]] * share

    def forward(self, inputs: torch.Tensor) -> Output:
        """Logits that are sums of evidence; the features are the sums over each tile."""
        cells, maps = self.cells(inputs)
        with torch.autocast(inputs.device.type, enabled=False):
            tiles = cells.sum((4, 5))
            logits = tiles.sum((2, 3)) + self.bias
            pooled = torch.cat([maps.mean((3, 4)), maps.amax((3, 4))], 1).flatten(1).float()
            estimates = torch.sigmoid(self.regression(functional.layer_norm(pooled, pooled.shape[1:])))
        return of_sigmoids(tiles.flatten(1), logits, estimates.reshape(len(inputs), self.classes, -1))
