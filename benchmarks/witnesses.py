"""How often the best matches contradict the network, where it is right and where it is wrong.

usage: python benchmarks/witnesses.py WEIGHTS SET [--images 100] [--beyond beyond-montecarlo.npy]

Spectra of the test part, chosen at random, with a measurement's noise. With --beyond, spectra whose parameters lie
beyond the priors, from the folder of `magnoscope trust --suite --cache`, where models alternate. Of those in
distribution: how many are named wrongly, of how many of these that is said, and how often a wrong model stands alone in
the label set.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from magnoscope.cli.trust import coverages_of
from magnoscope.dataset.noise import MEASUREMENT_LIKE, degrade
from magnoscope.dataset.parts import Part, load_part, open_set
from magnoscope.machine import keep_memory
from magnoscope.simulate import Simulator
from magnoscope.spectrum import Spectrum
from magnoscope.studies import load_study
from magnoscope.study import Study
from magnoscope.trust.calibration import interval
from magnoscope.trust.weights import Weights, load_weights
from magnoscope.verdict import Verdict, classify


def share(hits: NDArray[np.bool_]) -> str:
    """A share with its interval."""
    if not len(hits):
        return "none"
    low, high = interval(int(hits.sum()), len(hits))
    return f"{hits.sum()} of {len(hits)} ({hits.mean():.3f}, {low:.3f} to {high:.3f})"


def measured(study: Study, part: Part, coverages: torch.Tensor) -> Iterator[tuple[Spectrum, str]]:
    """Each spectrum of a part as if it had been measured, and its model."""
    generator = torch.Generator().manual_seed(31)
    for image, label in zip(part.images, part.labels, strict=True):
        noisy, seen = degrade(
            torch.as_tensor(image.astype(np.float32))[None], coverages, MEASUREMENT_LIKE, generator, part.mirrors
        )
        valid = seen[0].numpy()
        yield Spectrum(study, np.where(valid, noisy[0].numpy(), np.nan).astype(float), valid), study.classes[label]


def judged(
    study: Study, part: Part, weights: Weights, coverages: torch.Tensor, simulator: Simulator
) -> list[tuple[Verdict, str]]:
    """Verdicts, and the model that made each spectrum."""
    return [(classify(spectrum, weights, simulator), truth) for spectrum, truth in measured(study, part, coverages)]


def report(found: list[tuple[Verdict, str]]) -> None:
    """What is said of spectra in distribution."""
    inside = np.array([verdict.in_distribution for verdict, _ in found])
    right = np.array([verdict.nearest == truth for verdict, truth in found])
    contradicted = np.array([verdict.better_match is not None for verdict, _ in found])
    alone = np.array([len(verdict.label_set) == 1 for verdict, _ in found])
    print(f"  in distribution: {share(inside)}")
    print(f"  of these, named rightly: {share(right[inside])}")
    print(f"  rightly, contradicted by the matches: {share(contradicted[inside & right])}")
    print(f"  wrongly, contradicted by the matches: {share(contradicted[inside & ~right])}")
    print(f"  one model alone in the label set, and wrong: {share((alone & ~right)[inside])}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--beyond", type=Path)
    parser.add_argument("--study", default="pcsmo")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    study = load_study(arguments.study)
    weights, _ = load_weights(arguments.weights, study)
    coverages, simulator = coverages_of(study, weights.card), Simulator(study)
    test = load_part(open_set(arguments.dataset), study, "test")
    some = np.random.default_rng(0).permutation(len(test.labels))[: arguments.images]
    part = replace(test, images=test.images[some], labels=test.labels[some], parameters=test.parameters[some])
    print(f"test part, {len(some)} spectra at random")
    report(judged(study, part, weights, coverages, simulator))
    if arguments.beyond is not None:
        images = np.load(arguments.beyond, allow_pickle=False)
        labels = np.arange(len(images)) % len(study.classes)
        print(f"beyond the priors, {len(images)} spectra")
        parameters = np.zeros((len(images), test.parameters.shape[1]), np.float32)
        beyond = Part(images, labels, parameters, test.mirrors)
        report(judged(study, beyond, weights, coverages, simulator))


if __name__ == "__main__":
    main()
