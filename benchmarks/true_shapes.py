"""What the true shapes of all deviations change about a default Monte Carlo image, and what they cost.

usage: python benchmarks/true_shapes.py [--points 28] [--draws 16]

By default the moderator's pulse alone has its true shape, as two Gaussians; `simulate --true-shapes DRAWS` corrects for
the others (chopper pulse, aperture, sample, detectors) by draws. For the lowest and the highest Ei of the worked study
at the reference of its first model, one thread: CPU-seconds an image, and relative L2 distances between the default
image, the default with draws, and the same two at more points a zone. What the true shapes change is the distance of
the latter two, which still holds the noise of the draws: it is given for half as many draws too.
"""

import argparse
import time
from dataclasses import replace

import numpy as np
import torch

from magnoscope.machine import keep_memory
from magnoscope.simulate import Sampling, Simulator
from magnoscope.studies import load_study


def timed(study, sampling: Sampling) -> tuple[np.ndarray, float]:
    """An image and its CPU-seconds, without what is prepared once for any parameters."""
    name = study.classes[0]
    simulator = Simulator(study, "montecarlo", sampling)
    started = time.process_time()
    image = simulator.signal(name, study.models[name].reference)
    return image, time.process_time() - started


def distance(image: np.ndarray, fine: np.ndarray) -> float:
    """Relative L2."""
    return float(np.linalg.norm(image - fine) / np.linalg.norm(fine))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--points", type=int, default=28)
    parser.add_argument("--draws", type=int, default=16)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    whole = load_study("pcsmo")
    for run in (whole.runs[0], whole.runs[-1]):
        study = replace(whole, runs=(run,))
        fine = Sampling(zone_points=arguments.points, components=5)
        images, seconds = {}, {}
        for key, sampling in {
            "default": Sampling(),
            "drawn": Sampling().with_true_shapes(arguments.draws),
            "pulse": fine,
            "half": fine.with_true_shapes(arguments.draws // 2),
            "true": fine.with_true_shapes(arguments.draws),
        }.items():
            images[key], seconds[key] = timed(study, sampling)
        true = images["true"]
        print(f"Ei {run.ei:g} meV, CPU-s: default {seconds['default']:.2f}, with draws {seconds['drawn']:.2f}")
        print(f"  at {arguments.points} points: pulse alone {seconds['pulse']:.2f}, with draws {seconds['true']:.2f}")
        print(f"  true shapes change {distance(images['pulse'], true):.4f}", end="")
        print(f" (half as many draws: {distance(images['pulse'], images['half']):.4f})")
        print(
            f"  default from the pulse alone at {arguments.points}: {distance(images['default'], images['pulse']):.4f}"
        )
        print(f"  default from all true shapes: {distance(images['default'], true):.4f}")
        print(
            f"  default with {arguments.draws} draws from all true shapes: {distance(images['drawn'], true):.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
