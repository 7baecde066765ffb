"""CPU time of an image of each shipped study, and how far it is from one that is sampled finer.

python benchmarks/views.py [STUDY ...]
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch

from magnoscope.plot import plot_spectrum, save_figure
from magnoscope.simulate import Simulator
from magnoscope.studies import load_study, shipped

torch.set_num_threads(1)


def draw(folder: Path, names: list[str]) -> None:
    """Figures of all models of studies, at their reference values."""
    for study in map(load_study, names):
        simulator = Simulator(study)
        for model in study.classes:
            save_figure(plot_spectrum(simulator(model), model), folder / f"{study.name}-{model}.png")


def main() -> None:
    """Print a row for each study, model and method."""
    print(
        f"{'study':>8} {'model':>12} {'method':>12} {'set up, CPU-s':>14} {'image, CPU-s':>13} {'from a finer one':>17}"
    )
    for name in sys.argv[1:] or shipped():
        study = load_study(name)
        for method in ("gaussian", "montecarlo"):
            began = time.process_time()
            simulator = Simulator(study, method)
            prepared = time.process_time() - began
            finer = Simulator(study, method, simulator.sampling.finer())
            for model in study.classes:
                simulator(model)
                began = time.process_time()
                signal = simulator(model).signal
                spent = time.process_time() - began
                reference = finer(model).signal
                seen = np.isfinite(reference)
                distance = np.linalg.norm((signal - reference)[seen]) / np.linalg.norm(reference[seen])
                print(f"{name:>8} {model:>12} {method:>12} {prepared:14.2f} {spent:13.2f} {distance:17.3f}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--figures"]:
        draw(Path(sys.argv[2]), sys.argv[3:])
    else:
        main()
