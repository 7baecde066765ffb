"""How far noise alone limits any classifier: likelihoods with known parameters.

usage: python benchmarks/ceiling.py DATASET [--images 20] [--library 400]

For test spectra of each model, the spectrum of another model (from the training part) that is hardest to tell from it
at the noise of a measurement, with a scale and a background free in every tile. If both were known the likelihood
ratio would be wrong with probability Phi(-d / 2), d the distance in units of the noise (level 1 of docs/noise.md, 81
% of the pixels seen). A library holds only so many spectra, the nearest there is farther than the nearest there could
be: what is printed is an upper bound of what any classifier can reach, and says how much of the errors is not the
noise's fault. The nearest of the same model's other spectra is printed beside it: where that is as far, the library
is too coarse to say more.
"""

import argparse
from pathlib import Path

import numpy as np
from scipy import stats

from magnoscope.cli.datasets import study_of
from magnoscope.dataset.parts import Part, load_part, open_set
from magnoscope.trust.held_back import chosen

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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--images", type=int, default=20, help="test spectra of each model")
    parser.add_argument("--library", type=int, default=400, help="training spectra of each model")
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


if __name__ == "__main__":
    main()
