"""The score of simulations against the measured image, and the verdict on it under changes that must not matter.

usage: python benchmarks/measurement.py FOLDER [WEIGHTS]

FOLDER holds measured.npy and masked.npy, as `magnoscope fetch` writes them; the weights that ship are taken unless
others are named. Prints K of every model, and the p-value for being like training, with the signal that is least so.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from magnoscope.io.images import read_spectrum
from magnoscope.simulate import Simulator
from magnoscope.spectrum import Spectrum
from magnoscope.studies import load_study
from magnoscope.trust.match import tile_noise
from magnoscope.trust.signals import run_network, signal_values
from magnoscope.trust.weights import load_weights, shipped_weights


def tile_correlation(measured: Spectrum, simulated: np.ndarray, reference: np.ndarray) -> float:
    """Mean Pearson correlation over the tiles with signal, measured intensities clipped at 60."""
    found = []
    for r, s in np.argwhere((reference > 0.02 * reference.mean()).sum((2, 3)) > 50):
        valid = measured.valid[r, s]
        clipped = np.minimum(measured.signal[r, s][valid], 60)
        found.append(np.corrcoef(simulated[r, s][valid], clipped)[0, 1])
    return float(np.nanmean(found))


def changes(measured: Spectrum) -> dict[str, Spectrum]:
    """The measurement changed in ways that must not change the verdict."""
    rng = np.random.default_rng(0)
    signal, valid = measured.signal, measured.valid
    runs = signal.shape[0]
    noise = np.array(
        [
            [np.nan_to_num(tile_noise(s, v)) for s, v in zip(*row, strict=True)]
            for row in zip(signal, valid, strict=True)
        ]
    )
    noisy = np.maximum(signal + 0.5 * noise[..., None, None] * rng.standard_normal(signal.shape), 0)
    half = valid.copy()
    half[:, :, 22:28] = False
    out = {
        "as it is": measured,
        "twice": replace(measured, signal=2 * signal),
        "runs scaled by 1/2 and 2": replace(
            measured, signal=signal * (2.0 ** (-1) ** np.arange(runs))[:, None, None, None]
        ),
        "half its noise added": replace(measured, signal=noisy),
        "bank of six rows missing": replace(measured, signal=np.where(half, signal, np.nan), valid=half),
    }
    for name, step, axis in (("x + 1", 1, 2), ("x - 1", -1, 2), ("y + 1", 1, 3), ("y - 1", -1, 3)):
        moved = np.roll(valid, step, axis)
        shifted = np.where(moved, np.roll(signal, step, axis), np.nan)
        out[f"shifted by a pixel, {name}"] = replace(measured, signal=shifted, valid=moved)
    for name, axis in (("mirrored in x", 2), ("mirrored in y", 3)):
        out[name] = replace(measured, signal=np.flip(signal, axis), valid=np.flip(valid, axis))
    return out


def main() -> None:
    study = load_study("pcsmo")
    measured = read_spectrum(Path(sys.argv[1]) / "measured.npy", study)
    simulator = Simulator(study)
    images = {name: simulator.signal(name, model.reference) for name, model in study.models.items()}
    reference = images[study.classes[0]]
    for name, image in images.items():
        print(f"mean tile correlation at the published fit, {name}: {tile_correlation(measured, image, reference):.4f}")
    weights, _ = load_weights(sys.argv[2] if len(sys.argv) > 2 else shipped_weights(study), study)
    for what, spectrum in changes(measured).items():
        output = run_network(weights, spectrum)
        k = ", ".join(f"K {name} {float(x):.3f}" for name, x in zip(study.classes, output.scores[0], strict=True))
        image = np.where(spectrum.valid, spectrum.signal, 0.0)
        values = signal_values(weights.calibration, output, image[None], spectrum.valid[None])
        single, p = weights.calibration.p_values(*values)
        worst = weights.calibration.signals[int(single[0].argmin())]
        print(f"{what:>28}: {k}; p = {p[0]:.3f} ({worst.replace('_', ' ')})")


if __name__ == "__main__":
    main()
