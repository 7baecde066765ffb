"""Weighted draws of the posterior: in a valley that a parabola does not describe, they are those of a grid."""

from pathlib import Path

import numpy as np
import pytest
import scipy

from magnoscope.estimate.descent import Curvature, Point, Target
from magnoscope.estimate.instrument_errors import Error, Response
from magnoscope.estimate.likelihood import TileLikelihood
from magnoscope.estimate.proposal import Box, Part, fitted
from magnoscope.estimate.result import covariances
from magnoscope.estimate.sampling import Sample, sample
from magnoscope.spectrum import Spectrum
from magnoscope.studies import parse_study

STUDY = parse_study((Path(__file__).parents[1] / "cli" / "square.toml").read_text())
WIDTHS = (np.arange(60) + 0.5) / 10
"""An error that is never negative, on a grid."""
SHARES = (0.05, 0.16, 0.5, 0.84, 0.95)


def drawn(target: Target, end: Point, about: Curvature, number: int = 300) -> Sample:
    """Draws of a target with errors that are those of the curvature, so that its likelihood is what is drawn of."""
    covariance = covariances(about)[0]
    found = sample(target, end, about, (covariance, covariance), target.simulate, lambda values: True, number)
    assert found is not None
    return found


def ended(target: Target, *unknowns: float) -> tuple[Point, Curvature]:
    """Where a descent from there ends."""
    start = target.look(np.array(unknowns))
    assert start is not None
    end = target.descend(start, 20)
    return end, target.curvature(end)


def noisy(signal: np.ndarray, noise: float, seed: int) -> TileLikelihood:
    rng = np.random.default_rng([seed, 1])
    measured = signal + noise * rng.standard_normal(signal.shape)
    return TileLikelihood.of(Spectrum(STUDY, measured, np.full(signal.shape, True)))


@pytest.mark.parametrize("seed", [0, 2])
def test_a_valley_that_ends_where_an_error_cannot_be_negative(seed: int):
    base, one, two, three = np.random.default_rng(seed).standard_normal((4, *STUDY.shape))
    change = 1.8 * one + 0.6 * three

    # the parameter and the error compensate each other, along a bend
    def simulate(values: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        off = values[0] - 0.45
        return 3 * base + 12 * off * one + 10 * off**2 * two - float(sizes[0]) * change

    response = Response(
        (Error("mosaic", None, (0.0, 6.0)),),
        np.ones(1),
        -change[None],
        0 * change[None],
        np.ones((1, 1, STUDY.shape[0])),
    )
    likelihood = noisy(simulate(np.array([0.45]), np.array([0.1])), 3.0, seed)
    target = Target(likelihood, simulate, np.array([[0.0, 1.0]]), response)
    end, about = ended(target, 0.5, 1.0)
    error = float(np.sqrt(covariances(about)[0][0, 0]))

    places = np.linspace(end.values[0] - 6 * error, end.values[0] + 6 * error, 41)
    heights = np.array([[simulate(np.array([p]), np.array([w])) for w in WIDTHS] for p in places])
    several = likelihood.repeated(len(WIDTHS))
    totals = [several.totals(np.stack([likelihood.simulated(s) for s in row]), end.profile) for row in heights]
    density = np.exp(np.array(totals) - np.max(totals) - 0.5 * WIDTHS**2).sum(1)
    below = np.cumsum(density) - 0.5 * density
    wanted = np.interp(SHARES, below / density.sum(), places)

    found = drawn(target, end, about)
    assert found.effective > 150
    got = np.array([found.quantile(share)[0] for share in SHARES])
    assert got == pytest.approx(wanted, abs=0.25 * error)


def test_intervals_of_few_draws_hold_what_they_say():
    rng = np.random.default_rng(0)
    held, many = 0, 4000
    for _ in range(many):
        found = Sample(rng.normal(size=(19, 1)), np.full(19, 1 / 19))
        held += bool(found.quantile(0.05)[0] <= rng.normal() <= found.quantile(0.95)[0])
    # the first and the last of 19 draws leave a twentieth on either side
    assert held / many == pytest.approx(0.9, abs=3 * np.sqrt(0.09 / many))


def test_draws_are_inside_their_bounds_and_of_the_density_that_is_said():
    box = Box(np.array([0.0, -2.5, 0.02]), np.array([1.0, 2.5, 6.0]))
    root = np.array([[0.1, 0.0, 0.0], [0.3, 0.5, 0.0], [0.2, -0.4, 1.0]])
    part = box.part(np.array([0.9, 2.5, 0.02]), root @ root.T, 1)
    likeliest, line = part.draw(4000, 4, np.random.default_rng(1))
    inside = box.inside(line)
    assert np.all((inside > box.low) & (inside < box.high))
    # the others are in pairs about where they are likeliest
    assert np.allclose(line[:, :2, 1:] + line[:, 2:, 1:], 2 * likeliest[:, None, 1:])
    # weighted by their density, they are even: a share of the volume that another box has
    weight = np.exp(box.log_stretch(line) - part.log_density(line))
    halves = [weight[inside[..., n] < 0.5 * (box.low + box.high)[n]].sum() / weight.sum() for n in range(3)]
    assert halves == pytest.approx([0.5] * 3, abs=0.15)


def test_what_is_drawn_of_is_fitted_to_weighted_draws():
    begun = Part(np.zeros(2), np.eye(2), 1)
    line = begun.draw(1500, 4, np.random.default_rng(2))[1]
    wanted = scipy.stats.multivariate_normal([0.5, -0.5], [[0.5, 0.2], [0.2, 0.3]])
    weights = np.exp(wanted.logpdf(line) - begun.log_density(line))
    found = fitted(begun, line, weights / weights.sum())
    assert found.mean == pytest.approx(wanted.mean, abs=0.05)
    assert found.covariance == pytest.approx(wanted.cov, abs=0.05)
    # two draws know little, and what they say of the covariance is heard as little
    few = fitted(begun, line[:2], np.full((2, 4), 1 / 8))
    assert np.linalg.eigvalsh(few.covariance).min() > 0.3
