"""What a spectrum says of each candidate's parameters, as a distribution: a normalising flow on convolutional features.

The parameters of a candidate are scaled to 0..1 over the prior and taken through the inverse of the normal distribution
function, so that the uniform prior is the flow's own base: a flow that has learnt nothing returns the prior, and the
loss, the mean of log prior - log posterior at the truth, is zero then and falls by a nat for each nat of information.
One flow for each candidate (C. Durkan et al., Neural Spline Flows, NeurIPS 2019, from the zuko library) on features
that they share.
"""

from collections.abc import Iterator, Mapping
from math import ceil

import numpy as np
import torch
import zuko
from torch import nn

from ..dataset.noise import Nuisance, prepare
from ..dataset.parts import Part
from ..study import Study
from .base import Sizes
from .compact import LAYOUT
from .training import Step, Training, TrainingConfig, batches, device_of, reduced_precision

KIND = "posterior"
"""What cards call it."""
EDGE = 1e-6
"""Scaled parameters come no nearer to the ends of the prior than this."""

POSTERIOR = TrainingConfig(epochs=50, patience=20, learning_rate=1e-3, weight_decay=1e-3, penalty=0.0, foreign=0.0)
"""How a posterior is trained unless told otherwise."""

POSTERIOR_NUISANCE = Nuisance(energy_shift=0.25, moderator=0.05, blur=0.7)
"""What its training images are put through: errors of the instrument as large as a fit allows for, beside the usual."""


FEATURES = 96
"""What the flows see."""


class Trunk(nn.Module):
    """Convolutions with the runs as channels, and the features that parameters are read off from.

    Unlike the compact classifier it keeps where in Q things are, coarsely.

    Parameters
    ----------
    sizes : Sizes
    width : int
        Channels.
    features : int
    """

    def __init__(self, sizes: Sizes, width: int = 48, features: int = FEATURES) -> None:
        super().__init__()
        runs, slices, *places = sizes.shape
        self.classes, self.n_features = sizes.classes, features

        def layer(inputs: int, outputs: int, stride: tuple[int, int, int]) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv3d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
                nn.GroupNorm(8, outputs),
                nn.GELU(),
            )

        kept = (min(slices, 16), *(min(ceil(n / 8), 8) for n in places))
        self.convolutions = nn.Sequential(
            layer(2 * runs, width // 2, (1, 2, 2)),
            layer(width // 2, width, (1, 1, 1)),
            layer(width, width, (1, 2, 2)),
            layer(width, width, (1, 1, 1)),
            layer(width, 16, (1, 2, 2)),
            nn.AdaptiveAvgPool3d(kept),
        ).to(memory_format=LAYOUT)  # type: ignore[call-overload]
        self.dense = nn.Sequential(
            nn.Flatten(),
            nn.Linear(16 * int(np.prod(kept)), 128),
            nn.GELU(),
            nn.Linear(128, features),
            nn.LayerNorm(features),
        )

    def prepare(self, measured: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """What the network sees of measurements (n, runs, slices, x, y), zero where not valid, and their masks."""
        return prepare(measured, valid)

    def features(self, inputs: torch.Tensor) -> torch.Tensor:
        """Features (n, n_features) of prepared inputs (n, 2 runs, slices, x, y), in full precision from the maps on."""
        maps = self.convolutions(inputs.contiguous(memory_format=LAYOUT)).float().contiguous()
        with torch.autocast(inputs.device.type, enabled=False):
            return self.dense(maps)


def trunk_of(sizes: Sizes, state: Mapping[str, torch.Tensor]) -> Trunk:
    """The trunk with these weights, in evaluation mode, of the width that they have; those of flows are left out.

    Raises
    ------
    KeyError, RuntimeError, ValueError
        If they are no trunk's, or one's of other sizes.
    """
    trunk = Trunk(sizes, 2 * len(state["convolutions.0.0.weight"]), len(state["dense.4.bias"]))
    trunk.load_state_dict({name: tensor for name, tensor in state.items() if not name.startswith("flows.")})
    return trunk.eval()


class PosteriorNetwork(Trunk):
    """A trunk, and on its features a flow for each candidate.

    Parameters
    ----------
    sizes : Sizes
    parameters : tuple of int
        Number of parameters of each candidate.
    width : int
        Channels of the trunk.
    features : int
        What the flows see.
    """

    own_logits = False
    penalised = False

    def __init__(self, sizes: Sizes, parameters: tuple[int, ...], width: int = 48, features: int = FEATURES) -> None:
        super().__init__(sizes, width, features)
        self.flows = nn.ModuleList(
            zuko.flows.NSF(n, features, transforms=3, hidden_features=(64, 64)) for n in parameters
        )
        self.counts = parameters

    def information(self, features: torch.Tensor, labels: torch.Tensor, scaled: torch.Tensor) -> torch.Tensor:
        """Log of posterior over prior, (n,).

        Parameters
        ----------
        features : (n, n_features)
        labels : (n,)
            Candidates.
        scaled : (n, most parameters)
            0..1 over the prior.
        """
        out = features.new_zeros(len(labels))
        for number, (flow, count) in enumerate(zip(self.flows, self.counts, strict=True)):
            own = labels == number
            if own.any():
                z = torch.special.ndtri(scaled[own, :count].double().clamp(EDGE, 1 - EDGE)).float()
                out[own] = flow(features[own]).log_prob(z) - _normal(z)
        return out

    @torch.no_grad()
    def draw(self, features: torch.Tensor, label: int, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Draws of a candidate's parameters, and their log density, both over the prior scaled to 0..1.

        Parameters
        ----------
        features : (n, n_features)

        Returns
        -------
        scaled : (number, n, n_parameters)
        log_density : (number, n)
        """
        z, log_density = self.flows[label](features).rsample_and_log_prob((number,))
        scaled = torch.special.ndtr(z.double()).clamp(EDGE, 1 - EDGE)
        return scaled, (log_density - _normal(z)).double()

    def update(self, inputs: torch.Tensor, features: torch.Tensor, labels: torch.Tensor) -> None:
        """Nothing is learnt without a gradient."""


def _normal(z: torch.Tensor) -> torch.Tensor:
    """Log density of the unit normal, summed over the last axis."""
    return -0.5 * (z**2 + float(np.log(2 * np.pi))).sum(-1)


def new_posterior(study: Study, seed: int, width: int = 48) -> PosteriorNetwork:
    """An untrained posterior with a study's sizes."""
    torch.manual_seed(seed)
    counts = tuple(len(model.parameters) for model in study.models.values())
    return PosteriorNetwork(Sizes(study.shape, len(counts), max(counts)), counts, width)


class Inference:
    """The task of saying which parameters made a spectrum."""

    def stream(self, training: Training, generator: torch.Generator) -> Iterator[tuple[torch.Tensor, ...]]:
        """Prepared inputs, labels and scaled parameters."""
        return _batches(
            training.network,  # type: ignore[arg-type]
            training.train_part,
            training.config.batch,
            training.coverages,
            training.nuisance,
            generator,
        )

    def step(self, training: Training, number: int, batch: tuple[torch.Tensor, ...]) -> Step:
        """Mean of log prior - log posterior at the truth."""
        network = training.network
        assert isinstance(network, PosteriorNetwork)
        inputs, labels, scaled = batch
        with reduced_precision(training.config, inputs):
            features = network.features(inputs)
        loss = -network.information(features, labels, scaled).mean()
        return Step(loss, float(loss.detach()))

    def check(self, training: Training) -> dict[str, float]:
        """The same on the validation part, put through what measurements are."""
        network = training.network
        assert isinstance(network, PosteriorNetwork)
        found = features_of(
            network, training.validation, training.coverages, training.checked_on, training.config.seed + 1
        )
        labels, scaled = (torch.as_tensor(a) for a in (training.validation.labels, training.validation.parameters))
        device = device_of(network)
        with torch.no_grad():
            gained = network.information(found.to(device), labels.to(device), scaled.to(device))
        return {"loss": -float(gained.mean())}


def _batches(
    network: Trunk,
    part: Part,
    size: int,
    coverages: torch.Tensor,
    nuisance: Nuisance,
    generator: torch.Generator,
    shuffle: bool = True,
) -> Iterator[tuple[torch.Tensor, ...]]:
    stream = batches(network, part, size, coverages, nuisance, generator, shuffle)  # type: ignore[arg-type]
    return ((inputs, labels, scaled) for inputs, labels, scaled, _ in stream)


@torch.no_grad()
def features_of(network: Trunk, part: Part, coverages: torch.Tensor, nuisance: Nuisance, seed: int = 0) -> torch.Tensor:
    """Features (n, n_features) of a part's images, each degraded once; the same seed gives the same noise."""
    network.eval()
    generator, device = torch.Generator().manual_seed(seed), device_of(network)
    stream = _batches(network, part, 64, coverages, nuisance, generator, shuffle=False)
    return torch.cat([network.features(inputs.to(device)).cpu() for inputs, *_ in stream])
