"""Whether errors and intervals of fitted parameters hold where the instrument is not what the study states.

usage: python benchmarks/instrument_errors.py STUDY MODEL [-n N] [--seed N] [--samples N] [--counts MEAN] [--near]
                                              [--as-stated] [--replace OLD NEW] [--out TABLE.csv]

Each of N simulations is made with stable parameters drawn from the whole prior (--near: around the reference, a tenth
of each prior's width) and with every error of the instrument drawn from the prior that
magnoscope.instrument_errors states (what is never negative from half of a normal distribution). It then gets
the noise of a measurement (level 1 of magnoscope.dataset.noise: about the mean intensity), scales and an envelope of
runs, residual background and hot pixels, and its negative values are set to zero; with --counts it is counted instead.
It is fitted from a place that is off the truth by a tenth of each prior's width, as a trained posterior's estimate is
(how often a search from the prior ends in the right valley is what conventional_fit.py asks), and from the instrument
as stated; with --as-stated once more, with the instrument taken as stated.

Printed for each parameter: mean, root mean square and median of what is wrong, in widths of the prior; shares of the
68 and 90 % intervals that hold the truth, with the standard deviation that so many would have if they were right, and
how even the ranks of the truth are (chi-square, p): of the intervals that the curvature at the fit gives, and of those
by weighted draws (--samples), from the same fits. Fits whose draws are worth less than 50 are counted with their
curvature in the second, as the program does, and their ranks are of the draws they have.

With --out each simulation is written to a table as it ends, and a run that was cut off goes on from there. --replace
changes the study's text before it is read (--replace "slices = 2" "slices = 5").
"""

import argparse
import csv
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np
from scipy import stats

from magnoscope.dataset.draws import Law, candidates
from magnoscope.dataset.noise import MEASUREMENT_LIKE, degraded
from magnoscope.estimate import Extras, Simulators, fit
from magnoscope.estimate.responses import Spectra
from magnoscope.estimate.sampling import ENOUGH
from magnoscope.machine import keep_memory, one_thread
from magnoscope.spectrum import Spectrum, counted
from magnoscope.spinwave import is_stable
from magnoscope.studies import parse_study
from magnoscope.trust.posterior import rank_counts

KINDS = ("curvature", "draws")
NUISANCE = MEASUREMENT_LIKE.only("noise", "scale", "envelope", "background", "hot")
ENDS = "value", "error", "a68", "b68", "a90", "b90"
FIELDS = [
    "index", "stated", "parameter", "truth", "low", "high", "worth", "seconds", "simulations", "log_likelihood",
    *(f"{kind}_{what}" for kind in KINDS for what in (*ENDS, "rank")),
]  # fmt: skip


def simulated(simulators: Simulators, model: str, seed: int, index: int, counts: float | None, near: bool):
    """Parameters (meV), errors of the instrument, and a spectrum of them as it would be measured."""
    study, solver = simulators.study, simulators.fine.solver(model)
    law = Law("around") if near else Law()
    drawn = candidates(solver, seed, study.classes.index(model), index, law)
    truth = next(v for v in islice(drawn, 2000) if bool(is_stable(solver, v)))
    rng = np.random.default_rng([seed, index, 7])
    spectra = Spectra(study, model, simulators.about)
    low, high = np.array([error.bounds for error in spectra.errors]).T
    sizes = rng.standard_normal(len(low))
    sizes = np.clip(np.where(low == 0, abs(sizes), sizes), low, high)
    seen = simulators.fine.reachable
    spectrum = Spectrum(study, np.where(seen, spectra(truth, sizes), np.nan), seen)
    number = int(rng.integers(2**31))
    return truth, sizes, counted(spectrum, counts, number) if counts else degraded(spectrum, NUISANCE, number)


def rows_of(found, truth: np.ndarray, seconds: float) -> list[dict]:
    """What one fit says of each parameter, and the truth."""
    out, drawn = [], found.sample
    worth = 0.0 if drawn is None else drawn.effective
    for number, (e, curved) in enumerate(zip(found.estimates, found.by_curvature, strict=True)):
        row = dict(parameter=e.name, truth=truth[number], low=e.prior[0], high=e.prior[1], worth=worth, seconds=seconds,
                   simulations=found.simulations, log_likelihood=found.total)  # fmt: skip
        for kind, each in zip(KINDS, (curved, e), strict=True):
            values = each.value, each.error, *each.interval_68, *each.interval_90
            row |= dict(zip([f"{kind}_{what}" for what in ENDS], values, strict=True))
        row["curvature_rank"] = stats.norm.cdf((truth[number] - curved.value) / curved.error)
        row["draws_rank"] = np.nan
        if drawn is not None:
            row["draws_rank"] = float(drawn.weights @ (drawn.values[:, number] < truth[number]))
        out.append(row)
    return out


def report(rows: list[dict], stated: int, samples: int) -> None:
    """Print what a table says."""
    own = [row for row in rows if int(row["stated"]) == stated]
    names = list(dict.fromkeys(row["parameter"] for row in own))
    for name in names:
        table = {f: np.array([float(r[f]) for r in own if r["parameter"] == name]) for f in FIELDS if f != "parameter"}
        n, width = len(table["truth"]), table["high"] - table["low"]
        if name == names[0]:
            print(
                f"{'instrument as stated' if stated else 'with errors of the instrument'}: {n} fits, "
                f"{table['seconds'].mean():.2f} CPU-seconds and {table['simulations'].mean():.0f} simulations a fit, "
                f"draws worth {np.median(table['worth']):.0f} of {samples} (median; {(table['worth'] < ENOUGH).sum()} "
                f"below {ENOUGH:.0f})"
            )
        for kind in KINDS[: 2 if samples else 1]:
            wrong = (table[f"{kind}_value"] - table["truth"]) / width
            inside = [
                np.mean((table[f"{kind}_a{level}"] <= table["truth"]) & (table["truth"] <= table[f"{kind}_b{level}"]))
                for level in (68, 90)
            ]
            sure = [np.sqrt(p * (1 - p) / n) for p in (0.68, 0.9)]
            ranks = table[f"{kind}_rank"][np.isfinite(table[f"{kind}_rank"])]
            wide = np.median((table[f"{kind}_b90"] - table[f"{kind}_a90"]) / width)
            even = stats.chisquare(rank_counts(ranks, 10)).pvalue
            print(
                f"  {name:>8}, {kind:>9}: 68 % holds {inside[0]:.3f} +- {sure[0]:.3f}, 90 % holds {inside[1]:.3f} +- "
                f"{sure[1]:.3f}; ranks even p {even:.2g} ({' '.join(map(str, rank_counts(ranks, 10)))}); wrong by "
                f"{np.median(abs(wrong)):.4f} (median; prior 0.25), rms {np.sqrt((wrong**2).mean()):.4f}, mean "
                f"{wrong.mean():+.4f}; 90 % is {wide:.4f} wide"
            )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("study", type=Path)
    parser.add_argument("model")
    parser.add_argument("-n", type=int, default=40)
    parser.add_argument("--counts", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--samples", type=int, default=0)
    parser.add_argument("--near", action="store_true")
    parser.add_argument("--as-stated", action="store_true")
    parser.add_argument("--replace", nargs=2, action="append", default=[], metavar=("OLD", "NEW"))
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    text = arguments.study.read_text()
    for old, new in arguments.replace:
        text = text.replace(old, new)
    study = parse_study(text)
    keep_memory()
    simulators, rows = Simulators(study), []
    if arguments.out and arguments.out.exists():
        with arguments.out.open() as file:
            rows = list(csv.DictReader(file))
    done = {(int(row["index"]), int(row["stated"])) for row in rows}
    for index in range(arguments.n):
        for stated in [0, 1] if arguments.as_stated else [0]:
            if (index, stated) in done:
                continue
            with one_thread():
                truth, _, spectrum = simulated(
                    simulators, arguments.model, arguments.seed, index, arguments.counts, arguments.near
                )
                started = time.process_time()
                low, high = study.model(arguments.model).prior.T
                off = 0.1 * (high - low) * np.random.default_rng([arguments.seed, index, 8]).standard_normal(len(low))
                found = fit(
                    spectrum, arguments.model, np.clip(truth + off, low, high), simulators, seed=index, draws=0,
                    as_stated=bool(stated), extras=Extras(arguments.samples),
                )  # fmt: skip
            new = rows_of(found, truth, time.process_time() - started)
            rows += (new := [{"index": index, "stated": stated} | row for row in new])
            if arguments.out:
                write(arguments.out, new)
            off = [f"{r['parameter']} {(r['draws_value'] - r['truth']) / r['draws_error']:+.1f}" for r in new]
            print(f"{index}: {new[0]['seconds']:.1f} CPU-seconds, off by errors", *off, file=sys.stderr, flush=True)
    print(
        f"{study.name}, {arguments.model}: {arguments.n} simulations, "
        f"{f'{arguments.counts:g} counts a pixel' if arguments.counts else 'noise of a measurement'}, seed "
        f"{arguments.seed}, parameters {'about the reference' if arguments.near else 'over the whole prior'}"
    )
    for stated in [1, 0] if arguments.as_stated else [0]:
        report(rows, stated, arguments.samples)


def write(path: Path, rows: list[dict]) -> None:
    """Add rows to a table, all of a fit at once."""
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        if fresh:
            writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
