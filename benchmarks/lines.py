"""What Lorentzian and damped modes cost in maps, beside Gaussian ones, and what the fine bins of energy leave.

usage: python benchmarks/lines.py [--width 1.0]

The worked study at the reference of its first model, one thread, Gaussian resolution: CPU-seconds an image with
Gaussian and Lorentzian modes and with damped oscillators in turn, the least of two, and the relative L2 distance by Ei
of the Lorentzian image from one with bins of half the width and from the Gaussian one.
"""

import argparse
import time
from dataclasses import replace

import numpy as np
import torch

from magnoscope.machine import keep_memory
from magnoscope.resolution import lines
from magnoscope.simulate import Simulator
from magnoscope.studies import load_study


def by_run(image: np.ndarray, other: np.ndarray) -> str:
    """Relative L2 distance of each run."""
    square, size = ((image - other) ** 2).sum((1, 2, 3)), (other**2).sum((1, 2, 3))
    return " ".join(f"{d:.4f}" for d in np.sqrt(square / size))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--width", type=float, default=1.0)
    width = parser.parse_args().width
    torch.set_num_threads(1)
    keep_memory()
    study = replace(load_study("pcsmo"), intrinsic_width=width)
    name = study.classes[0]
    reference = study.models[name].reference
    simulators = {line: Simulator(replace(study, line=line)) for line in ("gaussian", "lorentzian", "oscillator")}
    images, seconds = {}, {line: [] for line in simulators}
    for _ in range(2):
        for line, simulator in simulators.items():
            started = time.process_time()
            images[line] = simulator.signal(name, reference)
            seconds[line].append(time.process_time() - started)
    least = {line: min(times) for line, times in seconds.items()}
    for line, time_ in least.items():
        print(f"{line}: {time_:.2f} CPU-s, {time_ / least['gaussian']:.1f} times a Gaussian")
    lines.FINE = tuple(share / 2 for share in lines.FINE)
    finer = Simulator(replace(study, line="lorentzian")).signal(name, reference)
    print(f"lorentzian from bins of half the width, by Ei: {by_run(images['lorentzian'], finer)}")
    print(f"lorentzian from gaussian of the same width: {by_run(images['lorentzian'], images['gaussian'])}")
    print(f"oscillator from lorentzian: {by_run(images['oscillator'], images['lorentzian'])}")


if __name__ == "__main__":
    main()
