"""Inputs that are no spectrum of any candidate, made on the fly, so that the scores learn to fall on them.

Outlier exposure (Hendrycks, Mazeika and Dietterich, ICLR 2019): a network trained on its classes alone is free to be
sure of anything else. What it is shown must be of many kinds, some near the candidates' spectra and some far:

- Pictures that are no spin waves: a smooth background without structure, an acoustic branch of a random lattice.
- Spectra in disorder: tiles in the wrong places, tiles of two spectra, another periodicity.
- Spectra that contradict themselves, though every slice is a candidate's: some runs of another spectrum, some runs'
  energies stretched against the others', part of the slices displaced in Q. One Hamiltonian has to explain all runs
  and all slices; a network that judges tile by tile is blind to this.

All energies stretched alike are left out: another scale of the couplings may be a candidate's spectrum. Other families
must be used to report how well foreign inputs are told; docs/decisions/0013-what-foreign-inputs-are-learnt-from.md.
"""

from collections.abc import Callable, Sequence

import torch

from ..study import Study

COARSE = 4
"""Every so many pixels are looked at to tell how different two spectra are."""


def slice_energies(study: Study) -> torch.Tensor:
    """Middle of each slice, (runs, slices) meV."""
    edges = torch.as_tensor(study.energy_edges, dtype=torch.float32)
    return (edges[:, 1:] + edges[:, :-1]) / 2


def make_foreign(
    signal: torch.Tensor,
    others: torch.Tensor,
    energies: torch.Tensor,
    generator: torch.Generator,
    families: Sequence[str] = (),
) -> torch.Tensor:
    """Foreign images from training images.

    Parameters
    ----------
    signal : (n, runs, slices, x, y)
        Clean images.
    others : (m, runs, slices, x, y)
        Images to mix with them, of which each gets one that differs from it.
    energies : (runs, slices) meV
    families : sequence of str
        Names of those to draw from; all that such images allow unless given.

    Returns
    -------
    (n, runs, slices, x, y)
    """
    makers = [_MAKERS[name] for name in families or families_of(*energies.shape)]
    family = torch.randint(len(makers), (len(signal),), generator=generator)
    partners = _partners(signal, others, generator)
    return torch.stack(
        [makers[int(f)](a, others[b], energies, generator) for f, a, b in zip(family, signal, partners, strict=True)]
    )


def families_of(runs: int, slices: int) -> tuple[str, ...]:
    """Families that images of so many runs and slices have room for."""
    return tuple(
        name for name in FAMILIES if (runs > 1 or name not in ACROSS_RUNS) and (slices > 1 or name not in ALONG_ENERGY)
    )


def _partners(signal: torch.Tensor, others: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """For each image one of the further half of the others, by how intensity is spread over slices, (n,)."""

    def profile(images: torch.Tensor) -> torch.Tensor:
        mean = images[..., ::COARSE, ::COARSE].mean((-2, -1))
        return (mean / mean.mean(-1, keepdim=True).clamp_min(1e-12)).flatten(1)

    order = torch.cdist(profile(signal), profile(others)).argsort(1)
    near = len(others) // 2
    chosen = near + torch.randint(len(others) - near, (len(signal),), generator=generator)
    return order[torch.arange(len(signal)), chosen]


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


def _of_two(a: torch.Tensor, b: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    a, b = (s / s.mean((1, 2, 3), keepdim=True).clamp_min(1e-12) for s in (a, b))
    return torch.where(other[..., None, None], b, a)


def _two(a: torch.Tensor, b: torch.Tensor, energies: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    return _of_two(a, b, torch.rand(a.shape[:2], generator=g) < _draw(0.2, 0.65, g))


def _some_runs(runs: int, g: torch.Generator) -> torch.Tensor:
    """True for at least one run, but not for all, (runs, 1)."""
    number = int(torch.randint(1, runs, (1,), generator=g))
    return (torch.randperm(runs, generator=g) < number)[:, None]


def _runs_of_two(a: torch.Tensor, b: torch.Tensor, energies: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    return _of_two(a, b, _some_runs(len(a), g))


def _stretched_runs(a: torch.Tensor, b: torch.Tensor, energies: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    factor = _draw(0.65, 0.87, g) if _draw(0, 1, g) < 0.5 else _draw(1.15, 1.5, g)
    source = energies / factor
    high = torch.searchsorted(energies.contiguous(), source).clamp(1, energies.shape[1] - 1)
    below, above = energies.gather(1, high - 1), energies.gather(1, high)
    share = ((source - below) / (above - below)).clamp(0, 1)[..., None, None]
    run = torch.arange(len(a))[:, None]
    return torch.where(_some_runs(len(a), g)[..., None, None], a[run, high - 1].lerp(a[run, high], share), a)


def _displaced(a: torch.Tensor, b: torch.Tensor, energies: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    size = torch.tensor(a.shape[-2:])
    if _draw(0, 1, g) < 0.5:  # all above one energy, as one; low enough that there is something above
        steps = torch.rand(1, 1, 2, generator=g).expand(*energies.shape, 2)
        moved = energies > energies.quantile(_draw(0.0, 0.5, g))
    else:  # each slice by itself
        steps, moved = torch.rand(*energies.shape, 2, generator=g), torch.ones_like(energies, dtype=torch.bool)
    # between a tenth and four tenths of an axis, to either side
    shift = (((0.1 + 0.6 * (steps % 0.5)) * size).round() * (steps - 0.5).sign() * moved[..., None]).long()
    x, y = ((torch.arange(n) - shift[..., k, None]) % n for k, n in enumerate(a.shape[-2:]))
    return a.gather(-2, x[..., None].expand(a.shape)).gather(-1, y[..., None, :].expand(a.shape))


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


Maker = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Generator], torch.Tensor]
_MAKERS: dict[str, Maker] = {
    "background": _background,
    "shuffled tiles": _shuffled,
    "two spectra": _two,
    "other periodicity": _zoomed,
    "acoustic branch": _acoustic,
    "runs of two spectra": _runs_of_two,
    "runs stretched in energy": _stretched_runs,
    "slices displaced in Q": _displaced,
}
FAMILIES = tuple(_MAKERS)
ACROSS_RUNS = ("runs of two spectra", "runs stretched in energy")
"""Those that need more than one run."""
ALONG_ENERGY = ("runs stretched in energy", "slices displaced in Q")
"""Those that need more than one slice."""
