"""Whether a trained posterior, and fits that start from it, hold what their intervals promise.

usage: python benchmarks/posterior.py WEIGHTS DATASET [-n N] [--local N] [--refine N] [--samples N] [--study FILE]
                                      [--figure docs/figures/ranks.png]

The test part of the training set, which neither training nor stopping has seen, is put through what a measurement does
(noise of level 1, background, masks, errors of the instrument). Printed for each candidate and parameter, of N images
in all (default 300): the shares of central 68 and 90 % intervals that hold the truth, each with its 95 % interval
(Clopper and Pearson); the p-value of even ranks (simulation-based calibration); the median distance of the posterior's
median from the truth beside that of the prior's, in widths of the prior; the information gained, in nats an image; how
many of all intervals leave out what they should hold. --figure draws the ranks.

--local N: the same for N simulations in all drawn around the reference (normal, a tenth of each prior's width).
--refine N: the first N images of each candidate are fitted with the simulator, from the posterior; the same columns of
the fits, their effective sample sizes and their CPU-seconds.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from magnoscope.dataset.coverage import random_coverage
from magnoscope.dataset.draws import Law, simulate_draw
from magnoscope.dataset.noise import Nuisance, degrade
from magnoscope.dataset.parts import Part, attributes_of, load_part, open_set
from magnoscope.estimate import Extras, Simulators, fit
from magnoscope.plot import save_figure
from magnoscope.plot_trust import plot_ranks
from magnoscope.simulate import Simulator
from magnoscope.spectrum import Spectrum
from magnoscope.studies import load_study, parse_study
from magnoscope.study import Study
from magnoscope.trust.posterior import LEVELS, Checked, Guide, Posterior, check_posterior, flatness, load_posterior


def first(part: Part, number: int) -> Part:
    """So many images of each candidate."""
    chosen = np.concatenate([np.flatnonzero(part.labels == label)[:number] for label in np.unique(part.labels)])
    return replace(part, images=part.images[chosen], labels=part.labels[chosen], parameters=part.parameters[chosen])


def around(study: Study, resolution: str, number: int, like: Part) -> Part:
    """Simulations drawn around the reference of each candidate."""
    simulator, law = Simulator(study, resolution), Law("around", 0.1)
    rows = [(label, *simulate_draw(simulator, label, 9, n, law)[:2]) for label in range(len(study.classes))
            for n in range(number)]  # fmt: skip
    parameters = np.full((len(rows), like.parameters.shape[1]), 0.5, np.float32)
    for row, (label, _, values) in enumerate(rows):
        low, high = study.models[study.classes[label]].prior.T
        parameters[row, : len(low)] = (values - low) / (high - low)
    images = np.stack([signal for _, signal, _ in rows]).astype(np.float32)
    return replace(like, images=images, labels=np.array([r[0] for r in rows]), parameters=parameters)


def table(
    posterior: Posterior, part: Part, coverages: torch.Tensor, study: Study, nuisance: Nuisance
) -> dict[str, Checked]:
    """The network alone."""
    started, outside = time.process_time(), 0
    checked = check_posterior(posterior.network, part, coverages, study, nuisance)
    spent = time.process_time() - started
    for name, found in checked.items():
        print(f"{name}: {len(found.truth)} images, {found.information.mean():.2f} nats an image")
        for number, parameter in enumerate(p.name for p in study.models[name].parameters):
            said = []
            for level in LEVELS:
                inside = found.inside[level][:, number]
                sure = stats.binomtest(int(inside.sum()), len(inside)).proportion_ci(0.95, "exact")
                outside += not sure.low <= level <= sure.high
                said.append(f"{100 * level:.0f} % holds {inside.mean():.3f} ({sure.low:.2f} to {sure.high:.2f})")
            error = np.median(np.abs(found.median - found.truth)[:, number])
            print(
                f"  {parameter:>8}: {', '.join(said)}; ranks p = {flatness(found.ranks[:, number]):.2g}; median error "
                f"{error:.3f} (prior 0.25)"
            )
    intervals = len(LEVELS) * sum(found.truth.shape[1] for found in checked.values())
    print(f"{outside} of {intervals} shares are further from what they should be than 95 % of right ones")
    print(f"{1000 * spent / len(part.labels):.0f} CPU-milliseconds an image, 400 draws each", flush=True)
    return checked


def refined(
    posterior: Posterior, part: Part, coverages: torch.Tensor, study: Study, nuisance: Nuisance, resolution: str,
    samples: int,
) -> None:  # fmt: skip
    """Fits with the simulator that start from the network."""
    simulators, generator = Simulators(study, resolution), torch.Generator().manual_seed(5)
    for label, name in enumerate(study.classes):
        low, high = study.models[name].prior.T
        inside, wrong, worth, spent = {level: [] for level in LEVELS}, [], [], []
        for row in np.flatnonzero(part.labels == label):
            signal = torch.as_tensor(part.images[row : row + 1].astype(np.float32))
            measured, valid = (a[0].numpy() for a in degrade(signal, coverages, nuisance, generator, part.mirrors))
            spectrum = Spectrum(study, np.where(valid, measured.astype(float), np.nan), valid)
            truth = low + part.parameters[row, : len(low)] * (high - low)
            started = time.process_time()
            extras = Extras(samples, network=Guide(posterior, spectrum, name))
            found = fit(spectrum, name, simulators=simulators, draws=16, extras=extras)
            spent.append(time.process_time() - started)
            for level in LEVELS:
                ends = [e.interval_68 if level == LEVELS[0] else e.interval_90 for e in found.estimates]
                inside[level].append([a <= t <= b for (a, b), t in zip(ends, truth, strict=True)])
            wrong.append(np.abs([e.value for e in found.estimates] - truth) / (high - low))
            worth.append(0.0 if found.sample is None else found.sample.effective)
            print(f"  {name} {len(spent)}: {spent[-1]:.0f} CPU-seconds, effective sample {worth[-1]:.0f}", flush=True)
        if not spent:
            continue
        print(f"{name}, refined: {len(spent)} images, effective sample size {np.median(worth):.0f} of {samples} "
              f"(median), {np.median(spent):.0f} CPU-seconds a fit (largest {max(spent):.0f})")  # fmt: skip
        for number, parameter in enumerate(p.name for p in study.models[name].parameters):
            shares = {level: float(np.mean(np.array(rows)[:, number])) for level, rows in inside.items()}
            said = ", ".join(
                f"{100 * level:.0f} % holds {share:.3f} (95 % sure within "
                + " .. ".join(
                    f"{x:.2f}" for x in stats.binomtest(round(share * len(spent)), len(spent)).proportion_ci()
                )
                + ")"
                for level, share in shares.items()
            )
            print(f"  {parameter:>8}: {said}; median error {np.median(np.array(wrong)[:, number]):.4f} (prior 0.25)")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("weights", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("-n", type=int, default=300)
    parser.add_argument("--local", type=int, default=0)
    parser.add_argument("--refine", type=int, default=0)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--study")
    parser.add_argument("--figure", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    source = open_set(arguments.dataset)
    attributes = attributes_of(source)
    study = load_study(arguments.study) if arguments.study else parse_study(attributes["study_text"])
    posterior, warning = load_posterior(arguments.weights, study)
    if warning:
        print(f"warning: {warning}")
    nuisance = Nuisance.from_settings(posterior.card["nuisance"]).measured
    part, coverages = load_part(source, study, "test"), random_coverage(study, 256, int(posterior.card["seed"]))
    print("held-back simulations, network alone")
    checked = table(posterior, first(part, -(-arguments.n // len(study.classes))), coverages, study, nuisance)
    if arguments.figure:
        names = {name: [p.name for p in model.parameters] for name, model in study.models.items()}
        save_figure(plot_ranks(checked, names, f"{study.title}: held-back simulations"), arguments.figure)
    if arguments.local:
        print("simulations around the reference, network alone")
        near = around(study, attributes["resolution"], -(-arguments.local // len(study.classes)), part)
        table(posterior, near, coverages, study, nuisance)
    if arguments.refine:
        print("held-back simulations, refined with the simulator")
        refined(
            posterior, first(part, arguments.refine), coverages, study, nuisance, attributes["resolution"],
            arguments.samples,
        )  # fmt: skip


if __name__ == "__main__":
    main()
