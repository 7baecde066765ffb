"""Three rules for label sets on one test part: coverage, empty sets, and what becomes of undecided inputs.

usage: python benchmarks/label_sets.py WEIGHTS DATASET [--copies 8]

Compared are the bare split-conformal threshold on the true class' probability (Sadinle et al. 2019), adaptive sets with
randomisation (Romano, Sesia and Candes 2020), both calibrated on the calibration part for exactly 0.90, and the
program's. Every image is used with that many draws of measurement-like noise. "undecided" are inputs whose most likely
class has a probability below 0.9; "dropped" is the share of sets that lack the most likely class, "sure and empty" the
share of empty sets among inputs with a probability above 0.99.
"""

import argparse
from pathlib import Path

import numpy as np

from magnoscope.cli.datasets import study_of
from magnoscope.cli.trust import coverages_of
from magnoscope.dataset.noise import MEASUREMENT_LIKE
from magnoscope.dataset.parts import load_part, open_set
from magnoscope.networks.training import evaluate
from magnoscope.trust.calibration import conformal_threshold, interval
from magnoscope.trust.weights import load_weights

COVERAGE = 0.9


def adaptive_scores(p: np.ndarray, lot: np.ndarray) -> np.ndarray:
    """Score of every class, (n, classes): probability of all more likely ones, and a drawn share of its own."""
    order = np.argsort(-p, 1)
    ranked = np.take_along_axis(p, order, 1)
    before = np.cumsum(ranked, 1) - ranked
    out = np.empty_like(p)
    np.put_along_axis(out, order, before + lot[:, None] * ranked, 1)
    return out


def told(name: str, sets: np.ndarray, p: np.ndarray, labels: np.ndarray, copies: int) -> None:
    n = len(labels)
    covered, top = sets[np.arange(n), labels], p.max(1)
    undecided, sure = top < COVERAGE, top > 0.99
    low, high = interval(round(covered.mean() * n / copies), n // copies)
    empty = sets.sum(1) == 0
    print(
        f"{name:>28}: coverage {covered.mean():.3f} (binomial {low:.3f} to {high:.3f}), size {sets.sum(1).mean():.3f}, "
        f"empty {empty.mean():.3f}, dropped {1 - sets[np.arange(n), p.argmax(1)].mean():.3f}, sure and empty "
        f"{empty[sure].mean() if sure.any() else np.nan:.3f}, coverage of undecided "
        f"{covered[undecided].mean() if undecided.any() else np.nan:.3f} ({undecided.sum()} inputs)"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("weights", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--copies", type=int, default=8)
    arguments = parser.parse_args()
    study = study_of(arguments.dataset, None)
    weights, _ = load_weights(arguments.weights, study)
    coverages, found = coverages_of(study, weights.card), {}
    for name in ("calibration", "test"):
        part = load_part(open_set(arguments.dataset), study, name)
        drawn = [evaluate(weights.network, part, coverages, MEASUREMENT_LIKE, 500 + i) for i in range(arguments.copies)]
        logits = np.concatenate([d.output.logits.numpy() for d in drawn]).astype(float)
        k = np.concatenate([d.output.scores.numpy() for d in drawn])
        found[name] = weights.calibration.probabilities(logits), k, np.tile(part.labels, arguments.copies)
    p, _, labels = found["calibration"]
    rng, n = np.random.default_rng(0), len(labels)
    own = conformal_threshold(p[np.arange(n), labels], COVERAGE, arguments.copies)
    adaptive = -conformal_threshold(
        -adaptive_scores(p, rng.uniform(size=n))[np.arange(n), labels], COVERAGE, arguments.copies
    )
    p, k, labels = found["test"]
    accuracy = (k.argmax(1) == labels).mean()
    print(f"accuracy {accuracy:.3f}; {len(labels) // arguments.copies} images, {arguments.copies} draws of noise each")
    told("bare threshold", p >= own, p, labels, arguments.copies)
    told("adaptive, randomised", adaptive_scores(p, rng.uniform(size=len(p))) <= adaptive, p, labels, arguments.copies)
    told("magnoscope", weights.calibration.label_sets(p, k), p, labels, arguments.copies)


if __name__ == "__main__":
    main()
