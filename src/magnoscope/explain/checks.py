"""Does an explanation deserve its name: it should follow the network, and the network should follow the physics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from ..estimate.descent import Target
from ..plan.expected import ExpectedLikelihood
from ..simulate import Simulator
from ..spectrum import Spectrum
from ..study import Study
from ..trust.best_match import match_at
from ..trust.weights import Weights, untrained
from ..verdict import Verdict
from .attribution import OF_MATCHES, Explanation, explain
from .margin import Margin

RANDOM_ORDERS = 16
STEPS = 4
"""Least-squares steps by which the rival is fitted again."""


@dataclass(frozen=True)
class Checks:
    """What was found of one explanation.

    Attributes
    ----------
    deletion, deletion_random, deletion_central : float
        Mean margin as slices are made neutral, in the explanation's order, in random ones, and from the middle energy
        outwards; as a share of the way from neutral to whole. The explanation's should fall fastest.
    insertion, insertion_random, insertion_central : float
        The same as slices are put into a neutral spectrum; the explanation's should rise fastest.
    other_methods : dict
        Rank correlation of the sizes of shares with those of other methods.
    random_weights : float or None
        The same with a network of random weights: it should fall to nothing. None where no network is asked.
    physics : float
        The same with what the simulator says tells the two nearest candidates' best matches apart, in units of the
        noise.
    physics_refitted : float or None
        The same once the rival is fitted to the best match, if that was asked for.
    seeds : float or None
        Mean rank correlation between the shares by weights of other seeds and these, if there are any.
    """

    deletion: float
    deletion_random: float
    deletion_central: float
    insertion: float
    insertion_random: float
    insertion_central: float
    other_methods: dict[str, float]
    random_weights: float | None
    physics: float
    physics_refitted: float | None = None
    seeds: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def rank_correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Spearman's, of the sizes of two sets of shares; NaN where those of one are all alike."""
    one, other = np.abs(a).ravel(), np.abs(b).ravel()
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return np.nan
    return float(scipy.stats.spearmanr(one, other).statistic)


def information(verdict: Verdict) -> NDArray[np.float64]:
    """What tells the two nearest best matches apart, sum of (difference / noise)^2 over pixels: (runs, slices)."""
    first, second = sorted(verdict.matches, key=lambda name: -verdict.scores[name])[:2]
    a, b = (verdict.matches[name].match for name in (first, second))
    spectrum = verdict.spectrum
    pixels = spectrum.valid.sum((2, 3)).clip(1)
    noise = np.where(spectrum.valid, (spectrum.signal - a.fitted) ** 2, 0).sum((2, 3)) / pixels
    difference = np.where(spectrum.valid, (a.fitted - b.fitted) ** 2, 0).sum((2, 3))
    return np.where(noise > 0, difference / np.maximum(noise, 1e-30), 0.0)


def at_parameters(
    verdict: Verdict, parameters: Mapping[str, Mapping[str, float]], simulator: Simulator | None = None
) -> Verdict:
    """A verdict whose best matches are the simulations at given parameters, such as those of fits.

    Parameters
    ----------
    parameters : mapping
        Name to meV, for each model that gets another match.

    Raises
    ------
    StudyError
        If a model or a parameter is unknown.
    InstabilityError
        If a magnetic structure is no energy minimum there.
    """
    if not parameters:
        return verdict
    simulator = simulator or Simulator(verdict.spectrum.study)
    found = {name: match_at(simulator, verdict.spectrum, name, values) for name, values in parameters.items()}
    return replace(verdict, matches=verdict.matches | found)


def refitted_information(verdict: Verdict, simulator: Simulator | None = None) -> NDArray[np.float64]:
    """What tells the nearest candidate's best match from the next candidate, fitted to it: (runs, slices).

    As :func:`information`, but of differences that the rival's parameters cannot make up for: the expected
    log-likelihood ratio of :mod:`magnoscope.plan`, with the noise of this measurement.

    Raises
    ------
    InstabilityError
        If the rival's best match is not stable.
    """
    first, second = sorted(verdict.matches, key=lambda name: -verdict.scores[name])[:2]
    spectrum, study = verdict.spectrum, verdict.spectrum.study
    fitted = verdict.matches[first].match.fitted
    pixels = spectrum.valid.sum((2, 3), keepdims=True)
    square = np.where(spectrum.valid, (spectrum.signal - fitted) ** 2, 0).sum((2, 3), keepdims=True)
    noise = square / pixels.clip(1)
    valid = spectrum.valid & (noise > 0)
    truth = Spectrum(study, np.where(valid, fitted, np.nan), valid)
    expected = ExpectedLikelihood.of_truth(truth, np.broadcast_to(noise, study.shape))
    simulator = simulator or Simulator(study)
    model = study.model(second)

    target = Target(expected, lambda values, _: simulator.signal(second, values), model.prior)
    start = target.look(model.values(verdict.matches[second].parameters)) or target.look(model.reference)
    assert start is not None  # the best match was simulated before
    end = target.descend(start, STEPS)
    return expected.by_slice(end.profile)


def check(
    explanation: Explanation,
    verdict: Verdict,
    weights: Weights,
    seed: int = 0,
    others: Sequence[tuple[Verdict, Weights]] = (),
    refit: bool = False,
) -> Checks:
    """Check an explanation of a verdict.

    Parameters
    ----------
    seed : int
        Of random orders and random weights.
    others : sequence of (Verdict, Weights)
        Weights of other seeds and the verdicts to explain with them, whose explanations should agree: the same
        verdict for networks, so that all take slices away alike; their own where matches are what explains.
    refit : bool
        Whether to compare with the physics once the rival is fitted as well: some thirty simulations.
    """
    margin = Margin.of(verdict, weights, explanation.name)
    runs, slices = margin.slices
    order = np.argsort(-explanation.shares, axis=None, kind="stable")
    rng = np.random.default_rng(seed)
    middle = np.abs(np.arange(slices) - (slices - 1) / 2)
    central = np.argsort(np.broadcast_to(middle, (runs, slices)), axis=None, kind="stable")
    span = explanation.margin - explanation.neutral

    def area(each: NDArray[np.int64], insert: bool) -> float:
        return (
            float((margin.along(each.tolist(), keep_first=insert).mean() - explanation.neutral) / span)
            if span
            else np.nan
        )

    random = [rng.permutation(runs * slices) for _ in range(RANDOM_ORDERS)]
    methods = [m for m in ("shapley", "occlusion", "gradients") if m != explanation.method]
    chance = blank(verdict.spectrum.study, weights, seed + 1)

    def shares(verdict: Verdict, weights: Weights) -> NDArray[np.float64]:
        return explain(verdict, weights, explanation.name, explanation.method, seed).shares

    return Checks(
        deletion=area(order, False),
        deletion_random=float(np.mean([area(o, False) for o in random])),
        deletion_central=area(central, False),
        insertion=area(order, True),
        insertion_random=float(np.mean([area(o, True) for o in random])),
        insertion_central=area(central, True),
        other_methods={
            m: rank_correlation(explanation.shares, explain(verdict, weights, explanation.name, m, seed).shares)
            for m in methods
        },
        random_weights=None
        if explanation.method == OF_MATCHES
        else rank_correlation(explanation.shares, shares(verdict, chance)),
        physics=rank_correlation(explanation.shares, information(verdict)),
        physics_refitted=rank_correlation(explanation.shares, refitted_information(verdict)) if refit else None,
        seeds=agreement([explanation.shares, *(shares(*other) for other in others)]),
    )


def blank(study: Study, weights: Weights, seed: int) -> Weights:
    """The same network before training, with random weights."""
    network = untrained(study, {"width": 48} | weights.card, seed)
    return replace(weights, network=network.eval())


def agreement(shares: Sequence[NDArray[np.float64]]) -> float | None:
    """Mean rank correlation of the sizes of shares between all pairs; None for less than two."""
    found = [rank_correlation(a, b) for a, b in combinations(shares, 2)]
    return float(np.mean(found)) if found else None
