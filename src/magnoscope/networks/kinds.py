"""The kinds of network that `train` makes, each with how it is trained unless told otherwise."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..dataset.noise import CLEAN, Nuisance
from ..errors import WeightsError
from ..study import Study
from .base import Sizes, SpectrumNetwork
from .compact import CompactNetwork
from .published import PublishedDUQ, PublishedNetwork
from .training import TrainingConfig

PUBLISHED = TrainingConfig(
    epochs=500, learning_rate=1e-3, weight_decay=0.0, penalty=0.0, foreign=0.0, optimizer="adam", annealed=False,
    clip=float("inf"),
)  # fmt: skip
"""Adam at 1e-3, at most 500 epochs, stopped after 20 without a better validation part."""


@dataclass(frozen=True)
class Kind:
    """One kind of network.

    Attributes
    ----------
    title : str
    build : callable
        From the sizes and the width (which only the compact one heeds) to an untrained network.
    config : TrainingConfig
    nuisance : Nuisance
        What the training images are put through: nothing, as published, or what a measurement does.
    """

    title: str
    build: Callable[[Sizes, int], SpectrumNetwork]
    config: TrainingConfig
    nuisance: Nuisance


KINDS = {
    "compact": Kind(
        "convolutions over (energy, axis 0, axis 1) with the runs as channels; DUQ, softmax and parameter heads",
        lambda sizes, width: CompactNetwork(*sizes.shape[:2], sizes.classes, sizes.parameters, width),
        TrainingConfig(),
        Nuisance(),
    ),
    "dense": Kind(
        "the published CNN (figure 3a), trained as published",
        lambda sizes, width: PublishedNetwork(sizes),
        PUBLISHED,
        CLEAN,
    ),
    "pooled": Kind(
        "the published CNN with a global mean of its filters (figure 3b), trained as published",
        lambda sizes, width: PublishedNetwork(sizes, pooled=True),
        PUBLISHED,
        CLEAN,
    ),
    "duq-published": Kind(
        "the published DUQ: centroids that never move, sigma from 1",
        lambda sizes, width: PublishedDUQ(sizes, corrected=False),
        TrainingConfig(
            epochs=100, patience=100, learning_rate=0.01, weight_decay=0.0, penalty=0.0, foreign=0.0, optimizer="sgd",
            annealed=False, clip=float("inf"),
        ),
        CLEAN,
    ),
    "duq": Kind(
        "the published CNN with DUQ corrected, trained on what a measurement does and on foreign images",
        lambda sizes, width: PublishedDUQ(sizes, corrected=True),
        TrainingConfig(learning_rate=1e-3),
        Nuisance(),
    ),
}  # fmt: skip


def sizes_of(study: Study) -> Sizes:
    """What a study fixes of its networks."""
    return Sizes(study.shape, len(study.classes), max(len(model.parameters) for model in study.models.values()))


def kind_of(name: str) -> Kind:
    """A kind by name.

    Raises
    ------
    WeightsError
        If there is none.
    """
    if name not in KINDS:
        raise WeightsError(f"there is no network {name}; this version trains: {', '.join(KINDS)}")
    return KINDS[name]


def new_network(study: Study, kind: str, seed: int, width: int = 48) -> SpectrumNetwork:
    """An untrained network with a study's sizes."""
    torch.manual_seed(seed)
    return kind_of(kind).build(sizes_of(study), width)
