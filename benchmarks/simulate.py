"""CPU-seconds an image, and how far it is from a converged one.

usage: python benchmarks/simulate.py [--sets 10] [--converged]

One thread. Prints, for each resolution method: seconds to prepare a study, CPU-seconds an image over random stable
parameter sets of both models, the diagonalisation's share (the floor), and with --converged the relative L2 distance
of the default image from one with a hundred times the spots (13 times the fine points, 8 times the draws, and spots
about the draws that keep a tenth of the covariance; without draws, of the Gaussian, 13 times), in all and per Ei, the
same for other grids, and how far apart the two converged methods are.
"""

import argparse
import time
from dataclasses import replace

import numpy as np
import torch

from magnoscope.dataset.draws import candidates
from magnoscope.machine import keep_memory
from magnoscope.simulate import Sampling, Simulator
from magnoscope.spinwave import is_stable
from magnoscope.studies import load_study


def stable_sets(simulator: Simulator, number: int) -> list[tuple[str, np.ndarray]]:
    sets = []
    for index in range(number):
        class_index = index % len(simulator.study.classes)
        name = simulator.study.classes[class_index]
        solver = simulator.solver(name)
        sets.append((name, next(v for v in candidates(solver, 99, class_index, index) if bool(is_stable(solver, v)))))
    return sets


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", type=int, default=10)
    parser.add_argument("--converged", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    study = load_study("pcsmo")
    fine: dict[str, np.ndarray] = {}
    for method in ("gaussian", "montecarlo", "none"):
        started = time.process_time()
        simulator = Simulator(study, method)
        prepared = time.process_time() - started
        times, floors = [], []
        for name, values in stable_sets(simulator, arguments.sets):
            started = time.process_time()
            simulator.signal(name, values)
            times.append(time.process_time() - started)
            started = time.process_time()
            simulator._tables(simulator.solver(name), values, simulator._flat[name])
            floors.append(time.process_time() - started)
        print(
            f"{method:>10}: prepare {prepared:.1f} s, image {np.median(times):.2f} CPU-s (median of {len(times)}; "
            f"{min(times):.2f} to {max(times):.2f}), of which modes {np.median(floors):.2f}"
        )
        if arguments.converged and method != "none":
            model = study.classes[0]
            reference = study.models[model].reference
            fine[method] = Simulator(study, method, Sampling(72, 16, 16, 0.1)).signal(model, reference)
            for points in (16, 20, 24, 32, 48) if method == "gaussian" else (Sampling().zone_points,):
                image = Simulator(study, method, replace(Sampling(), zone_points=points)).signal(model, reference)
                print(f"{'':>10}  {points} points a zone, distance from converged: " + shown(image, fine[method]))
    if len(fine) == 2:
        print("the two converged methods differ by " + shown(fine["gaussian"], fine["montecarlo"]))


def shown(image: np.ndarray, fine: np.ndarray) -> str:
    """Relative L2 distance in all, and of each run."""
    square, size = (image - fine) ** 2, fine**2
    each = np.sqrt(square.sum((1, 2, 3)) / size.sum((1, 2, 3)))
    return f"{np.sqrt(square.sum() / size.sum()):.3f}; by Ei " + " ".join(f"{d:.3f}" for d in each)


if __name__ == "__main__":
    main()
