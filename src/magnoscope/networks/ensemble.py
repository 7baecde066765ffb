"""A deep ensemble: networks of one kind that differ by their seeds, asked together.

B. Lakshminarayanan, A. Pritzel and C. Blundell, NeurIPS 2017, arXiv:1612.01474. Where the members contradict each
other the mutual information between the class and the choice of the member is large, although each may be sure.
"""

from collections.abc import Sequence

import torch
from torch import nn

from .base import Output, SpectrumNetwork

MOST_MEMBERS = 64


class Ensemble(SpectrumNetwork):
    """Mean probabilities, scores and estimates of several networks, and their disagreement.

    Parameters
    ----------
    members : sequence of SpectrumNetwork
        Of one kind: they see a measurement in the same way.
    """

    def __init__(self, members: Sequence[SpectrumNetwork]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.classes = members[0].classes
        self.n_features = sum(member.n_features for member in members)

    def prepare(self, measured: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """As every member does."""
        return self.members[0].prepare(measured, valid)  # type: ignore[operator]

    def forward(self, inputs: torch.Tensor) -> Output:
        """Features side by side; the logits are the logarithms of the mean probabilities."""
        outputs: list[Output] = [member(inputs) for member in self.members]
        each = torch.stack([o.logits.float().log_softmax(1) for o in outputs])
        mean = each.exp().mean(0).clamp_min(1e-30).log()
        spread = (each.exp() * each).sum(2).mean(0) - (mean.exp() * mean).sum(1)
        estimates = [o.parameters for o in outputs if o.parameters is not None]
        return Output(
            features=torch.cat([o.features for o in outputs], 1),
            scores=torch.stack([o.scores for o in outputs]).mean(0),
            logits=mean,
            parameters=torch.stack(estimates).mean(0) if estimates else None,
            disagreement=spread.clamp_min(0),
        )
