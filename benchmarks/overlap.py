"""What weights (those that ship, unless named) say where the two candidates are the same Hamiltonian.

usage: python benchmarks/overlap.py [WEIGHTS]

Goodenough with JF2 = JF3 = 0 and dimer with JFS = JFW, JA1 = JA2 give the same spectrum, so an honest label set names
both. Prints K, the probabilities and the label set along that line, without noise and with counting noise.
"""

import sys

import numpy as np

from magnoscope.simulate import Simulator
from magnoscope.spectrum import counted
from magnoscope.studies import load_study
from magnoscope.trust.signals import run_network
from magnoscope.trust.weights import load_weights, shipped_weights

POINTS = ((-11.4, 1.5, 0.9), (-8.0, 1.0, 0.5), (-15.0, 2.0, 1.5), (-5.0, 0.5, 0.5), (-18.0, 2.5, 2.5))


def main() -> None:
    study = load_study("pcsmo")
    weights, _ = load_weights(sys.argv[1] if len(sys.argv) > 1 else shipped_weights(study), study)
    simulator = Simulator(study)
    both = total = 0
    for jf1, ja, j_perp in POINTS:
        image = simulator("goodenough", {"JF1": jf1, "JA": ja, "JF2": 0.0, "JF3": 0.0, "J_perp": j_perp})
        for what, spectrum in (("clean", image), ("3 counts", counted(image, 3, 0)), ("1 count", counted(image, 1, 0))):
            output = run_network(weights, spectrum)
            p = weights.calibration.probabilities(output.logits.numpy().astype(float))[0]
            sets = weights.calibration.label_sets(p[None], output.scores.numpy())[0]
            named = [c for c, x in zip(study.classes, sets, strict=True) if x]
            both, total = both + (len(named) > 1), total + 1
            k = np.round(output.scores[0].numpy(), 3)
            print(f"JF1 {jf1:g}, JA {ja:g}, J_perp {j_perp:g}, {what:>8}: K {k}, probabilities {p.round(3)}, {named}")
    print(f"label sets that name both: {both} of {total}")


if __name__ == "__main__":
    main()
