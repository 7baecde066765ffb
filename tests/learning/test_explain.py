"""Explanations on networks whose reasons are known."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from magnoscope.errors import MagnoscopeError
from magnoscope.explain import check, explain
from magnoscope.explain.attribution import additive_evidence, shapley
from magnoscope.explain.checks import at_parameters, information, rank_correlation
from magnoscope.explain.margin import Margin
from magnoscope.networks.base import Output, SpectrumNetwork
from magnoscope.networks.ensemble import Ensemble
from magnoscope.networks.kinds import new_network
from magnoscope.simulate import Simulator
from magnoscope.spectrum import Spectrum, counted
from magnoscope.studies import parse_study
from magnoscope.trust.calibration import Calibration
from magnoscope.trust.match import match
from magnoscope.trust.weights import Weights
from magnoscope.verdict import Verdict

ROWS = 5
SQUARE = (Path(__file__).parents[1] / "cli" / "square.toml").read_text()


class Linear(SpectrumNetwork):
    """Class 0 gains what the first rows of some slices hold, by known amounts; the rest means nothing to it."""

    def __init__(self, amounts: torch.Tensor) -> None:
        super().__init__()
        self.amounts, self.classes, self.n_features = amounts, 2, 1

    def prepare(self, measured: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        return measured * valid

    def forward(self, inputs: torch.Tensor) -> Output:
        value = (inputs[:, :, :, :ROWS].mean((3, 4)) * self.amounts).sum((1, 2))
        logits = torch.stack([value, torch.zeros_like(value)], 1)
        return Output(logits, logits.sigmoid(), logits, None)


@dataclass(frozen=True)
class Found:
    match: object


@pytest.fixture(scope="module")
def setting() -> tuple[Spectrum, dict]:
    study = parse_study(SQUARE.replace("slices = 2", "slices = 5"))
    simulator = Simulator(study)
    spectrum = counted(simulator("far"), 30, 1)
    return spectrum, {name: Found(match(spectrum, simulator.reference(name))) for name in study.classes}


def verdict_of(setting: tuple[Spectrum, dict]) -> Verdict:
    spectrum, matches = setting
    scores = {"near": 0.9, "far": 0.1}
    return Verdict(spectrum, "near", "near", ("near",), scores, scores, True, 0.5, {}, matches, None)


def weights_of(network: SpectrumNetwork, kind: str = "compact") -> Weights:
    calibration = Calibration(2.0, 0.1, 0.9, np.zeros((2, 1)), np.eye(1), np.zeros((1, 2)))
    return Weights(network, calibration, {"kind": kind, "width": 16})


def contributions(setting: tuple[Spectrum, dict], amounts: torch.Tensor) -> np.ndarray:
    """What each slice adds to the margin of the linear network, by hand."""
    spectrum, matches = setting
    neutral = np.maximum(np.mean([m.match.fitted for m in matches.values()], axis=0), 0)
    change = np.where(spectrum.valid, spectrum.signal - neutral, 0)[:, :, :ROWS].mean((2, 3))
    return change * amounts.numpy() / 2.0


@pytest.mark.parametrize("method", ["shapley", "occlusion", "alone", "gradients"])
def test_shares_of_a_linear_network_are_what_its_slices_add(setting, method: str):
    amounts = torch.tensor([[3.0, 0.0, -2.0, 0.5, 0.0]])
    by_hand = contributions(setting, amounts)
    found = explain(verdict_of(setting), weights_of(Linear(amounts)), "near", method)
    assert np.allclose(found.shares, by_hand / np.abs(by_hand).sum(), atol=2e-3)
    assert np.abs(found.shares).sum() == pytest.approx(1)
    assert found.margin - found.neutral == pytest.approx(by_hand.sum(), rel=1e-4)
    rows = found.as_dict()["slices"]
    sizes = [abs(row["share"]) for row in rows]
    assert sizes == sorted(sizes, reverse=True) and rows[0]["ei_meV"] == 50
    assert (found.pixels is not None) == (method == "gradients")


def test_likelihoods_of_matches_speak_for_the_model_that_made_the_spectrum(setting):
    """Whatever the network says; by hand from the chi-squares of the matches."""
    spectrum, matches = setting
    amounts = torch.tensor([[3.0, 0.0, -2.0, 0.5, 0.0]])
    found = {n: explain(verdict_of(setting), weights_of(Linear(amounts)), n, "likelihood") for n in matches}
    near, far = (matches[name].match.per_tile[0] for name in ("near", "far"))
    # tiles without structure or detectors are compared by nobody
    by_hand = np.nan_to_num(near - far) * spectrum.valid.sum((2, 3))[0]
    assert by_hand.sum() > 0
    assert np.allclose(found["far"].shares[0], by_hand / np.abs(by_hand).sum(), atol=1e-3)
    assert np.allclose(found["near"].shares, -found["far"].shares)
    assert found["far"].pixels is not None and (np.isfinite(found["far"].pixels) == spectrum.valid).all()


def test_gradients_are_finite_where_detectors_are_missing(setting):
    """The networks see the root of the intensity: its slope at a pixel that was never measured must not spread."""
    spectrum, matches = setting
    valid = spectrum.valid.copy()
    valid[..., 3:5, :] = False
    gap = replace(spectrum, signal=np.where(valid, spectrum.signal, np.nan), valid=valid)
    network = new_network(spectrum.study, "compact", 3, 16).eval()
    found = explain(replace(verdict_of(setting), spectrum=gap), weights_of(network), "near", "gradients")
    assert np.isfinite(found.shares).all() and np.abs(found.shares).sum() == pytest.approx(1)
    assert found.pixels is not None and (np.isfinite(found.pixels) == valid).all()


def test_shapley_values_add_up_to_the_margin_of_any_network(setting):
    spectrum, _ = setting
    network = new_network(spectrum.study, "compact", 3, 16).eval()
    margin = Margin.of(verdict_of(setting), weights_of(network), "near")
    ends = margin(torch.stack([torch.ones(1, 5), torch.zeros(1, 5)]).bool())
    assert shapley(margin, orders=2).sum() == pytest.approx(ends[0] - ends[1], rel=1e-4)


def test_the_physics_can_be_taken_at_given_parameters(setting):
    """Of two models that are the same where matched, nothing tells them apart."""
    verdict = verdict_of(setting)
    moved = at_parameters(verdict, {"near": {}, "far": {}})
    assert np.allclose(information(moved), information(verdict))
    same = replace(verdict, matches={name: verdict.matches["near"] for name in verdict.matches})
    assert not information(same).any() and information(verdict).any()


def test_checks_see_whether_shares_follow_the_network(setting):
    amounts = torch.tensor([[3.0, 0.0, -2.0, 0.5, 0.0]])
    weights, verdict = weights_of(Linear(amounts)), verdict_of(setting)
    found = explain(verdict, weights, "near", "occlusion")
    told = check(found, verdict, weights)
    # the order of the true gains falls and rises faster than chance
    assert told.deletion < told.deletion_random and told.insertion > told.insertion_random
    assert told.other_methods["shapley"] == pytest.approx(1, abs=0.11)
    assert set(told.as_dict()) >= {"deletion", "physics", "random_weights"}
    assert rank_correlation(np.array([1.0, -3, 2]), np.array([10.0, 30, -20])) == pytest.approx(1)
    assert np.isnan(rank_correlation(np.array([0.5, -0.5]), np.array([0.2, 0.8])))


@pytest.mark.parametrize("kind", ["compact", "additive"])
def test_activation_maps_of_networks_that_mix_runs_are_of_the_image_itself(setting, kind: str):
    verdict = verdict_of(setting)
    network = new_network(verdict.spectrum.study, kind, 0, 16).eval()
    weights = weights_of(network, kind)
    fine, coarse = (explain(verdict, weights, "near", m).pixels for m in ("hirescam", "gradcam"))
    assert fine is not None and coarse is not None and fine.shape == verdict.spectrum.study.shape
    # the map adds up to what the margin gains as the image grows by a little, which no gradient is needed for
    margin = Margin.of(verdict, weights, "near")
    inputs = network.prepare(margin.measured[None], margin.valid[None]).double()
    runs, change = len(margin.measured), torch.ones_like(inputs)
    change[:, :runs] += 1e-3
    with torch.no_grad():
        up, down = (margin.of_inputs((inputs * c).float()) for c in (change, 2 - change))
    assert np.nansum(fine) == pytest.approx(float(up - down) / 2e-3, rel=0.02, abs=1e-4)
    # one weight for each run, where the finer map has one for each pixel
    image = inputs[0, :runs].numpy()
    share = np.where(image > 0.1, coarse / np.where(image > 0.1, image, 1), np.nan)
    assert np.nanstd(share, axis=(1, 2, 3)) == pytest.approx(0, abs=1e-6)


def test_unknown_methods_and_ensembles_on_the_flat_image(setting):
    verdict = verdict_of(setting)
    study = verdict.spectrum.study
    together = Ensemble([new_network(study, "pooled", seed) for seed in range(2)]).eval()
    with pytest.raises(MagnoscopeError, match="give the weights of one"):
        explain(verdict, weights_of(together, "ensemble"), None, "gradcam")
    with pytest.raises(MagnoscopeError, match="there is no method guess; there are shapley"):
        explain(verdict, weights_of(Linear(torch.ones(1, 5))), None, "guess")


def test_on_a_pooled_network_both_activation_maps_are_the_exact_one(setting):
    # equation 4 of the published study: the mean of the map is the logit less its bias
    spectrum, _ = setting
    network = new_network(spectrum.study, "pooled", 2).eval()
    weights, verdict = weights_of(network, "pooled"), verdict_of(setting)
    one, two = (explain(verdict, weights, "near", m) for m in ("gradcam", "hirescam"))
    assert one.pixels is not None and two.pixels is not None
    assert np.allclose(one.pixels, two.pixels, rtol=1e-4, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("slices", [5, 2])
def test_evidence_of_an_additive_network_adds_up_exactly(slices: int):
    study = parse_study(SQUARE.replace("slices = 2", f"slices = {slices}"))
    simulator = Simulator(study)
    spectrum = counted(simulator("far"), 30, 1)
    matches = {name: Found(match(spectrum, simulator.reference(name))) for name in study.classes}
    network = new_network(study, "additive", 3, 16).eval()
    with torch.no_grad():
        network.bias += torch.tensor([0.3, -0.4])  # type: ignore[operator]
    verdict, weights = verdict_of((spectrum, matches)), weights_of(network, "additive")
    margin = Margin.of(verdict, weights, "near")
    pixels = additive_evidence(margin)
    whole = float(margin(torch.ones(1, 1, slices, dtype=torch.bool))[0])
    assert pixels.shape == study.shape
    assert pixels.sum() == pytest.approx(whole - 0.7 / 2.0, rel=1e-4, abs=1e-6)
    found = explain(verdict, weights, "near", "evidence")
    assert np.allclose(found.shares, pixels.sum((2, 3)) / np.abs(pixels.sum((2, 3))).sum())
    # local: what one slice holds changes nothing further than two slices up
    changed = margin.measured.clone()
    changed[0, 0] *= 1.5
    inputs = [network.prepare(image[None], margin.valid[None]) for image in (margin.measured, changed)]
    inputs[1][:, 0, 1:] = inputs[0][:, 0, 1:]  # the run's mean has moved as well
    with torch.no_grad():
        one, two = (network.convolutions[0][0](x) for x in inputs)  # type: ignore[index, operator]
    assert torch.equal(one[:, :, 2:], two[:, :, 2:]) and not torch.equal(one[:, :, 1], two[:, :, 1])


def test_no_other_network_has_evidence(setting):
    with pytest.raises(MagnoscopeError, match="is what additive networks have"):
        explain(verdict_of(setting), weights_of(Linear(torch.ones(1, 5))), None, "evidence")
