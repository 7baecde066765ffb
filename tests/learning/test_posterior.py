"""Posteriors: the flow is a distribution, it learns what a spectrum says, and its checks see when it is wrong."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from magnoscope.dataset.noise import CLEAN, Nuisance, degrade
from magnoscope.dataset.parts import Part
from magnoscope.networks.base import Sizes
from magnoscope.networks.posterior import POSTERIOR, Inference, PosteriorNetwork, features_of
from magnoscope.networks.training import Training
from magnoscope.plot_trust import plot_ranks
from magnoscope.trust.posterior import Checked, flatness, rank_counts

SIZES = Sizes((1, 2, 12, 12), 2, 2)
EVERYWHERE = torch.ones((1, *SIZES.shape), dtype=torch.bool)


def network(seed: int = 0) -> PosteriorNetwork:
    torch.manual_seed(seed)
    return PosteriorNetwork(SIZES, (2, 1), 16, 16)


def spots(number: int, seed: int) -> Part:
    """A spot whose place along axis 0 is the first parameter; along axis 1, of class 0 alone, the second."""
    rng = np.random.default_rng(seed)
    labels = np.arange(number) % 2
    parameters = rng.uniform(size=(number, 2)).astype(np.float32)
    parameters[labels == 1, 1] = 0.5
    x, y = np.meshgrid(*[np.linspace(0, 1, 12)] * 2, indexing="ij")
    far = (x - parameters[:, 0, None, None]) ** 2 + (y - parameters[:, 1, None, None]) ** 2
    image = np.exp(-far / 0.02)[:, None, None]
    return Part(np.tile(image, (1, 1, 2, 1, 1)).astype(np.float32), labels, parameters, ())


def test_a_flow_is_a_distribution():
    one = network()
    features = torch.randn(1, 16)
    scaled, log_density = one.draw(features, 0, 4000)
    assert scaled.shape == (4000, 1, 2) and float(scaled.min()) >= 0 and float(scaled.max()) <= 1
    labels = torch.zeros(4000, dtype=torch.long)
    again = one.information(features.expand(4000, -1), labels, scaled[:, 0])
    assert torch.allclose(again.double(), log_density[:, 0], atol=2e-3)
    # its integral over the prior is one
    uniform = torch.rand(20_000, 2)
    with torch.no_grad():
        inside = one.information(features.expand(20_000, -1), torch.zeros(20_000, dtype=torch.long), uniform).exp()
    assert float(inside.mean()) == pytest.approx(1, abs=5 * float(inside.std()) / 20_000**0.5)


def test_parameters_that_a_candidate_lacks_do_not_matter():
    one, features = network(), torch.randn(8, 16)
    scaled, labels = torch.rand(8, 2), torch.ones(8, dtype=torch.long)
    other = scaled.clone()
    other[:, 1] = 0.9
    assert torch.equal(one.information(features, labels, scaled), one.information(features, labels, other))


@pytest.mark.slow
def test_a_posterior_learns_where_the_spot_is_and_holds_its_promise(tmp_path: Path):
    one, lines = network(), []
    quiet = replace(CLEAN, noise=(0.3, 0.3), quiet=0.0)
    config = replace(POSTERIOR, epochs=14, batch=16, learning_rate=4e-3, reduced_precision=False)
    training = Training(one, spots(400, 0), spots(100, 1), EVERYWHERE, config, tmp_path, quiet, task=Inference())
    training.run(lines.append)
    assert len(lines) == 14 and "loss" in lines[-1]
    assert training.best < -1.0  # a nat more than the prior knows
    test = spots(200, 2)
    features = features_of(one, test, EVERYWHERE, quiet, 3)
    own = torch.as_tensor(test.labels == 0)
    with torch.no_grad():
        scaled, _ = one.draw(features[own], 0, 300)
    found = Checked.of(test.parameters[test.labels == 0].astype(float), scaled.numpy())
    assert np.median(abs(found.median - found.truth)) < 0.1
    # 200 parameters: 0.90 +- 0.02; a small network trained for seconds is given five times as much
    assert 0.8 < found.inside[0.90].mean()
    again = Training(network(1), spots(400, 0), spots(100, 1), EVERYWHERE, config, tmp_path, quiet, task=Inference())
    assert again.resume() and again.epoch == 14


def test_checks_see_a_posterior_that_is_too_sure():
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.3, 0.7, (300, 1))
    seen = truth + 0.05 * rng.standard_normal((300, 1))
    right = Checked.of(truth, seen + 0.05 * rng.standard_normal((400, 300, 1)))
    sure = Checked.of(truth, seen + 0.02 * rng.standard_normal((400, 300, 1)))
    row, bad = right.as_dict(["J"])["J"], sure.as_dict(["J"])["J"]
    assert row["coverage_90"] == pytest.approx(0.9, abs=4 * row["binomial_90"])
    assert row["coverage_68"] == pytest.approx(0.68, abs=4 * row["binomial_68"])
    assert row["ranks_p"] > 1e-3 and row["median_error"] == pytest.approx(0.05 * 0.6745, rel=0.3)
    assert bad["coverage_90"] < 0.7 and bad["ranks_p"] < 1e-6
    assert flatness((np.arange(200) + 0.5) / 200) == pytest.approx(1)


def test_smoothing_in_q_keeps_the_sum_and_is_off_unless_asked_for():
    signal = torch.zeros(2, 1, 2, 21, 21)
    signal[..., 10, 10] = 1
    generator = torch.Generator().manual_seed(0)
    blurred, _ = degrade(signal, None, replace(CLEAN, blur=1.0), generator)
    assert torch.allclose(blurred.sum((3, 4)), torch.ones(2, 1, 2), atol=1e-5)
    assert float(blurred.max()) < 1 and not torch.equal(blurred[0], blurred[1])
    assert Nuisance().blur == 0


def test_ranks_are_drawn_to_their_full_height():
    """The panels of a candidate share an axis: the highest bin of the last must not be cut off by the first."""
    even, uneven = np.linspace(0.01, 0.99, 100), np.full(100, 0.02)
    ranks = np.stack([even, uneven], 1)
    found = Checked(ranks, ranks, ranks, {})
    figure = plot_ranks({"one": found}, {"one": ["a", "b"]}, "title")
    assert figure.axes[1].get_ylim()[1] >= rank_counts(uneven).max()
