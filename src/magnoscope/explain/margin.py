"""What an explanation explains: by how much a network prefers one candidate, and how it takes the loss of a slice."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..networks.base import SpectrumNetwork
from ..trust.weights import Weights
from ..verdict import Verdict

BATCH = 64


@dataclass(frozen=True)
class Margin:
    """Calibrated log-odds of one candidate against the best other, of a spectrum with some of its slices made neutral.

    A neutral slice holds the mean of the candidates' best matches (scale and background included): what would have been
    measured had that slice not told them apart. Nothing is set to zero, which no measurement looks like.

    Attributes
    ----------
    network : SpectrumNetwork
    temperature : float
    number : int
        The candidate's.
    measured, neutral : (runs, slices, x, y) float32
        Zero where not valid.
    valid : same shape, bool
    """

    network: SpectrumNetwork
    temperature: float
    number: int
    measured: torch.Tensor
    neutral: torch.Tensor
    valid: torch.Tensor

    @classmethod
    def of(cls, verdict: Verdict, weights: Weights, name: str) -> "Margin":
        """The margin of a candidate in a verdict."""
        spectrum = verdict.spectrum
        fitted = np.mean([m.match.fitted for m in verdict.matches.values()], axis=0)

        def tensor(array: NDArray[np.float64]) -> torch.Tensor:
            return torch.as_tensor(np.where(spectrum.valid, array, 0.0), dtype=torch.float32)

        return cls(
            network=weights.network,
            temperature=weights.calibration.temperature,
            number=spectrum.study.classes.index(name),
            measured=tensor(spectrum.signal),
            neutral=tensor(np.maximum(fitted, 0)),
            valid=torch.as_tensor(np.ascontiguousarray(spectrum.valid)),
        )

    @property
    def slices(self) -> tuple[int, int]:
        """(runs, slices)."""
        return self.measured.shape[0], self.measured.shape[1]

    def of_logits(self, logits: torch.Tensor) -> torch.Tensor:
        """Log-odds (n,) of logits (n, classes)."""
        others = logits.clone()
        others[:, self.number] = -torch.inf
        return (logits[:, self.number] - others.amax(1)) / self.temperature

    def of_inputs(self, inputs: torch.Tensor) -> torch.Tensor:
        """Log-odds (n,) of prepared inputs."""
        return self.of_logits(self.network(inputs).logits)

    def prepared(self, keep: torch.Tensor) -> torch.Tensor:
        """Network inputs of the spectrum with slices made neutral that are not kept; keep (n, runs, slices) bool."""
        images = torch.where(keep[..., None, None], self.measured, self.neutral)
        return self.network.prepare(images, self.valid.expand(images.shape))

    @torch.no_grad()
    def __call__(self, keep: torch.Tensor) -> NDArray[np.float64]:
        """Log-odds (n,) with the slices that are not kept made neutral; keep (n, runs, slices) bool."""
        return np.concatenate([self.of_inputs(self.prepared(part)).double().numpy() for part in keep.split(BATCH)])

    def along(self, order: Sequence[int], keep_first: bool) -> NDArray[np.float64]:
        """Log-odds as slices are taken away in an order (or put in, from none), (n_slices + 1,)."""
        n = len(order)
        place = torch.empty(n, dtype=torch.long)
        place[torch.as_tensor(list(order))] = torch.arange(n)
        steps = torch.arange(n + 1)[:, None]
        keep = place[None] < steps if keep_first else place[None] >= steps
        return self(keep.reshape(n + 1, *self.slices))
