"""Energies and S_perp beside those of pyspinw and magnopy, on magnets with all that a spin model may hold.

usage: python benchmarks/other_programs.py --with PYTHON [--programs pyspinw magnopy]

PYTHON is the interpreter of another environment that has those programs:

    python3 -m venv others && others/bin/pip install --pre pyspinw==1.1.0b2 magnopy==0.6.1
    python benchmarks/other_programs.py --with others/bin/python

(The package is called pyspinw; the one called spinw is another program.) Prints for every magnet the largest difference
of a mode's energy in meV and, where the program has intensities, of the intensity summed over modes that are closer than
1e-4 meV, per magnetic cell, each over 60 random wave vectors.
"""

import argparse

import numpy as np
from spin_wave_models import compared, elsewhere

from magnoscope.spinwave import ModeSolver, band_intensities


def bundled(energies: np.ndarray, intensities: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Intensity of modes whose energies in ``reference`` are alike, at the first of them: (n_q, n_modes)."""
    sums = np.zeros_like(intensities)
    for q in range(len(energies)):
        first = 0
        for n in range(energies.shape[1]):
            if reference[q, n - 1] - reference[q, n] > 1e-4 or n == 0:
                first = n
            sums[q, first] += intensities[q, n]
    return sums


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--with", dest="python", required=True, help="the Python of the environment with the programs")
    parser.add_argument("--programs", nargs="+", default=["pyspinw", "magnopy"], choices=["pyspinw", "magnopy"])
    arguments = parser.parse_args()
    print("| magnet | sites | energies up to, meV | " + " | ".join(f"{p}: energy | S_perp" for p in arguments.programs) + " |")
    print("|---|---|---|" + "---|---|" * len(arguments.programs))
    for model, values in compared():
        q = np.random.default_rng(7).uniform(-1, 1, (60, 3))
        ours = band_intensities(ModeSolver(model, shift=0), values, q, include_form_factor=False)
        if not bool(ours.stable.all()):
            raise SystemExit(f"{model.name} is not stable")
        energies = ours.energies.numpy()
        row = [model.name, str(len(model.sites)), f"{energies.max():.2f}"]
        for program in arguments.programs:
            try:
                theirs = elsewhere(arguments.python, program, model, values, q)
            except RuntimeError as error:
                row += [str(error), ""]
                continue
            row.append(f"{np.abs(theirs['energies'] - energies).max():.1e}")
            if not theirs["intensities"].size:
                row.append("has none")
                continue
            pair = [bundled(energies, x, energies) for x in (ours.intensities.numpy(), theirs["intensities"])]
            row.append(f"{np.abs(pair[0] - pair[1]).max():.1e}")
        print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
