"""What in a measurement takes K off: the instrument, structure in Q that no simulation has, or the noise.

usage: python benchmarks/structure.py FOLDER [WEIGHTS ...] [--set NAME=VALUE ...] [--fits compare.json]

FOLDER holds measured.npy, as `magnoscope fetch` writes it. The first model of the worked study is simulated at its
reference values, those of --set, or those that `magnoscope compare --json` found, then also with the instrument as it
found it; scale and offset are fitted to each tile. Printed is K of this model, the median and the range of ten: for
degraded simulations, for the measurement as it is and without the smooth part of what the fit leaves, and for the fit
with that in disorder, as noise is, with and without the smooth part on top.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from magnoscope.dataset.noise import MEASUREMENT_LIKE, degrade, run_means
from magnoscope.estimate.responses import Simulators
from magnoscope.instrument_errors import errors_of
from magnoscope.io.images import read_spectrum
from magnoscope.simulate import Simulator
from magnoscope.spectrum import Spectrum
from magnoscope.studies import load_study
from magnoscope.study import Study
from magnoscope.trust.signals import run_network
from magnoscope.trust.weights import load_weights, shipped_weights

DRAWS, FEWEST = 10, 100
SMOOTH = (1.5, 3.0, 6.0)
"""Pixels."""
LEFT = "fit, what is left in disorder"


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


def simulations(study: Study, name: str, given: list[str], fits: Path | None) -> dict[str, np.ndarray]:
    """The model's spectrum with the instrument as stated, and where fits are given as they found it."""
    values = {key: float(value) for key, value in (item.split("=") for item in given)}
    if fits is None:
        return {"as stated": Simulator(study, "montecarlo")(name, values).signal}
    found = json.loads(fits.read_text("utf-8"))["fits"][name]
    parameters = np.array([found["parameters"][p.name]["mean"] for p in study.models[name].parameters])
    errors, member = errors_of(study)
    assert [error.name for error in errors] == [one["name"] for one in found["instrument"]]
    amounts = np.einsum("e,ekr->kr", [one["size"] for one in found["instrument"]], member)
    simulators = Simulators(study, "montecarlo")
    chosen = {"as stated": np.zeros_like(amounts), "as fitted": amounts}
    return {which: simulators.about(sizes).signal(name, parameters) for which, sizes in chosen.items()}


def images_of(
    clean: np.ndarray, measured: np.ndarray, valid: np.ndarray, seen: torch.Tensor
) -> dict[str, list[np.ndarray]]:
    """What networks are asked of, by what it is."""
    rng = np.random.default_rng(0)
    model = fitted(measured, valid, clean)
    left = measured - model
    draws = torch.as_tensor(clean, dtype=torch.float32).expand(DRAWS, *clean.shape)
    nuisance = MEASUREMENT_LIKE.without("mirrors")
    simulated = degrade(draws, seen, nuisance, torch.Generator().manual_seed(0))[0].double().numpy()
    noise = [disordered(left, model, valid, rng) for _ in range(DRAWS)]
    whole, alone = rms(left, valid), rms(noise[0], valid)
    print(f"  smooth part of what the fit leaves: {whole:.3f}; of the same in disorder {alone:.3f}")
    out = {"simulated": list(simulated), "measured": [measured], LEFT: [model + one for one in noise]}
    for pixels in SMOOTH:
        smooth = smoothed(left, valid, pixels)
        out[f"measured, less what is smooth over {pixels:g} pixels"] = [measured - smooth]
        out[f"fit, in disorder, with what is smooth over {pixels:g}"] = [model + one + smooth for one in noise]
    return out


def rms(left: np.ndarray, valid: np.ndarray) -> float:
    """Square root of the mean square of what is smooth over the middle number of pixels, in means of runs."""
    return float(np.sqrt(np.mean(smoothed(left, valid, SMOOTH[1])[valid] ** 2)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("weights", nargs="*", type=Path)
    parser.add_argument("--set", nargs="+", default=[])
    parser.add_argument("--fits", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    study = load_study("pcsmo")
    spectrum = read_spectrum(arguments.folder / "measured.npy", study)
    valid = spectrum.valid
    seen = torch.as_tensor(np.ascontiguousarray(valid))[None]
    means = run_means(torch.as_tensor(np.where(valid, spectrum.signal, 0))[None], seen)[0].numpy()
    measured = np.where(valid, spectrum.signal / means, 0)
    networks = {path.name: load_weights(path, study)[0] for path in arguments.weights or [shipped_weights(study)]}
    for which, clean in simulations(study, study.classes[0], arguments.set, arguments.fits).items():
        print(f"the instrument {which}")
        images = images_of(np.nan_to_num(clean), measured, valid, seen)
        for name, weights in networks.items():
            print(f"  {name}")
            for what, some in images.items():
                shown = [Spectrum(study, np.where(valid, np.maximum(image, 0), np.nan), valid) for image in some]
                k = [float(run_network(weights, one).scores[0, 0]) for one in shown]
                print(f"    {what}: K {np.median(k):.3f} ({min(k):.3f} to {max(k):.3f})")


if __name__ == "__main__":
    main()
