"""Why intervals of fitted parameters come out too narrow: two causes, each put back, in fits to expanded simulations.

usage: python benchmarks/interval_causes.py STUDY MODEL [-n N] [--copies N] [--seed N] [--replace OLD NEW]

As instrument_errors.py draws them, N parameter sets and errors of the instrument; about each, simulations are expanded
to second order in every parameter and error, once. A fit to one of the copies (noise, scales, background and hot pixels
drawn anew) then simulates nothing and takes a tenth of a second, so that hundreds can be fitted in four ways:

- as `magnoscope fit` does,
- with noise taken to be even in each slice, where it grows with the signal,
- with errors that are never negative where their density, and not that of their logarithm, is highest: often zero,
- with both.

Printed for each: how often intervals by curvature hold the truth, root mean square of what is wrong in units of the
stated error and of the prior's width. A fit begins near the truth: what is asked is whether its errors hold, not
whether it finds its valley.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from instrument_errors import NUISANCE, simulated

from magnoscope.dataset.noise import degraded
from magnoscope.errors import InstabilityError
from magnoscope.estimate import Simulators
from magnoscope.estimate.clipped import likelihood_of
from magnoscope.estimate.descent import Target
from magnoscope.estimate.responses import Response, Spectra, response
from magnoscope.estimate.result import Estimate, result_of
from magnoscope.machine import keep_memory, one_thread
from magnoscope.spectrum import Spectrum
from magnoscope.studies import parse_study

STEP = 0.03
"""Of the expansion, as a share of a prior's width."""
STEPS = 12
"""Of a descent, at most."""
WAYS = {"as fitted": (False, False), "even noise": (True, False), "from zero": (False, True), "both": (True, True)}
"""Whether noise is taken to be even, and whether errors are where their own density is highest."""


class FromZero(Response):
    """Errors that are never negative are climbed by the half of a normal density itself."""

    @property
    def bounds(self):
        return np.array([error.bounds for error in self.errors])

    def prior(self, sizes):
        return -0.5 * float(sizes @ sizes), -sizes, np.ones(len(sizes))


class Expanded:
    """Simulations about one truth, to second order."""

    def __init__(self, simulators: Simulators, model: str, truth: np.ndarray, sizes: np.ndarray) -> None:
        self.truth, self.sizes = truth, sizes
        low, high = simulators.study.model(model).prior.T
        self.width, spectra = high - low, Spectra(simulators.study, model, simulators.about)
        self.base = spectra(truth, sizes)
        moves = STEP * np.diag(self.width)
        pairs = [(spectra(truth + move, sizes), spectra(truth - move, sizes)) for move in moves]
        self.linear = np.stack([(a - b) / (2 * STEP) for a, b in pairs])
        self.square = np.stack([(a + b - 2 * self.base) / (2 * STEP**2) for a, b in pairs])
        self.response, _ = response(simulators, model, truth, sizes, 0.5)

    def __call__(self, values: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        x = (values - self.truth) / self.width
        changed = np.tensordot(x, self.linear, 1) + np.tensordot(x**2, self.square, 1)
        return np.maximum(self.base + changed + self.response.change(sizes), 0)


def fitted(about: Expanded, model: str, spectrum: Spectrum, even: bool, zero: bool) -> tuple[Estimate, ...]:
    """What a fit that simulates nothing says of each parameter, by its curvature."""
    found = about.response
    if zero:
        found = FromZero(found.errors, found.centre, found.linear, found.square, found.member)
    target = Target(likelihood_of(spectrum), about, spectrum.study.model(model).prior, found)
    start = np.clip(0.7 * about.sizes + 0.3 * found.usual, *found.bounds.T)
    best = target.descend(target.seen(about.truth, start, about(about.truth, start)), STEPS)
    for _ in range(0 if even else 2):
        target = replace(target, likelihood=target.likelihood.counting(best.model))
        best = target.descend(target.seen(best.values, best.sizes, best.signal), STEPS)
    return result_of(spectrum, model, target, best, target.curvature(best)).estimates


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("study", type=Path)
    parser.add_argument("model")
    parser.add_argument("-n", type=int, default=60)
    parser.add_argument("--copies", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--replace", nargs=2, action="append", default=[], metavar=("OLD", "NEW"))
    arguments = parser.parse_args()
    text = arguments.study.read_text()
    for old, new in arguments.replace:
        text = text.replace(old, new)
    study, model = parse_study(text), arguments.model
    keep_memory()
    simulators = Simulators(study)
    seen, rows = simulators.fine.reachable, {way: [] for way in WAYS}
    with one_thread():
        for index in range(arguments.n):
            truth, sizes, _ = simulated(simulators, model, arguments.seed, index, None, False)
            try:
                about = Expanded(simulators, model, truth, sizes)
            except InstabilityError:
                continue  # no stable neighbour
            clean = Spectrum(study, np.where(seen, about.base, np.nan), seen)
            for copy in range(arguments.copies):
                noisy = degraded(clean, NUISANCE, 1000 * index + copy)
                for way, how in WAYS.items():
                    rows[way].append((truth, fitted(about, model, noisy, *how)))
    for way, found in rows.items():
        for number, name in enumerate(p.name for p in study.model(model).parameters):
            own = [(truth[number], estimates[number]) for truth, estimates in found]
            held = [
                np.mean([a <= t <= b for (a, b), t in ((getattr(e, f"interval_{level}"), t) for t, e in own)])
                for level in (68, 90)
            ]
            wrong = np.array([e.value - t for t, e in own])
            pulls, width = wrong / [e.error for _, e in own], own[0][1].prior[1] - own[0][1].prior[0]
            print(
                f"{way:>10}, {name}: of {len(own)} intervals of 68 % {held[0]:.3f} hold, of 90 % {held[1]:.3f}; wrong "
                f"by {np.sqrt(np.mean(pulls**2)):.2f} errors (rms; mean {pulls.mean():+.2f}), "
                f"{np.sqrt(np.mean(wrong**2)) / width:.4f} of the prior (rms)"
            )


if __name__ == "__main__":
    main()
