"""Time and memory of energies with S_perp for 1, 4, 16 and 64 sites, beside pyspinw and beside the bare eigenproblem.

usage: python benchmarks/spinwave.py [--with PYTHON] [--threads N] [--million] [--only WORD]

PYTHON is the interpreter of an environment that has pyspinw (see other_programs.py). Microseconds of processor time for
a wave vector, the fastest of five runs, both programs on one core, one after the other for every magnet (--only those
with WORD in their names). "floor" is torch.linalg.eigh alone on as many matrices of the size that is solved. --threads
adds a wall-clock figure for that many cores, --million the peak memory of a million wave vectors.
"""

import argparse
import resource
import time
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from spin_wave_models import build, dm, elsewhere

from magnoscope.crystal import Lattice
from magnoscope.hamiltonian import Bond, SpinModel
from magnoscope.spinwave import ModeSolver, band_intensities
from magnoscope.studies import load_study

RUNS = 5


def irregular(number: int, twist: float) -> SpinModel:
    """A ring of ferromagnetic couplings, all different, that nothing reduces; with DM the full-size problem."""
    rng = np.random.default_rng(number)
    sites = [((i / number, 0, 0), (0, 0, 1)) for i in range(number)]
    along = [(0.0, (1 / number, 0, 0), 1), (0.3, (0, 1, 0), 0), (0.1, (2 / number, 0, 0), 2)]
    bonds = [
        (i, (i + hop) % number, d, -rng.uniform(0.5, 1.5) * np.eye(3) + dm(0, 0, twist))
        for i in range(number)
        for _, d, hop in along
    ]
    # unequal axes across the moment couple b and b^H
    single = np.diag([0.2, -0.1, -1.0])
    return build(f"irregular{', DM' if twist else ''}", Lattice(3 * number, 4, 5), sites, bonds, 1.0, single)


def with_dm(model: SpinModel, strength: float) -> SpinModel:
    """The same with a Dzyaloshinskii-Moriya coupling along the moments on every bond within a sheet, along +a."""
    weight = len(model.parameters)

    def twisted(bond: Bond) -> Bond:
        exchange = bond.exchange.copy()
        exchange[weight] += dm(0, strength * np.sign(bond.vector[0]), 0)
        return replace(bond, exchange=exchange)

    return replace(model, name=f"{model.name}, DM", bonds=tuple(twisted(b) for b in model.bonds))


def doubled(model: SpinModel) -> SpinModel:
    """The same magnet on a cell twice as long along a and b."""
    n = len(model.sites)
    corners = [(x, y) for x in range(2) for y in range(2)]
    shrink = np.array([0.5, 0.5, 1])
    sites = [
        replace(s, position=tuple((np.array(s.position) + (*c, 0)) * shrink)) for c in corners for s in model.sites
    ]
    bonds = []
    for number, c in enumerate(corners):
        for b in model.bonds:
            cell = np.round(np.array(model.sites[b.start].position) + b.vector - model.sites[b.end].position).astype(
                int
            )
            there = corners.index(tuple((np.array(c) + cell[:2]) % 2))
            bonds.append(Bond(b.start + n * number, b.end + n * there, tuple(np.array(b.vector) * shrink), b.exchange))
    x, y, z = model.supercell
    return replace(
        model,
        name=f"{model.name}, cell doubled twice",
        sites=tuple(sites),
        bonds=tuple(bonds),
        anisotropy=np.tile(model.anisotropy, (4, 1, 1, 1)),
        supercell=(2 * x, 2 * y, z),
    )


def fastest(work) -> tuple[float, float]:
    """Least processor and wall seconds of a few runs."""
    used, wall = [], []
    for _ in range(RUNS):
        begun, spent = time.perf_counter(), time.process_time()
        work()
        used.append(time.process_time() - spent)
        wall.append(time.perf_counter() - begun)
    return min(used), min(wall)


def floor(solver: ModeSolver, values: np.ndarray, q: np.ndarray) -> float:
    """Processor seconds of torch.linalg.eigh alone on the matrices of these wave vectors."""
    cartesian = torch.as_tensor(q) @ solver.reciprocal
    matrices = (
        solver.reduced.blocks(torch.as_tensor(values), cartesian)[0]
        if solver.half_size
        else solver.reduced.matrix(torch.as_tensor(values), cartesian)
    )
    parts = matrices.split(solver.chunk)
    return fastest(lambda: [torch.linalg.eigh(p) for p in parts])[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--with", dest="python", help="the Python of an environment with pyspinw")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="", metavar="WORD")
    parser.add_argument("--million", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    pcsmo = load_study("pcsmo").models["goodenough"]
    dimer = load_study("pcsmo").models["dimer"]
    cases = [pcsmo, dimer, with_dm(pcsmo, 0.05), doubled(pcsmo)]
    cases += [irregular(n, t) for t in (0.0, 0.2) for n in (1, 4, 16, 64)]
    cases = [m for m in cases if arguments.only in m.name]
    print("| magnet | sites | problem | ours, us per q | floor | above it | pyspinw, us per q | ratio |", end="")
    print(f" {arguments.threads} cores, wall | pyspinw |" if arguments.threads > 1 else "")
    print("|---|---|---|---|---|---|---|---|" + "---|---|" * (arguments.threads > 1))
    for model in cases:
        q = np.random.default_rng(0).uniform(-1, 1, (max(100, 16000 // len(model.sites)), 3))
        solver, values = ModeSolver(model), model.reference
        if not bool(solver.solve(values, q[:50]).stable.all()):
            raise SystemExit(f"{model.name} with {len(model.sites)} sites is not stable")
        few = q[: max(50, 2000 // len(model.sites))]
        theirs = elsewhere(arguments.python, "pyspinw", model, values, few, RUNS) if arguments.python else None
        ours = fastest(partial(band_intensities, solver, values, q))[0] / len(q) * 1e6
        least = floor(solver, values, q) / len(q) * 1e6
        blocks, size = (1, *solver.reduced.shape[1:]) if len(solver.reduced.shape) == 2 else solver.reduced.shape[:2]
        size *= 1 if solver.half_size else 2
        row = [model.name, len(model.sites), f"{blocks} of {size} x {size}", f"{ours:.1f}", f"{least:.1f}"]
        row.append(f"{ours / least:.1f}")
        if theirs is not None:
            other = float(theirs["processor"]) / len(few) * 1e6
            row += [f"{other:.0f}", f"{other / ours:.1f}"]
        else:
            row += ["", ""]
        if arguments.threads > 1:
            wall = fastest(partial(band_intensities, solver, values, q, threads=arguments.threads))[1] / len(q) * 1e6
            row.append(f"{wall:.1f}")
            if arguments.python:
                many = elsewhere(arguments.python, "pyspinw", model, values, few, RUNS, arguments.threads)
                row.append(f"{float(many['wall']) / len(few) * 1e6:.0f}")
        print("| " + " | ".join(str(x) for x in row) + " |", flush=True)
    if arguments.million:
        solver = ModeSolver(pcsmo)
        q = np.random.default_rng(0).uniform(-1, 1, (1_000_000, 3))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        begun = time.perf_counter()
        band_intensities(solver, pcsmo.reference, q, threads=arguments.threads)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        seconds = time.perf_counter() - begun
        print(f"\n1,000,000 q of 16 sites: {seconds:.0f} s; peak memory {peak:.0f} MiB, before {before:.0f} MiB")


if __name__ == "__main__":
    main()
