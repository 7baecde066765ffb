"""Foreign inputs made of spectra of the test part, and of other magnets: the families that are reported.

None of these is used in training (:mod:`..networks.foreign` and :mod:`..dataset.random_magnets` have those) or to
choose settings (:data:`CHOSEN_ON`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..dataset.coverage import detector_angles
from ..networks.foreign import FAMILIES as TRAINED_ON
from ..study import Study
from .held_back import RANDOM_MAGNETS, UNSEEN

CHOSEN_ON = (*TRAINED_ON, RANDOM_MAGNETS, *UNSEEN)
"""Families that settings may be chosen on: those of training, and those in the card of weights."""
FIRST = TRAINED_ON[:5]
"""Those that weights were trained on whose card does not say."""

Images = NDArray[np.float64]
Maker = Callable[[Images, Study, np.random.Generator], Images]


@dataclass(frozen=True)
class Family:
    """One family of inputs.

    Attributes
    ----------
    about : str
        How it is made.
    note : str
        What stands against reading its figures as those of other families: a spectrum that is a candidate's after all.
    candidate : bool
        Whether the spectra are a candidate's, so that the right label is no mistake.
    relatives : tuple of str
        Families of training that are like it, though not the same; said where weights were trained on them.
    """

    name: str
    about: str
    note: str = ""
    candidate: bool = False
    relatives: tuple[str, ...] = ()

    def remark(self, trained: Sequence[str]) -> str:
        """The note, or which relatives of it weights were trained on."""
        near = [name for name in self.relatives if name in trained]
        return f"relative of training's {' and '.join(near)}" if near else self.note


def trained_on(card: dict[str, Any]) -> tuple[str, ...]:
    """Foreign families that weights, or the members of an ensemble, were trained on, by their card."""
    found: dict[str, None] = {}
    for member in card.get("members", [card]):
        before = FIRST if member.get("settings", {}).get("foreign", 0) else ()
        found |= dict.fromkeys(member.get("foreign_families", before))
    return tuple(found)


def _plane(images: Images) -> tuple[Images, Images]:
    return np.linspace(-1, 1, images.shape[3])[:, None], np.linspace(-1, 1, images.shape[4])[None]


def _mean(images: Images) -> Images:
    return images.mean((2, 3, 4), keepdims=True)


def _energies(study: Study) -> Images:
    edges = study.energy_edges
    return ((edges[:, 1:] + edges[:, :-1]) / 2)[..., None, None]


def runs_exchanged(images: Images, study: Study, rng: np.random.Generator) -> Images:
    """Two neighbouring runs in each other's place."""
    out = images.copy()
    for image in out:
        r = int(rng.integers(images.shape[1] - 1))
        image[[r, r + 1]] = image[[r + 1, r]]
    return out


def energies_shifted(images: Images, study: Study, rng: np.random.Generator) -> Images:
    """A zero of energy that is off by a slice or two: ten to twenty times the offset that training draws."""
    out = np.empty_like(images)
    for new, image in zip(out, images, strict=True):
        by = int(rng.integers(1, 3)) * int(rng.choice([-1, 1]))
        new[:] = image[:, np.clip(np.arange(images.shape[2]) + by, 0, images.shape[2] - 1)]
    return out


def phonons_added(images: Images, study: Study, rng: np.random.Generator) -> Images:
    """Acoustic cones about the points of a square lattice, growing with Q^2, as strong as the spectrum itself."""
    x, y = _plane(images)
    energy = _energies(study)
    added = np.empty_like(images)
    for new in added:
        period, top = rng.uniform(0.5, 1.1), rng.uniform(0.15, 0.5) * energy.max()
        away = np.hypot(x - period * np.round(x / period), y - period * np.round(y / period))
        width = 0.06 * energy.max(1, keepdims=True)
        new[:] = np.exp(-((top * 2 * away / period - energy) ** 2) / (2 * width**2)) * (0.05 + x**2 + y**2)
    return images + added * _mean(images) / np.maximum(_mean(added), 1e-12)


def rings_added(images: Images, study: Study, rng: np.random.Generator) -> Images:
    """Scattering of a can: sharp rings of constant Q that fall with energy, twice as strong as the spectrum."""
    x, y = _plane(images)
    share = np.linspace(0, 1, images.shape[2])[:, None, None]
    added = np.empty_like(images)
    for new in added:
        radii, sizes = rng.uniform(0.3, 1.3, 4), rng.uniform(0.3, 1.0, 4)
        rings = sum(s * np.exp(-(((np.hypot(x, y) - r) / 0.07) ** 2)) for r, s in zip(radii, sizes, strict=True))
        new[:] = rings * np.exp(-rng.uniform(0.5, 2) * share)
    return images + 2 * added * _mean(images) / np.maximum(_mean(added), 1e-12)


def nothing(images: Images, study: Study, rng: np.random.Generator) -> Images:
    """The same intensity everywhere."""
    return np.broadcast_to(_mean(images), images.shape).copy()


FROM_TEST_PART: dict[Family, Maker] = {
    Family(
        "wrong Ei order", "two neighbouring runs exchanged",
        relatives=("shuffled tiles", "runs of two spectra", "runs stretched in energy"),
    ): runs_exchanged,
    Family(
        "shifted energy axis", "all slices off by one or two", relatives=("runs stretched in energy",)
    ): energies_shifted,
    Family("phonons", "acoustic cones as strong as the spectrum", relatives=("acoustic branch",)): phonons_added,
    Family("wrong background", "powder rings twice as strong as the spectrum"): rings_added,
    Family("noise only", "flat counts", relatives=("background",)): nothing,
}  # fmt: skip

HALF_MISSING = Family(
    "half the detectors missing",
    "one side of the beam, beside what training leaves out",
    "the spectrum is a candidate's: a right label is right",
    True,
)


def half_missing(coverages: torch.Tensor, study: Study) -> torch.Tensor:
    """Coverages without the detectors on one side of the beam, one side in turn with the other."""
    across = torch.as_tensor(detector_angles(study)[0])
    middle = float(np.nanmedian(across.numpy()))
    out = coverages.clone()
    out[::2] &= across < middle
    out[1::2] &= across > middle
    return out


def stitched(own: Images, others: Images, rng: np.random.Generator, whole_runs: bool) -> Images:
    """Franken-type images, each tile or run at the mean intensity of what it replaces.

    Parameters
    ----------
    own : (n, runs, slices, x, y)
        Spectra whose slices are replaced, 30 to 70 %, or with ``whole_runs`` all of them.
    others : (m, runs, slices, x, y)
        Of other magnets; with ``whole_runs`` every run is of another one of them.
    """
    n, runs, slices = own.shape[:3]
    out = own.copy()
    for new in out:
        take = [int(m) for m in np.atleast_1d(rng.choice(len(others), runs, replace=len(others) < runs))]
        mixed = np.stack([others[m, r] for r, m in enumerate(take)])
        level = mixed.mean((1, 2, 3), keepdims=True)
        mixed *= new.mean((1, 2, 3), keepdims=True) / np.maximum(level, 1e-12)
        if whole_runs:
            new[:] = mixed
            continue
        chosen = rng.uniform(size=(runs, slices)) < rng.uniform(0.3, 0.7)
        new[chosen] = mixed[chosen]
    return out
