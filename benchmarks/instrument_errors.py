"""Whether errors of fitted parameters hold where the instrument is not what the study states.

usage: python benchmarks/instrument_errors.py STUDY MODEL [-n N] [--counts MEAN] [--seed N] [--without] [--samples N]

Each of N simulations is made with parameters drawn around the reference (a tenth of each prior's width), with an energy
zero and a moderator width of its own in each run, one mosaic and one width of modes, all drawn from the priors that
magnoscope.estimate.instrument_errors states, and counted. It is fitted twice, from the truth: with the instrument as
stated, and with its errors as nuisances. Printed for each parameter: mean and root mean square of what is wrong, in
widths of the prior; shares of the 68 and 90 % intervals that hold the truth, with the standard deviation that so many
would have if they were right; the median width of the 90 % interval in widths of the prior. With --without the
simulations are made as the study stands, and the nuisances are only a price. With --samples the intervals are those of
so many weighted draws, where these are worth enough, and the median of their effective sample size is printed.
"""

import argparse
import time

import numpy as np

from magnoscope.errors import InstabilityError
from magnoscope.estimate import Extras, Simulators, fit
from magnoscope.estimate.instrument_errors import KINDS, RunByRun
from magnoscope.spectrum import Spectrum, counted
from magnoscope.studies import load_study
from magnoscope.study import Study


def faulty(study: Study, model: str, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A simulation of which every run has errors of its own."""
    amounts = np.stack([rng.standard_normal(len(study.runs) if k.each_run else 1) * np.ones(len(study.runs))
                        for k in KINDS])  # fmt: skip
    low, high = np.array([k.bounds for k in KINDS]).T
    # what is never negative is drawn from half of a normal distribution
    amounts[low == 0] = abs(amounts[low == 0])
    return RunByRun(study, np.clip(amounts, low[:, None], high[:, None])).signal(model, values)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("study")
    parser.add_argument("model")
    parser.add_argument("-n", type=int, default=40)
    parser.add_argument("--counts", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without", action="store_true")
    parser.add_argument("--samples", type=int, default=0)
    arguments = parser.parse_args()
    study = load_study(arguments.study)
    found, simulators = study.model(arguments.model), Simulators(study)
    low, high = found.prior.T
    rng = np.random.default_rng(arguments.seed)
    rows = {True: [], False: []}
    spent, worth = {True: 0.0, False: 0.0}, {True: [], False: []}
    while len(rows[True]) < arguments.n:
        truth = np.clip(found.reference + 0.1 * (high - low) * rng.standard_normal(len(low)), low, high)
        try:
            if arguments.without:
                signal = simulators.fine.signal(found.name, truth)
            else:
                signal = faulty(study, found.name, truth, rng)
        except InstabilityError:
            continue
        seen = simulators.fine.reachable
        spectrum = counted(Spectrum(study, np.where(seen, signal, np.nan), seen), arguments.counts, len(rows[True]))
        for as_stated in rows:
            started = time.process_time()
            fitted = fit(spectrum, found.name, truth, simulators, draws=0, as_stated=as_stated,
                         extras=Extras(arguments.samples))  # fmt: skip
            worth[as_stated].append(0.0 if fitted.sample is None else fitted.sample.effective)
            spent[as_stated] += time.process_time() - started
            rows[as_stated].append([(e.value, *e.interval_68, *e.interval_90, t)
                                    for e, t in zip(fitted.estimates, truth, strict=True)])  # fmt: skip
    print(f"{study.name}, {found.name}: {arguments.n} simulations, {arguments.counts:g} counts a pixel")
    for as_stated, table in rows.items():
        value, a, b, c, d, truth = np.moveaxis(np.array(table), -1, 0)
        wrong = (value - truth) / (high - low)
        inside = [((x <= truth) & (truth <= y)).mean(0) for x, y in ((a, b), (c, d))]
        sure = [np.sqrt(p * (1 - p) / arguments.n) for p in (0.68, 0.9)]
        print(
            f"{'as stated' if as_stated else 'with errors of the instrument'}, {spent[as_stated] / arguments.n:.2f} "
            f"CPU-seconds a fit, effective sample size {np.median(worth[as_stated]):.0f} of {arguments.samples}"
        )
        for number, name in enumerate(p.name for p in found.parameters):
            rms = np.sqrt((wrong[:, number] ** 2).mean())
            wide = np.median((d - c)[:, number]) / (high - low)[number]
            print(
                f"  {name:>8}: bias {wrong[:, number].mean():+.4f}, rms {rms:.4f}; 68 % holds {inside[0][number]:.2f} "
                f"+- {sure[0]:.2f}, 90 % holds {inside[1][number]:.2f} +- {sure[1]:.2f}; 90 % is {wide:.3f} wide"
            )


if __name__ == "__main__":
    main()
