"""How well signals, and three ways to combine them, tell foreign inputs of the families that settings are chosen on.

usage: python benchmarks/signals.py WEIGHTS SET [--foreign FOREIGN] [--images 80]

The families are those shown in training and those in the card of weights, none of `magnoscope trust --suite`. Foreign
images are made of the calibration part and put through a measurement's noise. Printed is the area under the ROC curve
against the calibration part itself, for each signal of the weights, and for the smallest of their p-values, their
product and their harmonic mean (with the tails of :mod:`magnoscope.trust.calibration`), with p-values from one half of
the calibration part against the other half. "Refused" is the share beyond what one in a hundred of that half is.

What asks for parameters beyond the priors is tried on priors narrowed to their middle: spectra of the calibration part
with parameters outside against spectra of the training part with all of them inside.
"""

import argparse
from copy import deepcopy
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
from magnoscope.trust.calibration import OF_MATCH
from magnoscope.trust.emulator import Coefficients, Emulator
from magnoscope.trust.held_back import UNSEEN, chosen
from magnoscope.trust.signals import observe
from magnoscope.trust.weights import load_weights

MIDDLE = 0.7
"""Share of the priors that the calibration part is taken to be drawn beyond."""


def area(own: NDArray, foreign: NDArray) -> float:
    """Area under the ROC curve of a signal that is large for foreign inputs."""
    return float(stats.mannwhitneyu(foreign, own).statistic / (len(own) * len(foreign)))


def narrowed(emulator: Emulator, share: float) -> Emulator:
    """The same emulator for priors that are the middle share of its own."""

    def narrow(candidate: Coefficients) -> Coefficients:
        found = deepcopy(candidate)
        found.hidden[0].weight.mul_(share)  # it sees 2 x - 1
        found.library.copy_(((candidate.library - 0.5) / share + 0.5).clamp(0, 1))
        return found

    return replace(emulator, candidates=tuple(narrow(candidate) for candidate in emulator.candidates))


def inside(part: Part, emulator: Emulator, share: float) -> NDArray[np.bool_]:
    """Which spectra have all parameters in the middle share of their priors."""
    free = np.array([candidate.free.numpy() for candidate in emulator.candidates])[part.labels]
    apart = np.abs(part.parameters[:, : free.shape[1]] - 0.5) > share / 2
    return ~(apart & free).any(1)


def taken(part: Part, which: NDArray[np.bool_]) -> Part:
    """Some of the spectra of a part."""
    images, labels, parameters = part.images[which], part.labels[which], part.parameters[which]
    return replace(part, images=images, labels=labels, parameters=parameters, targets=None)


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
    ranked, other = replace(weights.calibration, held_back=usual[::2], noise=None), usual[1::2]

    def combined(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        single, together = ranked.p_values(values)
        return -np.log(single).min(1), -np.log(single).sum(1), -together

    names = [*weights.calibration.signals, "smallest p", "product of p", "harmonic mean", "refused"]
    bound = np.quantile(combined(other)[2], 0.99)
    print(f"{'':>28}" + "".join(f"  {name:>26}" for name in names))
    for seed, (name, part) in enumerate(families.items(), 2):
        found = look(part, seed)
        areas = [area(usual[:, i], found[:, i]) for i in range(found.shape[1])]
        areas += [area(*pair) for pair in zip(combined(other), combined(found), strict=True)]
        refused = float(np.mean(combined(found)[2] > bound))
        print(f"{name:>28}" + "".join(f"  {value:26.3f}" for value in (*areas, refused)), flush=True)
    emulator = weights.calibration.emulator
    if emulator is not None:
        narrow = replace(weights, calibration=replace(weights.calibration, emulator=narrowed(emulator, MIDDLE)))
        train = load_part(open_set(arguments.dataset), study, "train")
        within = chosen(taken(train, inside(train, emulator, MIDDLE)), arguments.images)
        beyond = chosen(taken(own, ~inside(own, emulator, MIDDLE)), arguments.images)
        found = [
            observe(w.network, w.calibration, p, coverages, noise, 99)[1]
            for w, p in ((narrow, within), (narrow, beyond))
        ]
        print(f"\npriors narrowed to their middle {MIDDLE:.0%}, {len(within.labels)} inside, {len(beyond.labels)} not:")
        for i, name in enumerate(weights.calibration.signals):
            if name in OF_MATCH:
                print(f"{name:>28}  {area(found[0][:, i], found[1][:, i]):26.3f}")


if __name__ == "__main__":
    main()
