"""What every network has in common: how it sees a measurement, what it says of it, and what it is trained on."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from ..dataset.noise import prepare


@dataclass(frozen=True)
class Sizes:
    """What a study fixes of a network.

    Attributes
    ----------
    shape : (runs, slices, x, y)
    classes : int
    parameters : int
        The most parameters any candidate has.
    mirrors : tuple of int
        Axes of Q along which the study's view may be mirrored.
    """

    shape: tuple[int, int, int, int]
    classes: int
    parameters: int
    mirrors: tuple[int, ...] = ()


@dataclass(frozen=True)
class Output:
    """What a network says of a batch.

    Attributes
    ----------
    features : (n, n_features)
    scores : (n, classes)
        Between 0 and 1, each class by itself: DUQ's K, or a sigmoid.
    logits : (n, classes)
        Of a softmax over the classes, before calibration.
    parameters : (n, classes, n_parameters) or None
        Estimates under each class, scaled to 0..1 over the prior; None where a network makes none.
    disagreement : (n,) or None
        How much the members of an ensemble tell each other apart (mutual information, nats); None for one network.
    log_scores : (n, classes) or None
        Logarithms of the scores, whose slope training follows where that of the scores vanishes: of DUQ's far from a
        centroid, of sigmoids on both sides.
    log_rest : (n, classes) or None
        Logarithms of one less the scores, likewise.
    """

    features: torch.Tensor
    scores: torch.Tensor
    logits: torch.Tensor
    parameters: torch.Tensor | None
    disagreement: torch.Tensor | None = None
    log_scores: torch.Tensor | None = None
    log_rest: torch.Tensor | None = None


def of_sigmoids(features: torch.Tensor, logits: torch.Tensor, parameters: torch.Tensor | None = None) -> Output:
    """An output whose scores are sigmoids, trained on their logarithms: surely wrong ones are learnt from as well."""
    log = functional.logsigmoid
    return Output(features, logits.sigmoid(), logits, parameters, log_scores=log(logits), log_rest=log(-logits))


class SpectrumNetwork(nn.Module):
    """A network on spectra of a study's shape.

    Attributes
    ----------
    classes, n_features : int
    own_logits : bool
        Whether the logits have a head of their own, trained by cross-entropy, beside the scores.
    penalised : bool
        Whether DUQ's gradient penalty is part of its training.
    """

    classes: int
    n_features: int
    own_logits: bool = False
    penalised: bool = False

    def prepare(self, measured: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """What the network sees of measurements (n, runs, slices, x, y), zero where not valid, and their masks."""
        return prepare(measured, valid)

    def forward(self, inputs: torch.Tensor) -> Output:
        """All that the network says of prepared inputs."""
        raise NotImplementedError

    def update(self, inputs: torch.Tensor, features: torch.Tensor, labels: torch.Tensor) -> None:
        """What is learnt without a gradient after each batch: nothing, unless a network has centroids."""
