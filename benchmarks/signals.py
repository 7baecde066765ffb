"""How well each signal, and two ways to combine them, tell foreign inputs of the families that settings are chosen on.

usage: python benchmarks/signals.py WEIGHTS SET [--foreign FOREIGN] [--images 80]

The families are those shown in training and those in the card of weights, none of `magnoscope trust --suite`. Foreign
images are made of the calibration part and put through a measurement's noise. Printed is the area under the ROC curve
against the calibration part itself, for each signal of the weights, and for the smallest of their p-values and their
product, both with p-values from one half of the calibration part against the other half.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from magnoscope.cli.trust import coverages_of
from magnoscope.dataset.parts import Part, load_part, open_set
from magnoscope.machine import keep_memory
from magnoscope.networks.foreign import families_of, make_foreign, slice_energies
from magnoscope.studies import load_study
from magnoscope.trust.held_back import UNSEEN, chosen
from magnoscope.trust.signals import observe
from magnoscope.trust.weights import load_weights


def area(own: NDArray, foreign: NDArray) -> float:
    """Area under the ROC curve of a signal that is large for foreign inputs."""
    return float(stats.mannwhitneyu(foreign, own).statistic / (len(own) * len(foreign)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--foreign", type=Path)
    parser.add_argument("--images", type=int, default=80)
    parser.add_argument("--study", default="pcsmo")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    study = load_study(arguments.study)
    weights, _ = load_weights(arguments.weights, study)
    own = load_part(open_set(arguments.dataset), study, "calibration")
    coverages, noise = coverages_of(study, weights.card), weights.nuisance.measured

    def look(part: Part, seed: int) -> NDArray[np.float64]:
        return observe(weights.network, weights.calibration, part, coverages, noise, seed)[1]

    few, generator = chosen(own, arguments.images), torch.Generator().manual_seed(0)
    images, energies = torch.as_tensor(few.images.astype(np.float32)), slice_energies(study)
    families = {
        name: replace(few, images=make_foreign(images, images, energies, generator, [name]).numpy())
        for name in families_of(*study.shape[:2])
    }
    families |= {name: replace(few, images=make(few.images)) for name, make in UNSEEN.items()}
    if arguments.foreign is not None:
        magnets = open_set(arguments.foreign)
        left = load_part(magnets, study, "test", foreign=True)
        families["random magnets, left out"] = replace(left, labels=np.zeros_like(left.labels))
    usual = look(own, 1)
    ranked, other = replace(weights.calibration, held_back=usual[::2]), usual[1::2]

    def combined(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        single = np.log(ranked.p_values(values)[0])
        return -single.min(1), -single.sum(1)

    names = [*weights.calibration.signals, "smallest p", "product of p"]
    print(f"{'':>28}" + "".join(f"  {name:>26}" for name in names))
    for seed, (name, part) in enumerate(families.items(), 2):
        found = look(part, seed)
        areas = [area(usual[:, i], found[:, i]) for i in range(found.shape[1])]
        areas += [area(*pair) for pair in zip(combined(other), combined(found), strict=True)]
        print(f"{name:>28}" + "".join(f"  {value:26.3f}" for value in areas), flush=True)


if __name__ == "__main__":
    main()
