"""What a measurement does that a bare simulation does not: noise and nuisances, applied on the fly.

A spectrum is scaled run by run, falls with energy transfer by a smooth envelope (k_f/k_i, absorption and damping are
candidates), may be slightly misaligned and offset in energy, carries residual background, noise and hot pixels, has
its negative values set to zero, and is seen only where there is a detector.

All sizes are relative to the mean intensity of a run, so nothing here knows a material or an instrument. Level 1 of
the noise is like that of a typical single-crystal measurement: a standard deviation near the mean intensity at low
energy transfer, less above. Its variance is that of counts: it grows with the intensity above a background, which is
subtracted, as large as the run's mean. Its skewness is that of counts too, by the first term of Cornish and Fisher
(1937): N = l + sqrt(l) z + (z^2 - 1) / 6 has the mean, the variance and the third moment of a Poisson variable to
1 / (18 l) of its variance, and costs no more than a normal one. docs/noise.md shows it beside a measurement.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import StudyError
from ..spectrum import Spectrum
from .coverage import CoverageLaw, random_coverage

NOISE, FALL, COUNTS = 1.2, (0.2, 1.8), 0.4
"""Noise of level 1 at the lowest energy transfer, its fall over a run, exp(-fall * t), and how it enters a variance."""


@dataclass(frozen=True)
class Nuisance:
    """Ranges of the nuisances; each is switched off by zero.

    Attributes
    ----------
    noise : (low, high)
        Range of the noise level, drawn log-uniformly; (0, 0) for none.
    quiet : float
        Share of images without any noise.
    run_scale : float
        Log-normal width of the scale of each run.
    envelope : (low, high)
        Range of the fall over a run, exp(-fall * t), t from 0 to 1 over its slices.
    offset : float
        Standard deviation of the background left in a slice, in units of the run's mean.
    misalignment : float
        Standard deviation of shifts (pixels); rotations (degrees) of the same number.
    energy_shift : float
        Standard deviation of an offset in energy, in slices.
    hot : float
        Largest share of hot pixels.
    masks : bool
        Whether detectors are missing.
    mirrors : bool
        Whether images are mirrored at random, along the axes that the study's view allows.
    counting : bool
        Whether the noise has the skewness of counts, or is normal with their variance.
    moderator : float
        Standard deviation of a change in the energy resolution's variance (of the moderator's pulse, mostly), in
        squares of a slice's width. Moderator widths from two sources for one instrument differ by up to a third.
    blur : float
        Largest share of an image that is smoothed in Q (a Gaussian of 1.5 pixels), drawn evenly from 0: mosaic and
        whatever else no document gives. Off unless asked for.
    """

    noise: tuple[float, float] = (0.5, 2.0)
    quiet: float = 0.15
    run_scale: float = 0.3
    envelope: tuple[float, float] = (-0.2, 1.4)
    offset: float = 0.12
    misalignment: float = 0.5
    energy_shift: float = 0.1
    hot: float = 1e-3
    masks: bool = True
    mirrors: bool = True
    counting: bool = True
    moderator: float = 0.03
    blur: float = 0.0

    def settings(self) -> dict[str, Any]:
        """What the card of weights, and the file of a degraded simulation, records of it."""
        return asdict(self)

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> "Nuisance":
        """From what a card recorded; what it does not name did not exist when the weights were made, and is off."""
        found = {k: settings[k] for k in cls.__dataclass_fields__ if k in settings}
        known: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()}
        return replace(CLEAN, **known)

    @property
    def measured(self) -> "Nuisance":
        """The same with the noise of a measurement, level 1 in every image; without noise as it is."""
        return replace(self, noise=(1.0, 1.0), quiet=0.0) if self.noise[1] else self

    def only(self, *names: str) -> "Nuisance":
        """Nothing but the nuisances of these names, keys of :data:`SWITCHES`.

        Raises
        ------
        StudyError
            If there is no such nuisance.
        """
        for name in names:
            if name not in SWITCHES:
                raise StudyError(f"there is no nuisance {name}; there are {', '.join(SWITCHES)}")
        return replace(CLEAN, **{field: getattr(self, field) for name in names for field in SWITCHES[name]})

    def without(self, *names: str) -> "Nuisance":
        """All nuisances but those of these names."""
        self.only(*names)
        return self.only(*(name for name in SWITCHES if name not in names))


SWITCHES = {
    "noise": ("noise", "quiet", "counting"),
    "scale": ("run_scale",),
    "envelope": ("envelope",),
    "background": ("offset",),
    "misalignment": ("misalignment",),
    "energy": ("energy_shift",),
    "moderator": ("moderator",),
    "blur": ("blur",),
    "hot": ("hot",),
    "masks": ("masks",),
    "mirrors": ("mirrors",),
}
"""Names by which nuisances are switched, each with the settings it stands for."""

BLUR_PIXELS = 1.5
"""Standard deviation of the smoothing in Q."""

CLEAN = Nuisance((0, 0), 1.0, 0, (0, 0), 0, 0, 0, 0, False, False, False, 0)
"""No noise, no nuisance."""

MEASUREMENT_LIKE = Nuisance().measured
"""Everything on, noise at level 1."""


def _normal(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    return torch.randn(shape, generator=generator)


def _uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> torch.Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator)


def _misalign(signal: torch.Tensor, turn: torch.Tensor, shift: torch.Tensor, signs: torch.Tensor) -> torch.Tensor:
    """Mirror (signs -1), shift (pixels, (n, 2)) and turn (radians, (n,)) each image, the same in all its tiles."""
    n, runs, slices, nx, ny = signal.shape
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = turn.cos()
    theta[:, 0, 1], theta[:, 1, 0] = -turn.sin() * nx / ny, turn.sin() * ny / nx
    theta[:, :, 2] = shift * 2 / torch.tensor([ny, nx])
    theta[:, :, :2] *= signs.flip(1)[:, None]  # grid_sample counts the last axis first
    grid = torch.nn.functional.affine_grid(theta, [n, 1, nx, ny], align_corners=False)
    moved = torch.nn.functional.grid_sample(
        signal.reshape(n, runs * slices, nx, ny), grid, padding_mode="border", align_corners=False
    )
    return moved.reshape(signal.shape)


def _shifting(delta: torch.Tensor, slices: int) -> torch.Tensor:
    """Matrices (.., slices, slices) that mix a share |delta| (..) of its neighbour into each slice."""
    up, down = _neighbours(slices)
    share = delta.abs()[..., None, None]
    return (1 - share) * torch.eye(slices) + share * torch.where(delta[..., None, None] > 0, up, down)


def _widening(delta: torch.Tensor, slices: int) -> torch.Tensor:
    """Matrices (.., slices, slices) that add a share (..) of the second difference of the slices to each."""
    up, down = _neighbours(slices)
    return torch.eye(slices) + delta[..., None, None] * (up - 2 * torch.eye(slices) + down)


def _neighbours(slices: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Matrices that take the next and the last slice, and the slice itself where there is none."""
    at = torch.arange(slices)
    return torch.eye(slices)[(at + 1).clamp_max(slices - 1)], torch.eye(slices)[(at - 1).clamp_min(0)]


def _blur(signal: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Smooth a share (n, 1, 1, 1, 1) of each image in Q, the same in all its tiles."""
    reach = torch.arange(-4.0, 5.0)
    kernel = torch.exp(-0.5 * (reach / BLUR_PIXELS) ** 2)
    kernel = kernel / kernel.sum()
    smooth = signal.reshape(-1, 1, *signal.shape[3:])
    for axis, shape in ((0, (1, 1, -1, 1)), (1, (1, 1, 1, -1))):
        if signal.shape[3 + axis] > 1:
            padding = (0, 0, 4, 4) if axis == 0 else (4, 4, 0, 0)
            smooth = torch.nn.functional.conv2d(
                torch.nn.functional.pad(smooth, padding, "replicate"), kernel.reshape(shape)
            )
    return torch.lerp(signal, smooth.reshape(signal.shape), share)


def _distort(
    signal: torch.Tensor, nuisance: Nuisance, generator: torch.Generator, mirrors: tuple[int, ...]
) -> torch.Tensor:
    """What moves intensity to other pixels: misalignment and mirrors, energy and moderator, smoothing.

    All is drawn first, in an order that is part of the result, and then done in as few passes as it takes.
    """
    n, runs, slices = signal.shape[:3]
    turn, shift, signs = torch.zeros(n), torch.zeros(n, 2), torch.ones(n, 2)
    mixing, share = torch.eye(slices).expand(n, runs, slices, slices), torch.zeros(n, 1, 1, 1, 1)
    if nuisance.misalignment:
        turn = torch.deg2rad(nuisance.misalignment * _normal((n,), generator))
        shift = nuisance.misalignment * _normal((n, 2), generator)
    if nuisance.energy_shift:
        mixing = _shifting((nuisance.energy_shift * _normal((n, runs), generator)).clamp(-0.9, 0.9), slices)
    if nuisance.moderator:
        change = (nuisance.moderator / 2 * _normal((n, runs), generator)).clamp(-0.2, 0.25)
        mixing = _widening(change, slices) @ mixing
    if nuisance.blur:
        share = _uniform((n, 1, 1, 1, 1), 0, nuisance.blur, generator)
    if nuisance.mirrors:
        for axis in mirrors:
            signs[:, axis] = 1 - 2 * (torch.rand(n, generator=generator) < 0.5).float()
    if nuisance.misalignment or nuisance.mirrors:
        signal = _misalign(signal, turn, shift, signs)
    if nuisance.energy_shift or nuisance.moderator:
        mixed = mixing.reshape(n * runs, slices, slices) @ signal.reshape(n * runs, slices, -1)
        signal = mixed.clamp_min_(0).reshape(signal.shape)
    return _blur(signal, share) if nuisance.blur else signal


def _scale(signal: torch.Tensor, nuisance: Nuisance, generator: torch.Generator) -> torch.Tensor:
    """Scale each run, and let it fall with energy transfer."""
    n, runs, slices = signal.shape[:3]
    t, column = torch.linspace(0, 1, slices), (n, runs, 1)
    scale = torch.exp(
        nuisance.run_scale * _normal(column, generator) - _uniform(column, *nuisance.envelope, generator) * t
    )
    return signal * scale[..., None, None]


def _offset(shape: torch.Size, width: float, generator: torch.Generator) -> torch.Tensor:
    """Background left in each slice (n, runs, slices), in units of the run's mean."""
    n, runs, slices = shape
    t, column = torch.linspace(0, 1, slices), (n, runs, 1)
    size = width * torch.exp(0.7 * _normal((n, 1, 1), generator))
    common = _normal(column, generator) * torch.exp(-_uniform(column, 0, 2, generator) * t)
    return size * (0.7 * common + 0.7 * _normal((n, runs, slices), generator))


def _noise(signal: torch.Tensor, mean: torch.Tensor, nuisance: Nuisance, generator: torch.Generator) -> torch.Tensor:
    """Noise of intensities in units of the mean of their run."""
    n, runs, slices = signal.shape[:3]
    t, column = torch.linspace(0, 1, slices), (n, runs, 1)
    low, high = np.log(max(nuisance.noise[0], 1e-6)), np.log(nuisance.noise[1])
    level = torch.exp(_uniform((n, 1, 1), low, high, generator) + 0.2 * _normal(column, generator))
    level = level * (torch.rand((n, 1, 1), generator=generator) >= nuisance.quiet)
    sigma = NOISE * level * torch.exp(-_uniform(column, *FALL, generator) * t)
    gain = COUNTS * (sigma**2)[..., None, None]
    noise = (signal / mean).clamp_min_(0).add_(1).mul_(gain).sqrt_()
    z = _normal(tuple(signal.shape), generator)
    noise.mul_(z)
    return noise.addcmul_(gain, z.square_().sub_(1), value=1 / 6) if nuisance.counting else noise


def _heat(signal: torch.Tensor, mean: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
    """Make up to a share of the pixels hot."""
    n, runs = signal.shape[:2]
    count = int(share * signal[0].numel() * float(torch.rand(1, generator=generator)))
    where = torch.randint(signal[0].numel(), (n, count), generator=generator)
    bump = torch.exp(_uniform((n, count), 1.0, 4.0, generator))
    run_mean = mean.reshape(n, runs).gather(1, where // signal[0, 0].numel())
    return signal.reshape(n, -1).scatter_add(1, where, bump * run_mean).reshape(signal.shape)


def distort(
    signal: torch.Tensor, nuisance: Nuisance, generator: torch.Generator, mirrors: tuple[int, ...] = (0, 1)
) -> torch.Tensor:
    """What happens to a spectrum before it is counted: misalignment, shifts, mirrors, scales; see :func:`degrade`."""
    return _scale(_distort(signal, nuisance, generator, mirrors), nuisance, generator)


def observe(
    signal: torch.Tensor, coverages: torch.Tensor | None, nuisance: Nuisance, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """What counting adds to a spectrum, and where it is seen: background, noise, hot pixels, masks."""
    mean = signal.mean((2, 3, 4), keepdim=True).clamp_min(1e-12)
    if nuisance.offset:
        signal = signal + mean * _offset(signal.shape[:3], nuisance.offset, generator)[..., None, None]
    if nuisance.noise[1]:
        signal = torch.addcmul(signal, mean, _noise(signal, mean, nuisance, generator))
    if nuisance.hot:
        signal = _heat(signal, mean, nuisance.hot, generator)
    valid = torch.ones(signal.shape, dtype=torch.bool)
    if nuisance.masks and coverages is not None:
        valid = coverages[torch.randint(len(coverages), (len(signal),), generator=generator)]
    return signal.clamp_min(0).mul_(valid), valid


def degrade(
    signal: torch.Tensor,
    coverages: torch.Tensor | None,
    nuisance: Nuisance,
    generator: torch.Generator,
    mirrors: tuple[int, ...] = (0, 1),
) -> tuple[torch.Tensor, torch.Tensor]:
    """Make measurements of simulations.

    Parameters
    ----------
    signal : (n, runs, slices, x, y) float32
        Clean simulations.
    coverages : (m, runs, slices, x, y) bool or None
        Detector coverages to choose from.
    nuisance : Nuisance
    generator : torch.Generator
        The one source of randomness.
    mirrors : tuple of int
        Axes of Q (0, 1) along which an image may be mirrored: ``study.view.mirrors``.

    Returns
    -------
    measured : same shape
        Zero where not valid.
    valid : same shape, bool
    """
    # the order of the draws is part of the result: a seed must go on meaning the same measurement
    return observe(distort(signal, nuisance, generator, mirrors), coverages, nuisance, generator)


def usual_variance(signal: NDArray[np.float64], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Variance of the noise of level 1, its fall and the envelope in the middle of their ranges, nothing else drawn.

    Parameters
    ----------
    signal : (runs, slices, x, y)
        A clean simulation.
    valid : same shape, bool
        Where there is a detector.

    Returns
    -------
    same shape
        In squares of the signal's units: what would be subtracted from a measurement to undo the envelope is in it.
    """
    t = np.linspace(0, 1, signal.shape[1])[:, None, None]
    envelope = np.exp(-np.mean(Nuisance().envelope) * t)
    seen = np.where(valid, np.maximum(signal, 0), 0) * envelope
    mean = seen.sum((1, 2, 3), keepdims=True) / np.maximum(valid.sum((1, 2, 3), keepdims=True), 1)
    sigma = NOISE * np.exp(-np.mean(FALL) * t)
    return COUNTS * sigma**2 * mean * (seen + mean) / envelope**2


def degraded(spectrum: Spectrum, nuisance: Nuisance, seed: int, law: CoverageLaw | None = None) -> Spectrum:
    """A simulation as if it had been measured: never mirrored, and seen only where one drawn coverage has detectors.

    Parameters
    ----------
    nuisance : Nuisance
        For example :data:`MEASUREMENT_LIKE`, or ``MEASUREMENT_LIKE.only("noise", "masks")``.
    """
    generator = torch.Generator().manual_seed(seed)
    signal = torch.as_tensor(np.where(spectrum.valid, spectrum.signal, 0), dtype=torch.float32)[None]
    coverage = random_coverage(spectrum.study, 1, seed, law) if nuisance.masks else None
    measured, seen = degrade(signal, coverage, replace(nuisance, mirrors=False), generator)
    valid = seen[0].numpy() & spectrum.valid
    return Spectrum(spectrum.study, np.where(valid, measured[0].double().numpy(), np.nan), valid)


def run_means(measured: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Mean intensity of each run over valid pixels, (n, runs, 1, 1, 1), with pixels above eight times it pulled down.

    Three times over, so that a hot pixel does not set the scale.
    """
    seen = valid.sum((2, 3, 4), keepdim=True).clamp_min(1)
    masked = measured * valid
    mean = masked.sum((2, 3, 4), keepdim=True) / seen
    for _ in range(3):
        mean = torch.minimum(masked, 8 * mean).sum((2, 3, 4), keepdim=True) / seen
    return mean.clamp_min(1e-12)


def prepare(measured: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """What a network sees: (n, 2 runs, slices, x, y), root of the intensity over the run's mean, and the mask.

    The mean is that of :func:`run_means`; no scale of a run survives.
    """
    # nothing in place: explanations follow its slope
    image = (measured.clamp_min(0) / run_means(measured, valid)).clamp_max(30).sqrt() * valid
    return torch.cat([image, valid.to(image.dtype)], 1)
