"""Calibrating a trained network on simulations it has not seen, and scoring it on others."""

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from ..dataset.noise import CLEAN, MEASUREMENT_LIKE, Nuisance
from ..dataset.parts import Part
from ..networks.base import SpectrumNetwork
from ..networks.training import evaluate
from .calibration import SIGNALS, Calibration, fit_gaussians, fit_temperature, label_threshold, scores
from .signals import signal_values
from .weights import Weights

COVERAGE = 0.9
REPEATS = 8
"""Noisy copies of each held-back image for the temperature and the label sets."""


def _repeat(part: Part, times: int) -> Part:
    images, labels, parameters = (np.concatenate([a] * times) for a in (part.images, part.labels, part.parameters))
    targets = None if part.targets is None else np.concatenate([part.targets] * times)
    return replace(part, images=images, labels=labels, parameters=parameters, targets=targets)


def calibrate(
    network: SpectrumNetwork, train: Part, held_back: Part, coverages: torch.Tensor, seed: int
) -> Calibration:
    """Calibrate on held-back simulations: probabilities with measurement-like noise, signals with that of training.

    Parameters
    ----------
    train : Part
        For the Gaussians of the features.
    held_back : Part
        Seen by neither training nor stopping, and not reported on.
    """
    seen = evaluate(network, train, coverages, MEASUREMENT_LIKE, seed + 11)
    classes = seen.output.scores.shape[1]
    means, precision = fit_gaussians(seen.output.features.numpy().astype(float), seen.labels.numpy(), classes)
    repeated = _repeat(held_back, REPEATS)
    fresh = evaluate(network, repeated, coverages, MEASUREMENT_LIKE, seed + 12)
    temperature = fit_temperature(fresh.output.logits, fresh.labels)
    draft = Calibration(temperature, 0.0, COVERAGE, means, precision, np.zeros((0, len(SIGNALS))))
    probabilities = draft.probabilities(fresh.output.logits.numpy().astype(float))
    threshold = label_threshold(probabilities, fresh.labels.numpy(), COVERAGE)
    usual = evaluate(network, repeated, coverages, Nuisance(), seed + 13)
    return replace(draft, label_threshold=threshold, held_back=signal_values(draft, usual.output))


def _stretched(images: NDArray[np.float16]) -> NDArray[np.float16]:
    """The middle half of the last axis of Q that has more than one point, each point twice."""
    axis = 4 if images.shape[4] > 1 else 3
    n = images.shape[axis]
    return images.take(n // 4 + np.arange(n) // 2, axis)


UNSEEN: dict[str, Callable[[NDArray[np.float16]], NDArray[np.float16]]] = {
    "runs in reverse order": lambda images: images[:, ::-1],
    "energies in reverse order": lambda images: images[:, :, ::-1],
    "bright and dark exchanged": lambda images: images.max((3, 4), keepdims=True) - images,
    "last axis stretched twofold": _stretched,
}
"""Foreign images of families that training has not seen, made from the test part; keys say how.

Those that leave a study's images as they are, such as runs in reverse order where there is one, do not count.
"""


def foreign_report(weights: Weights, test: Part, coverages: torch.Tensor, seed: int) -> dict[str, dict[str, float]]:
    """How well foreign inputs of unseen families are told from the test part, with measurement-like noise.

    Returns
    -------
    dict
        For each family the area under the ROC curve of the p-value and the share with a p-value below 0.01; under
        "test part" the share of those (which ought to be 0.01).
    """
    found = evaluate(weights.network, test, coverages, MEASUREMENT_LIKE, seed + 31)
    own = weights.calibration.p_values(signal_values(weights.calibration, found.output))[1]
    out = {"test part": {"below_0.01": float(np.mean(own < 0.01))}}
    for name, change in UNSEEN.items():
        part = replace(test, images=np.ascontiguousarray(change(test.images)))
        if np.array_equal(part.images, test.images):
            continue
        strange = evaluate(weights.network, part, coverages, MEASUREMENT_LIKE, seed + 32)
        p = weights.calibration.p_values(signal_values(weights.calibration, strange.output))[1]
        area = stats.mannwhitneyu(own, p).statistic / (len(own) * len(p))
        out[name] = {"auroc": float(area), "below_0.01": float(np.mean(p < 0.01))}
    return out


def report_card(weights: Weights, test: Part, coverages: torch.Tensor, seed: int) -> dict[str, Any]:
    """Figures of merit on the test part, without noise and with measurement-like noise."""
    out: dict[str, Any] = {}
    for name, nuisance in (("clean", CLEAN), ("measurement_like", MEASUREMENT_LIKE)):
        found = evaluate(weights.network, test, coverages, nuisance, seed + 21)
        probabilities = weights.calibration.probabilities(found.output.logits.numpy().astype(float))
        result = scores(
            found.output.scores.numpy(), probabilities, found.labels.numpy(), weights.calibration.label_threshold
        )
        out[name] = asdict(result)
    return out


def shared_report(weights: Weights, test: Part, coverages: torch.Tensor, seed: int) -> dict[str, float]:
    """What label sets say of spectra that several models share, with measurement-like noise.

    Returns
    -------
    dict
        ``n``, and under ``all_named`` the share of label sets that name every model that could have made them.
    """
    found = evaluate(weights.network, test, coverages, MEASUREMENT_LIKE, seed + 41)
    probabilities = weights.calibration.probabilities(found.output.logits.numpy().astype(float))
    named = probabilities >= weights.calibration.label_threshold
    possible = np.eye(probabilities.shape[1])[test.labels] if test.targets is None else test.targets
    return {"n": len(test.labels), "all_named": float(np.mean((named >= (possible > 0)).all(1)))}
