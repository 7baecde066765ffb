"""What weights (those that ship, unless named) say of inputs that are no spectrum of either candidate.

usage: python benchmarks/foreign.py [WEIGHTS]

None of these is used in training: other magnets (ferromagnets on the same sites at the same spectrometer settings, with
counting noise), pure noise, flat counts. Prints every K and the p-value; below 0.01 no label is given.
"""

import sys

import numpy as np

from magnoscope.simulate import Simulator
from magnoscope.spectrum import Spectrum, counted
from magnoscope.studies import load_study, parse_study, study_text
from magnoscope.trust.signals import run_network, signal_values
from magnoscope.trust.weights import load_weights, shipped_weights

FERROMAGNETS = {
    "JF1 -11.39, JA -4, J_perp -1, JF2 = JF3 = -0.5": {"JA": -4.0, "J_perp": -1.0, "JF2": -0.5, "JF3": -0.5},
    "JF1 = JA = -5, J_perp -1, JF2 = JF3 = 0": {"JF1": -5.0, "JA": -5.0, "J_perp": -1.0, "JF2": 0.0, "JF3": 0.0},
}


def main() -> None:
    study = load_study("pcsmo")
    weights, _ = load_weights(sys.argv[1] if len(sys.argv) > 1 else shipped_weights(study), study)
    text = study_text("pcsmo")[0].replace("moment = [0, -1, 0]", "moment = [0, 1, 0]")
    ferromagnet = Simulator(parse_study(text, "ferromagnet"))
    rng = np.random.default_rng(0)
    everywhere = np.ones(study.shape, bool)
    inputs = {
        "noise": Spectrum(study, np.maximum(rng.normal(size=study.shape), 0), everywhere),
        "flat counts": Spectrum(study, rng.poisson(3, study.shape).astype(float), everywhere),
    }
    for name, changes in FERROMAGNETS.items():
        image = ferromagnet("goodenough", changes)
        clean = Spectrum(study, image.signal, image.valid)
        inputs[f"ferromagnet, {name}"] = clean
        inputs[f"ferromagnet, {name}, 5 counts a pixel"] = counted(clean, 5, seed=1)
    for name, spectrum in inputs.items():
        output = run_network(weights, spectrum)
        measured = np.where(spectrum.valid, spectrum.signal, 0.0)
        values = signal_values(weights.calibration, output, measured[None], spectrum.valid[None])
        p = weights.calibration.p_values(*values)[1][0]
        k = ", ".join(f"K {c} {float(x):.3f}" for c, x in zip(study.classes, output.scores[0], strict=True))
        print(f"{name}: {k}, p = {p:.4f}")


if __name__ == "__main__":
    main()
