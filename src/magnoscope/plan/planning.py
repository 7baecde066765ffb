"""Which incident energies and energy transfers tell the candidates apart best for the counting time they take.

Each candidate in turn is taken for the truth, at a point or at draws of its prior. Every other candidate is then
fitted to it: from the reference and the draws of its own prior the likest one is followed by the least squares of
:mod:`magnoscope.estimate`, on coarse and then on default simulations, with the scale and the background of each tile
free. What is left of the difference, in units of the noise of a typical measurement, is the expected log-likelihood
ratio. For parts of the measurement the rival is fitted again to these parts alone, to second order, so that what one
run alone would say takes into account what the rival could still do.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..dataset.draws import check_priors, simulate_draw
from ..errors import InstabilityError, StudyError
from ..estimate.descent import Target
from ..estimate.responses import COARSE
from ..simulate import Simulator
from ..spectrum import Spectrum
from ..study import Study
from .design import best_shares, refitted
from .expected import Bowls, ExpectedLikelihood

DRAWS = 8
"""Draws of each prior."""
SURE = 10.0
"""A log-likelihood ratio that leaves no doubt: odds of 22,000 to one."""
COARSE_STEPS, STEPS = 6, 2
"""Least-squares steps on coarse and on default simulations."""
EASY = 1e-12

Report = Callable[[str], None]


@dataclass(frozen=True)
class Pair:
    """One truth against one rival.

    Attributes
    ----------
    truth, rival : str
    values, match : dict
        Parameters of the truth and of the rival's best match, meV.
    slices : (runs, slices)
        Expected log-likelihood ratio in one unit of time for every run.
    bowls : Bowls
    """

    truth: str
    rival: str
    values: dict[str, float]
    match: dict[str, float]
    slices: NDArray[np.float64]
    bowls: Bowls

    @property
    def total(self) -> float:
        """Expected log-likelihood ratio of the whole study, one unit of time for every run."""
        return float(self.slices.sum())


@dataclass(frozen=True)
class Plan:
    """Where to measure.

    Attributes
    ----------
    study : Study
    pairs : tuple of Pair
    time : float
        Counting time of each run, in units of that after which its noise is a typical measurement's.
    alone : (n_pairs, runs)
        Expected log-likelihood ratio if a run alone is measured, the rival fitted to it alone.
    shares : (runs,)
        How a given time is best shared out.
    equal, best : (n_pairs,)
        Expected log-likelihood ratio in that time, shared out equally and so.
    """

    study: Study
    pairs: tuple[Pair, ...]
    time: float
    alone: NDArray[np.float64]
    shares: NDArray[np.float64]
    equal: NDArray[np.float64]
    best: NDArray[np.float64]

    @property
    def slices(self) -> NDArray[np.float64]:
        """Expected log-likelihood ratio of each slice, mean over pairs, (runs, slices)."""
        return self.time * np.mean([pair.slices for pair in self.pairs], 0)

    @property
    def slice_shares(self) -> NDArray[np.float64]:
        """Share of each slice in the evidence, mean over pairs, so that easy truths count no more: (runs, slices)."""
        return np.mean([pair.slices / max(pair.total, EASY) for pair in self.pairs], 0)

    def ordered_slices(self) -> list[tuple[int, int]]:
        """Slices (run, slice) by falling share."""
        order = np.argsort(-self.slice_shares, axis=None, kind="stable")
        return [(int(r), int(s)) for r, s in zip(*np.unravel_index(order, self.slices.shape), strict=True)]

    def ordered_runs(self) -> list[int]:
        """Runs by what they tell alone (geometric mean over pairs), best first."""
        return [int(r) for r in np.argsort(-np.log(self.alone + EASY).mean(0), kind="stable")]

    def time_needed(self, totals: NDArray[np.float64], quantile: float) -> float:
        """Time for the whole study, in units of one run's, that makes this share of the truths sure."""
        runs = len(self.study.runs)
        return float(np.quantile(SURE * self.time * runs / np.maximum(totals, EASY), quantile))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        study = self.study
        return {
            "study": study.name,
            "time_per_run": self.time,
            "time_unit": "after which the noise of a run is that of a typical single-crystal measurement (level 1)",
            "log_likelihood_ratio_is": "expected, truth against the best match of the other candidate, scale and "
            "background of each tile free",
            "pairs": [
                {"truth": p.truth, "parameters": p.values, "rival": p.rival, "match": p.match}
                | {"log_likelihood_ratio": self.time * p.total}
                for p in self.pairs
            ],
            "median": {"equal_times": float(np.median(self.equal)), "best_times": float(np.median(self.best))},
            "lowest_tenth": {
                "equal_times": float(np.quantile(self.equal, 0.1)),
                "best_times": float(np.quantile(self.best, 0.1)),
            },
            "time_until_sure": {
                "log_likelihood_ratio": SURE,
                "half_of_the_truths": self.time_needed(self.best, 0.5),
                "nine_in_ten": self.time_needed(self.best, 0.9),
            },
            "runs": [
                {
                    "ei_meV": study.runs[r].ei,
                    "frequency_Hz": study.runs[r].frequency,
                    "alone_per_time": float(np.median(self.alone[:, r])) / self.time,
                    "alone_per_time_lowest_tenth": float(np.quantile(self.alone[:, r], 0.1)) / self.time,
                    "share_of_evidence": float(self.slice_shares[r].sum()),
                    "share_of_time": float(self.shares[r]),
                }
                for r in self.ordered_runs()
            ],
            "slices": [
                {
                    "ei_meV": study.runs[r].ei,
                    "energy_meV": [float(e) for e in study.energy_edges[r, s : s + 2]],
                    "share": float(self.slice_shares[r, s]),
                    "log_likelihood_ratio": float(self.slices[r, s]),
                }
                for r, s in self.ordered_slices()
            ],
        }


@dataclass(frozen=True)
class _Known:
    """A parameter set of a model with its coarse simulation."""

    values: NDArray[np.float64]
    coarse: NDArray[np.float64]


def plan(
    study: Study,
    model: str | None = None,
    at: str = "prior",
    changes: Mapping[str, float] | None = None,
    draws: int = DRAWS,
    time: float = 1.0,
    seed: int = 0,
    report: Report = lambda line: None,
) -> Plan:
    """Work out where the candidates of a study are told apart.

    Parameters
    ----------
    study : Study
        The runs that may be made; more of them than will be is no harm.
    model : str, optional
        The only candidate that is taken for the truth; else each in turn.
    at : {"prior", "reference"}
        Whether truths are draws of the prior, or the study's reference values.
    changes : mapping of str to float, optional
        With ``model`` and "reference": parameters that differ from it, meV.
    draws : int
        Draws of each prior; as many more starts for the fits of rivals.
    time : float
        Counting time of each run, in units of that after which its noise is that of a typical measurement.
    report : callable
        Told what is done.

    Raises
    ------
    StudyError
        If there is one candidate alone, no such model or parameter, or nothing to see.
    """
    if len(study.classes) < 2:
        raise StudyError(f"study {study.name} has one candidate alone; a plan tells two or more apart")
    if at not in ("prior", "reference"):
        raise StudyError(f"there are no truths at {at}; take prior or reference")
    if changes and (model is None or at != "reference"):
        raise StudyError("single parameters can be set for one model at its reference alone")
    if not 0 < time < np.inf:
        raise StudyError(f"a counting time of {time:g} shows nothing; give one above 0")
    truths = [study.model(model).name] if model is not None else list(study.classes)
    check_priors(study, seed)
    coarse, fine = Simulator(study, sampling=COARSE), Simulator(study)
    pools = {name: _pool(coarse, name, draws, seed, report) for name in study.classes}
    pairs = []
    for name in truths:
        points = [known.values for known in pools[name][-draws:]]
        if at == "reference":
            points = [study.model(name).values(changes)]
        for number, values in enumerate(points, 1):
            for rival in (other for other in study.classes if other != name):
                pairs.append(_told(coarse, fine, name, values, rival, pools[rival]))
                report(
                    f"{name} {number} of {len(points)} against {rival}: expected log-likelihood ratio "
                    f"{time * pairs[-1].total:.4g}"
                )
    return _planned(study, pairs, time)


def _pool(simulator: Simulator, model: str, draws: int, seed: int, report: Report) -> list[_Known]:
    """The reference, if it is stable, and draws of the prior."""
    found = []
    try:
        reference = simulator.study.model(model).reference
        found.append(_Known(reference, simulator.signal(model, reference)))
    except InstabilityError:
        pass
    index = simulator.study.classes.index(model)
    for number in range(draws):
        signal, values, _ = simulate_draw(simulator, index, seed, number)
        found.append(_Known(values, signal))
    report(f"{model}: {len(found)} parameter sets simulated")
    return found


def _expected(simulator: Simulator, model: str, values: NDArray[np.float64]) -> ExpectedLikelihood:
    valid = simulator.reachable
    signal = simulator.signal(model, values)
    return ExpectedLikelihood.of_truth(Spectrum(simulator.study, np.where(valid, signal, np.nan), valid))


def _told(
    coarse: Simulator, fine: Simulator, truth: str, values: NDArray[np.float64], rival: str, pool: list[_Known]
) -> Pair:
    """One truth against the best match of one rival."""
    prior = fine.study.model(rival).prior
    rough = Target(_expected(coarse, truth, values), lambda v, _: coarse.signal(rival, v), prior)
    starts = [rough.seen(known.values, np.zeros(0), known.coarse) for known in pool]
    best = rough.descend(max(starts, key=lambda point: point.total), COARSE_STEPS)
    expected = _expected(fine, truth, values)
    target = Target(expected, lambda v, _: fine.signal(rival, v), prior)
    start = target.look(best.values)
    if start is None:  # stable on the coarse grid alone
        known_ones = [target.look(known.values) for known in pool]
        start = max((p for p in known_ones if p is not None), key=lambda p: p.total)
    end = target.descend(start, STEPS)
    about = target.curvature(end)
    names = [[p.name for p in fine.study.model(name).parameters] for name in (truth, rival)]
    return Pair(
        truth=truth,
        rival=rival,
        values=dict(zip(names[0], map(float, values), strict=True)),
        match=dict(zip(names[1], map(float, end.values), strict=True)),
        slices=expected.by_slice(end.profile),
        bowls=expected.by_run(end.profile, about).within(end, prior),
    )


def _planned(study: Study, pairs: list[Pair], time: float) -> Plan:
    runs = len(study.runs)
    bowls = [pair.bowls for pair in pairs]
    one = np.eye(runs)
    alone = np.array([[refitted(b, one[r])[r] for r in range(runs)] for b in bowls])
    shares = best_shares(bowls)

    def totals(shared: NDArray[np.float64]) -> NDArray[np.float64]:
        return time * runs * np.array([shared @ refitted(b, shared) for b in bowls])

    return Plan(
        study=study,
        pairs=tuple(pairs),
        time=time,
        alone=time * alone,
        shares=shares,
        equal=totals(np.full(runs, 1 / runs)),
        best=totals(shares),
    )
