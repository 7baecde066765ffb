"""Weighted draws of the posterior: in a valley that a parabola does not describe, they are those of a grid."""

from pathlib import Path

import numpy as np
import pytest

from magnoscope.estimate.clipped import ClippedLikelihood
from magnoscope.estimate.descent import Target
from magnoscope.estimate.likelihood import TileLikelihood
from magnoscope.estimate.result import covariances
from magnoscope.estimate.sampling import ENOUGH, Sample, sample
from magnoscope.spectrum import Spectrum
from magnoscope.studies import parse_study

STUDY = parse_study((Path(__file__).parents[1] / "cli" / "square.toml").read_text())
SHARES = (0.16, 0.5, 0.84)


def test_draws_in_a_bent_valley_go_on_until_they_are_worth_enough():
    base, one, two = np.random.default_rng(5).standard_normal((3, *STUDY.shape))

    # a banana: where the first parameter is off, the second has to be too
    def simulate(values: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        a, b = values - 0.4
        return 3 * base + 5 * a * one + 60 * (b - 4 * a**2) * two

    truth = np.array([0.4, 0.4])
    noise = 5 * np.random.default_rng(6).standard_normal(STUDY.shape)
    measured = simulate(truth, np.empty(0)) + noise
    likelihood = TileLikelihood.of(Spectrum(STUDY, measured, np.full(STUDY.shape, True)))
    target = Target(likelihood, simulate, np.array([[0.0, 1.0], [0.0, 1.0]]))
    start = target.look(truth)
    assert start is not None
    end = target.descend(start, 20)
    about = target.curvature(end)
    covariance = covariances(about)[0]

    along = np.linspace(0.01, 0.99, 60)
    across = np.linspace(-0.06, 0.06, 25)
    totals = np.array(
        [[target.seen(v, end.sizes, simulate(v, end.sizes)).total if v[1] < 1 else -np.inf
          for c in across for v in [np.array([a, 0.4 + 4 * (a - 0.4) ** 2 + c])]] for a in along]
    )  # fmt: skip
    density = np.exp(totals - totals.max()).sum(1)
    wanted = np.interp(SHARES, (np.cumsum(density) - 0.5 * density) / density.sum(), along)

    found = sample(target, end, about, (covariance, covariance), simulate, lambda values: True, 60)
    assert found is not None and found.effective >= ENOUGH and len(found.values) > 60
    got = np.array([found.quantile(share)[0] for share in SHARES])
    assert got == pytest.approx(wanted, abs=0.5 * (wanted[2] - wanted[0]) / 2)


def test_intervals_of_few_draws_hold_what_they_say():
    rng = np.random.default_rng(0)
    held, many = 0, 4000
    for _ in range(many):
        found = Sample(rng.normal(size=(19, 1)), np.full(19, 1 / 19))
        held += bool(found.quantile(0.05)[0] <= rng.normal() <= found.quantile(0.95)[0])
    # the first and the last of 19 draws leave a twentieth on either side
    assert held / many == pytest.approx(0.9, abs=3 * np.sqrt(0.09 / many))


def test_a_slice_without_any_signal_in_a_clipped_spectrum():
    measured = np.maximum(np.random.default_rng(1).standard_normal(STUDY.shape), 0)
    likelihood = ClippedLikelihood.of(Spectrum(STUDY, measured, np.full(STUDY.shape, True)))
    # a run of which nothing is to be seen, and a slice in which the simulation has nothing
    model = -likelihood.measured.copy()
    model[0] = 0
    assert np.isfinite(likelihood.profile(model).total)
