"""Where intensity of steep modes lands in a neighbouring slice, and why.

usage: python benchmarks/landing.py

First one spot whose energy follows x (correlation 0.9, 2.5 meV within a pixel, slices of 2 meV): the share that lies in
another pixel or slice than it should, cut as it is and with each pixel cut in 2, 4 and 8 along x. Then default images
of the worked study for its lowest and highest Ei, one thread, Gaussian: relative L2 distances from the same spots with
windows of 4 standard deviations in pixels and slices in place of 2.4; from a window of 7 slices alone; and, with those
wide windows, from pixels of half the size that are summed up again.
"""

from dataclasses import replace

import numpy as np
import torch
from scipy import stats

from magnoscope.machine import keep_memory
from magnoscope.resolution import landing
from magnoscope.resolution.landing import Bins, Spots, Tile
from magnoscope.simulate import Simulator
from magnoscope.studies import load_study

PIXEL, SLICE = 0.05, 2.0
SIGMA = (0.02, 0.03, 1.1)
FOLLOWS = 0.9
CENTRE = (0.013, -0.31, 17.3)
USUAL, WIDE = landing.REACH, 4.0
"""Standard deviations that a window reaches."""


def laid(parts: int) -> np.ndarray:
    """The spot in slices of pixels along x, (slices, x), each pixel cut in parts."""
    y, energy = Bins(-1.0, PIXEL, 40, 5), Bins(10.0, SLICE, 8, 5)
    tile = Tile(Bins(-1.0, PIXEL / parts, 40 * parts, 5 * parts | 1), y, energy)
    xe = FOLLOWS * SIGMA[0] * SIGMA[2]
    numbers = (*CENTRE, 1.0, SIGMA[0] ** 2, 0.0, SIGMA[1] ** 2, xe, 0.0, SIGMA[2] ** 2)
    buffer = tile.empty()
    tile.add(Spots(*(torch.tensor([v]) for v in numbers)), buffer)
    return tile.inner(buffer).numpy().sum(2).reshape(8, 40, parts).sum(2)


def exact() -> np.ndarray:
    """The same by integration along x."""
    step = PIXEL / 400
    x = -1 + (np.arange(40 * 400) + 0.5) * step
    weight = stats.norm(CENTRE[0], SIGMA[0]).pdf(x) * step
    energy = CENTRE[2] + FOLLOWS * SIGMA[2] / SIGMA[0] * (x - CENTRE[0])
    left = SIGMA[2] * (1 - FOLLOWS**2) ** 0.5
    edges = 10 + SLICE * np.arange(9)
    share = np.diff(stats.norm.cdf((edges[:, None] - energy) / left), axis=0)
    return (share * weight).reshape(8, 40, 400).sum(2)


def distance(image: np.ndarray, fine: np.ndarray) -> float:
    """Relative L2."""
    return float(np.linalg.norm(image - fine) / np.linalg.norm(fine))


def image_of(study, parts: int = 1, window: int | None = None) -> np.ndarray:
    """The image of a study's first model, each pixel cut in parts x parts, and summed up again."""
    axes = tuple(
        replace(
            axis,
            start=axis.start - axis.width / 2 + axis.width / (2 * parts),
            stop=axis.stop + axis.width / 2 - axis.width / (2 * parts),
            points=axis.points * parts,
        )
        for axis in study.maps.axes
    )
    simulator = Simulator(replace(study, view=replace(study.view, axes=axes)))
    if window is not None:
        for number, plan in enumerate(simulator._plans):
            energy = replace(plan.tile.energy, window=window)
            simulator._plans[number] = replace(plan, tile=replace(plan.tile, energy=energy))
    name = study.classes[0]
    signal = simulator.signal(name, study.models[name].reference)
    runs, slices, x, y = study.shape
    return signal.reshape(runs, slices, x, parts, y, parts).mean((3, 5))


def main() -> None:
    torch.set_num_threads(1)
    keep_memory()
    for parts in (1, 2, 4, 8):
        misplaced = np.abs(laid(parts) - exact()).sum() / 2
        print(f"one spot, pixels cut in {parts}: {misplaced:.4f} of it in the wrong place")
    whole = load_study("pcsmo")
    for run in (whole.runs[0], whole.runs[-1]):
        study = replace(whole, runs=(run,))
        landing.REACH = USUAL
        default, slices = image_of(study), image_of(study, window=7)
        landing.REACH = WIDE
        wide, halves = image_of(study), image_of(study, 2)
        print(
            f"Ei {run.ei:g} meV, from wide windows {distance(default, wide):.4f}, from 7 slices "
            f"{distance(default, slices):.4f}; wide windows from half pixels {distance(wide, halves):.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
