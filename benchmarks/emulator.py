"""What the emulator in weights leaves of spectra that it has not seen, and how fast and how well it is fitted.

usage: python benchmarks/emulator.py WEIGHTS SET [--images 100] [--study pcsmo]

Printed for each candidate: the share of the power of clean spectra of the test part (each tile without its mean, each
run of unit size) that the components of the tiles leave, and that the emulator leaves at the true parameters. Then, of
as many spectra with a measurement's noise and nuisances: the share whose own candidate explains most, the median error
of each parameter in widths of the prior, CPU-seconds a spectrum, and what fits with twice the starts and three times
the steps gain in chi-square (0, 50 and 90 % of spectra).
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from magnoscope.cli.trust import coverages_of
from magnoscope.dataset.parts import load_part, open_set
from magnoscope.machine import keep_memory
from magnoscope.networks.training import evaluate
from magnoscope.studies import load_study
from magnoscope.trust import emulator as module
from magnoscope.trust.emulator import Comparison, Emulator
from magnoscope.trust.held_back import chosen
from magnoscope.trust.reconstruction import binned_spectra
from magnoscope.trust.weights import load_weights

MORE = {"STARTS": 18, "STARTS_OF_RUN": 6, "FIRST_STEPS": 12, "STEPS": 30}


def compared(emulator: Emulator, seen: list[tuple[np.ndarray, np.ndarray]]) -> tuple[list[Comparison], float]:
    """Every spectrum compared, and CPU-seconds for one."""
    started = time.process_time()
    found = [emulator.compare(*pair) for pair in seen]
    return found, (time.process_time() - started) / len(seen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--study", default="pcsmo")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    study = load_study(arguments.study)
    weights, _ = load_weights(arguments.weights, study)
    emulator = weights.calibration.emulator
    if emulator is None:
        raise SystemExit(f"{arguments.weights} has no emulator")
    test = chosen(load_part(open_set(arguments.dataset), study, "test"), arguments.images)
    spectra = torch.as_tensor(binned_spectra(study.view, test.images, np.arange(len(test.labels)))).flatten(3)
    power = (spectra**2).sum((1, 2, 3))
    own = torch.einsum("nrtb,rtkb->nrtk", spectra, emulator.components)
    for number, (name, candidate) in enumerate(zip(study.classes, emulator.candidates, strict=True)):
        mine = test.labels == number
        made = candidate(torch.as_tensor(test.parameters[mine])[:, candidate.free]).transpose(0, 1)
        outside = power[mine] - (own[mine] ** 2).sum((1, 2, 3))
        wrong = outside + ((own[mine] - made) ** 2).sum((1, 2, 3))
        left, missed = (float(x.sum() / power[mine].sum()) for x in (outside, wrong))
        print(f"{name}, {mine.sum()} spectra: components leave {left:.4f} of the power, the emulator {missed:.4f}")
    seen: list[tuple[np.ndarray, np.ndarray]] = []
    evaluate(
        weights.network, test, coverages_of(study, weights.card), weights.nuisance.measured, 1,
        lambda measured, valid: seen.extend(zip(measured.numpy().astype(float), valid.numpy(), strict=True)),
    )  # fmt: skip
    found, seconds = compared(emulator, seen)
    best = np.array([np.argmax([one.explained.sum() for one in c.fitted]) for c in found])
    print(f"with a measurement's noise: own candidate explains most in {(best == test.labels).mean():.3f}, "
          f"{seconds:.2f} CPU-seconds a spectrum")  # fmt: skip
    for number, name in enumerate(study.classes):
        mine = np.flatnonzero(test.labels == number)
        away = np.abs([found[i].fitted[number].scaled - test.parameters[i] for i in mine])
        names = [p.name for p in study.model(name).parameters]
        print(
            f"{name}: median error " + ", ".join(f"{n} {e:.3f}" for n, e in zip(names, np.median(away, 0), strict=True))
        )
    for setting, value in MORE.items():
        setattr(module, setting, value)
    longer, _ = compared(emulator, seen)

    def explained(found: list[Comparison], which: str) -> np.ndarray:
        return np.array([[getattr(one, which).sum() for one in c.fitted] for c in found])

    for what, which in (("together", "explained"), ("run by run", "alone")):
        gain = np.quantile(explained(longer, which) - explained(found, which), [0, 0.5, 0.9])
        print(f"longer fits gain, {what}: " + ", ".join(f"{g:.1f}" for g in gain))


if __name__ == "__main__":
    main()
