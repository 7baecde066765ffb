"""What held-back simulations say of a network: temperature, label sets, and how unlike them an input is.

The network's own confidence is no judge of foreign inputs. Several signals are measured on held-back simulations with
the noise and nuisances of training: the distance of the features from the training data's (a Gaussian for each class
with a common covariance; Lee et al., NeurIPS 2018), the distance from every centroid (1 - max K; the network saw
foreign images in training and learned to be far from the centroids there), the share of the structure that no
combination of training spectra explains, the distance from spectra of parameters nearby, what the best parameters of
the best candidate leave, what runs give away by having them in common, and what parameters beyond the priors would
explain (none of which asks the network), and in an ensemble how much its members disagree. The harmonic mean of their
p-values (D. J. Wilson, PNAS 116, 1195 (2019)), itself ranked among the held-back simulations' because signals are not
independent, is one calibrated p-value for "like the training data". It is led by the signals that have least doubt, and
a signal beyond nearly all held-back simulations counts by how far it is beyond them: in a product of ranks four signals
without an opinion outvote one without a doubt. All of this is relative to the held-back simulations about as noisy as
the input: what noise hides in one spectrum is a reason for doubt in another without it.
"""

from dataclasses import dataclass

import numpy as np
import scipy
import torch
from numpy.typing import NDArray
from scipy import optimize

from .emulator import Emulator
from .manifold import Manifold
from .reconstruction import Reconstruction

FIRST_SIGNALS = ("feature_distance", "centroid_distance")
"""Those of weights that name none."""
OF_MATCH = ("poor_match", "beyond_priors", "contradicting_runs")
"""Those of an emulator; the last where there is more than one run."""
SIGNALS = (*FIRST_SIGNALS, "unexplained_structure", "distance_from_simulations", *OF_MATCH, "disagreement")
"""All that there are; :mod:`.signals` works them out."""
TAIL = 0.05
"""Share of held-back simulations in the tail of a signal."""
FEWEST_IN_TAIL = 10
"""Held-back simulations in a tail below which ranks alone are used."""
AS_NOISY = 300
"""Held-back simulations, those nearest in noise, that an input is compared with."""
LEAST_NOISE = 0.01
"""Noise below this share of the mean intensity does not count."""


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
        The signals of held-back simulations.
    signals : tuple of str
        What the columns of ``held_back`` are, of ``SIGNALS``.
    reconstruction : Reconstruction or None
        What "unexplained_structure" needs.
    manifold : Manifold or None
        What "distance_from_simulations" needs.
    emulator : Emulator or None
        What the signals of ``OF_MATCH`` need.
    noise : (n,) or None
        Of the held-back simulations, :func:`.signals.noise_level`; None in weights that compare an input with all.
    together : (n,) or None
        Of each held-back simulation, :func:`among_as_noisy`; None in weights that rank an input among few.
    """

    temperature: float
    label_threshold: float
    coverage: float
    means: NDArray[np.float64]
    precision: NDArray[np.float64]
    held_back: NDArray[np.float64]
    signals: tuple[str, ...] = FIRST_SIGNALS
    reconstruction: Reconstruction | None = None
    manifold: Manifold | None = None
    emulator: Emulator | None = None
    noise: NDArray[np.float64] | None = None
    together: NDArray[np.float64] | None = None

    def probabilities(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrated probabilities (n, classes)."""
        return _softmax(logits / self.temperature)

    def label_sets(self, probabilities: NDArray[np.float64], k: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which classes each input's label set names, (n, classes): never none, and always that of the largest K."""
        named = probabilities >= self.label_threshold
        named[np.arange(len(k)), k.argmax(1)] = True
        return named

    def feature_distance(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mahalanobis distance to the nearest class, (n,)."""
        return mahalanobis(features, self.means, self.precision)

    def p_values(
        self, signals: NDArray[np.float64], noise: NDArray[np.float64] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The p-value of each signal, (n, n_signals), and the calibrated one of all together, (n,).

        Parameters
        ----------
        signals : (n, n_signals)
        noise : (n,), optional
            Of the same inputs. The signals of each are compared with those of the ``AS_NOISY`` held-back simulations
            nearest in its logarithm, or with all if it is not given; what comes of them together is ranked among all.
        """
        if noise is None or self.noise is None:
            return _against(signals, self.held_back)
        near = [self.held_back[index] for index in _nearest(noise, self.noise)]
        rows = [signal[None] for signal in signals]
        if self.together is None:
            pairs = [_against(row, few) for row, few in zip(rows, near, strict=True)]
            single, combined = (np.concatenate(each) for each in zip(*pairs, strict=True))
            return single, combined
        single = np.concatenate([_ranks(row, few) for row, few in zip(rows, near, strict=True)])
        together = np.concatenate([_harmonic(_log_p(row, few)) for row, few in zip(rows, near, strict=True)])
        return single, _rank_below(together, self.together)


def _nearest(noise: NDArray[np.float64], held_back: NDArray[np.float64]) -> list[NDArray[np.intp]]:
    """Which held-back simulations, by their noise, are the most like each input."""
    own, level = (np.log(np.maximum(each, LEAST_NOISE)) for each in (held_back, noise))
    return [np.argsort(np.abs(own - one), kind="stable")[:AS_NOISY] for one in level]


def among_as_noisy(held_back: NDArray[np.float64], noise: NDArray[np.float64]) -> NDArray[np.float64]:
    """What comes of each held-back simulation's signals together, among others as noisy, (n,).

    The logarithm of the harmonic mean of the p-values of its signals. As these are uniform at every level of noise, an
    input's may be ranked among those of all: the three smallest of 300 are a matter of chance, the twenty smallest of
    2000 less so.

    Parameters
    ----------
    held_back : (n, n_signals)
    noise : (n,)
    """
    found = []
    for n, own in enumerate(held_back):
        others = np.delete(np.arange(len(held_back)), n)
        near = others[_nearest(noise[n : n + 1], noise[others])[0]]
        found.append(_harmonic(_log_p(own[None], held_back[near])))
    return np.concatenate(found)


def _rank_below(values: NDArray[np.float64], among: NDArray[np.float64]) -> NDArray[np.float64]:
    """p-values of what is odd where it is small."""
    return (1 + np.searchsorted(np.sort(among), values, side="right")) / (1 + len(among))


def _against(
    signals: NDArray[np.float64], held_back: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The p-value of each signal among held-back ones, and that of all together."""
    single = _ranks(signals, held_back)
    together, among = _harmonic(_log_p(signals, held_back)), _harmonic(_log_p_of_each(held_back))
    return single, _rank_below(together, among)


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


def _log_p(signals: NDArray[np.float64], held_back: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithm of the p-value of each signal, (n, n_signals), the last twentieth of held-back ones as a Pareto tail.

    Excesses over a high quantile follow a generalised Pareto distribution (J. Pickands, Ann. Stat. 3, 119 (1975)).
    Its shape is found by probability-weighted moments (J. R. M. Hosking and J. F. Wallis, Technometrics 29, 339 (1987))
    and is at least zero, an exponential, for no signal has a largest value that spectra cannot pass.
    """
    out = np.log(_ranks(signals, held_back))
    for column in range(signals.shape[1]):
        start = np.quantile(held_back[:, column], 1 - TAIL)
        excess = np.sort(held_back[:, column][held_back[:, column] > start] - start)
        beyond = signals[:, column] > start
        if len(excess) >= FEWEST_IN_TAIL and beyond.any():
            out[beyond, column] = _log_tail(signals[beyond, column] - start, *_pareto(excess))
    return out


def _log_p_of_each(held_back: NDArray[np.float64]) -> NDArray[np.float64]:
    """What :func:`_log_p` says of each held-back simulation among the others, (n, n_signals).

    Were each among those that its own value is of, all others' p-values would come out larger, and a new input's too
    small: three in two hundred below 0.01 with 300 held-back simulations.
    """
    n = len(held_back)
    out = np.log((_ranks(held_back, held_back) * (n + 1) - 1) / n)
    for column, values in enumerate(held_back.T):
        ordered = np.sort(values)
        # the same whichever of the tail is left out
        start = np.quantile(ordered[:-1], 1 - TAIL)
        tail = ordered[ordered > start] - start
        if len(tail) <= FEWEST_IN_TAIL:
            continue
        others = np.arange(len(tail) - 1)
        others = others + (others >= np.arange(len(tail))[:, None])
        found = _log_tail(tail, *_pareto(tail[others]))
        beyond = values > start
        out[beyond, column] = found[np.searchsorted(tail, values[beyond] - start)]
    return out


def _pareto(excess: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scale and shape of excesses (..., m) in ascending order."""
    m = excess.shape[-1]
    mean = excess.mean(-1)
    weighted = (excess * (1 - (np.arange(1, m + 1) - 0.35) / m)).mean(-1)
    bent = mean > 2 * weighted
    shape = np.where(bent, np.maximum(0, 2 - mean / np.where(bent, mean - 2 * weighted, 1)), 0)
    return mean * (1 - shape), shape


def _log_tail(
    excess: NDArray[np.float64], scale: NDArray[np.float64], shape: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Logarithm of the p-value of values that are so far in the tail, (n,)."""
    scaled = excess / scale
    heavy = shape > 0
    steep = np.where(heavy, shape, 1)
    return np.log(TAIL) - np.where(heavy, np.log1p(steep * scaled) / steep, scaled)


def _harmonic(log_p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithm of the harmonic mean over the signals, (n,)."""
    return np.log(log_p.shape[1]) - scipy.special.logsumexp(-log_p, axis=1)


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


def conformal_threshold(own: NDArray[np.float64], coverage: float, copies: int = 1) -> float:
    """Split-conformal threshold: new probabilities like these reach it with at least the probability ``coverage``.

    Parameters
    ----------
    own : (n,)
        Smallest probability that a label set has to admit, of held-back data.
    copies : int
        How many of them come of one image; only images are independent.
    """
    k = int(np.floor((len(own) / copies + 1) * (1 - coverage)))
    return float(np.sort(own)[k * copies - 1]) if k >= 1 else 0.0


def label_threshold(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], coverage: float, copies: int = 1
) -> float:
    """The probability from which a class is in the label set, so that each class' spectra are covered as promised.

    The least of the classes' split-conformal thresholds (Vovk, ACML 2012), at most ``1 - coverage``. Where a network is
    right more often than the coverage asks, the bare threshold is so high that an undecided input gets an empty set.
    Capped, no class with more than ``1 - coverage`` of the probability is left out; the sets only grow, so that the
    promise holds. docs/decisions/0010-label-sets.md says why nothing is drawn by lot to bring the coverage down.
    """
    own = probabilities[np.arange(len(labels)), labels]
    each = [conformal_threshold(own[labels == c], coverage, copies) for c in np.unique(labels)]
    return min(*each, 1 - coverage)


@dataclass(frozen=True)
class Scores:
    """Figures of merit on a part that neither training nor stopping has seen.

    Attributes
    ----------
    coverage, coverage_interval
        Share of label sets that hold the true class, and its 95 % Clopper-Pearson interval.
    single, single_right
        Share of label sets that name one class, and the share of those that is right (None where there are none).
    """

    n: int
    accuracy: float
    interval: tuple[float, float]
    nll: float
    brier: float
    ece: float
    coverage: float
    coverage_interval: tuple[float, float]
    set_size: float
    single: float
    single_right: float | None


def interval(successes: int, n: int) -> tuple[float, float]:
    """The 95 % Clopper-Pearson interval of a share."""
    found = scipy.stats.binomtest(successes, n).proportion_ci(0.95, "exact")
    return float(found.low), float(found.high)


def scores(
    k: NDArray[np.float64], probabilities: NDArray[np.float64], labels: NDArray[np.int64], sets: NDArray[np.bool_]
) -> Scores:
    """Accuracy (by K) with its 95 % Clopper-Pearson interval, NLL, Brier, expected calibration error, label sets."""
    n = len(labels)
    right = int((k.argmax(1) == labels).sum())
    own = probabilities[np.arange(n), labels]
    hot = np.eye(probabilities.shape[1])[labels]
    covered, single = sets[np.arange(n), labels], sets.sum(1) == 1
    return Scores(
        n=n,
        accuracy=right / n,
        interval=interval(right, n),
        nll=float(-np.log(own.clip(1e-12)).mean()),
        brier=float(((probabilities - hot) ** 2).sum(1).mean()),
        ece=calibration_error(probabilities, labels),
        coverage=float(covered.mean()),
        coverage_interval=interval(int(covered.sum()), n),
        set_size=float(sets.sum(1).mean()),
        single=float(single.mean()),
        single_right=float(covered[single].mean()) if single.any() else None,
    )


def reliability(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], bins: int = 10
) -> list[dict[str, float]]:
    """In bins by the most likely class' probability, of equal number: its mean, the share that is right, interval."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    rows = []
    for b in np.array_split(np.argsort(confidence), bins):
        if len(b):
            low, high = interval(int(right[b].sum()), len(b))
            mean, share = float(confidence[b].mean()), float(right[b].mean())
            rows.append({"n": len(b), "confidence": mean, "right": share, "low": low, "high": high})
    return rows


def calibration_error(probabilities: NDArray[np.float64], labels: NDArray[np.int64], bins: int = 15) -> float:
    """Adaptive expected calibration error of the most likely class: bins of equal number."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    order = np.array_split(np.argsort(confidence), bins)
    return float(sum(len(b) * abs(confidence[b].mean() - right[b].mean()) for b in order if len(b)) / len(labels))
