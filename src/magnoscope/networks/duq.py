"""Deterministic uncertainty quantification: van Amersfoort, Smith, Teh and Gal, ICML 2020, arXiv:2003.02037.

Each class has a centroid e_c in its own embedding W_c v of the features; K_c = exp(-|W_c v - e_c|^2 / (2 n sigma^2))
says how close an input is to it, n the size of the embedding. Far from everything, every K_c falls to zero.
"""

import torch
from torch import nn


class DUQHead(nn.Module):
    """Class scores K_c with centroids that follow the embeddings by exponential averages.

    Parameters
    ----------
    features, classes, embedding : int
        Sizes of v, of the set of classes and of W_c v.
    sigma : float
        Length scale, fixed.
    momentum : float
        gamma of the paper: how slowly the centroids move (1 would pin them where they start).
    """

    count: torch.Tensor
    total: torch.Tensor

    def __init__(
        self, features: int, classes: int, embedding: int = 32, sigma: float = 0.2, momentum: float = 0.99
    ) -> None:
        super().__init__()
        self.sigma, self.momentum = sigma, momentum
        self.weight = nn.Parameter(torch.randn(classes, embedding, features) * (1 / features) ** 0.5)
        self.register_buffer("count", torch.ones(classes))
        self.register_buffer("total", torch.randn(classes, embedding) * 0.05)

    @property
    def centroids(self) -> torch.Tensor:
        """Centroids e_c, (classes, embedding)."""
        return self.total / self.count[:, None]

    def embed(self, features: torch.Tensor) -> torch.Tensor:
        """Embeddings W_c v, (n, classes, embedding)."""
        return torch.einsum("cef,nf->nce", self.weight, features)

    def log_scores(self, features: torch.Tensor) -> torch.Tensor:
        """Logarithms of the scores K_c, (n, classes)."""
        return -((self.embed(features) - self.centroids) ** 2).mean(-1) / (2 * self.sigma**2)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Scores K_c, (n, classes)."""
        return self.log_scores(features).exp()

    @torch.no_grad()
    def update(self, features: torch.Tensor, labels: torch.Tensor) -> None:
        """Move the centroids towards the embeddings of a batch (features as in evaluation mode)."""
        hot = nn.functional.one_hot(labels, len(self.count)).to(features.dtype)
        embedded = self.embed(features)
        self.count.mul_(self.momentum).add_((1 - self.momentum) * hot.sum(0))
        self.total.mul_(self.momentum).add_((1 - self.momentum) * torch.einsum("nce,nc->ce", embedded, hot))


def gradient_penalty(inputs: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """Two-sided penalty (|d sum_c K_c / dx| - 1)^2, averaged, that keeps features from collapsing."""
    gradient = torch.autograd.grad(scores.sum(), inputs, create_graph=True)[0]
    return ((gradient.flatten(1).norm(dim=1) - 1) ** 2).mean()
