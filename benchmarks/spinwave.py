"""Time and memory of energies with S_perp for 1, 4, 16 and 64 sites, beside pyspinw and beside the bare eigenproblem.

usage: python benchmarks/spinwave.py [--with PYTHON] [--threads N] [--million] [--only WORD] [--rounds N]

PYTHON is the interpreter of an environment that has pyspinw (see other_programs.py). Microseconds of processor time for
a wave vector, both programs on one core, one after the other: each round takes the fastest of three runs of both and
their ratio; the table has the medians over the rounds, and the range of the ratio. --only takes magnets with WORD in
their names. "floor" is torch.linalg.eigh alone on as many matrices of the size that is solved. --threads adds
wall-clock figures for that many cores, --million the time and peak memory of a million wave vectors.
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

RUNS = 3


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


def compare(model: SpinModel, python: str | None, rounds: int, threads: int) -> list[str]:
    """A row of the table."""
    # as many as fill the chunks; of the slower program fewer, but enough to hide what it does once
    q = np.random.default_rng(0).uniform(-1, 1, (max(200, 32000 // len(model.sites)), 3))
    few = q[: max(50, 8000 // len(model.sites))] if len(model.sites) < 64 else q[:50]
    solver, values = ModeSolver(model), model.reference
    if not bool(solver.solve(values, q[:50]).stable.all()):
        raise SystemExit(f"{model.name} with {len(model.sites)} sites is not stable")
    ours, least, other = np.zeros((3, rounds))
    for i in range(rounds):
        if python:
            theirs = elsewhere(python, "pyspinw", model, values, few, RUNS)
            other[i] = theirs["processor"] / len(few) * 1e6
        ours[i] = fastest(partial(band_intensities, solver, values, q))[0] / len(q) * 1e6
        least[i] = floor(solver, values, q) / len(q) * 1e6
    blocks, size = (1, *solver.reduced.shape[1:]) if len(solver.reduced.shape) == 2 else solver.reduced.shape[:2]
    size *= 1 if solver.half_size else 2
    row = [model.name, str(len(model.sites)), f"{blocks} of {size} x {size}"]
    row += [f"{np.median(ours):.1f}", f"{np.median(least):.1f}", f"{np.median(ours / least):.1f}"]
    ratio = other / ours
    beside = [f"{np.median(other):.0f}", f"{np.median(ratio):.1f}", f"{ratio.min():.1f} to {ratio.max():.1f}"]
    row += beside if python else ["", "", ""]
    if threads > 1:
        wall = fastest(partial(band_intensities, solver, values, q, threads=threads))[1] / len(q) * 1e6
        row.append(f"{wall:.1f}")
        if python:
            many = elsewhere(python, "pyspinw", model, values, few, RUNS, threads)
            row.append(f"{float(many['wall']) / len(few) * 1e6:.0f}")
    return row


def million(model: SpinModel, threads: int) -> None:
    """Time and peak memory of many wave vectors, before anything else has used any."""
    solver = ModeSolver(model)
    q = np.random.default_rng(0).uniform(-1, 1, (1_000_000, 3))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    begun, spent = time.perf_counter(), time.process_time()
    band_intensities(solver, model.reference, q, threads=threads)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    wall, used = time.perf_counter() - begun, time.process_time() - spent
    print(
        f"1,000,000 q of {len(model.sites)} sites ({model.name}), {threads} threads: {wall:.0f} s, processor", end=" "
    )
    print(f"{used:.0f} s; peak memory {peak:.0f} MiB, {before:.0f} MiB before\n", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--with", dest="python", help="the Python of an environment with pyspinw")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="", metavar="WORD")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--million", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    pcsmo = load_study("pcsmo").models["goodenough"]
    dimer = load_study("pcsmo").models["dimer"]
    if arguments.million:
        million(pcsmo, arguments.threads)
    cases = [pcsmo, dimer, with_dm(pcsmo, 0.05), doubled(pcsmo)]
    cases += [irregular(n, t) for t in (0.0, 0.2) for n in (1, 4, 16, 64)]
    print(
        "| magnet | sites | problem | ours, us per q | floor | above it | pyspinw, us per q | ratio | range |", end=""
    )
    print(f" ours, {arguments.threads} cores, wall | pyspinw |" if arguments.threads > 1 else "")
    print("|---|---|---|---|---|---|---|---|---|" + "---|---|" * (arguments.threads > 1))
    for model in cases:
        if arguments.only in model.name:
            row = compare(model, arguments.python, arguments.rounds, arguments.threads)
            print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
