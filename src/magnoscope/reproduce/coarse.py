"""What the published study's coarse Gaussian does to band edges, and its aliasing, against the fine Gaussian."""

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..simulate import Sampling, Simulator
from ..study import Study

EDGE = 0.25
"""Share of a column's largest signal at which a band begins."""
FAINT = 1e-3
"""Slices and columns below this share of the run's largest are left out."""


@dataclass(frozen=True)
class EdgeShift:
    """A coarse image against a fine one, for one run.

    Attributes
    ----------
    ei : float
    intensity : (low, high)
        Of slices, over the fine image's.
    sharpness : (coarse, fine)
        Mean squared step between neighbouring pixels over mean squared signal.
    bottom, top : float or None
        How far the lowest and the highest energy at which a pixel has a quarter of its column's largest signal lie from
        those of the fine image, mean over pixels, meV; None where no column has both edges in view.
    pixels : int
    """

    ei: float
    intensity: tuple[float, float]
    sharpness: tuple[float, float]
    bottom: float | None
    top: float | None
    pixels: int


def _sharpness(tile: NDArray[np.float64]) -> float:
    steps = sum((np.diff(tile, axis=axis) ** 2).mean() for axis in (0, 1))
    return float(steps / (tile**2).mean())


def _top(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Highest place (in slices) at which each of columns (slices, n) has the share EDGE of its largest."""
    level = EDGE * columns.max(0)
    above = columns > level
    last = len(columns) - 1 - above[::-1].argmax(0)
    number = np.arange(columns.shape[1])
    beyond = np.minimum(last + 1, len(columns) - 1)
    high, low = columns[last, number], columns[beyond, number]
    part = np.where(beyond > last, (high - level) / np.maximum(high - low, 1e-30), 0)
    return np.asarray(last + part)


def edge_shifts(study: Study, coarse: NDArray[np.float64], fine: NDArray[np.float64]) -> list[EdgeShift]:
    """Compare images (runs, slices, x, y) run by run."""
    return [_shift(study, n, *pair) for n, pair in enumerate(zip(coarse, fine, strict=True))]


def _shift(study: Study, number: int, one: NDArray[np.float64], true: NDArray[np.float64]) -> EdgeShift:
    ei = study.runs[number].ei
    width = float(np.diff(study.view.energy_edges(ei))[0])
    sums = true.sum((1, 2))
    kept = (sums > FAINT * sums.max()) & (one.sum((1, 2)) > 0)
    ratio = one[kept].sum((1, 2)) / sums[kept]
    sharp = [float(np.mean([_sharpness(t) for t in image[kept]])) for image in (one, true)]
    columns = [image.reshape(len(image), -1) for image in (one, true)]
    strong = (columns[1].max(0) > 0.05 * columns[1].max()) & (columns[0].max(0) > 0)
    columns = [c[:, strong] for c in columns]
    # at the rim of the slices a band goes on: no edge
    inside = [(c[-1] < EDGE * c.max(0)) & (c[0] < EDGE * c.max(0)) for c in columns]
    both = inside[0] & inside[1]
    bottom = top = None
    if both.any():
        last = len(true) - 1
        top = float((_top(columns[0][:, both]) - _top(columns[1][:, both])).mean()) * width
        below = [last - _top(c[::-1][:, both]) for c in columns]
        bottom = float((below[0] - below[1]).mean()) * width
    intensity = (float(ratio.min()), float(ratio.max()))
    return EdgeShift(ei, intensity, (sharp[0], sharp[1]), bottom, top, int(both.sum()))


def coarse_images(study: Study, model: str, points: list[int]) -> dict[int, tuple[NDArray[np.float64], float]]:
    """Images at the reference values for each number of points along a slice's side, and their CPU-seconds."""
    out = {}
    for number in points:
        simulator = Simulator(study, "gaussian-coarse", Sampling(coarse_points=number))
        started = time.process_time()
        image = simulator.signal(model, study.model(model).reference)
        out[number] = (image, time.process_time() - started)
    return out


def aliasing(images: dict[int, NDArray[np.float64]]) -> dict[int, float]:
    """Relative L2 distance of each grid's image from that of the finest, each slice scaled to the same sum."""

    def scaled(image: NDArray[np.float64]) -> NDArray[np.float64]:
        return image / np.maximum(image.sum((2, 3), keepdims=True), 1e-30)

    last = scaled(images[max(images)])
    size = float((last**2).sum())
    return {
        points: float(np.sqrt(((scaled(image) - last) ** 2).sum() / size))
        for points, image in images.items()
        if points != max(images)
    }
