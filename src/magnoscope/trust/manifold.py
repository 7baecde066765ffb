"""How far a measurement is from the spectra that parameters near its own make.

A network that reads parameters off spectra (:mod:`..networks.posterior`) has to keep what a classifier throws away, and
one that tells candidates apart has seen foreign inputs. Their features together, of spectra like the training data, lie
near a surface of as many dimensions as there are parameters and nuisances that show. Near a measurement that surface is
taken for flat: it is the affine span of the leading principal components of the nearest simulations' features, and what
is left of the measurement's own is its distance. No foreign input is used for it.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from ..networks.posterior import Trunk

NEIGHBOURS = 60
DIMENSIONS = 16
"""Of the surface."""
RIDGE = 1e-3
"""Added to the covariance of features, as a share of its mean variance, before they are brought to unit covariance."""


@dataclass(frozen=True)
class Manifold:
    """Features of simulations, and the network that makes half of them.

    Attributes
    ----------
    trunk : Trunk
        Of a posterior, in evaluation mode; its weights are rounded to half precision, in which they are stored.
    references : (n, n_features) float32
        Of simulations with a measurement's noise: the trunk's features, then the classifier's; rounded likewise.
    """

    trunk: Trunk
    references: NDArray[np.float32]

    def sound(self, classifier_features: int) -> bool:
        """Whether there are references, of both networks' features, and all numbers are finite."""
        width = self.trunk.n_features + classifier_features
        shape = self.references.ndim == 2 and self.references.shape[1] == width
        finite = all(bool(torch.isfinite(v).all()) for v in self.trunk.state_dict().values())
        return shape and len(self.references) > 1 and finite and bool(np.isfinite(self.references).all())

    @cached_property
    def _white(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Mean of the references, what makes their covariance one, and the references so transformed."""
        references = self.references.astype(float)
        mean = references.mean(0)
        covariance = np.cov((references - mean).T)
        covariance += RIDGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
        whiten = np.linalg.cholesky(np.linalg.inv(covariance)).astype(float)
        return np.asarray(mean), whiten, np.asarray((references - mean) @ whiten)

    def distance(self, own: NDArray, features: NDArray) -> NDArray[np.float64]:
        """Distances in units of the features' spread over simulations, (n,).

        Parameters
        ----------
        own : (n, n_trunk_features)
            The trunk's, of :func:`trunk_features`.
        features : (n, n_classifier_features)
        """
        mean, whiten, references = self._white
        points = (np.concatenate([own, features], 1).astype(float) - mean) @ whiten
        return np.array([_residual(point, references) for point in points])


@torch.no_grad()
def trunk_features(trunk: Trunk, measured: torch.Tensor, valid: torch.Tensor) -> NDArray[np.float32]:
    """A trunk's features of measurements (n, runs, slices, x, y), zero where not valid, and their masks."""
    return trunk.features(trunk.prepare(measured, valid)).numpy()


def rounded(trunk: Trunk) -> Trunk:
    """A trunk in evaluation mode with the weights that are stored, in half precision."""
    trunk.load_state_dict({k: v.half().float() for k, v in trunk.state_dict().items()})
    return trunk.eval()


def _residual(point: NDArray[np.float64], references: NDArray[np.float64]) -> float:
    """Distance of a point from the flat surface through the references nearest to it."""
    squares = ((references - point) ** 2).sum(1)
    number = min(NEIGHBOURS, len(references) - 1)
    near = references[np.argpartition(squares, number)[:number]]
    centre = near.mean(0)
    axes = np.linalg.svd(near - centre, full_matrices=False)[2][: min(DIMENSIONS, number // 2)]
    away = point - centre
    return float(np.linalg.norm(away - axes.T @ (axes @ away)))
