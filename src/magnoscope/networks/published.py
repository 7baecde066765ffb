"""The networks of the published study: K. T. Butler et al., J. Phys.: Condens. Matter 33, 194006 (2021), figure 3.

They see the flat image (rows of tiles are runs, columns slices) as published: clipped to [0, 120], its minimum
subtracted, divided by its maximum, zero where there is no detector. One trunk of convolutions serves all: 5 x 5 x 16,
3 x 3 x 16, pool 1 x 2, 1 x 3 x 16, 1 x 3 x 32, pool 2 x 2, 1 x 3 x 32 twice; batch normalisation after each pool, and
no padding, which makes 117 x 92 x 32 of a 240 x 400 image.
"""

import torch
from torch import nn

from ..errors import StudyError
from .base import Output, Sizes, SpectrumNetwork, of_sigmoids
from .duq import DUQHead

BRIGHTEST = 120.0
"""Where the published images are clipped."""
FILTERS = 32
NODES = 64
LEAST = (9, 27)
"""Rows and columns an image needs for anything to be left of it after the convolutions."""


def flat_image(measured: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """The published preparation of measurements (n, runs, slices, x, y): (n, 1, runs * x, slices * y) in 0..1."""
    n, runs, slices, nx, ny = measured.shape

    def flat(tiles: torch.Tensor) -> torch.Tensor:
        return tiles.permute(0, 1, 3, 2, 4).reshape(n, 1, runs * nx, slices * ny)

    image, seen = flat(measured).clamp(0, BRIGHTEST), flat(valid)
    low = image.masked_fill(~seen, float("inf")).amin((2, 3), keepdim=True)
    image = (image - low.nan_to_num(posinf=0.0)) * seen
    return image / image.amax((2, 3), keepdim=True).clamp_min(1e-12)


def _trunk(sizes: Sizes, group_norm: bool) -> tuple[nn.Sequential, int]:
    """The convolutions, and how many pixels they leave of each filter."""
    runs, slices, nx, ny = sizes.shape
    rows, columns = runs * nx, slices * ny
    if rows < LEAST[0] or columns < LEAST[1]:
        raise StudyError(
            f"the published networks need images of at least {LEAST[0]} x {LEAST[1]} pixels, this study's are "
            f"{rows} x {columns}; train the compact one"
        )

    def norm(channels: int) -> nn.Module:
        return nn.GroupNorm(8, channels) if group_norm else nn.BatchNorm2d(channels)

    def convolution(inputs: int, outputs: int, size: tuple[int, int]) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, size), nn.ReLU()]

    layers = [
        *convolution(1, 16, (5, 5)),
        *convolution(16, 16, (3, 3)),
        nn.MaxPool2d((1, 2)),
        norm(16),
        *convolution(16, 16, (1, 3)),
        *convolution(16, FILTERS, (1, 3)),
        nn.MaxPool2d((2, 2)),
        norm(FILTERS),
        *convolution(FILTERS, FILTERS, (1, 3)),
        *convolution(FILTERS, FILTERS, (1, 3)),
    ]
    pixels = ((rows - 6) // 2) * (((columns - 6) // 2 - 4) // 2 - 4)
    return nn.Sequential(*layers), pixels


class PublishedNetwork(SpectrumNetwork):
    """The dense CNN of figure 3a, or with ``pooled`` that of figure 3b; a sigmoid for each class.

    Parameters
    ----------
    sizes : Sizes
    pooled : bool
        The mean of each filter straight into the head, so that a class activation map is exact (equation 4).
    """

    def __init__(self, sizes: Sizes, pooled: bool = False) -> None:
        super().__init__()
        self.convolutions, pixels = _trunk(sizes, group_norm=False)
        self.pooled = pooled
        self.dense = nn.Identity() if pooled else nn.Sequential(nn.Linear(pixels * FILTERS, NODES), nn.ReLU())
        self.n_features = FILTERS if pooled else NODES
        self.head = nn.Linear(self.n_features, sizes.classes)
        self.classes = sizes.classes

    def prepare(self, measured: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """As published: :func:`flat_image`."""
        return flat_image(measured, valid).contiguous(memory_format=torch.channels_last)

    def features(self, inputs: torch.Tensor) -> torch.Tensor:
        """What the head sees, (n, n_features)."""
        maps = self.convolutions(inputs)
        return (maps.mean((2, 3)) if self.pooled else self.dense(maps.flatten(1))).float()

    def forward(self, inputs: torch.Tensor) -> Output:
        """Sigmoids of the head (equation 2)."""
        v = self.features(inputs)
        with torch.autocast(v.device.type, enabled=False):
            logits = self.head(v)
        return of_sigmoids(v, logits)


class PublishedDUQ(SpectrumNetwork):
    """The dense CNN with a DUQ head, as published or corrected.

    As published the centroids stay where they start (momentum 1) and sigma begins at 1 and is learnt: a featureless
    input then scores 0.6 for every class. Corrected, after van Amersfoort et al., arXiv:2003.02037: sigma 0.1, momentum
    0.999, centroids that follow the embeddings in evaluation mode, the gradient penalty on the inputs, and group
    instead of batch normalisation, before the nodes of the dense layer too: of 344448 inputs each, all would be dead
    after a few steps.
    """

    def __init__(self, sizes: Sizes, corrected: bool) -> None:
        super().__init__()
        self.convolutions, pixels = _trunk(sizes, group_norm=corrected)
        norms = [nn.GroupNorm(1, NODES)] if corrected else []
        self.dense = nn.Sequential(nn.Linear(pixels * FILTERS, NODES), *norms, nn.ReLU())
        sigma, momentum = (0.1, 0.999) if corrected else (1.0, 1.0)
        self.duq = DUQHead(NODES, sizes.classes, embedding=NODES, sigma=sigma, momentum=momentum)
        self.corrected = self.penalised = corrected
        if not corrected:
            self.log_sigma = nn.Parameter(torch.zeros(()))
        self.classes, self.n_features = sizes.classes, NODES

    def prepare(self, measured: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """As published: :func:`flat_image`."""
        return flat_image(measured, valid).contiguous(memory_format=torch.channels_last)

    def forward(self, inputs: torch.Tensor) -> Output:
        """Scores K (equation 3); the logits are their logarithms."""
        v = self.dense(self.convolutions(inputs).flatten(1)).float()
        with torch.autocast(v.device.type, enabled=False):
            logits = self.duq.log_scores(v)
            if not self.corrected:
                logits = logits * torch.exp(-2 * self.log_sigma)
        return Output(v, logits.exp(), logits, None, log_scores=logits if self.corrected else None)

    @torch.no_grad()
    def update(self, inputs: torch.Tensor, features: torch.Tensor, labels: torch.Tensor) -> None:
        """Move the centroids; as published they never move."""
        if self.corrected:
            self.duq.update(features, labels)
