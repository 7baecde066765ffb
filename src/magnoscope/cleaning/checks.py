"""Whether cleaning helps, and adds nothing of its own.

On held-back simulations with measurement-like noise: how much of the error is left; whether the candidate that a
spectrum came from still describes it better than any of the other does, once it is cleaned; and what becomes of noise
alone. On a measurement of a symmetric view: one half is hidden from the cleaner, and what it makes of the other is
compared with the hidden pixels' raw intensities, whose noise it cannot know.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..dataset.noise import MEASUREMENT_LIKE, observe
from ..dataset.parts import Part
from ..networks.cleaning import BATCH, errors, pairs
from ..networks.training import device_of
from ..spectrum import Spectrum
from .cleaner import Cleaner
from .library import Library

TESTED = 400
"""Images of the test part that are looked at, at most."""
BLANKS = 32
"""Images of noise alone."""
FEWEST = 30
"""Pairs of pixels that a tile needs for a correlation."""
UNTURNED = replace(MEASUREMENT_LIKE, mirrors=False)
"""What test images are put through: as they came out of the simulator, so that they can be found there again."""


@dataclass(frozen=True)
class HeldOut:
    """Correlation with hidden, symmetry-equivalent pixels of a measurement, mean over tiles, sides and axes.

    Attributes
    ----------
    raw, cleaned : float
        Of the half that was given, as it was measured and as it was cleaned.
    predicted : float
        Of what the cleaner puts where it was given nothing.
    tiles : int
    """

    raw: float
    cleaned: float
    predicted: float
    tiles: int


@dataclass(frozen=True)
class Report:
    """What was found of a cleaner on held-back simulations at measurement-like noise.

    Attributes
    ----------
    images : int
    error_left : float
        Error of the cleaned over that of the raw spectra, root mean square over valid pixels.
    error_left_without_hot : float
        The same without hot pixels, which make up much of the raw error and are found easily.
    stated_over_true : float
        The spread that is stated over the error that is made.
    verdicts_right : float
        Share of raw spectra described best by the candidate they came from.
    flipped, turned_wrong, turned_right : float
        Share of spectra of which cleaning turns that verdict: either way, from right to wrong, from wrong to right.
    noise_left : float
        Spread of cleaned noise alone over that of the noise.
    noise_explained, spectra_explained : float
        Share of the structure of cleaned noise, and of cleaned spectra, that the likest simulation explains.
    """

    images: int
    error_left: float
    error_left_without_hot: float
    stated_over_true: float
    verdicts_right: float
    flipped: float
    turned_wrong: float
    turned_right: float
    noise_left: float
    noise_explained: float
    spectra_explained: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@torch.no_grad()
def check_cleaner(
    cleaner: Cleaner, train: Part, test: Part, coverages: torch.Tensor, seed: int, most: int = TESTED
) -> Report:
    """Check a cleaner on the test part of its training set; the training part serves as the library of simulations."""
    network, device = cleaner.network, device_of(cleaner.network)
    found = errors(network, test, coverages, MEASUREMENT_LIKE, seed + 51, most)
    cold = errors(network, test, coverages, replace(MEASUREMENT_LIKE, hot=0.0), seed + 52, most)
    library = Library.of(train)
    generator = torch.Generator().manual_seed(seed + 53)
    before, after, explained = [], [], []
    stream = pairs(test, BATCH, coverages, UNTURNED, generator, False, most=most)
    chosen = test.images[_chosen(len(test.labels), most)]
    for number, (measured, valid, _, labels) in enumerate(stream):
        cleaned = network.restore(measured.to(device), valid.to(device))[0].cpu()
        own = torch.as_tensor(chosen[number * BATCH : (number + 1) * BATCH].astype(np.float32))
        noise = library.residual(measured, valid, own)
        before.append(library.own_is_best(measured, valid, own, labels, noise))
        after.append(library.own_is_best(cleaned, valid, own, labels, noise))
        explained.append(library.explained(cleaned, valid))
    right, still = torch.cat(before), torch.cat(after)
    blank, seen = observe(torch.ones(BLANKS, *test.images.shape[1:]), coverages, MEASUREMENT_LIKE, generator)
    empty = network.restore(blank.to(device), seen.to(device))[0].cpu()
    return Report(
        images=len(right),
        error_left=found.left,
        error_left_without_hot=cold.left,
        stated_over_true=float(((found.size**2).mean() / (found.cleaned**2).mean().clamp_min(1e-20)).sqrt()),
        verdicts_right=float(right.float().mean()),
        flipped=float((right != still).float().mean()),
        turned_wrong=float((right & ~still).float().mean()),
        turned_right=float((~right & still).float().mean()),
        noise_left=float((_spread(empty, seen) / _spread(blank, seen).clamp_min(1e-12)).mean()),
        noise_explained=float(library.explained(empty, seen).mean()),
        spectra_explained=float(torch.cat(explained).mean()),
    )


def _chosen(number: int, most: int) -> NDArray[np.int64]:
    """The images that :func:`pairs` takes, unshuffled."""
    order = torch.arange(number)
    return (order if number <= most else order[torch.linspace(0, number - 1, most).long()]).numpy()


def _spread(images: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Root mean square of what differs from a tile's mean, mean over tiles that are seen, (n,)."""
    seen = valid.sum((3, 4)).clamp_min(1)
    mean = (images * valid).sum((3, 4)) / seen
    variance = ((images - mean[..., None, None]) ** 2 * valid).sum((3, 4)) / seen
    return variance.mean((1, 2)).sqrt()


def held_out(cleaner: Cleaner, measured: Spectrum) -> HeldOut | None:
    """Compare what a cleaner makes of each half of a measurement with the other half, which is hidden from it.

    None where the study's view cannot be mirrored, or too few pixels have a partner.
    """
    rows = []
    for axis in measured.study.view.mirrors:
        size = measured.study.shape[2 + axis]
        for side in (0, 1):
            half = np.arange(size) < size // 2 if side else np.arange(size) >= size - size // 2
            along = [1, 1, 1, 1]
            along[2 + axis] = size
            hidden = np.broadcast_to(half.reshape(along), measured.study.shape)
            rows += _compared(cleaner, measured, hidden, 2 + axis)
    if not rows:
        return None
    raw, cleaned, predicted = np.mean(rows, 0)
    return HeldOut(float(raw), float(cleaned), float(predicted), len(rows))


def _compared(
    cleaner: Cleaner, measured: Spectrum, hidden: NDArray[np.bool_], axis: int
) -> list[tuple[float, float, float]]:
    """Correlations of each tile with the hidden half: of the raw, the cleaned and the predicted pixels."""
    given = measured.masked(hidden)
    cleaned, _ = cleaner.restore(given)
    partner = np.flip(np.where(hidden & measured.valid, measured.signal, np.nan), axis)
    rows = []
    for r, s in np.ndindex(*measured.study.shape[:2]):
        both = given.valid[r, s] & np.isfinite(partner[r, s])
        if both.sum() < FEWEST:
            continue
        # a hot pixel must not decide
        truth, raw = (np.minimum(a, np.quantile(a, 0.99)) for a in (partner[r, s][both], given.signal[r, s][both]))
        mirrored = np.flip(cleaned, axis)[r, s][both]
        rows.append((_correlation(raw, truth), _correlation(cleaned[r, s][both], truth), _correlation(mirrored, truth)))
    return rows


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Pearson's; none where either is the same everywhere."""
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else 0.0
