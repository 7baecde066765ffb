"""A noisy simulation beside a measurement: zeros, intensities of each slice, correlation of neighbouring pixels.

usage: MAGNOSCOPE_DATA=FOLDER python benchmarks/noise.py [--draws 40] [--figure docs/figures/noise.png]

Simulates the worked study at the reference values of its first model, degrades it with noise at level 1 and the mask of
the measurement, and prints, run by run, the share of zeros, the mean correlation of neighbouring pixels, the noise over
the mean, the structure that the simulation leaves unexplained, and the share of pixels with a detector; for the
simulation the range over draws. The figure adds histograms.
Nothing is fitted and no network is asked.
"""

import argparse
import os
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import torch
from structure import fitted, smoothed

from magnoscope.dataset.coverage import MILD, random_coverage
from magnoscope.dataset.noise import MEASUREMENT_LIKE, degrade
from magnoscope.io.images import read_spectrum
from magnoscope.simulate import Simulator
from magnoscope.studies import load_study
from magnoscope.trust.match import tile_noise

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402


def zeros(image: np.ndarray) -> np.ndarray:
    """Share of zeros among valid pixels, (runs, slices)."""
    return (image == 0).sum((2, 3)) / np.isfinite(image).sum((2, 3))


def neighbours(image: np.ndarray) -> np.ndarray:
    """Correlation of each pixel with the next one, both axes together, (runs, slices)."""
    out = np.full(image.shape[:2], np.nan)
    for place in np.ndindex(*out.shape):
        tile = image[place]
        pairs = [(tile[1:].ravel(), tile[:-1].ravel()), (tile[:, 1:].ravel(), tile[:, :-1].ravel())]
        a, b = (np.concatenate(side) for side in zip(*pairs, strict=True))
        both = np.isfinite(a) & np.isfinite(b)
        out[place] = np.corrcoef(a[both], b[both])[0, 1]
    return out


def bright(image: np.ndarray) -> np.ndarray:
    """Intensity that nine in ten pixels of a slice stay below, over the run's mean, (runs, slices)."""
    return np.nanquantile(image, 0.9, axis=(2, 3)) / np.nanmean(image, (1, 2, 3))[:, None]


def noise_over_mean(image: np.ndarray) -> np.ndarray:
    """Noise of each tile over the run's mean, (runs, slices)."""
    noise = [[tile_noise(tile, np.isfinite(tile)) for tile in run] for run in image]
    return np.array(noise) / np.nanmean(image, (1, 2, 3))[:, None]


def structure_left(image: np.ndarray, clean: np.ndarray, seed: int = 0) -> np.ndarray:
    """Smooth structure that a simulation, its scale and offset free in each tile, leaves over the run's mean.

    Standard deviation of the residual smoothed over three pixels, less what the same values in disorder have,
    (runs, slices); nan where few pixels are seen.
    """
    rng, seen = np.random.default_rng(seed), np.isfinite(image)
    left = image - fitted(image, seen, clean)
    shuffled = np.zeros(image.shape)
    for place in np.ndindex(*image.shape[:2]):
        shuffled[place][seen[place]] = rng.permutation(left[place][seen[place]])
    ordered, mixed = (np.where(seen, smoothed(part, seen, 3), np.nan) for part in (left, shuffled))
    structure = np.sqrt(np.maximum(np.nanvar(ordered, (2, 3)) - np.nanvar(mixed, (2, 3)), 0))
    return np.where(seen.sum((2, 3)) < 200, np.nan, structure) / np.nanmean(image, (1, 2, 3))[:, None]


def show(what: str, measured: np.ndarray, simulated: np.ndarray) -> None:
    """Means over the slices of each run, and the range of nine in ten draws."""
    low, high = np.quantile(simulated, [0.05, 0.95], axis=0)
    rows = [f"{m:.2f} ({lo:.2f} to {hi:.2f})" for m, lo, hi in zip(measured, low, high, strict=True)]
    inside = int(((measured >= low) & (measured <= high)).sum())
    print(f"{what}: {', '.join(rows)}; {inside} of {len(rows)} runs within")


def figure(path: Path, measured: np.ndarray, drawn: np.ndarray, energies: np.ndarray) -> None:
    runs = len(measured)
    plots, axes = plt.subplots(4, runs, figsize=(2.1 * runs, 7.5), sharey="row", layout="constrained")
    scaled = measured / np.nanmean(measured, (1, 2, 3), keepdims=True)
    draws = drawn / np.nanmean(drawn, (2, 3, 4), keepdims=True)
    edges = np.linspace(0, 5, 41)
    table = [f(measured) for f in (bright, zeros, neighbours)]
    tables = [np.stack([f(d) for d in drawn]) for f in (bright, zeros, neighbours)]
    for run in range(runs):
        top = axes[0, run]
        top.stairs(np.histogram(scaled[run], edges, density=True)[0], edges, color="k", label="measured")
        each = [np.histogram(d[run], edges, density=True)[0] for d in draws]
        low, high = np.quantile(each, [0.05, 0.95], axis=0)
        top.stairs(high, edges, baseline=low, fill=True, alpha=0.4, label="simulated, 9 in 10")
        top.set(yscale="log", ylim=(1e-3, 10), title=f"Ei {energies[run]:g} meV", xlabel="intensity / mean of run")
        for row, (m, s) in enumerate(zip(table, tables, strict=True), 1):
            low, high = np.quantile(s[:, run], [0.05, 0.95], axis=0)
            x = np.arange(len(low)) + 1
            axes[row, run].plot(x, m[run], "k.-")
            axes[row, run].fill_between(x, low, high, alpha=0.4)
            axes[row, run].set(xlabel="slice of energy", ylim=(0, 1) if row > 1 else (0, None))
    for row, label in enumerate(
        ("pixels (density)", "90 % of pixels below", "share of zeros", "neighbour correlation")
    ):
        axes[row, 0].set_ylabel(label)
    axes[0, 0].legend(fontsize=6)
    plots.savefig(path, dpi=80)
    plt.close(plots)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--draws", type=int, default=40)
    parser.add_argument("--figure", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    study = load_study("pcsmo")
    folder = Path(os.environ.get("MAGNOSCOPE_DATA") or Path(__file__).parents[2] / "shared" / "data")
    spectrum = read_spectrum(folder / "pcsmo" / "measured.npy", study)
    measured = np.where(spectrum.valid, spectrum.signal, np.nan)
    clean = torch.as_tensor(Simulator(study).reference(study.classes[0]), dtype=torch.float32)
    nuisance = replace(MEASUREMENT_LIKE, masks=False, mirrors=False)
    draws = clean[None].expand(arguments.draws, *clean.shape)
    noisy = degrade(draws, None, nuisance, torch.Generator().manual_seed(0))[0].numpy()
    drawn = np.where(spectrum.valid, noisy, np.nan)
    print(f"runs at Ei {', '.join(f'{run.ei:g}' for run in study.runs)} meV; measured (simulated, 9 of 10 draws)")
    show("share of zeros", zeros(measured).mean(1), np.stack([zeros(d).mean(1) for d in drawn]))
    show(
        "intensity nine in ten pixels stay below",
        bright(measured).mean(1),
        np.stack([bright(d).mean(1) for d in drawn]),
    )
    show("neighbour correlation", neighbours(measured).mean(1), np.stack([neighbours(d).mean(1) for d in drawn]))
    show("noise over mean", noise_over_mean(measured).mean(1), np.stack([noise_over_mean(d).mean(1) for d in drawn]))
    left = [structure_left(image, clean.numpy()) for image in (measured, *drawn)]
    show("structure left", np.nanmean(left[0], 1), np.nanmean(left[1:], 2))
    seen = spectrum.valid.mean((1, 2, 3))
    for name, law in (("pixels seen", None), ("pixels seen by the first, mild law", MILD)):
        show(name, seen, random_coverage(study, 200, 0, law).float().mean((2, 3, 4)).numpy())
    if arguments.figure:
        figure(arguments.figure, measured, drawn, np.array([run.ei for run in study.runs]))


if __name__ == "__main__":
    main()
