"""The task of cleaning: from noisy, masked spectra with background to clean ones, made afresh from simulations."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..dataset.noise import CLEAN, Nuisance, distort, observe
from ..dataset.parts import Part
from .cleaner import CleanerNetwork, CleaningNetwork
from .foreign import make_foreign
from .training import Step, device_of, reduced_precision

if TYPE_CHECKING:
    from .training import Training

HIDDEN = 0.25
"""Share of training images of which one half is hidden, along either axis."""
CHECKED = 256
"""Images of the validation part that are looked at, at most."""
FACTORS_FROM, FACTORS = 128, (0.1, 10.0)
"""Images from which the factors of the spread are worked out, at most, and their smallest and largest value."""
BATCH = 32


@dataclass(frozen=True)
class Errors:
    """How far spectra are from clean ones.

    Attributes
    ----------
    raw, cleaned : (n,)
        Of each image, root mean square over valid pixels in units of the run's mean.
    size : (n,)
        The spread a cleaner states, likewise.
    """

    raw: torch.Tensor
    cleaned: torch.Tensor
    size: torch.Tensor

    @property
    def left(self) -> float:
        """What is left of the error: root mean square of the cleaned over that of the raw images."""
        return float(((self.cleaned**2).mean() / (self.raw**2).mean().clamp_min(1e-20)).sqrt())


def pairs(
    part: Part,
    size: int,
    coverages: torch.Tensor | None,
    nuisance: Nuisance,
    generator: torch.Generator,
    shuffle: bool = True,
    hidden: float = 0.0,
    foreign: float = 0.0,
    energies: torch.Tensor | None = None,
    most: int | None = None,
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Measured spectra, their masks, the clean ones, and labels; (n, runs, slices, x, y) each but for the last.

    The clean spectrum is aligned, mirrored and scaled as the measured one is. Foreign images come last, labelled -1;
    the share ``hidden`` of the images has one half hidden.
    """
    order = torch.randperm(len(part.labels), generator=generator) if shuffle else torch.arange(len(part.labels))
    if most is not None and len(order) > most:
        order = order[torch.linspace(0, len(order) - 1, most).long()]
    for chosen in order.split(size):
        index = chosen.numpy()
        signal, labels = torch.as_tensor(part.images[index].astype(np.float32)), torch.as_tensor(part.labels[index])
        number = round(foreign * len(chosen))
        if number and energies is not None:
            strange = make_foreign(signal[:number], signal, energies, generator)
            signal, labels = torch.cat([signal, strange]), torch.cat([labels, torch.full((number,), -1)])
        clean = distort(signal, nuisance, generator, part.mirrors)
        measured, valid = observe(clean, coverages, nuisance, generator)
        if hidden:
            valid = valid & ~half_planes(signal, hidden, generator)
            measured = torch.where(valid, measured, 0.0)
        yield measured, valid, clean, labels


def half_planes(images: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
    """True on one half, along an axis of Q and on a side drawn at random, of a share of the images."""
    n, *_, nx, ny = images.shape
    draw = torch.rand(n, 3, generator=generator)
    x, y = (torch.arange(size) < size // 2 for size in (nx, ny))
    x, y = x[:, None].expand(nx, ny), y[None].expand(nx, ny)
    along = torch.where(((draw[:, 1] < 0.5) | (ny == 1))[:, None, None], x, y)
    side = torch.where((draw[:, 2] < 0.5)[:, None, None], along, ~along)
    return (side & (draw[:, 0] < share)[:, None, None])[:, None, None].expand(images.shape)


@torch.no_grad()
def errors(
    network: CleaningNetwork,
    part: Part,
    coverages: torch.Tensor | None,
    nuisance: Nuisance,
    seed: int,
    most: int | None = None,
) -> Errors:
    """How far measurements made of a part are from clean spectra, before and after cleaning."""
    network.eval()
    generator = torch.Generator().manual_seed(seed)
    rows: list[list[torch.Tensor]] = [[], [], []]
    for measured, valid, clean, _ in pairs(part, BATCH, coverages, nuisance, generator, False, most=most):
        device = device_of(network)
        cleaned, size = (t.cpu() for t in network.restore(measured.to(device), valid.to(device)))
        seen, mean = valid.sum((1, 2, 3, 4)).clamp_min(1), clean.mean((2, 3, 4), keepdim=True).clamp_min(1e-12)
        for row, off in zip(rows, (measured - clean, cleaned - clean, size), strict=True):
            row.append((((off / mean) ** 2 * valid).sum((1, 2, 3, 4)) / seen).sqrt())
    return Errors(*(torch.cat(row) for row in rows))


@torch.no_grad()
def spread_factors(
    network: CleanerNetwork, part: Part, coverages: torch.Tensor | None, nuisance: Nuisance, seed: int
) -> tuple[float, float]:
    """Factors by which the variance a cleaner states is that of its errors, where it is bright and where it is dim.

    The likelihood is one of roots, and the mean over mirror images has smaller errors than each of them. Of a part that
    no training has seen; bright is where the first term of the variance is the larger one.
    """
    network.eval()
    generator, device = torch.Generator().manual_seed(seed), device_of(network)
    sums, true = torch.zeros(2, 2, dtype=torch.double), torch.zeros(2, dtype=torch.double)
    for measured, valid, clean, _ in pairs(part, BATCH, coverages, nuisance, generator, False, most=FACTORS_FROM):
        found = [t.cpu() for t in network.moments(measured.to(device), valid.to(device))]
        mean = clean.mean((2, 3, 4), keepdim=True).clamp_min(1e-12)
        for row, here in enumerate((valid & (found[1] > found[2]), valid & (found[1] <= found[2]))):
            sums[row] += torch.stack([(term / mean**2)[here].double().sum() for term in found[1:]])
            true[row] += (((found[0] - clean) / mean)[here].double() ** 2).sum()
    try:
        bright, dim = torch.linalg.solve(sums, true).tolist()
    except RuntimeError:  # all bright, or all dim
        bright = dim = float(true.sum() / sums.sum().clamp_min(1e-12))
    low, high = FACTORS
    return min(max(bright, low), high), min(max(dim, low), high)


class Cleaning:
    """The task of a :class:`CleaningNetwork`."""

    def stream(self, training: "Training", generator: torch.Generator) -> Iterator[tuple[torch.Tensor, ...]]:
        """Measured, valid and clean spectra; see :func:`pairs`."""
        config = training.config
        masked = training.nuisance.masks
        for *batch, _ in pairs(
            training.train_part,
            config.batch,
            training.coverages,
            training.nuisance,
            generator,
            hidden=HIDDEN if masked else 0.0,
            foreign=config.foreign,
            energies=training.energies,
        ):
            yield tuple(batch)

    def step(self, training: "Training", number: int, batch: tuple[torch.Tensor, ...]) -> Step:
        """The network's own loss."""
        network = training.network
        assert isinstance(network, CleaningNetwork)
        measured, valid, clean = batch
        with reduced_precision(training.config, measured):
            loss = network.loss(measured, valid, clean)
        return Step(loss, float(loss.detach()))

    def check(self, training: "Training") -> dict[str, float]:
        """The error left on a part of the validation images, the loss by which training stops.

        A network that is trained without noise is checked by its own loss: it has no error to lower.
        """
        network, seed = training.network, training.config.seed + 1
        assert isinstance(network, CleaningNetwork)
        if training.nuisance == CLEAN:
            return {"loss": _own_loss(network, training, seed)}
        quiet = replace(training.checked_on, quiet=0.0)
        found = errors(network, training.validation, training.coverages, quiet, seed, CHECKED)
        honest = float(((found.size**2).mean() / (found.cleaned**2).mean().clamp_min(1e-20)).sqrt())
        return {"loss": found.left, "stated over true error": honest}


@torch.no_grad()
def _own_loss(network: CleaningNetwork, training: "Training", seed: int) -> float:
    network.eval()
    generator, device = torch.Generator().manual_seed(seed), device_of(network)
    found = []
    for batch in pairs(training.validation, BATCH, None, CLEAN, generator, False, most=CHECKED):
        measured, valid, clean = (t.to(device) for t in batch[:3])
        found.append(float(network.loss(measured, valid, clean)) * len(measured))
    return sum(found) / min(CHECKED, len(training.validation.labels))
