"""Calibrating a trained network on simulations it has not seen, and scoring it on others."""

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import scipy
import torch
from numpy.typing import NDArray

from ..dataset.noise import CLEAN, MEASUREMENT_LIKE, Nuisance
from ..dataset.parts import Part
from ..networks.base import SpectrumNetwork
from ..networks.posterior import Trunk
from ..networks.training import evaluate
from ..views import View
from .calibration import (
    FIRST_SIGNALS,
    OF_MATCH,
    Calibration,
    among_as_noisy,
    conformal_threshold,
    fit_gaussians,
    fit_temperature,
    label_threshold,
    reliability,
    scores,
)
from .emulator import Emulator, fit_emulator
from .manifold import Manifold, rounded, trunk_features
from .reconstruction import fit_reconstruction
from .signals import observe
from .weights import Weights

COVERAGE = 0.9
REPEATS = 8
"""Noisy copies of each held-back image for the temperature and the label sets."""
SIGNAL_COPIES, SIGNAL_REPEATS = 2000, 4
"""About so many noisy copies of held-back images for the signals, and at most so many of each image."""
LESS_NOISE = 4
"""The signals are measured down to so many times less noise than there was in training, for cleaned spectra."""
FOREIGN_IMAGES = 200
"""At most so many images of the test part are made foreign for the report."""


def _repeat(part: Part, times: int) -> Part:
    images, labels, parameters = (np.concatenate([a] * times) for a in (part.images, part.labels, part.parameters))
    targets = None if part.targets is None else np.concatenate([part.targets] * times)
    return replace(part, images=images, labels=labels, parameters=parameters, targets=targets)


def chosen(part: Part, number: int) -> Part:
    """At most so many images of a part, evenly chosen."""
    index = np.unique(np.linspace(0, len(part.labels) - 1, number).astype(int))
    targets = None if part.targets is None else part.targets[index]
    return replace(
        part, images=part.images[index], labels=part.labels[index], parameters=part.parameters[index], targets=targets
    )


def calibrate(
    network: SpectrumNetwork,
    train: Part,
    held_back: Part,
    coverages: torch.Tensor,
    seed: int,
    view: View,
    nuisance: Nuisance | None = None,
    shared: Part | None = None,
    trunk: Trunk | None = None,
    emulator: Emulator | bool = True,
) -> Calibration:
    """Calibrate on held-back simulations with the nuisances of training and the noise of a measurement.

    Parameters
    ----------
    train : Part
        For the Gaussians of the features, and what spectra are made of.
    held_back : Part
        Seen by neither training nor stopping, and not reported on.
    nuisance : Nuisance
        What the network was trained with.
    shared : Part, optional
        Held-back spectra that several models share: label sets then promise to name all of them, too.
    trunk : Trunk, optional
        Of a posterior trained on the same set: the distance from simulations takes the place of the feature distance.
    emulator : Emulator or bool
        That of the training set if it has been learnt before; else whether to learn one, where there are enough spectra
        of each class.
    """
    nuisance = nuisance or Nuisance()
    trunk = None if trunk is None else rounded(trunk)
    of_trunk: list[NDArray] = []

    def watch(measured: torch.Tensor, valid: torch.Tensor) -> None:
        if trunk is not None:
            of_trunk.append(trunk_features(trunk, measured, valid))

    seen = evaluate(network, train, coverages, nuisance.measured, seed + 11, watch)
    classes = seen.output.scores.shape[1]
    means, precision = fit_gaussians(seen.output.features.numpy().astype(float), seen.labels.numpy(), classes)
    fresh = evaluate(network, _repeat(held_back, REPEATS), coverages, nuisance.measured, seed + 12)
    temperature = fit_temperature(fresh.output.logits, fresh.labels)
    manifold = None
    if trunk is not None:
        references = np.concatenate([np.concatenate(of_trunk), seen.output.features.numpy()], 1)
        manifold = Manifold(trunk, references.astype(np.float16).astype(np.float32))
    learnt = fit_emulator(view, train, classes, seed) if emulator is True else emulator or None
    signals = _signals(manifold, learnt, fresh.output.disagreement is not None)
    reconstruction = fit_reconstruction(view, train.images, seed)
    none = np.zeros((0, len(signals)))
    draft = Calibration(temperature, 0.0, COVERAGE, means, precision, none, signals, reconstruction, manifold, learnt)
    probabilities = draft.probabilities(fresh.output.logits.numpy().astype(float))
    threshold = label_threshold(probabilities, fresh.labels.numpy(), COVERAGE, REPEATS)
    if shared is not None:
        threshold = min(threshold, _shared_threshold(network, draft, shared, coverages, nuisance.measured, seed))
    usual = replace(nuisance, noise=(nuisance.noise[0] / LESS_NOISE, nuisance.noise[1]))
    repeats = min(SIGNAL_REPEATS, max(1, round(SIGNAL_COPIES / len(held_back.labels))))
    values, noise = observe(network, draft, _repeat(held_back, repeats), coverages, usual, seed + 13)[1:]
    together = None if noise is None else among_as_noisy(values, noise)
    return replace(draft, label_threshold=threshold, held_back=values, noise=noise, together=together)


def _signals(manifold: Manifold | None, emulator: Emulator | None, disagreement: bool) -> tuple[str, ...]:
    """What is measured of an input, by what there is to measure it with."""
    names = [*FIRST_SIGNALS, "unexplained_structure"]
    if manifold is not None:
        names = ["centroid_distance", "unexplained_structure", "distance_from_simulations"]
    if emulator is not None:
        names += OF_MATCH if len(emulator.components) > 1 else OF_MATCH[:-1]
    return (*names, "disagreement") if disagreement else tuple(names)


def _shared_threshold(
    network: SpectrumNetwork, draft: Calibration, shared: Part, coverages: torch.Tensor, nuisance: Nuisance, seed: int
) -> float:
    """From which probability all models must be named that share a spectrum, for the promised share of such spectra."""
    found = evaluate(network, _repeat(shared, REPEATS), coverages, nuisance, seed + 14)
    probabilities = draft.probabilities(found.output.logits.numpy().astype(float))
    least = np.where(_possible(_repeat(shared, REPEATS), probabilities.shape[1]), probabilities, 1.0).min(1)
    return conformal_threshold(least, COVERAGE, REPEATS)


def _possible(part: Part, classes: int) -> NDArray[np.bool_]:
    """Which models could have made each spectrum of a part, (n, classes)."""
    targets = np.eye(classes)[part.labels] if part.targets is None else part.targets
    return np.asarray(targets > 0)


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


RANDOM_MAGNETS = "random magnets"
"""Name of the family of magnets that are no candidate, :mod:`..dataset.random_magnets`."""


def _p_values(weights: Weights, part: Part, coverages: torch.Tensor, seed: int) -> NDArray[np.float64]:
    """P-values of the images of a part, with a measurement's noise."""
    observed = observe(weights.network, weights.calibration, part, coverages, MEASUREMENT_LIKE, seed)[1:]
    return weights.calibration.p_values(*observed)[1]


def foreign_report(
    weights: Weights, test: Part, coverages: torch.Tensor, seed: int, magnets: Part | None = None
) -> dict[str, dict[str, float]]:
    """How well foreign inputs of unseen families are told from the test part, with measurement-like noise.

    Parameters
    ----------
    magnets : Part, optional
        Random magnets that were left out of training.

    Returns
    -------
    dict
        For each family the area under the ROC curve of the p-value and the share with a p-value below 0.01; under
        "test part" the share of those (which ought to be 0.01).
    """
    own = _p_values(weights, test, coverages, seed + 31)
    out = {"test part": {"below_0.01": float(np.mean(own < 0.01))}}
    some = chosen(test, FOREIGN_IMAGES)
    parts = {n: replace(some, images=np.ascontiguousarray(change(some.images))) for n, change in UNSEEN.items()}
    parts = {name: part for name, part in parts.items() if not np.array_equal(part.images, some.images)}
    if magnets is not None:
        parts[f"{RANDOM_MAGNETS}, left out"] = replace(magnets, labels=np.zeros_like(magnets.labels))
    for name, part in parts.items():
        p = _p_values(weights, part, coverages, seed + 32)
        area = scipy.stats.mannwhitneyu(own, p).statistic / (len(own) * len(p))
        out[name] = {"auroc": float(area), "below_0.01": float(np.mean(p < 0.01))}
    return out


def report_card(weights: Weights, test: Part, coverages: torch.Tensor, seed: int) -> dict[str, Any]:
    """Figures of merit on the test part, without noise and with measurement-like noise.

    Where training left nuisances out, or had none but was not clean either, there is a third row: as in training.
    """
    conditions = {"clean": CLEAN, "measurement_like": MEASUREMENT_LIKE}
    trained = weights.nuisance.measured
    if trained not in conditions.values():
        conditions["as_trained"] = trained
    out: dict[str, Any] = {}
    for name, nuisance in conditions.items():
        found = evaluate(weights.network, test, coverages, nuisance, seed + 21)
        k = found.output.scores.numpy()
        probabilities = weights.calibration.probabilities(found.output.logits.numpy().astype(float))
        sets = weights.calibration.label_sets(probabilities, k)
        out[name] = asdict(scores(k, probabilities, found.labels.numpy(), sets))
    return out


def reliability_of(weights: Weights, test: Part, coverages: torch.Tensor, seed: int) -> dict[str, Any]:
    """Rows of :func:`.calibration.reliability` for the test part, without noise and with measurement-like noise."""
    out = {}
    for name, nuisance in (("clean", CLEAN), ("measurement_like", MEASUREMENT_LIKE)):
        found = evaluate(weights.network, test, coverages, nuisance, seed + 21)
        probabilities = weights.calibration.probabilities(found.output.logits.numpy().astype(float))
        out[name] = reliability(probabilities, found.labels.numpy())
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
    named = weights.calibration.label_sets(probabilities, found.output.scores.numpy())
    possible = _possible(test, probabilities.shape[1])
    return {"n": len(test.labels), "all_named": float(np.mean((named >= possible).all(1)))}


def instrument_report(weights: Weights, test: Part, coverages: torch.Tensor, seed: int) -> dict[str, Any]:
    """How weights do on spectra of an instrument that is not as stated.

    Returns
    -------
    dict
        ``scores`` as :func:`report_card` gives them, and the share with a p-value below 0.01, ``below_0.01``.
    """
    p = _p_values(weights, test, coverages, seed + 33)
    return {"scores": report_card(weights, test, coverages, seed), "below_0.01": float(np.mean(p < 0.01))}


def scored(
    weights: Weights,
    test: Part,
    coverages: torch.Tensor,
    seed: int,
    shared_test: Part | None = None,
    magnets: Part | None = None,
    misstated: Part | None = None,
) -> Weights:
    """Weights whose card tells how they do on the test part, on foreign inputs, and on spectra that models share.

    Also on those of an instrument that is not as stated, where there are such.
    """
    # what is not asked for now was true of another calibration
    kept = {k: v for k, v in weights.card.items() if k not in ("shared", "instrument")}
    card = kept | {"scores": report_card(weights, test, coverages, seed)}
    if misstated is not None:
        card["instrument"] = instrument_report(weights, misstated, coverages, seed)
    if shared_test is not None:
        card["shared"] = shared_report(weights, shared_test, coverages, seed)
    card["foreign"] = foreign_report(weights, test, coverages, seed, magnets)
    return replace(weights, card=card)
