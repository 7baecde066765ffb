"""The compact default: convolutions over (energy, axis 0, axis 1) with the runs as channels."""

from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from .base import Output, SpectrumNetwork
from .duq import DUQHead

STRIDES, STRIDES_BEFORE = (2, 2, 1, 1), (2, 1, 2, 1)
"""Steps of the layers along both axes of Q: as they are trained now, and as they were before decision 20."""
LAYOUT = torch.channels_last_3d
"""Of arrays in memory in single precision, in which convolutions are a tenth to a third faster so; not in bfloat16."""


class CompactNetwork(SpectrumNetwork):
    """A few group-normalised 3D convolutions, a mean over (axis 0, axis 1), a small dense trunk, three heads.

    Sizes come from the study: any number of runs, slices, pixels and classes. The state holds the layers' steps along
    the axes of Q, so that networks of before decision 20 go on saying what they said.
    """

    strides: torch.Tensor

    own_logits = True
    penalised = True

    def __init__(
        self, runs: int, slices: int, classes: int, parameters: int, width: int = 32, features: int = 64
    ) -> None:
        super().__init__()

        def layer(inputs: int, outputs: int, stride: tuple[int, int, int]) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv3d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
                nn.GroupNorm(8, outputs),
                nn.GELU(),
            )

        channels = (2 * runs, width // 2, width, width, width)
        self.convolutions = nn.Sequential(
            *(layer(*pair, (1, by, by)) for pair, by in zip(pairwise(channels), STRIDES, strict=True))
        )
        self.register_buffer("strides", torch.tensor(STRIDES))
        self.trunk = nn.Sequential(
            nn.Flatten(), nn.Linear(2 * width * slices, 128), nn.GELU(), nn.Linear(128, features)
        )
        self.norm = nn.LayerNorm(features)
        self.duq = DUQHead(features, classes)
        self.softmax = nn.Linear(features, classes)
        self.regression = nn.Sequential(
            nn.GELU(), nn.Linear(features, 64), nn.GELU(), nn.Linear(64, classes * parameters)
        )
        self.classes, self.n_features = classes, features

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        said = state.get(f"{prefix}strides")
        strides = None if said is None else said.tolist()
        if strides not in (list(STRIDES), list(STRIDES_BEFORE)):
            raise ValueError(f"there is no compact network with strides {strides}")
        layers: Any = self.convolutions
        for (convolution, _, _), by in zip(layers, strides, strict=True):
            convolution.stride = (1, by, by)
        super()._load_from_state_dict(state, prefix, *rest)

    def features(self, inputs: torch.Tensor) -> torch.Tensor:
        """Features (n, n_features) of prepared inputs (n, 2 runs, slices, x, y)."""
        maps = self._along_a_path(inputs) if inputs.shape[-1] == 1 else self._convolved(inputs)
        pooled = torch.cat([maps.mean((3, 4)), maps.amax((3, 4))], 1)
        return self.norm(self.trunk(pooled).float())

    def _convolved(self, inputs: torch.Tensor) -> torch.Tensor:
        reduced = torch.is_autocast_enabled(inputs.device.type)
        return self.convolutions(inputs if reduced else inputs.contiguous(memory_format=LAYOUT))

    def _along_a_path(self, inputs: torch.Tensor) -> torch.Tensor:
        """The same where axis 1 has one pixel, in a third of the time: the outer parts of kernels would see zeros."""
        maps = inputs[..., 0]
        layers: Any = self.convolutions
        for convolution, norm, activation in layers:
            kernel, stride = convolution.weight[..., 1], convolution.stride[:2]
            maps = activation(norm(functional.conv2d(maps, kernel, stride=stride, padding=1)))
        return maps[..., None]

    def forward(self, inputs: torch.Tensor) -> Output:
        """All heads at once."""
        v = self.features(inputs)
        with torch.autocast("cpu", enabled=False):
            return self.heads(v)

    def heads(self, v: torch.Tensor) -> Output:
        """The three heads on features (n, n_features), in full precision."""
        estimates = torch.sigmoid(self.regression(v)).reshape(len(v), self.classes, -1)
        log_scores = self.duq.log_scores(v)
        return Output(v, log_scores.exp(), self.softmax(v), estimates, log_scores=log_scores)

    def update(self, inputs: torch.Tensor, features: torch.Tensor, labels: torch.Tensor) -> None:
        """Move the centroids; nothing here depends on training mode, so the features of the step serve."""
        self.duq.update(features, labels)
