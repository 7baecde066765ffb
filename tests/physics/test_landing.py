"""Spots cut into pixels and slices: nothing is lost, and each bin takes what the Gaussian has in it."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy import stats

from magnoscope.resolution import landing
from magnoscope.resolution.landing import Bins, Spots, Tile

PIXELS, SLICES = Bins(-1.0, 0.05, 40, 5), Bins(10.0, 2.0, 8, 5)
TILE = Tile(PIXELS, PIXELS, SLICES)


def landed(covariance, x=0.013, y=-0.31, energy=17.3, tile=TILE):
    (xx, xy, xe), (_, yy, ye), (_, _, ee) = covariance
    numbers = (x, y, energy, 3.0, xx, xy, yy, xe, ye, ee)
    buffer = tile.empty()
    tile.add(Spots(*(torch.tensor([v], dtype=torch.float32) for v in numbers)), buffer)
    return buffer, tile.inner(buffer).numpy()


def drawn(covariance, centre, count=4_000_000):
    points = np.random.default_rng(3).multivariate_normal(centre, covariance, count)
    edges = [b.start + b.width * np.arange(b.count + 1) for b in (PIXELS, PIXELS, SLICES)]
    return 3.0 * np.histogramdd(points, edges)[0].transpose(2, 0, 1) / count


def correlated(sigma, correlation):
    return np.outer(sigma, sigma) * correlation


@pytest.mark.parametrize(
    ("correlation", "misplaced"),
    # the energy within a pixel is taken as normal, with the right mean and variance: exact without correlation, and a
    # few percent of a spot in neighbouring slices where energy follows an axis over more than a slice within a pixel
    [
        (np.eye(3), 0.004),
        (np.array([[1, 0, 0.9], [0, 1, 0], [0.9, 0, 1]]), 0.04),
        (np.array([[1, 0.6, -0.5], [0.6, 1, -0.6], [-0.5, -0.6, 1]]), 0.012),
    ],
)
def test_shares_of_a_spot_are_those_of_the_gaussian(correlation, misplaced):
    covariance = correlated([0.02, 0.03, 1.1], correlation)
    _, found = landed(covariance)
    expected = drawn(covariance, (0.013, -0.31, 17.3))
    assert np.abs(found - expected).sum() / 3.0 < misplaced
    # whatever the energy does, each pixel takes its share
    assert_allclose(found.sum(0), expected.sum(0), atol=0.01)


def test_one_direction_is_exact():
    _, found = landed(np.diag([0.02**2, 1e-8, 1e-4]))
    edges = PIXELS.start + PIXELS.width * np.arange(41)
    expected = 3.0 * np.diff(stats.norm(0.013, 0.02).cdf(edges))
    assert_allclose(found.sum((0, 2)), expected, atol=1e-4)


def test_nothing_is_lost_wherever_a_spot_lies():
    rng = np.random.default_rng(4)
    for _ in range(50):
        sigma = np.array([0.04, 0.04, 2.0]) * rng.uniform(0.01, 1, 3)
        factor = np.linalg.cholesky(np.eye(3) + 0.4 * (1 - np.eye(3)) * rng.choice([-1, 1]) * 0.9)
        covariance = correlated(sigma, factor @ factor.T)
        buffer, inner = landed(covariance, *rng.uniform([-1.2, -1.2, 4], [1.2, 1.2, 30]))
        assert np.isfinite(inner).all()
        assert (inner >= 0).all()
        assert abs(float(buffer.double().sum()) - 3.0) < 1e-4


def test_far_outside_nothing_reaches_the_tile():
    _, inner = landed(np.diag([0.01**2, 0.01**2, 0.3]), x=1.6, y=-1.7, energy=60.0)
    assert inner.sum() == 0


def many_spots(correlations, seed=5):
    """Spots all over the tile, of one correlation of the axes each."""
    rng, n = np.random.default_rng(seed), len(correlations)
    xx, yy, ee = (rng.uniform(0.5, 1.5, n) * size**2 for size in (0.02, 0.03, 0.8))
    xy, ye = correlations * np.sqrt(xx * yy), 0.3 * np.sqrt(yy * ee)
    x, y, energy = rng.uniform(-1, 1, n), rng.uniform(-1, 1, n), rng.uniform(10, 26, n)
    columns = (x, y, energy, rng.uniform(0, 1, n), xx, xy, yy, 0 * xx, ye, ee)
    return Spots(*(torch.as_tensor(c, dtype=torch.float32) for c in columns))


def added(spots, block=None):
    buffer = TILE.empty()
    TILE.add(spots, buffer, block)
    return buffer.numpy()


def test_spots_add_up_however_many_are_worked_on_at_a_time(monkeypatch):
    spots = many_spots(np.full(500, 0.4))
    together = added(spots)
    monkeypatch.setattr(landing, "MOST_SHARES", TILE.window * 64)
    assert_allclose(added(spots), together, atol=1e-6)


def test_correlation_of_the_axes_is_heeded_by_the_block():
    weak, strong = 0.1, 0.5
    assert weak < landing.ALONG < strong
    correlations = np.full(600, weak)
    correlations[250] = strong  # in the second of three blocks
    block = torch.arange(600) // 200
    spots = many_spots(correlations)
    found = added(spots, block)
    each = [added(spots.chosen((block == number).nonzero()[:, 0])) for number in range(3)]
    assert_allclose(found, sum(each), atol=1e-6)
    # it makes a difference which block heeds it
    assert np.abs(found - added(spots)).max() > 1e-4
