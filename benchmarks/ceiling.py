"""How far noise alone limits any classifier: likelihoods with known parameters.

usage: python benchmarks/ceiling.py DATASET [--images 20] [--library 400] [--weights WEIGHTS [--asked 300]]

For test spectra of each model, the spectrum of another model (from the training part) that is hardest to tell from it
at the noise of a measurement, with a scale and a background free in every tile. If both were known the likelihood
ratio would be wrong with probability Phi(-d / 2), d the distance in units of the noise (level 1 of docs/noise.md, 81
% of the pixels seen). A library holds only so many spectra, the nearest there is farther than the nearest there could
be: what is printed is an upper bound of what any classifier can reach, and says how much of the errors is not the
noise's fault. The nearest of the same model's other spectra is printed beside it: where that is as far, the library
is too coarse to say more.

With weights: are their wrong answers where the models overlap? For test spectra that they name wrongly, and as many
that they name rightly, two distances from the models' overlap: in parameters (units of each prior's width; where the
study says that two models are one Hamiltonian), and of the spectrum from the one at the nearest such point, in units of
the noise. That one is a spectrum of the other model, so that the nearest of the other model is at most as far: the
library's distance without its coarseness. Then, for several distances, what the accuracy would be if all spectra nearer
to the overlap in parameters were told by the toss of a coin, and all others rightly.
"""

import argparse
from pathlib import Path

import numpy as np
from scipy import stats

from magnoscope.cli.datasets import study_of
from magnoscope.cli.trust import coverages_of
from magnoscope.dataset.noise import CLEAN, MEASUREMENT_LIKE
from magnoscope.dataset.parts import Part, attributes_of, load_part, open_set
from magnoscope.errors import InstabilityError
from magnoscope.networks.training import evaluate
from magnoscope.simulate import Simulator
from magnoscope.study import Study
from magnoscope.trust.held_back import chosen
from magnoscope.trust.weights import load_weights

SEEN = 0.81


def variance(image: np.ndarray) -> np.ndarray:
    """Mean variance of a tile at noise level 1, (runs, slices): the middle of what dataset/noise.py draws."""
    t = np.linspace(0, 1, image.shape[1])
    mean = image.mean((1, 2, 3))[:, None]
    sigma = 1.2 * np.exp(-1.0 * t)
    return 0.4 * sigma**2 * mean**2 * (image.mean((2, 3)) / np.maximum(mean, 1e-12) + 1)


def distances(image: np.ndarray, library: np.ndarray) -> np.ndarray:
    """Distance of a spectrum from each of a library (n, runs, slices, x, y), in units of the noise."""
    y = image - image.mean((2, 3), keepdims=True)
    x = library - library.mean((3, 4), keepdims=True)
    own, cross, other = (y**2).sum((2, 3)), (x * y).sum((3, 4)), (x**2).sum((3, 4))
    left = own - np.where(cross > 0, cross**2 / np.maximum(other, 1e-30), 0)
    return np.sqrt(SEEN * (left / np.maximum(variance(image), 1e-30)).sum((1, 2)).clip(0))


def of_class(part: Part, number: int, most: int) -> np.ndarray:
    index = np.flatnonzero(part.labels == number)[:most]
    return np.asarray(part.images[index], np.float32)


def overlap_point(study: Study, name: str, values: np.ndarray) -> tuple[float, np.ndarray]:
    """Distance from the nearest point at which models coincide, in widths of the priors, and the parameters there."""
    low, high = study.models[name].prior.T
    found = []
    for overlap in (o for o in study.overlaps if name in o.models):
        rows = overlap.rows[name]
        scaled = rows[:, :-1] / (high - low)[:, None]
        shared = np.linalg.lstsq(scaled, (values - rows[:, -1]) / (high - low), rcond=None)[0]
        there = overlap.values(name, shared.clip(*overlap.ranges.T))
        found.append((float(np.linalg.norm((values - there) / (high - low))), there))
    return min(found, key=lambda pair: pair[0])


def near_overlap(study: Study, dataset: Path, path: Path, test: Part, most: int) -> None:
    """Where wrong answers are, and what would follow if the overlap were to blame for them."""
    weights, _ = load_weights(path, study)
    test = chosen(test, most)
    values = []
    for label, scaled in zip(test.labels, test.parameters, strict=True):
        low, high = study.models[study.classes[label]].prior.T
        values.append(low + scaled[: len(low)].astype(float) * (high - low))
    points = [overlap_point(study, study.classes[c], v) for c, v in zip(test.labels, values, strict=True)]
    away = np.array([d for d, _ in points])
    simulator = Simulator(study, attributes_of(open_set(dataset))["resolution"])
    for title, nuisance in (("without noise", CLEAN), ("with noise like a measurement's", MEASUREMENT_LIKE)):
        output = evaluate(weights.network, test, coverages_of(study, weights.card), nuisance, 21).output
        right = output.scores.argmax(1).numpy() == test.labels
        print(f"{title}: accuracy {right.mean():.4f} ({(~right).sum()} of {len(right)} wrong)")
        wrong = np.flatnonzero(~right)
        others = np.random.default_rng(0).permutation(np.flatnonzero(right))[: max(len(wrong), 5)]
        for words, index in (("wrong", wrong), ("right", others)):
            far = [noise_distance(simulator, test, i, points[i][1]) for i in index]
            everywhere = away[~right] if words == "wrong" else away[right]
            print(
                f"  {words}: {spread_of(everywhere)} prior widths from the overlap (10, 50, 90 %); "
                f"{spread_of(np.array(far))} units of noise from the spectrum there ({len(far)} spectra)"
            )
        for limit in (0.02, 0.05, 0.1, 0.15):
            near = away < limit
            told = f"{right[near].mean():.3f}" if near.any() else "-"
            print(
                f"  nearer than {limit:.2f}: {near.sum()} spectra, {told} right, of the others "
                f"{right[~near].mean():.4f}; a coin for the near ones: {1 - near.mean() / 2:.4f}"
            )


def spread_of(numbers: np.ndarray) -> str:
    found = numbers[np.isfinite(numbers)]
    return ", ".join(f"{x:.3g}" for x in np.quantile(found, (0.1, 0.5, 0.9))) if len(found) else "none"


def noise_distance(simulator: Simulator, test: Part, index: int, values: np.ndarray) -> float:
    """Distance of a test spectrum from the one of its own model at other parameters; NaN where that is unstable."""
    try:
        other = simulator.signal(simulator.study.classes[test.labels[index]], values)
    except InstabilityError:
        return float("nan")
    return float(distances(np.asarray(test.images[index], np.float32), other[None].astype(np.float32))[0])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--images", type=int, default=20, help="test spectra of each model")
    parser.add_argument("--library", type=int, default=400, help="training spectra of each model")
    parser.add_argument("--weights", type=Path, help="look at their wrong answers")
    parser.add_argument("--asked", type=int, default=300, help="test spectra that they are asked about")
    arguments = parser.parse_args()
    study = study_of(arguments.dataset, None)
    train, test = (load_part(open_set(arguments.dataset), study, name) for name in ("train", "test"))
    libraries = [of_class(train, c, arguments.library) for c in range(len(study.classes))]
    some = chosen(test, arguments.images * len(study.classes))
    wrong, rows = [], []
    for image, label in zip(some.images, some.labels, strict=True):
        near = [float(distances(np.asarray(image, np.float32), library).min()) for library in libraries]
        other = min(d for c, d in enumerate(near) if c != label)
        wrong.append(stats.norm.sf(other / 2))
        rows.append((label, near[label], other))
    for c, name in enumerate(study.classes):
        own, other = np.array([row[1:] for row in rows if row[0] == c]).T
        print(
            f"{name}: nearest spectrum of another model at {np.quantile(other, 0.1):.0f}, {np.median(other):.0f}, "
            f"{np.quantile(other, 0.9):.0f} (10, 50, 90 %) in units of the noise; of its own "
            f"{np.quantile(own, 0.1):.0f}, {np.median(own):.0f}, {np.quantile(own, 0.9):.0f}"
        )
    print(f"accuracy that noise alone allows: at most {1 - np.mean(wrong):.4f} ({len(rows)} spectra)")
    if arguments.weights:
        near_overlap(study, arguments.dataset, arguments.weights, test, arguments.asked)


if __name__ == "__main__":
    main()
