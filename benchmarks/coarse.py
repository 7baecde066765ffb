"""How the coarse Gaussian method of the published study fails, against the fine Gaussian.

usage: python benchmarks/coarse.py [--points 60 80 100 160]

At the reference parameters of the first model of the worked study. Prints for each run: intensity of the coarse image
over that of the fine one, lowest and highest slice; how sharp both are (mean squared step between neighbouring pixels
over mean squared signal, slice by slice, mean); and how far the lowest and the highest energy at which a pixel has a
quarter of its column's largest signal lie from those of the fine image (mean over pixels, meV; slices are interpolated
between their centres). Then the relative L2 distance of the images of other grids from that of the finest, each slice
scaled to the same sum, and CPU-seconds an image.
"""

import argparse
import time

import numpy as np
import torch

from magnoscope.simulate import Sampling, Simulator
from magnoscope.studies import load_study

EDGE = 0.25
"""Share of a column's largest signal at which a band begins."""
FAINT = 1e-3
"""Slices and columns below this share of the run's largest are left out."""


def sharpness(tile: np.ndarray) -> float:
    steps = sum((np.diff(tile, axis=axis) ** 2).mean() for axis in (0, 1))
    return float(steps / (tile**2).mean())


def top(columns: np.ndarray) -> np.ndarray:
    """Highest place (in slices) at which each of columns (slices, n) has the share EDGE of its largest."""
    level = EDGE * columns.max(0)
    above = columns > level
    last = len(columns) - 1 - above[::-1].argmax(0)
    number = np.arange(columns.shape[1])
    beyond = np.minimum(last + 1, len(columns) - 1)
    high, low = columns[last, number], columns[beyond, number]
    part = np.where(beyond > last, (high - level) / np.maximum(high - low, 1e-30), 0)
    return last + part


def failure(study, coarse: np.ndarray, fine: np.ndarray) -> None:
    for run, one, true in zip(study.runs, coarse, fine, strict=True):
        width = float(np.diff(study.view.energy_edges(run.ei))[0])
        sums = true.sum((1, 2))
        kept = sums > FAINT * sums.max()
        kept &= one.sum((1, 2)) > 0
        ratio = one[kept].sum((1, 2)) / sums[kept]
        sharp = [np.mean([sharpness(t) for t in image[kept]]) for image in (one, true)]
        columns = [image.reshape(len(image), -1) for image in (one, true)]
        strong = (columns[1].max(0) > 0.05 * columns[1].max()) & (columns[0].max(0) > 0)
        columns = [c[:, strong] for c in columns]
        # at the rim of the slices a band goes on: no edge
        inside = [(c[-1] < EDGE * c.max(0)) & (c[0] < EDGE * c.max(0)) for c in columns]
        both = inside[0] & inside[1]
        count, last = int(both.sum()), len(true) - 1
        tops = top(columns[0][:, both]) - top(columns[1][:, both]) if count else np.zeros(1)
        below = [last - top(c[::-1][:, both]) for c in columns] if count else [np.zeros(1)] * 2
        bottoms = below[0] - below[1]
        print(
            f"Ei {run.ei:g}: intensity {ratio.min():.2e} to {ratio.max():.2e} of the fine image's; sharpness "
            f"{sharp[0]:.3f} against {sharp[1]:.3f}; bottom {bottoms.mean() * width:+.2f}, "
            f"top {tops.mean() * width:+.2f} meV ({count} pixels)"
        )


def scaled(image: np.ndarray) -> np.ndarray:
    return image / np.maximum(image.sum((2, 3), keepdims=True), 1e-30)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--points", type=int, nargs="+", default=[60, 80, 100, 160])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    study = load_study("pcsmo")
    name = study.classes[0]
    reference = study.models[name].reference
    fine = Simulator(study, "gaussian").signal(name, reference)
    images = {}
    for points in arguments.points:
        simulator = Simulator(study, "gaussian-coarse", Sampling(coarse_points=points))
        started = time.process_time()
        images[points] = simulator.signal(name, reference)
        print(f"{points} x {points} points a slice: {time.process_time() - started:.1f} CPU-s", flush=True)
        if points == 80:
            failure(study, images[points], fine)
    last = max(images)
    for points, image in images.items():
        if points != last:
            away, size = (scaled(image) - scaled(images[last])) ** 2, scaled(images[last]) ** 2
            each = np.sqrt(away.sum((1, 2, 3)) / size.sum((1, 2, 3)))
            total = np.sqrt(away.sum() / size.sum())
            print(f"{points} from {last} points: {total:.3f}; by Ei " + " ".join(f"{d:.3f}" for d in each))


if __name__ == "__main__":
    main()
