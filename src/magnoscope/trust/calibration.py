"""What held-back simulations say of a network: temperature, label sets, and how unlike them an input is.

The network's own confidence is no judge of foreign inputs. Two signals are measured on held-back simulations with the
noise and nuisances of training: the distance of the features from the training data's (a Gaussian for each class with a
common covariance; Lee et al., NeurIPS 2018) and the distance from every centroid (1 - max K; the network saw foreign
images in training and learned to be far from the centroids there). The smaller of their p-values, itself ranked among
the held-back simulations', is one calibrated p-value for "like the training data".
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import optimize, stats

SIGNALS = ("feature_distance", "centroid_distance")


@dataclass(frozen=True)
class Calibration:
    """Everything a verdict needs beside the network.

    Attributes
    ----------
    temperature : float
    label_threshold : float
        Classes with a probability of at least this are in the label set.
    coverage : float
        What the label set promises on data like the training data.
    means : (classes, n_features)
    precision : (n_features, n_features)
    held_back : (n, n_signals)
        The signals of held-back simulations, columns as ``SIGNALS``.
    """

    temperature: float
    label_threshold: float
    coverage: float
    means: NDArray[np.float64]
    precision: NDArray[np.float64]
    held_back: NDArray[np.float64]

    def probabilities(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrated probabilities (n, classes)."""
        return _softmax(logits / self.temperature)

    def feature_distance(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mahalanobis distance to the nearest class, (n,)."""
        return mahalanobis(features, self.means, self.precision)

    def p_values(self, signals: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The p-value of each signal, (n, n_signals), and the calibrated one of the smallest, (n,)."""
        single = _ranks(signals, self.held_back)
        among = np.sort(_ranks(self.held_back, self.held_back).min(1))
        combined = (1 + np.searchsorted(among, single.min(1), side="right")) / (1 + len(among))
        return single, combined


def _softmax(x: NDArray[np.float64]) -> NDArray[np.float64]:
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def _ranks(signals: NDArray[np.float64], held_back: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of held-back simulations with a signal at least as large, (n, n_signals)."""
    n = len(held_back)
    out = np.empty(signals.shape)
    for column in range(signals.shape[1]):
        ordered = np.sort(held_back[:, column])
        out[:, column] = (1 + n - np.searchsorted(ordered, signals[:, column], side="left")) / (n + 1)
    return out


def mahalanobis(
    features: NDArray[np.float64], means: NDArray[np.float64], precision: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distance of each row to the nearest mean."""
    d = features[:, None] - means
    return np.sqrt(np.einsum("ncf,fg,ncg->nc", d, precision, d).min(1))


def fit_temperature(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Temperature of the least negative log-likelihood (Guo et al., ICML 2017)."""

    def loss(log_temperature: float) -> float:
        return float(torch.nn.functional.cross_entropy(logits.double() / np.exp(log_temperature), labels))

    return float(np.exp(optimize.minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def fit_gaussians(
    features: NDArray[np.float64], labels: NDArray[np.int64], classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Class means and the inverse of the common covariance, a tenth of a percent of its trace added."""
    means = np.stack([features[labels == c].mean(0) for c in range(classes)])
    centred = features - means[labels]
    covariance = centred.T @ centred / len(centred)
    ridge = 1e-3 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    return means, np.linalg.inv(covariance + ridge)


def label_threshold(probabilities: NDArray[np.float64], labels: NDArray[np.int64], coverage: float) -> float:
    """Split-conformal threshold on the true class' probability, at most ``1 - coverage``.

    Where a network is right more often than the coverage asks, the bare threshold is so high that an undecided input
    gets an empty set. Capped, no class with more than ``1 - coverage`` of the probability is left out; the sets only
    grow, so that the promise holds.
    """
    own = np.sort(probabilities[np.arange(len(labels)), labels])
    k = int(np.floor((len(own) + 1) * (1 - coverage)))
    return min(float(own[k - 1]), 1 - coverage) if k >= 1 else 0.0


@dataclass(frozen=True)
class Scores:
    """Figures of merit on a part that neither training nor stopping has seen."""

    n: int
    accuracy: float
    interval: tuple[float, float]
    nll: float
    brier: float
    ece: float
    coverage: float
    set_size: float


def scores(
    k: NDArray[np.float64], probabilities: NDArray[np.float64], labels: NDArray[np.int64], threshold: float
) -> Scores:
    """Accuracy (by K) with its 95 % Clopper-Pearson interval, NLL, Brier, expected calibration error, label sets."""
    n = len(labels)
    right = int((k.argmax(1) == labels).sum())
    interval = stats.binomtest(right, n).proportion_ci(0.95, "exact")
    own = probabilities[np.arange(n), labels]
    hot = np.eye(probabilities.shape[1])[labels]
    sets = probabilities >= threshold
    return Scores(
        n=n,
        accuracy=right / n,
        interval=(float(interval.low), float(interval.high)),
        nll=float(-np.log(own.clip(1e-12)).mean()),
        brier=float(((probabilities - hot) ** 2).sum(1).mean()),
        ece=calibration_error(probabilities, labels),
        coverage=float(sets[np.arange(n), labels].mean()),
        set_size=float(sets.sum(1).mean()),
    )


def calibration_error(probabilities: NDArray[np.float64], labels: NDArray[np.int64], bins: int = 15) -> float:
    """Adaptive expected calibration error of the most likely class: bins of equal number."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    order = np.array_split(np.argsort(confidence), bins)
    return float(sum(len(b) * abs(confidence[b].mean() - right[b].mean()) for b in order if len(b)) / len(labels))
