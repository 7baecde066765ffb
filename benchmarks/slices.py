"""Which slices decide: by networks and methods, by fits, and by the simulator; and how far explanations follow it.

usage: python benchmarks/slices.py IMAGE NAME=A.safetensors,B.safetensors ... [--fits compare.json] [--slice 70,38.5]
           [--near SET --images 10] [--skip shapley] [--chance]

Networks of one NAME differ in their seed; their shares are averaged, and what is printed of each method is

- rank and share of the slice at one incident energy and energy transfer, and the three largest;
- agreement between seeds: mean rank correlation of the sizes of shares;
- rank correlation with the physics: the expected log-likelihood ratio of the nearest model at the parameters that
  `magnoscope compare --json` found, against the next model once that is fitted to it, with the image's own noise;
- with --chance, the same for the first networks with random weights: what a method gets for nothing.

With --near, the same for images of the test part of a training set (drawn around the fit), with the noise and the
detectors of a measurement: there the parameters are known. Mean and standard deviation over images.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from magnoscope.dataset.noise import MEASUREMENT_LIKE, degrade
from magnoscope.dataset.parts import load_part, open_set
from magnoscope.explain import explain
from magnoscope.explain.checks import at_parameters, blank, information, rank_correlation, refitted_information
from magnoscope.io.images import read_spectrum
from magnoscope.machine import keep_memory
from magnoscope.simulate import Simulator
from magnoscope.spectrum import Spectrum
from magnoscope.studies import load_study
from magnoscope.study import Study
from magnoscope.trust.held_back import chosen
from magnoscope.trust.weights import Weights, load_weights
from magnoscope.verdict import Verdict, classify

METHODS = {
    "compact": ("shapley", "occlusion", "alone", "gradients", "likelihood"),
    "additive": ("evidence", "shapley", "occlusion"),
}
OTHERS = ("gradcam", "hirescam", "occlusion")
CHANCE = "random weights"


@dataclass(frozen=True)
class Told:
    """Shares of the slices by one method, of each of the networks of one name: (networks, runs, slices)."""

    name: str
    method: str
    shares: NDArray[np.float64]

    @property
    def mean(self) -> NDArray[np.float64]:
        return self.shares.mean(0)

    @property
    def seeds(self) -> float:
        pairs = [rank_correlation(a, b) for a, b in combinations(self.shares, 2)]
        return float(np.mean(pairs)) if pairs else np.nan


def told(
    spectrum: Spectrum,
    groups: dict[str, list[Weights]],
    name: str | None,
    skip: list[str],
    simulator: Simulator,
    parameters: dict[str, dict[str, float]],
) -> tuple[list[Told], Verdict]:
    """What all networks say of a spectrum, and the verdict of the first.

    All take slices away alike: by matches at given parameters, or else by those of the first network. The method that
    compares matches takes each network's own emulator's where none are given.
    """
    first = next(iter(groups.values()))[0]
    verdict = at_parameters(classify(spectrum, first, simulator), parameters, simulator)
    out = []
    for group, networks in groups.items():
        for method in METHODS.get(str(networks[0].card["kind"]), OTHERS):
            if method in skip:
                continue
            verdicts = [verdict] * len(networks)
            if method == "likelihood" and not parameters:
                verdicts = [classify(spectrum, w, simulator) if w.calibration.emulator else verdict for w in networks]
            found = [explain(v, w, name, method).shares for v, w in zip(verdicts, networks, strict=True)]
            out.append(Told(group, method, np.stack(found)))
    return out, verdict


def near_images(path: Path, study: Study, number: int, valid: NDArray) -> Iterator[tuple[Spectrum, str, dict]]:
    """Test images of a set as if they had been measured, each with its model and parameters."""
    part = chosen(load_part(open_set(path), study, "test"), number)
    nuisance = replace(MEASUREMENT_LIKE, mirrors=False)
    images = torch.as_tensor(np.asarray(part.images).astype(np.float32))
    noisy, seen = degrade(images, torch.as_tensor(valid)[None], nuisance, torch.Generator().manual_seed(3), ())
    for image, mask, label, scaled in zip(noisy.numpy(), seen.numpy(), part.labels, part.parameters, strict=True):
        model = study.model(study.classes[label])
        low, high = model.prior.T
        values = low + scaled[: len(low)] * (high - low)
        names = [p.name for p in model.parameters]
        spectrum = Spectrum(study, np.where(mask, image, np.nan).astype(float), mask)
        yield spectrum, model.name, dict(zip(names, map(float, values), strict=True))


def physics(verdict: Verdict, truth: str, parameters: dict, simulator: Simulator) -> NDArray[np.float64]:
    """Expected log-likelihood ratio by slice of a model at its parameters against the others, fitted to it."""
    moved = at_parameters(verdict, parameters, simulator)
    return refitted_information(replace(moved, scores={name: float(name == truth) for name in moved.scores}), simulator)


def of_fits(fits: dict, study: Study) -> NDArray[np.float64]:
    """What the data themselves said: log-likelihood ratio of the two fits by slice, signed."""
    out = np.zeros(study.shape[:2])
    energies = [run.ei for run in study.runs]
    for row in fits["slices"]:
        run = energies.index(row["ei_meV"])
        out[run, int(np.argmin(np.abs(study.energy_edges[run, :-1] - row["energy_meV"][0])))] = row[
            "log_likelihood_ratio"
        ]
    return out


def place(shares: NDArray[np.float64], at: tuple[int, int], study: Study) -> str:
    """Rank and share of a slice, and the three largest."""
    size = np.abs(shares) / np.abs(shares).sum()
    order = np.argsort(-size, axis=None, kind="stable")
    rank = 1 + int(np.flatnonzero(order == at[0] * size.shape[1] + at[1])[0])
    top = []
    for index in order[:3]:
        r, s = divmod(int(index), size.shape[1])
        low, high = study.energy_edges[r, s : s + 2]
        top.append(f"{study.runs[r].ei:g}: {low:.1f}-{high:.1f} ({np.sign(shares[r, s]) * size[r, s]:+.3f})")
    return f"{rank:2d} | {np.sign(shares[at]) * size[at]:+.3f} | " + ", ".join(top)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path)
    parser.add_argument("networks", nargs="+", metavar="NAME=A,B")
    parser.add_argument("--fits", type=Path, required=True)
    parser.add_argument("--slice", default="70,38.5")
    parser.add_argument("--near", type=Path)
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--skip", action="append", default=[])
    parser.add_argument("--chance", action="store_true", help="Random weights as well.")
    parser.add_argument("--own", action="store_true", help="Take slices away by the first network's best matches.")
    parser.add_argument("--study", default="pcsmo")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    study = load_study(arguments.study)
    simulator = Simulator(study)
    groups = {}
    for text in arguments.networks:
        name, _, paths = text.partition("=")
        groups[name] = [load_weights(path, study)[0] for path in paths.split(",")]
    if arguments.chance:
        first = next(iter(groups.values()))
        groups[CHANCE] = [blank(study, w, int(w.card["seed"]) + 1) for w in first]
    measured = read_spectrum(arguments.image, study)
    fits = json.loads(arguments.fits.read_text())
    parameters = {m: {k: v["mean"] for k, v in f["parameters"].items()} for m, f in fits["fits"].items()}
    truth = next(iter(fits["fits"]))
    ei, energy = map(float, arguments.slice.split(","))
    run = [r.ei for r in study.runs].index(ei)
    at = run, int(np.searchsorted(study.energy_edges[run], energy) - 1)

    rows, verdict = told(measured, groups, truth, arguments.skip, simulator, {} if arguments.own else parameters)
    expected = physics(verdict, truth, parameters, simulator)
    realised = of_fits(fits, study)
    print(f"{arguments.image.name}: evidence for {truth}; the slice at Ei {ei:g} meV, {energy:g} meV\n")
    print(
        "| | rank | share | the three largest (Ei: energy transfer, meV) | physics | seeds |\n|---|---|---|---|---|---|"
    )
    told_apart = information(at_parameters(verdict, parameters, simulator))
    references = {
        "likelihood ratio of the fits": realised,
        "simulator, rival fitted to the nearest": expected,
        "simulator, both fitted to the data": told_apart,
    }
    for name, shares in references.items():
        print(f"| {name} | {place(shares, at, study)} | {rank_correlation(shares, expected):+.2f} | |")
    for row in rows:
        agreed = "" if np.isnan(row.seeds) else f"{row.seeds:+.2f}"
        follows = rank_correlation(row.mean, expected)
        print(f"| {row.name}: {row.method} | {place(row.mean, at, study)} | {follows:+.2f} | {agreed} |", flush=True)
    every = [*references.items(), *((f"{r.name}: {r.method}", r.mean) for r in rows)]
    print("\nagreement (rank correlation of sizes)\n")
    print("| | " + " | ".join(str(n) for n in range(1, len(every) + 1)) + " |\n|---" * 1 + "|---" * len(every) + "|")
    for number, (name, shares) in enumerate(every, 1):
        print(f"| {number} {name} | " + " | ".join(f"{rank_correlation(shares, s):+.2f}" for _, s in every) + " |")
    if arguments.near is not None:
        simulations(arguments, groups, measured, simulator)


def simulations(
    arguments: argparse.Namespace, groups: dict[str, list[Weights]], measured: Spectrum, simulator: Simulator
) -> None:
    """The same on simulations around the fit, where the parameters are known."""
    found: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    study = measured.study
    for spectrum, truth, values in near_images(arguments.near, study, arguments.images, measured.valid):
        rows, verdict = told(spectrum, groups, truth, arguments.skip, simulator, {})
        expected = physics(verdict, truth, {truth: values}, simulator)
        for row in rows:
            each = float(np.mean([rank_correlation(s, expected) for s in row.shares]))
            found.setdefault((row.name, row.method), []).append((rank_correlation(row.mean, expected), each, row.seeds))
    print(
        f"\n{arguments.images} simulations around the fit: rank correlation with the physics, mean (sd over images)\n"
    )
    print("| | mean of the seeds | one network | seeds agree |\n|---|---|---|---|")
    for (name, method), values_ in found.items():
        mean, spread = np.mean(values_, 0), np.std(values_, 0, ddof=1)
        agreed = "" if np.isnan(mean[2]) else f"{mean[2]:+.2f} ({spread[2]:.2f})"
        print(f"| {name}: {method} | {mean[0]:+.2f} ({spread[0]:.2f}) | {mean[1]:+.2f} ({spread[1]:.2f}) | {agreed} |")


if __name__ == "__main__":
    main()
