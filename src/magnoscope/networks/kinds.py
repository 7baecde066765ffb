"""The kinds of network that `train` makes, each with how it is trained unless told otherwise."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import nn

from ..dataset.noise import CLEAN, Nuisance
from ..errors import WeightsError
from ..study import Study
from .additive import AdditiveNetwork
from .autoencoder import PublishedAutoencoder
from .base import Sizes, SpectrumNetwork
from .cleaner import CleanerNetwork
from .cleaning import Cleaning
from .compact import CompactNetwork
from .published import PublishedDUQ, PublishedNetwork
from .training import Classification, Task, TrainingConfig

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
        From the sizes and the width (which the published ones do not heed) to an untrained network.
    config : TrainingConfig
    nuisance : Nuisance
        What the training images are put through: nothing, as published, or what a measurement does.
    task : callable
        What it is trained to do.
    width : int
        Channels, unless told otherwise.
    """

    title: str
    build: Callable[[Sizes, int], nn.Module]
    config: TrainingConfig
    nuisance: Nuisance
    task: Callable[[], Task] = Classification
    width: int = 32

    @property
    def cleans(self) -> bool:
        """Whether it makes clean spectra instead of telling candidates apart."""
        return self.task is Cleaning


KINDS = {
    "compact": Kind(
        "convolutions over (energy, axis 0, axis 1) with the runs as channels; DUQ, softmax and parameter heads",
        lambda sizes, width: CompactNetwork(*sizes.shape[:2], sizes.classes, sizes.parameters, width),
        TrainingConfig(),
        Nuisance(),
    ),
    "additive": Kind(
        "local evidence by pixel that adds up to the logits; interpretable by construction",
        lambda sizes, width: AdditiveNetwork(sizes, width),
        TrainingConfig(penalty=0.0),
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
    "cleaner": Kind(
        "a small U-Net from noisy, masked spectra with background to clean ones, with the spread of each pixel",
        lambda sizes, width: CleanerNetwork(sizes, width),
        TrainingConfig(epochs=30, patience=8, batch=8),
        replace(Nuisance(), quiet=0.05),
        Cleaning,
    ),
    "autoencoder-published": Kind(
        "the published variational autoencoder (figure 3c), from clean simulations to themselves",
        lambda sizes, width: PublishedAutoencoder(sizes),
        replace(PUBLISHED, epochs=100, patience=100),
        CLEAN,
        Cleaning,
    ),
}  # fmt: skip


def sizes_of(study: Study) -> Sizes:
    """What a study fixes of its networks."""
    most = max(len(model.parameters) for model in study.models.values())
    return Sizes(study.shape, len(study.classes), most, study.view.mirrors)


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


def untrained(study: Study, kind: str, seed: int, width: int | None = None) -> nn.Module:
    """An untrained network of any kind with a study's sizes."""
    torch.manual_seed(seed)
    recipe = kind_of(kind)
    return recipe.build(sizes_of(study), width or recipe.width)


def new_network(study: Study, kind: str, seed: int, width: int | None = None) -> SpectrumNetwork:
    """An untrained network that tells a study's candidates apart.

    Raises
    ------
    WeightsError
        If the kind does something else.
    """
    network = untrained(study, kind, seed, width)
    if not isinstance(network, SpectrumNetwork):
        raise WeightsError(f"a {kind} tells no models apart; use it with `magnoscope clean`")
    return network
