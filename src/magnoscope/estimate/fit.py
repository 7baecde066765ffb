"""Exchange parameters of one candidate from a spectrum, with errors that hold the model's own and the instrument's.

From the study's priors, with no start picked by hand: draws of the prior and, where there are weights, a network's
posterior and estimate are ranked by a smoothed comparison with coarse simulations; fewer and fewer of them are followed
further and further (successive halving), the last ones unsmoothed; the best goes on together with errors of the
instrument (:mod:`..instrument_errors`), to its end on default simulations. What it found, and how sure it is, is in
:mod:`.result`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from ..dataset.draws import candidates
from ..instrument_errors import errors_of, usual_sizes
from ..simulate import Simulator
from ..spectrum import Spectrum
from ..spinwave import ModeSolver, is_stable
from .clipped import likelihood_of
from .crew import ALONE, Crew
from .descent import Curvature, Point, Simulate, Target
from .halves import halves_of
from .likelihood import TileLikelihood
from .responses import Simulators, Spectra, response
from .result import Fit, covariances, result_of, with_sample
from .sampling import Proposal, Sample, sample

BLUR = 2.0
"""Smoothing of the search, pixels."""
DRAWS = 48
"""Draws of the prior that are looked at."""
DRAWS_GUIDED = 12
"""The same beside a network's posterior."""
ROUNDS = ((14, 2), (5, 4))
"""How many of the best starts are followed, and by how many steps, smoothed; then the two best unsmoothed."""
ROUNDS_GUIDED = ((6, 2), (3, 4))
"""The same beside a network's posterior."""
LAST = 2
STEPS = 5
LONG = 8
"""Steps of a descent whose valley is long and flat: that with errors of the instrument."""
MOST_CENTRES = 3
"""How often the response to errors of the instrument is simulated."""
FIRST_STEP, NEXT_STEP, LAST_STEP = 1.0, 0.5, 0.3
"""Half of the range (standard deviations) in which the response to errors should hold: at first, about some, and about
those at which a fit ends."""
OF_HALF = 2
"""Steps of a fit to half of the data, which begins at that to all."""
KEPT = 16
"""Spectra that are kept in case they are asked for again."""
SETTLED = 5.0
"""What a descent may gain in log-likelihood from where it has just been centred, and still need no other centre."""
FINEST = 4
"""Steps with default simulations, at most."""
CLOSE = 0.2
"""A fit has ended once a step changes nothing by more than this share of its error."""
NETWORK_DRAWS = 1000
"""Draws that stand for a network's posterior."""
NETWORK_STARTS = 32
"""How many of them are looked at as starts."""

Report = Callable[[str], None]


@dataclass(frozen=True)
class Extras:
    """What a fit is asked for beyond its best point and errors.

    Attributes
    ----------
    samples : int
        Weighted draws of the posterior; none for the curvature alone.
    halves : bool
        Whether the fit is repeated with halves of the data.
    network : Proposal or None
        A network's posterior: where the search begins.
    """

    samples: int = 0
    halves: bool = False
    network: Proposal | None = None


class _Counted:
    """What simulates one model, counted, and its last spectra kept: fits to halves of data begin at one point."""

    def __init__(self, simulate: Simulate, model: str) -> None:
        self.simulate, self.model, self.count = simulate, model, 0
        self.kept: dict[bytes, NDArray[np.float64]] = {}
        self.lock = Lock()

    def __call__(self, values: NDArray[np.float64], sizes: NDArray[np.float64]) -> NDArray[np.float64]:
        key = values.tobytes() + sizes.tobytes()
        with self.lock:
            if key in self.kept:
                return self.kept[key]
            self.count += 1
        signal = self.simulate(values, sizes)
        with self.lock:
            while len(self.kept) >= KEPT:
                self.kept.pop(next(iter(self.kept)))
            self.kept[key] = signal
        return signal


def _stated_spectra(simulator: Simulator, model: str) -> _Counted:
    """With the instrument as the study states it."""
    return _Counted(lambda values, sizes: simulator.signal(model, values), model)


def fit(
    spectrum: Spectrum,
    model: str,
    estimate: NDArray[np.float64] | None = None,
    simulators: Simulators | None = None,
    seed: int = 0,
    report: Report = lambda line: None,
    draws: int | None = None,
    as_stated: bool = False,
    extras: Extras = Extras(),
    clipped: bool | None = None,
    crew: Crew = ALONE,
) -> Fit:
    """Fit a candidate to a spectrum.

    Parameters
    ----------
    spectrum : Spectrum
    model : str
    estimate : (n_parameters,) or (n, n_parameters) meV, optional
        Further starts, such as a network's estimate.
    simulators : Simulators, optional
        Of the study, ready already.
    seed : int
        Of the draws.
    report : callable
        Told what is done.
    draws : int, optional
        Draws of the prior that are looked at; fewer unless told otherwise where there is a network's posterior.
    as_stated : bool
        Whether the instrument is taken as the study states it; else its errors are fitted too.
    extras : Extras
    clipped : bool, optional
        Whether negative values of the spectrum were set to zero; found from its values unless said.
    crew : Crew
        What simulates side by side.

    Raises
    ------
    StudyError
        If the study has no such model.
    SpectrumError
        If there is nothing to fit.
    """
    started = time.monotonic()
    spectrum.study.model(model)
    sharp, simulators = likelihood_of(spectrum, clipped), simulators or Simulators(spectrum.study)
    coarse = _stated_spectra(simulators.coarse, model)
    best, drawn = _begun(sharp, model, estimate, simulators, coarse, seed, report, draws, extras, crew)
    report(f"{model}: log-likelihood {best.total:.1f} with coarse simulations")
    if as_stated:
        target, best, near, used = *_stated(sharp, simulators, model, best, crew), coarse, 0
    else:
        target, best, near, used = _with_errors(sharp, simulators, model, best, report, crew)
    target, best, about, more = _finish(target, best, simulators, model, crew)
    report(f"{model}: log-likelihood {best.total:.1f} with default simulations")
    result = result_of(spectrum, model, target, best, about)
    if extras.samples or extras.halves:
        result = _extended(result, target, best, about, near, simulators.fine.solver(model), extras, seed, report)
    counted = {id(c): c.count for c in (coarse, near, target.simulate) if isinstance(c, _Counted)}
    spent = time.monotonic() - started
    return replace(result, network=drawn, simulations=used + more + sum(counted.values()), seconds=spent)


def _begun(
    sharp: TileLikelihood,
    model: str,
    estimate: NDArray[np.float64] | None,
    simulators: Simulators,
    coarse: _Counted,
    seed: int,
    report: Report,
    draws: int | None,
    extras: Extras,
    crew: Crew,
) -> tuple[Point, Sample | None]:
    """Where coarse simulations lead from the best of all starts; and what a network's posterior says."""
    spectrum, guided = sharp.spectrum, extras.network is not None
    prior, smooth = spectrum.study.model(model).prior, TileLikelihood.of(spectrum, BLUR)
    given, drawn = _given(estimate, prior, extras.network, seed)
    draws = (DRAWS_GUIDED if guided else DRAWS) if draws is None else draws
    starts = _starts(smooth, simulators.coarse, coarse, prior, given, seed, draws, crew)
    return _search(smooth, sharp, coarse, prior, starts, ROUNDS_GUIDED if guided else ROUNDS, report, crew), drawn


def _extended(
    result: Fit,
    target: Target,
    best: Point,
    about: Curvature,
    near: "_Counted",
    solver: ModeSolver,
    extras: Extras,
    seed: int,
    report: Report,
) -> Fit:
    """A fit with weighted draws and halves of the data."""
    close = _Near(near, best)
    if extras.samples:
        found = sample(
            target, best, about, covariances(about), close, lambda v: bool(is_stable(solver, v)),
            extras.samples, seed,
        )  # fmt: skip
        result = with_sample(result, found)
        report(f"{result.model}: {extras.samples} draws worth {0.0 if found is None else found.effective:.0f}")
    if extras.halves:
        result = replace(result, halves=halves_of(result.spectrum, lambda half: _refit(half, target, close, best)))
        report(f"{result.model}: fitted to halves of the data in {len(result.halves)} ways")
    return result


def _given(
    estimate: NDArray[np.float64] | None, prior: NDArray[np.float64], network: Proposal | None, seed: int
) -> tuple[NDArray[np.float64], Sample | None]:
    """Starts besides draws of the prior, (n, n_parameters) meV, and a network's posterior."""
    given = np.empty((0, len(prior))) if estimate is None else np.atleast_2d(estimate)
    if network is None:
        return given, None
    low, high = prior.T
    values = low + network.draw(NETWORK_DRAWS, seed) * (high - low)
    drawn = Sample(values, np.full(len(values), 1 / len(values)))
    return np.concatenate([given, drawn.mean[None], values[:NETWORK_STARTS]]), drawn


class _Near:
    """Spectra near a point where the spectrum is known: that one, and differences of cheaper simulations."""

    def __init__(self, simulate: _Counted, point: Point) -> None:
        self.simulate, self.signal = simulate, point.signal
        self.cheaper = simulate(point.values, point.sizes)

    def __call__(self, values: NDArray[np.float64], sizes: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.signal + self.simulate(values, sizes) - self.cheaper


def _refit(
    half: Spectrum, target: Target, simulate: _Near, end: Point
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values and errors of the parameters with a half of the data, from the fit to all of them."""
    own = replace(target, likelihood=type(target.likelihood).of(half), simulate=simulate)
    own, best = _counting(own, own.seen(end.values, end.sizes, end.signal))
    best = own.descend(best, OF_HALF)
    whole = covariances(own.curvature(best))[1]
    return best.values, (np.sqrt(np.diag(whole)) * own.units)[: len(own.prior)]


def _search(
    smooth: TileLikelihood,
    sharp: TileLikelihood,
    coarse: _Counted,
    prior: NDArray[np.float64],
    points: list[Point],
    rounds: tuple[tuple[int, int], ...],
    report: Report,
    crew: Crew,
) -> Point:
    """The best of several descents with coarse simulations, smoothed first, side by side."""
    target = Target(smooth, coarse, prior)
    for number, steps in rounds:
        points = crew.map(partial(target.descend, steps=steps), points[:number])
        points.sort(key=lambda p: -p.total)
        report(
            f"{coarse.model}: {len(points)} descents of {steps} steps, smoothed log-likelihood {points[0].total:.1f}"
        )
    target = replace(target, likelihood=sharp)
    found = crew.map(lambda p: target.descend(target.seen(p.values, p.sizes, p.signal), STEPS), points[:LAST])
    return max(found, key=lambda p: p.total)


def _stated(
    likelihood: TileLikelihood, simulators: Simulators, model: str, best: Point, crew: Crew
) -> tuple[Target, Point]:
    """What is fitted with the instrument as the study states it, and the best point so far by default simulations."""
    target = Target(likelihood, _stated_spectra(simulators.fine, model), simulators.study.model(model).prior, crew=crew)
    return _counting(target, target.look(best.values) or best)


def _with_errors(
    likelihood: TileLikelihood, simulators: Simulators, model: str, start: Point, report: Report, crew: Crew
) -> tuple[Target, Point, _Counted, int]:
    """Go on with errors of the instrument; differences from the last default simulation are cheaper ones.

    Returns
    -------
    target : Target
        With default simulations.
    best : Point
    close : callable
        The cheaper simulations.
    simulations : int
        Beside those that they count.
    """
    study, used = simulators.study, 0
    close = _Counted(Spectra(study, model, simulators.changed), model)
    fine = _Counted(Spectra(study, model, simulators.about), model)
    target = Target(likelihood, fine, study.model(model).prior, None, crew)
    best = start
    sizes = usual_sizes(errors_of(study)[0])
    for number in range(MOST_CENTRES):
        first = number == 0
        found, spent = response(simulators, model, best.values, sizes, FIRST_STEP if first else NEXT_STEP, crew)
        used += spent
        target = replace(target, response=found)
        target, here = _counting(target, target.look(best.unknowns) or target.seen(best.values, sizes, best.signal))
        best = replace(target, simulate=_Near(close, here)).descend(here, LONG)
        report(f"{model}: log-likelihood {best.total:.1f} with errors of the instrument")
        sizes = best.sizes
        if not first and best.total - here.total < SETTLED:
            break
    return *_counting(target, target.look(best.unknowns) or best), close, used


def _counting(target: Target, point: Point) -> tuple[Target, Point]:
    """The same with the noise of counts about a point."""
    target = replace(target, likelihood=target.likelihood.counting(point.model))
    return target, target.seen(point.values, point.sizes, point.signal)


def _finish(
    target: Target, best: Point, simulators: Simulators, model: str, crew: Crew
) -> tuple[Target, Point, Curvature, int]:
    """The last steps, with the response to errors of the instrument where they end; simulations that this took.

    Errors of the fit hang on what the response has in common with parameters, there and not where it was before.
    """
    best, about = _last_steps(target, best)
    if target.response is None:
        return target, best, about, 0
    found, used = response(simulators, model, best.values, best.sizes, LAST_STEP, crew)
    target = replace(target, response=found)
    return target, *_last_steps(target, best), used


def _last_steps(target: Target, best: Point) -> tuple[Point, Curvature]:
    """Steps with default simulations until one is small beside the errors; the last curvature."""
    for _ in range(FINEST):
        about = target.curvature(best)
        here, best = best, target.descend(best, 1, about)
        errors = np.sqrt(np.diag(covariances(about)[1]))
        if np.all(abs(best.unknowns - here.unknowns) < CLOSE * errors * target.units):
            break
    return best, about


def _starts(
    likelihood: TileLikelihood,
    simulator: Simulator,
    simulate: _Counted,
    prior: NDArray[np.float64],
    given: NDArray[np.float64],
    seed: int,
    draws: int,
    crew: Crew,
) -> list[Point]:
    """Draws of the prior and the estimates, best first."""
    solver, classes = simulator.solver(simulate.model), simulator.study.classes
    looked = [*given]
    for index in range(draws):
        drawn = candidates(solver, seed, classes.index(simulate.model), index)
        looked.append(next(v for v in drawn if bool(is_stable(solver, v))))
    points = crew.map(Target(likelihood, simulate, prior).look, looked)
    return sorted((p for p in points if p is not None), key=lambda p: -p.total)
