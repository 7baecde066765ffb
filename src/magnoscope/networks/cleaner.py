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
INTENSITY = 0.3
"""Weight of the squared error of the intensity, in units of the run's mean, beside the likelihood of its root."""
FINE, CONDENSED, SUMMARY, PATCHES = 24, 8, 128, 4
"""Channels at full resolution; of what is looked at as a whole: channels, numbers, and patches along an axis."""


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
    and A. Weigend, ICNN 1994). Two things are added to the U-Net: patterns of each slice, fixed in Q, in amounts that
    depend on the measurement as a whole, so that all slices and runs inform each other; and a last correction in full
    resolution, which sees the measurement and the mean of its mirror images, so that sharp features stay sharp. It
    never sees a class, and is trained on foreign spectra as well.

    Parameters
    ----------
    sizes : Sizes
    width : int
        Channels of the upper level, a multiple of 8; twice as many below.

    Attributes
    ----------
    spread : (bright, dim)
        Factors of the two terms of the variance that is stated, see :func:`.cleaning.spread_factors`.
    """

    spread: tuple[float, float] = (1.0, 1.0)

    def __init__(self, sizes: Sizes, width: int = 32) -> None:
        super().__init__()
        runs, slices, *plane = sizes.shape
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
        patches = [min(PATCHES, n) for n in plane]
        self.condense = nn.Sequential(nn.Conv3d(2 * width, CONDENSED, 1), nn.AdaptiveAvgPool3d((slices, *patches)))
        condensed = CONDENSED * slices * patches[0] * patches[1]
        self.summary = nn.Sequential(nn.Linear(condensed, SUMMARY), nn.GELU(), nn.Linear(SUMMARY, slices * width))
        upper = [-(-n // s**2) * s for n, s in zip(plane, self.strides[1:], strict=True)]
        self.patterns = nn.Parameter(0.3 * _cosines(width, upper)[None, :, None].repeat(1, 1, slices, 1, 1))
        self.correct = nn.Sequential(
            nn.Conv3d(5 * runs, FINE, (1, 3, 3), padding=(0, 1, 1)),
            nn.GELU(),
            nn.Conv3d(FINE, 2 * runs, (1, 3, 3), padding=(0, 1, 1)),
        )
        for last in (self.summary[-1], self.correct[-1]):  # both begin with nothing
            for parameter in last.parameters():
                nn.init.zeros_(parameter)
        self.to(memory_format=LAYOUT)  # type: ignore[call-overload]

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and logarithm of the variance of the root intensity, (n, runs, slices, x, y) each."""
        n, _, slices, nx, ny = inputs.shape
        # whole numbers of the lower level's pixels; what is added counts as without a detector
        steps = [s * s for s in self.strides[1:]]
        padded = functional.pad(inputs, (0, -ny % steps[1], 0, -nx % steps[0]))
        views = padded
        for axis in self.mirrors:
            views = torch.cat([views, _mirrored(views, 3 + axis, (nx, ny)[axis])], 1)
        near = self.near(self.enter(views.contiguous(memory_format=LAYOUT)))
        far = self.far(self.down(near))
        amounts = self.summary(self.condense(far).flatten(1)).reshape(n, -1, slices, 1, 1)
        joined = self.join(self.up(far) + near + amounts * self.patterns)
        both = self.leave(joined)[..., :nx, :ny].float()
        both = both + functional.pad(self.local(inputs).float(), (0, 0, 0, 0, 0, 0, 0, self.runs))
        seen, count = views[..., :nx, :ny].unflatten(1, (-1, 2, self.runs)).sum(1).unbind(1)
        symmetric = torch.cat([inputs, seen / count.clamp_min(1), count / 2 ** len(self.mirrors)], 1)
        around = torch.cat([symmetric, both[:, : self.runs].to(inputs.dtype)], 1).contiguous(memory_format=LAYOUT)
        mean, log_variance = (both + self.correct(around).float()).split(self.runs, 1)
        return mean, log_variance.clamp(-9.0, 3.0)

    def loss(self, measured: torch.Tensor, valid: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
        """Negative log-likelihood of the root intensities, all pixels alike, whether they were seen or not.

        The squared error of the intensities that were seen comes beside it: a likelihood of roots cares little for how
        bright a bright pixel is.
        """
        target = (clean.clamp_min(0) / run_means(measured, valid)).clamp_max(30)
        mean, log_variance = self(prepare(measured, valid))
        variance = log_variance.exp()
        each = (mean - target.sqrt()) ** 2 / variance + log_variance
        likelihood = 0.5 * (each * variance.detach() ** WEIGHTED).mean()
        intensity = ((mean.clamp_min(0) ** 2 + variance - target) ** 2)[valid].mean()
        return likelihood + INTENSITY * intensity

    def restore(self, measured: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation of the square of a normal variable, times the run's mean.

        Both terms of the variance are multiplied by what calibration found.
        """
        signal, *terms = self.moments(measured, valid)
        variance = sum(factor * term for factor, term in zip(self.spread, terms, strict=True))
        assert isinstance(variance, torch.Tensor)
        return signal, variance.sqrt()

    def moments(self, measured: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Mean of the square of a normal variable, and the two terms of its variance, 4 mean^2 v and 2 v^2.

        All are means over the mirror images that the view allows: what is made of each has its own errors.
        """
        scale, inputs = run_means(measured, valid), prepare(measured, valid)
        turns: list[tuple[int, ...]] = [()]
        for axis in self.mirrors:
            turns += [(*turn, 3 + axis) for turn in turns]
        signal, bright, dim = (torch.zeros_like(measured) for _ in range(3))
        for turn in turns:
            mean, log_variance = (a.flip(turn) for a in self(inputs.flip(turn)))
            mean, variance = mean.clamp_min(0), log_variance.exp()
            signal += scale / len(turns) * (mean**2 + variance)
            bright += scale**2 / len(turns) * 4 * mean**2 * variance
            dim += scale**2 / len(turns) * 2 * variance**2
        return signal, bright, dim


def _cosines(number: int, plane: list[int]) -> torch.Tensor:
    """The smoothest products of cosines over both axes, (number, x, y); from the first again if there are no more."""
    waves = [torch.cos(torch.pi * torch.arange(n)[:, None] * (torch.arange(n) + 0.5) / n) for n in plane]
    orders = sorted(((i, j) for i in range(plane[0]) for j in range(plane[1])), key=lambda order: sum(order))
    return torch.stack([torch.outer(waves[0][i], waves[1][j]) for i, j in (orders * number)[:number]])


def _mirrored(images: torch.Tensor, axis: int, length: int) -> torch.Tensor:
    """Mirror images along an axis whose first ``length`` pixels are real, the rest padding that stays at the end."""
    real, rest = images.narrow(axis, 0, length), images.narrow(axis, length, images.shape[axis] - length)
    return torch.cat([real.flip(axis), rest], axis)
