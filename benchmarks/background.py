"""How well the two background estimates find a background that is known, under simulated spin waves and noise.

    python benchmarks/background.py [--noise 0.3 1.0]

Everything in units of the run's mean spin wave intensity. Prints for each run the rms and mean error of the estimate,
and the correlation with the bare spin waves before and after subtraction.
"""

import argparse

import numpy as np

from magnoscope.reduce.background import Background, estimate
from magnoscope.resolution.setting import pixel_wave_vectors
from magnoscope.simulate import Simulator
from magnoscope.spectrum import Spectrum
from magnoscope.studies import load_study


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--noise", type=float, nargs="+", default=[0.3, 1.0])
    options = parser.parse_args()
    study = load_study("pcsmo")
    bare = Simulator(study)("goodenough")
    middle = (study.energy_edges[:, 1:] + study.energy_edges[:, :-1]) / 2
    q = np.array([np.linalg.norm(pixel_wave_vectors(study, n, e), axis=-1) for n, e in enumerate(middle)])
    share = middle / np.array([run.ei for run in study.runs])[:, None]
    truth = 1.0 + 3 * np.exp(-4 * share)[:, :, None, None] + 0.1 * np.nan_to_num(q) ** 2
    valid = bare.valid & np.isfinite(q)
    waves = bare.signal / np.nanmean(np.where(valid, bare.signal, np.nan), axis=(1, 2, 3), keepdims=True)
    print(f"the background itself: {truth[valid].min():.1f} to {truth[valid].max():.1f}")
    for noise in options.noise:
        signal = waves + truth + noise * np.random.default_rng(0).normal(size=study.shape)
        measured = Spectrum(study, np.where(valid, signal, np.nan), valid, np.where(valid, noise, np.nan))
        for way in (Background.paper, Background.auto):
            found = estimate(measured, q, way)
            for number, run in enumerate(study.runs):
                v = valid[number]
                wrong = (found.signal - truth)[number][v]
                before = np.corrcoef(signal[number][v], waves[number][v])[0, 1]
                after = np.corrcoef((signal - found.signal)[number][v], waves[number][v])[0, 1]
                print(
                    f"noise {noise:g} {way.value:>5} Ei {run.ei:3g}: rms {np.sqrt(np.mean(wrong**2)):.2f}, mean "
                    f"{wrong.mean():+.2f}, correlation {before:.3f} -> {after:.3f}"
                )


if __name__ == "__main__":
    main()
