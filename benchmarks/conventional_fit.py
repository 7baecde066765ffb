"""The conventional fit, least squares with gradients from many starts, beside ours: time, and how often it succeeds.

usage: python benchmarks/conventional_fit.py STUDY MODEL [--image IMAGE] [--starts N] [--spectra N] [--seed N]

Ours begins at draws of the prior, and where a trained posterior ships for the study, once more from that.

The conventional fit is SciPy's trust-region least squares on differences: chi-square of every pixel with the noise of
its tile as found from neighbours, scale and background of each tile profiled, the instrument as stated, started from
stable draws of the prior, each start followed to its end with the default simulator. A start succeeds if its chi-square
ends within four of the least that any start, or one from where our fit ended, reached. Our fit succeeds if it is as
near to the best log-likelihood (two units); zeros are measurements to both. Printed: shares of success with 95 %
intervals, CPU-seconds and simulations, and the time until some start has succeeded with 99 %. Spectra are counted
simulations of draws of the prior, unless one IMAGE is given.
"""

import argparse
import time
from itertools import islice

import numpy as np
import torch
from scipy import optimize, stats

from magnoscope.dataset.draws import candidates, simulate_draw
from magnoscope.errors import InstabilityError
from magnoscope.estimate import Extras, Simulators, fit
from magnoscope.estimate.likelihood import Profile, TileLikelihood
from magnoscope.io.images import read_spectrum
from magnoscope.simulate import Simulator
from magnoscope.spectrum import Spectrum, counted
from magnoscope.spinwave import is_stable
from magnoscope.studies import load_study
from magnoscope.trust.match import tile_noise
from magnoscope.trust.posterior import Guide, load_posterior, shipped_posterior

UNITS = 2.0
"""Of log-likelihood; twice as many of chi-square."""


class Residuals:
    """Residuals of every pixel in units of its tile's noise, as a function of parameters scaled to 0..1."""

    def __init__(self, likelihood: TileLikelihood, simulator: Simulator, model: str) -> None:
        self.likelihood, self.simulator, self.model, self.count = likelihood, simulator, model, 0
        self.low, self.high = simulator.study.model(model).prior.T
        spectrum = likelihood.spectrum
        tiles = [spectrum.study.view.as_tiles(a) for a in (spectrum.signal, spectrum.valid)]
        signal, valid = (t.reshape(-1, *t.shape[2:])[likelihood.tiles] for t in tiles)
        self.noise = np.array([tile_noise(s, v) for s, v in zip(signal, valid, strict=True)])[:, None]

    def profile(self, scaled: np.ndarray) -> Profile:
        self.count += 1
        signal = self.simulator.signal(self.model, self.low + scaled * (self.high - self.low))
        return self.likelihood.profile(self.likelihood.simulated(signal))

    def __call__(self, scaled: np.ndarray) -> np.ndarray:
        try:
            profile = self.profile(scaled)
        except InstabilityError:
            return np.full(self.likelihood.measured.size, 10.0)
        return (np.sqrt(profile.weight) * profile.residual / self.noise).ravel()


def conventional(residuals: Residuals, start: np.ndarray) -> tuple[float, float, float, int]:
    """Chi-square, log-likelihood, CPU-seconds and simulations of one start."""
    residuals.count, began = 0, time.process_time()
    found = optimize.least_squares(residuals, start, bounds=(0, 1), diff_step=0.004, ftol=1e-6, max_nfev=60)
    spent = time.process_time() - began, residuals.count
    return 2 * found.cost, residuals.profile(found.x).total, *spent


def guides(spectrum: Spectrum, model: str) -> dict[str, Guide | None]:
    """What ours may begin from, by name."""
    path = shipped_posterior(spectrum.study)
    trained = (
        {} if path is None else {"ours, posterior": Guide(load_posterior(path, spectrum.study)[0], spectrum, model)}
    )
    return {"ours, prior": None, **trained}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("study")
    parser.add_argument("model")
    parser.add_argument("--image")
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--spectra", type=int, default=4)
    parser.add_argument("--counts", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    study = load_study(arguments.study)
    simulators, label = Simulators(study), study.classes.index(study.model(arguments.model).name)
    seen, simulator = simulators.fine.reachable, simulators.fine
    if arguments.image:
        spectra = [read_spectrum(arguments.image, study)]
    else:
        draws = [simulate_draw(simulator, label, 100 + arguments.seed, n)[0] for n in range(arguments.spectra)]
        spectra = [
            counted(Spectrum(study, np.where(seen, s, np.nan), seen), arguments.counts, n) for n, s in enumerate(draws)
        ]
    solver, low, high = simulator.solver(arguments.model), *study.model(arguments.model).prior.T
    theirs, ours = [], {}
    for number, spectrum in enumerate(spectra):
        residuals, rows = Residuals(TileLikelihood.of(spectrum), simulator, arguments.model), []
        for index in range(arguments.starts):
            drawn = candidates(solver, arguments.seed, label, 1000 * number + index)
            start = next(v for v in islice(drawn, 2000) if bool(is_stable(solver, v)))
            rows.append(conventional(residuals, np.clip((start - low) / (high - low), 1e-3, 1 - 1e-3)))
        ends, fits = list(rows), {}
        for name, guide in guides(spectrum, arguments.model).items():
            began = time.process_time()
            found = fit(
                spectrum, arguments.model, simulators=simulators, seed=arguments.seed, as_stated=True, clipped=False,
                extras=Extras(network=guide),
            )  # fmt: skip
            fits[name] = found, time.process_time() - began
            end = (np.array([e.value for e in found.estimates]) - low) / (high - low)
            ends.append(conventional(residuals, np.clip(end, 1e-3, 1 - 1e-3)))
        least, best = min(row[0] for row in ends), max(found.total for found, _ in fits.values())
        best = max(best, *(row[1] for row in ends))
        theirs += [(row[0] < least + 2 * UNITS, *row[2:]) for row in rows]
        said = " ".join(f"{row[0]:.1f}" for row in rows)
        print(f"spectrum {number}: chi-square of starts {said}", flush=True)
        for (name, (found, spent)), row in zip(fits.items(), ends[len(rows) :], strict=True):
            ours.setdefault(name, []).append((found.total > best - UNITS, spent, found.simulations))
            print(
                f"  {name}: {row[0]:.1f} from its end; {best - found.total:.1f} below the best log-likelihood",
                flush=True,
            )
    for name, table in {"conventional, a start": theirs, **ours}.items():
        right, seconds, simulations = (np.array(column) for column in zip(*table, strict=True))
        ends = stats.binomtest(int(right.sum()), len(right)).proportion_ci(0.95, "exact")
        print(
            f"{name}: succeeds {right.mean():.2f} ({ends.low:.2f} to {ends.high:.2f}, n = {len(right)}), "
            f"{seconds.mean():.1f} CPU-seconds, {simulations.mean():.0f} simulations"
        )
    share, seconds = np.mean([row[0] for row in theirs]), np.mean([row[1] for row in theirs])
    if 0 < share < 1:
        needed = int(np.ceil(np.log(0.01) / np.log(1 - share)))
        print(f"{needed} starts, {needed * seconds:.0f} CPU-seconds, until one succeeds with 99 %")


if __name__ == "__main__":
    main()
