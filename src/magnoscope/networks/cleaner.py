"""Networks that make a clean spectrum of a measurement, and say how sure they are of each pixel."""

import torch
from torch import nn
from torch.nn import functional

from ..dataset.noise import prepare, run_means
from .base import Sizes
from .compact import LAYOUT

SMALLEST = 8
"""Axes of fewer pixels are never thinned out."""
WEIGHTED = 0.5
"""Power of its variance that weighs a pixel's loss (M. Seitzer et al., ICLR 2022): 0 would neglect bright pixels."""


class CleaningNetwork(nn.Module):
    """A network from measurements (n, runs, slices, x, y), zero where not valid, and their masks to clean spectra."""

    def loss(self, measured: torch.Tensor, valid: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
        """What is wrong with the answers to a batch, a scalar; clean spectra are what would be seen without noise."""
        raise NotImplementedError

    def restore(self, measured: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Clean spectra and one standard deviation of what they may be, in the units of the measurements."""
        raise NotImplementedError


def _layer(inputs: int, outputs: int, deep: int, stride: tuple[int, int, int] = (1, 1, 1)) -> nn.Sequential:
    """A convolution over ``deep`` slices and three by three pixels."""
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, (deep, 3, 3), stride, (deep // 2, 1, 1), bias=False),
        nn.GroupNorm(8, outputs),
        nn.GELU(),
    )


class CleanerNetwork(CleaningNetwork):
    """A small U-Net over (energy, axis 0, axis 1) with the runs as channels: mean and variance of each pixel.

    Mirror images of the measurement come beside it as further channels where the view may be mirrored: if the crystal
    is symmetric they are further measurements of the same, and training shows whether it is. The network works on the
    root of the intensity over the run's mean, as the others do; the variance is that of a normal distribution (A. Nix
    and A. Weigend, ICNN 1994). It never sees a class, and is trained on foreign spectra as well: what it can learn is
    what noise is, not what a candidate looks like.

    Parameters
    ----------
    sizes : Sizes
    width : int
        Channels of the upper level, a multiple of 8; twice as many below.
    """

    def __init__(self, sizes: Sizes, width: int = 32) -> None:
        super().__init__()
        runs, _, *plane = sizes.shape
        self.runs, self.mirrors = runs, sizes.mirrors
        self.strides = (1, *(2 if n >= SMALLEST else 1 for n in plane))
        stride = (self.strides[0], self.strides[1], self.strides[2])
        # slices are mixed where there are few pixels: elsewhere it costs most and brings least
        self.enter = _layer(2 * runs * 2 ** len(self.mirrors), width, 1, stride)
        self.near = _layer(width, width, 3)
        self.down = _layer(width, 2 * width, 3, stride)
        self.far = _layer(2 * width, 2 * width, 3)
        self.up = nn.ConvTranspose3d(2 * width, width, stride, stride)
        self.join = _layer(width, width, 1)
        self.leave = nn.ConvTranspose3d(width, 2 * runs, stride, stride)
        self.local = nn.Conv3d(2 * runs, runs, (1, 3, 3), padding=(0, 1, 1))
        self.to(memory_format=LAYOUT)  # type: ignore[call-overload]

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and logarithm of the variance of the root intensity, (n, runs, slices, x, y) each."""
        *_, nx, ny = inputs.shape
        # whole numbers of the lower level's pixels; what is added counts as without a detector
        steps = [s * s for s in self.strides[1:]]
        padded = functional.pad(inputs, (0, -ny % steps[1], 0, -nx % steps[0]))
        views = padded
        for axis in self.mirrors:
            views = torch.cat([views, _mirrored(views, 3 + axis, (nx, ny)[axis])], 1)
        near = self.near(self.enter(views.contiguous(memory_format=LAYOUT)))
        joined = self.join(self.up(self.far(self.down(near))) + near)
        mean, log_variance = self.leave(joined)[..., :nx, :ny].float().split(self.runs, 1)
        return mean + self.local(inputs).float(), log_variance.clamp(-9.0, 3.0)

    def loss(self, measured: torch.Tensor, valid: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
        """Negative log-likelihood of the root intensities, all pixels alike, whether they were seen or not."""
        target = (clean.clamp_min(0) / run_means(measured, valid)).clamp_max(30).sqrt()
        mean, log_variance = self(prepare(measured, valid))
        variance = log_variance.exp()
        each = (mean - target) ** 2 / variance + log_variance
        return 0.5 * (each * variance.detach() ** WEIGHTED).mean()

    def restore(self, measured: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation of the square of a normal variable, times the run's mean."""
        mean, log_variance = self(prepare(measured, valid))
        mean, variance = mean.clamp_min(0), log_variance.exp()
        scale = run_means(measured, valid)
        return scale * (mean**2 + variance), scale * (4 * mean**2 * variance + 2 * variance**2).sqrt()


def _mirrored(images: torch.Tensor, axis: int, length: int) -> torch.Tensor:
    """Mirror images along an axis whose first ``length`` pixels are real, the rest padding that stays at the end."""
    real, rest = images.narrow(axis, 0, length), images.narrow(axis, length, images.shape[axis] - length)
    return torch.cat([real.flip(axis), rest], axis)
