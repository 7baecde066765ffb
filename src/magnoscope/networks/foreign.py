"""Inputs that are no spectrum of any candidate, made on the fly, so that the scores learn to fall on them.

Outlier exposure (Hendrycks, Mazeika and Dietterich, ICLR 2019): a network trained on its classes alone is free to be
sure of anything else. Five families are made from the training images or from nothing: a smooth background without
structure, tiles in the wrong places, tiles of two different spectra, another periodicity, and an acoustic branch of a
random lattice. Other families must be used to report how well foreign inputs are told.
"""

import torch

from ..study import Study

FAMILIES = ("background", "shuffled tiles", "two spectra", "other periodicity", "acoustic branch")


def slice_energies(study: Study) -> torch.Tensor:
    """Middle of each slice, (runs, slices) meV."""
    edges = torch.as_tensor(study.energy_edges, dtype=torch.float32)
    return (edges[:, 1:] + edges[:, :-1]) / 2


def make_foreign(
    signal: torch.Tensor, partner: torch.Tensor, energies: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Foreign images from training images.

    Parameters
    ----------
    signal, partner : (n, runs, slices, x, y)
        Clean images, and other ones to mix with them.
    energies : (runs, slices) meV

    Returns
    -------
    (n, runs, slices, x, y)
    """
    family = torch.randint(len(FAMILIES), (len(signal),), generator=generator)
    makers = (_background, _shuffled, _two, _zoomed, _acoustic)
    return torch.stack(
        [makers[int(f)](a, b, energies, generator) for f, a, b in zip(family, signal, partner, strict=True)]
    )


def _draw(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand(1, generator=generator))


def _plane(shape: torch.Size) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.linspace(-1, 1, shape[-2])[:, None], torch.linspace(-1, 1, shape[-1])[None]


def _background(a: torch.Tensor, b: torch.Tensor, energies: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    x, y = _plane(a.shape)
    slope, bend = torch.randn(2, *a.shape[:2], 1, 1, generator=g) * _draw(0, 0.5, g)
    return (1 + slope * x * _draw(0, 1, g) + bend * (x**2 + y**2)).clamp_min(0.05)


def _shuffled(a: torch.Tensor, b: torch.Tensor, energies: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    runs, slices = a.shape[:2]
    tiles = (a / a.mean((1, 2, 3), keepdim=True).clamp_min(1e-12)).flatten(0, 1)
    return tiles[torch.randperm(runs * slices, generator=g)].reshape(a.shape)


def _two(a: torch.Tensor, b: torch.Tensor, energies: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    other = torch.rand(*a.shape[:2], 1, 1, generator=g) < _draw(0.35, 0.65, g)
    a, b = (s / s.mean((1, 2, 3), keepdim=True).clamp_min(1e-12) for s in (a, b))
    return torch.where(other, b, a)


def _zoomed(a: torch.Tensor, b: torch.Tensor, energies: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    zoom = _draw(0.45, 0.75, g) if _draw(0, 1, g) < 0.5 else _draw(1.4, 2.2, g)
    theta = torch.tensor([[[zoom, 0.0, 0.0], [0.0, zoom, 0.0]]])
    grid = torch.nn.functional.affine_grid(theta, [1, 1, *a.shape[-2:]], align_corners=False)
    flat = a.flatten(0, 1)[None]
    moved = torch.nn.functional.grid_sample(flat, grid, padding_mode="reflection", align_corners=False)
    return moved.reshape(a.shape)


def _acoustic(a: torch.Tensor, b: torch.Tensor, energies: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    x, y = _plane(a.shape)
    top, floor = _draw(0.15, 1.0, g) * float(energies.max()), _draw(0.0, 0.3, g)
    wave = torch.sin(torch.pi * (_draw(0.3, 1.7, g) * x + _draw(-0.3, 0.3, g) * y)) ** 2
    wave = wave + torch.sin(torch.pi * (_draw(0.3, 1.7, g) * y + _draw(-0.3, 0.3, g) * x)) ** 2
    energy = energies[..., None, None]
    width = _draw(0.03, 0.12, g) * energies.amax(1)[:, None, None, None]
    branch = torch.exp(-(((top * (wave / 2).sqrt() - energy) / width) ** 2) / 2)
    return branch * (0.3 + (x**2 + y**2) * _draw(-0.15, 0.5, g)).clamp_min(0) + floor * 0.1
