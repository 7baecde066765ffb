"""Fits by the simulator: they find the truth from the prior, their errors hold, and equals are not told apart."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from magnoscope.errors import SpectrumError
from magnoscope.estimate import compare, fit
from magnoscope.estimate.comparison import vuong
from magnoscope.estimate.likelihood import TileLikelihood
from magnoscope.simulate import Simulator
from magnoscope.spectrum import Spectrum, counted
from magnoscope.studies import parse_study
from magnoscope.study import Study

SQUARE = (Path(__file__).parents[1] / "cli" / "square.toml").read_text()


@pytest.fixture(scope="module")
def study() -> Study:
    return parse_study(SQUARE.replace("slices = 2", "slices = 6"))


@pytest.fixture(scope="module")
def simulator(study: Study) -> Simulator:
    return Simulator(study)


def measured(simulator: Simulator, seed: int, model: str = "near", counts: float = 20, **values: float) -> Spectrum:
    """Counts, each slice scaled and lifted by another number."""
    rng = np.random.default_rng(seed)
    found = counted(simulator(model, values), counts, seed)
    scale, lift = rng.uniform(0.5, 2, (2, *found.study.shape[:2], 1, 1))
    return replace(found, signal=scale * found.signal + lift, error=None)


def test_scale_and_background_of_a_slice_are_free(simulator: Simulator):
    found = measured(simulator, 0)
    likelihood = TileLikelihood.of(found)
    model = simulator.signal("near", simulator.study.model("near").reference)
    one = likelihood.profile(likelihood.simulated(model))
    two = likelihood.profile(likelihood.simulated(3 * model + 7))
    assert two.total == pytest.approx(one.total, abs=1e-6)
    assert np.allclose(two.scale * 3, one.scale)


def test_the_projected_change_is_the_change_of_the_residual(simulator: Simulator):
    found = measured(simulator, 1)
    likelihood = TileLikelihood.of(found)
    reference = simulator.study.model("near").reference
    model = likelihood.simulated(simulator.signal("near", reference))
    change = likelihood.simulated(simulator.signal("near", reference + [0.02, 0])) - model
    here, there = likelihood.profile(model), likelihood.profile(model + change)
    projected = likelihood.project(here, model, change)
    # Kaufman leaves out a part along the model itself; what is left must agree in direction and size
    actual = here.residual - there.residual
    for a, b in zip(projected, actual, strict=True):
        assert np.corrcoef(a, b)[0, 1] > 0.9


def test_a_fit_finds_the_truth_from_the_prior(study: Study, simulator: Simulator):
    truth = {"J": -3.3, "D": -0.15}
    found = fit(measured(simulator, 2, **truth), "near", simulator=simulator, draws=16)
    for estimate in found.estimates:
        assert estimate.constrained
        assert abs(estimate.value - truth[estimate.name]) < 4 * estimate.error
        assert estimate.interval_68[0] > estimate.interval_90[0]
    assert found.estimates[0].error < 0.05 * 2.0  # J to a twentieth of its prior
    assert found.warning is None
    assert found.as_dict()["parameters"]["J"]["mean"] == pytest.approx(found.parameters["J"])


def test_errors_hold(study: Study, simulator: Simulator):
    # pulls of 24 fits to noisy copies: their spread is that of a unit normal (0.7 to 1.35 holds 48 of them at 99.9 %)
    truth = {"J": -4.2, "D": -0.08}
    pulls = []
    for seed in range(24):
        start = study.model("near").values(truth)
        found = fit(measured(simulator, 100 + seed, **truth), "near", start, simulator, draws=0)
        pulls += [(e.value - truth[e.name]) / e.error for e in found.estimates]
    assert 0.6 < np.std(pulls) < 1.4
    assert abs(np.mean(pulls)) < 0.6


def test_the_right_candidate_is_preferred_and_a_wrong_one_is_warned_of(study: Study, simulator: Simulator):
    found = measured(simulator, 3, "far", counts=60, J1=-2.5, J2=-1.2)
    result = compare([fit(found, model, simulator=simulator, draws=16) for model in study.classes])
    assert next(iter(result.fits)) == "far"
    assert result.evidence["near"] < -20
    assert result.preferred in ("far", None)
    noise = replace(found, signal=np.random.default_rng(0).normal(5, 1, found.signal.shape))
    assert "unexplained" in str(fit(noise, "near", simulator=simulator, draws=8).warning)


def test_equal_candidates_are_not_told_apart():
    twice = SQUARE.replace("slices = 2", "slices = 6")
    start, end = twice.index("[models.far.parameters]"), twice.index("[instrument]")
    near = twice[twice.index("[models.near.parameters]") : start]
    same = parse_study(twice[:start] + near.replace("models.near", "models.also") + twice[end:])
    simulator = Simulator(same)
    found = measured(simulator, 4, counts=100, J=-3.6, D=-0.1)
    result = compare([fit(found, model, simulator=simulator, seed=n, draws=16) for n, model in enumerate(same.classes)])
    assert result.preferred is None
    assert "neither can be preferred" in result.sentence
    assert result.p_value > 0.05


def test_vuong_asks_for_more_than_the_scatter():
    rng = np.random.default_rng(0)
    steady, wild = 10 + rng.normal(0, 1, 40), 1 + rng.normal(0, 30, 40)
    assert vuong(steady, float(steady.sum())) < 1e-6
    assert vuong(wild, float(wild.sum())) > 0.05
    assert vuong(np.zeros(40), 0.0) == 1.0


def test_nothing_to_fit_is_said(study: Study):
    nowhere = np.zeros(study.shape, bool)
    blank = Spectrum(study, np.full(study.shape, np.nan), nowhere)
    with pytest.raises(SpectrumError, match="nothing can be fitted, check the mask"):
        fit(blank, "near")
