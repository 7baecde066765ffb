"""Plans: what is expected is what happens, rivals are fitted, time is shared out as theory says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from magnoscope.dataset.noise import Nuisance, degrade, usual_variance
from magnoscope.errors import StudyError
from magnoscope.plan import plan
from magnoscope.plan.design import best_shares, refitted
from magnoscope.plan.expected import Bowls, ExpectedLikelihood
from magnoscope.simulate import Simulator
from magnoscope.studies import parse_study
from magnoscope.study import Study

SQUARE = (Path(__file__).parents[1] / "cli" / "square.toml").read_text()
PATH = """[view]
kind = "path"
waypoints = [{ q = [1, 0, 0], label = "X" }, { q = [1.5, 0, 0], label = "M" }]
points = [10]
energies = { from = 4, to = 34, bins = 10 }
across = 0.05
normal = { direction = [0, 0, 1], width = 0.2 }
"""


@pytest.fixture(scope="module")
def study() -> Study:
    return parse_study(SQUARE)


def test_what_is_expected_is_the_mean_of_what_happens(study: Study):
    simulator = Simulator(study)
    truth, rival = simulator("near"), simulator("far")
    expected = ExpectedLikelihood.of_truth(truth)
    true, other = expected.simulated(truth.signal), expected.simulated(rival.signal)
    said = -expected.profile(other).total
    assert expected.profile(true).total == pytest.approx(0, abs=1e-6)
    rng = np.random.default_rng(0)
    found = []
    for _ in range(400):
        noise = expected.spectrum.study.view.as_tiles(rng.normal(size=study.shape))
        noise = noise.reshape(expected.variance.shape) * np.sqrt(expected.variance)
        tiles = (expected.measured + noise).reshape(study.shape)
        noisy = replace(expected, spectrum=replace(truth, signal=tiles))
        found.append(noisy.profile(true).total - noisy.profile(other).total)
    # both have a scale and a background to fit in each tile, which cancels; the variance of the ratio is twice its mean
    assert np.mean(found) == pytest.approx(said, abs=4 * np.sqrt(2 * said / 400))
    assert np.var(found) == pytest.approx(2 * said, rel=0.35)


def test_the_noise_is_that_of_training(study: Study):
    # flat images at a level so low that nothing is cut off at zero; means of logarithms, since levels are log-normal
    flat, level = torch.ones(300, 1, 5, 20, 20), 0.02
    quiet = replace(Nuisance().only("noise"), noise=(level, level), quiet=0.0)
    measured, _ = degrade(flat, None, quiet, torch.Generator().manual_seed(0))
    found = measured.var((3, 4)).log().mean(0).exp().numpy() / level**2
    variance = usual_variance(np.ones((1, 5, 20, 20)), np.ones((1, 5, 20, 20), bool))
    envelope = np.exp(-np.mean(Nuisance().envelope) * np.linspace(0, 1, 5))
    # undone: the envelope, and that the mean is of the image with it, twice once for the background and once for the
    # signal
    mean = envelope.mean()
    undone = variance[..., 0, 0] * envelope**2 / (mean * (mean + envelope) / 2)
    assert np.allclose(found, undone, rtol=0.1)


def test_time_is_shared_out_as_theory_says():
    # two runs with residuals 1 - x and 1 + x: either alone is explained away, both together are not
    opposite = Bowls(np.full(2, 0.5), np.array([[1.0], [-1.0]]), np.ones((2, 1, 1)))
    assert refitted(opposite, np.array([1.0, 0.0]))[0] == pytest.approx(0, abs=1e-9)
    assert best_shares([opposite]) == pytest.approx([0.5, 0.5])
    # a third run that tells twice as much, whatever the rival does, takes all the time
    third = Bowls(np.array([0.5, 0.5, 1.0]), np.array([[1.0], [-1], [0]]), np.array([[[1.0]], [[1]], [[0]]]))
    assert best_shares([third], 400)[2] > 0.99
    # unless the prior holds the rival where it is: then the first two are worth 1/2 each, and the third still more
    held = replace(opposite, low=np.zeros(1), high=np.zeros(1))
    assert refitted(held, np.array([1.0, 0.0])) == pytest.approx([0.5, 0.5])


def test_rivals_are_fitted_and_slices_add_up(study: Study):
    found = plan(study, "far", "reference", draws=2)
    (pair,) = found.pairs
    simulator = Simulator(study)
    unfitted = ExpectedLikelihood.of_truth(simulator("far"))

    def told(**changes: float) -> float:
        return -unfitted.profile(unfitted.simulated(simulator("near", changes).signal)).total

    assert 0 < pair.total < 0.9 * told()
    for j, d in ((0.05, 0), (-0.05, 0), (0, 0.01), (0, -0.01)):
        moved = {"J": pair.match["J"] + j, "D": pair.match["D"] + d}
        if -5 <= moved["J"] <= -3 and -0.2 <= moved["D"] <= -0.05:
            assert told(**moved) > pair.total - 0.1
    assert pair.values == {"J1": -2.0, "J2": -1.5} and pair.match.keys() == {"J", "D"}
    assert found.slices.sum() == pytest.approx(pair.total) and found.slice_shares.sum() == pytest.approx(1)
    assert found.shares == pytest.approx([1.0])
    assert found.alone[0, 0] <= pair.total * (1 + 1e-6)
    assert found.best == pytest.approx(found.equal)
    longer = replace(found, time=2.0)
    assert longer.slices.sum() == pytest.approx(2 * found.slices.sum())


def test_truths_from_the_prior_and_a_path():
    start = SQUARE.index("[view]")
    found = plan(parse_study(SQUARE[:start] + PATH), draws=1)
    assert [(p.truth, p.rival) for p in found.pairs] == [("near", "far"), ("far", "near")]
    assert found.slices.shape == (1, 10) and found.slice_shares.sum() == pytest.approx(1)
    assert found.as_dict()["slices"][0]["energy_meV"][1] <= 34


def test_equal_candidates_need_for_ever():
    near = SQUARE[SQUARE.index("[models.near.parameters]") : SQUARE.index("[models.far.parameters]")]
    start, end = SQUARE.index("[models.far.parameters]"), SQUARE.index("[instrument]")
    same = parse_study(SQUARE[:start] + near.replace("models.near", "models.also") + SQUARE[end:])
    found = plan(same, "near", "reference", {"J": -3.5}, draws=1)
    assert found.pairs[0].total < 1e-2
    assert found.time_needed(found.best, 0.5) > 1000
    assert np.isfinite(found.shares).all()


def test_nothing_to_plan_is_said(study: Study):
    with pytest.raises(StudyError, match="one candidate alone"):
        plan(replace(study, models={"near": study.models["near"]}))
    with pytest.raises(StudyError, match="shows nothing; give one above 0"):
        plan(study, time=0.0)
    with pytest.raises(StudyError, match="take prior or reference"):
        plan(study, at="nowhere")
    with pytest.raises(StudyError, match="for one model at its reference"):
        plan(study, changes={"J": -3.0})
