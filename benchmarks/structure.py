"""What in a measurement takes K off: structure in Q that no simulation has, or the noise.

usage: python benchmarks/structure.py FOLDER [WEIGHTS ...] [--set NAME=VALUE ...]

FOLDER holds measured.npy, as `magnoscope fetch` writes it. The first model of the worked study is simulated at its
reference values, or those of --set, and its scale and an offset are fitted to each tile. Printed is K of this model,
the median and the range of ten: for degraded simulations, for the measurement as it is and without the smooth part of
what the fit leaves, and for the fit with that in disorder, as noise is, with and without the smooth part on top.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from magnoscope.dataset.noise import MEASUREMENT_LIKE, degrade, run_means
from magnoscope.io.images import read_spectrum
from magnoscope.simulate import Simulator
from magnoscope.spectrum import Spectrum
from magnoscope.studies import load_study
from magnoscope.trust.signals import run_network
from magnoscope.trust.weights import load_weights, shipped_weights

DRAWS, FEWEST = 10, 100
SMOOTH = (1.5, 3.0, 6.0)
"""Pixels."""


def fitted(measured: np.ndarray, valid: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """The simulation with a scale, not below zero, and an offset fitted to each tile; the measurement where few see."""
    model = np.where(valid, measured, 0)
    for place in np.ndindex(*measured.shape[:2]):
        seen = valid[place]
        if seen.sum() >= FEWEST:
            design = np.stack([clean[place][seen], np.ones(seen.sum())], 1)
            scale, offset = np.linalg.lstsq(design, measured[place][seen], rcond=None)[0]
            model[place][seen] = max(scale, 0) * clean[place][seen] + offset
    return model


def disordered(left: np.ndarray, model: np.ndarray, valid: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What is left, its values exchanged among pixels of a tile where the model is about as bright."""
    out = np.zeros(left.shape)
    for place in np.ndindex(*left.shape[:2]):
        seen = np.flatnonzero(valid[place])
        order = seen[np.argsort(model[place].ravel()[seen] + 1e-6 * rng.standard_normal(len(seen)))]
        for like in np.array_split(order, max(1, len(order) // 40)):
            out[place].ravel()[like] = left[place].ravel()[rng.permutation(like)]
    return out


def smoothed(left: np.ndarray, valid: np.ndarray, pixels: float) -> np.ndarray:
    """The smooth part of what is left, where there are detectors."""
    width = (0, 0, pixels, pixels)
    share = np.maximum(gaussian_filter(valid.astype(float), width), 0.2)
    return np.where(valid, gaussian_filter(np.where(valid, left, 0), width) / share, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("weights", nargs="*", type=Path)
    parser.add_argument("--set", nargs="+", default=[])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    study, rng = load_study("pcsmo"), np.random.default_rng(0)
    name = study.classes[0]
    values = {key: float(value) for key, value in (item.split("=") for item in arguments.set)}
    clean = Simulator(study, "montecarlo")(name, values).signal
    spectrum = read_spectrum(arguments.folder / "measured.npy", study)
    valid = spectrum.valid
    seen = torch.as_tensor(np.ascontiguousarray(valid))[None]
    means = run_means(torch.as_tensor(np.where(valid, spectrum.signal, 0))[None], seen)[0].numpy()
    measured = np.where(valid, spectrum.signal / means, 0)
    model = fitted(measured, valid, np.nan_to_num(clean))
    left = measured - model
    draws = torch.as_tensor(np.nan_to_num(clean), dtype=torch.float32).expand(DRAWS, *clean.shape)
    nuisance = MEASUREMENT_LIKE.without("mirrors")
    simulated = degrade(draws, seen, nuisance, torch.Generator().manual_seed(0))[0].double().numpy()
    noise = [disordered(left, model, valid, rng) for _ in range(DRAWS)]
    images = {
        "simulated": list(simulated),
        "measured": [measured],
        "fit, what is left in disorder": [model + one for one in noise],
    }
    for pixels in SMOOTH:
        smooth = smoothed(left, valid, pixels)
        images[f"measured, less what is smooth over {pixels:g} pixels"] = [measured - smooth]
        images[f"fit, in disorder, with what is smooth over {pixels:g}"] = [model + one + smooth for one in noise]
    for path in arguments.weights or [shipped_weights(study)]:
        weights = load_weights(path, study)[0]
        print(path.name)
        for what, some in images.items():
            shown = [Spectrum(study, np.where(valid, np.maximum(image, 0), np.nan), valid) for image in some]
            k = [float(run_network(weights, one).scores[0, 0]) for one in shown]
            print(f"  {what}: K {np.median(k):.3f} ({min(k):.3f} to {max(k):.3f})")


if __name__ == "__main__":
    main()
