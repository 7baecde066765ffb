"""Energies and S_perp beside those of pyspinw and magnopy, on magnets with all that a spin model may hold.

usage: python benchmarks/other_programs.py --with PYTHON

PYTHON is the interpreter of another environment that has those programs:

    python3 -m venv others && others/bin/pip install --pre pyspinw==1.1.0b2 magnopy==0.6.1
    python benchmarks/other_programs.py --with others/bin/python

(The package is called pyspinw and has pre-releases only; spinw 3.2.0 and 4.0.0 are another program.) Prints for every
magnet the largest difference of a mode's energy in meV and, where the program has intensities, of the intensity summed
over modes that are closer than 1e-4 meV, per magnetic cell, each over 60 random wave vectors. magnopy has no
intensities and no rotating frame. pyspinw's Q is minus the momentum handed to the sample: the last lines show it
against an exact calculation.
"""

import argparse

import numpy as np
from spin_wave_models import build, compared, dm, elsewhere, versions

from magnoscope.crystal import Lattice
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


def differences(energies: np.ndarray, intensities: np.ndarray, theirs: dict[str, np.ndarray]) -> list[str]:
    """Largest differences of energies, and of intensities where there are any."""
    energy = f"{np.abs(theirs['energies'] - energies).max():.1e}"
    if not theirs["intensities"].size:
        return [energy]
    pair = [bundled(energies, x, energies) for x in (intensities, theirs["intensities"])]
    return [energy, f"{np.abs(pair[0] - pair[1]).max():.1e}"]


def ring(python: str) -> None:
    """One magnon on a ring, exactly: which sign of Q is right where modes at Q and -Q differ.

    H = sum -S.S + 0.4 z.(S_i x S_i+1) - (S^z)^2, S = 1, all spins up. The state of one magnon at site i is |i>;
    neutrons that hand the momentum Q over make sum_i exp(i Q r_i) S_i^- |0>, here a plane wave. On a ring of 10 sites
    that is an eigenstate; its energy needs the spin operators alone, no boson.
    """
    number, spin, exchange, twist, single = 10, 1.0, -1.0, 0.4, -1.0
    hop = spin * (exchange - 1j * twist)  # <i| H |i + 1>: S_i^- S_i+1^+ has the coefficient (J - i D) / 2
    h = (2 * single * (1 - 2 * spin) / 2 - 2 * exchange * spin) * np.eye(number, dtype=complex)
    for i in range(number):
        h[i, (i + 1) % number] += hop
        h[(i + 1) % number, i] += np.conj(hop)
    model = build(
        "ring",
        Lattice(3, 8, 8),
        [((0, 0, 0), (0, 0, 1))],
        [(0, 0, (1, 0, 0), exchange * np.eye(3) + dm(0, 0, twist))],
        spin,
        # (S^z)^2 costs K (2 S - 1) for one magnon, of which linear spin wave theory keeps 2 K S
        np.diag([0, 0, single * (2 * spin - 1) / (2 * spin)]),
    )
    q = np.array([[0.2, 0, 0], [-0.2, 0, 0]])
    waves = np.exp(2j * np.pi * q[:, :1] * np.arange(number)) / np.sqrt(number)
    exact = [np.vdot(w, h @ w).real for w in waves]
    ours = ModeSolver(model, shift=0).solve(np.zeros(0), q).energies[:, 0]
    print("\nOne magnon on a ring at Q = 0.2 and -0.2, meV:")
    print(f"exact {exact[0]:.6f} {exact[1]:.6f}; magnoscope {ours[0]:.6f} {ours[1]:.6f}", end="")
    for program in ("magnopy", "pyspinw"):
        theirs = elsewhere(python, program, model, np.zeros(0), q)["energies"][:, 0]
        print(f"; {program} {theirs[0]:.6f} {theirs[1]:.6f}", end="")
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--with", dest="python", required=True, help="the Python of the environment with the programs")
    arguments = parser.parse_args()
    print(versions(arguments.python), end="\n\n")
    print("| magnet | sites | highest mode, meV | magnopy at Q | pyspinw at -Q | S_perp | pyspinw at Q | S_perp |")
    print("|---|---|---|---|---|---|---|---|")
    for model, values in compared():
        q = np.random.default_rng(7).uniform(-1, 1, (60, 3))
        ours = band_intensities(ModeSolver(model, shift=0), values, q, include_form_factor=False)
        if not bool(ours.stable.all()):
            raise SystemExit(f"{model.name} is not stable")
        pair = ours.energies.numpy(), ours.intensities.numpy()
        row = [model.name, str(len(model.sites)), f"{pair[0].max():.2f}"]
        for program, sign in (("magnopy", 1), ("pyspinw", -1), ("pyspinw", 1)):
            try:
                row += differences(*pair, elsewhere(arguments.python, program, model, values, sign * q))
            except RuntimeError as error:
                row.append(f"({error})")
        print("| " + " | ".join(row) + " |", flush=True)
    ring(arguments.python)


if __name__ == "__main__":
    main()
