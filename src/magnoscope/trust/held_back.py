"""Calibrating a trained network on simulations it has not seen, and scoring it on others."""

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..dataset.noise import CLEAN, MEASUREMENT_LIKE, Nuisance, degrade
from ..dataset.store import Part
from ..networks.compact import CompactNetwork
from ..networks.training import evaluate
from ..simulate import Simulator
from ..spectrum import Spectrum
from .best_match import best_match
from .calibration import Calibration, fit_gaussians, fit_temperature, label_threshold, scores
from .signals import run_network, signal_values
from .weights import Weights

COVERAGE = 0.9
REPEATS = 4
"""Noisy copies of each held-back image for the temperature and the label sets."""


def _repeat(part: Part, times: int) -> Part:
    return Part(*(np.concatenate([a] * times) for a in (part.images, part.labels, part.parameters)))


def calibrate(
    network: CompactNetwork,
    train: Part,
    held_back: Part,
    coverages: torch.Tensor,
    simulator: Simulator,
    seed: int,
    matched: int = 200,
    report: Callable[[str], None] = print,
) -> Calibration:
    """Calibrate on held-back simulations: probabilities with measurement-like noise, signals with that of training.

    Parameters
    ----------
    train : Part
        For the Gaussians of the features.
    held_back : Part
        Seen by neither training nor stopping, and not reported on.
    matched : int
        How many held-back images get a best simulated match (about two seconds each).
    """
    seen = evaluate(network, train, coverages, MEASUREMENT_LIKE, seed + 11)
    classes = seen.output.scores.shape[1]
    means, precision = fit_gaussians(seen.output.features.numpy().astype(float), seen.labels.numpy(), classes)
    fresh = evaluate(network, _repeat(held_back, REPEATS), coverages, MEASUREMENT_LIKE, seed + 12)
    temperature = fit_temperature(fresh.output.logits, fresh.labels)
    draft = Calibration(temperature, 0.0, COVERAGE, means, precision, np.zeros((0, 3)))
    probabilities = draft.probabilities(fresh.output.logits.numpy().astype(float))
    threshold = label_threshold(probabilities, fresh.labels.numpy(), COVERAGE)
    draft = replace(draft, label_threshold=threshold)
    signals = held_back_signals(network, draft, held_back, coverages, simulator, seed + 13, matched, report)
    return replace(draft, held_back=signals)


def held_back_signals(
    network: CompactNetwork,
    calibration: Calibration,
    part: Part,
    coverages: torch.Tensor,
    simulator: Simulator,
    seed: int,
    matched: int,
    report: Callable[[str], None] = print,
) -> NDArray[np.float64]:
    """Signals of held-back images with the nuisances of training, (matched, 3), classes in turn."""
    generator = torch.Generator().manual_seed(seed)
    order = np.argsort(np.arange(len(part.labels)) % (len(part.labels) // (part.labels.max() + 1)), kind="stable")
    chosen = order[:matched]
    measured, valid = degrade(torch.as_tensor(part.images[chosen].astype(np.float32)), coverages, Nuisance(), generator)
    weights = Weights(network, calibration, {})
    features, k, matches = [], [], []
    for i in range(len(chosen)):
        spectrum = Spectrum(simulator.study, measured[i].numpy().astype(float), valid[i].numpy())
        output = run_network(weights, spectrum)
        features.append(output.features[0].numpy().astype(float))
        k.append(output.scores[0].numpy().astype(float))
        matches.append(
            {
                name: best_match(simulator, spectrum, name, output.parameters[0, c].numpy().astype(float))
                for c, name in enumerate(simulator.study.classes)
            }
        )
        if (i + 1) % 25 == 0:
            report(f"{i + 1} of {len(chosen)} held-back images matched")
    return signal_values(calibration, np.stack(features), np.stack(k), matches)


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
