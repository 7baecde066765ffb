"""What spectra look like at given parameters: found again, contradictions between runs, what no candidate makes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from magnoscope.dataset.noise import Nuisance
from magnoscope.dataset.parts import Part
from magnoscope.errors import WeightsError
from magnoscope.networks.compact import CompactNetwork
from magnoscope.spectrum import Spectrum
from magnoscope.studies import parse_study
from magnoscope.trust import emulator as module
from magnoscope.trust.calibration import OF_MATCH, Calibration
from magnoscope.trust.emulator import Emulator, fit_emulator
from magnoscope.trust.held_back import calibrate
from magnoscope.trust.signals import signal_values
from magnoscope.trust.weights import Weights, load_weights, save_weights
from magnoscope.verdict import Verdict, classify

ONE_RUN = parse_study((Path(__file__).parents[1] / "cli" / "square.toml").read_text())
SQUARE = replace(ONE_RUN, runs=(*ONE_RUN.runs, replace(ONE_RUN.runs[0], ei=2 * ONE_RUN.runs[0].ei)))
RUNS, SLICES, NX, NY = SQUARE.shape


def spots(places: np.ndarray, round_: np.ndarray) -> np.ndarray:
    """Spectra (n, runs, slices, x, y) with a spot in every tile, whose place depends on run and slice.

    Parameters
    ----------
    places : (n, runs, 2)
        What each run takes the parameters for.
    round_ : (n,) bool
        Whether the spot is round, or a ridge along y.
    """
    x, y = np.meshgrid(np.linspace(0, 1, NX), np.linspace(0, 1, NY), indexing="ij")
    out = np.empty((len(places), *SQUARE.shape), np.float32)
    for r in range(RUNS):
        for s in range(SLICES):
            a, b = (places[:, r, i, None, None] for i in ((0, 1) if r % 2 else (1, 0)))
            dx, dy = x - 0.2 - 0.6 * a, y - 0.2 - 0.6 * (b + s / SLICES) / 2
            ridge = np.where(round_[:, None, None], 0.03, 0.3)
            out[:, r, s] = (1 + 0.5 * a) * np.exp(-(dx**2) / 0.03 - dy**2 / ridge)
    return out


def spectra(number: int, seed: int, least: float = 0, most: float = 1) -> Part:
    """Round spots of two parameters (class 0), ridges of one (class 1)."""
    rng = np.random.default_rng(seed)
    labels = np.arange(number) % 2
    parameters = rng.uniform(least, most, size=(number, 2)).astype(np.float32)
    parameters[labels == 1, 1] = 0.5
    return Part(spots(np.repeat(parameters[:, None], RUNS, 1), labels == 0), labels, parameters, SQUARE.view.mirrors)


@pytest.fixture(scope="module")
def emulated() -> Emulator:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "EPOCHS", 120)
        found = fit_emulator(SQUARE.view, spectra(480, 0), 2, 0)
    assert found is not None and found.sound
    return found


def seen(images: np.ndarray, seed: int, noise: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """As measured: each tile with a scale and a background of its own, noise, and a tenth of the pixels missing."""
    rng = np.random.default_rng(seed)
    shape = (*images.shape[:3], 1, 1)
    measured = images * rng.uniform(0.5, 2, shape) + rng.uniform(0, 3, shape) + noise * rng.normal(size=images.shape)
    valid = rng.uniform(size=images.shape) > 0.1
    return np.where(valid, measured, 0), valid


def test_parameters_are_found_again(emulated: Emulator):
    part = spectra(12, 1)
    for signal, valid, label, truth in zip(*seen(part.images, 2), part.labels, part.parameters, strict=True):
        fitted = emulated.compare(signal, valid).fitted
        assert int(np.argmax([found.explained.sum() for found in fitted])) == label
        np.testing.assert_allclose(fitted[label].scaled, truth, atol=0.04)


def test_runs_that_ask_for_different_parameters_contradict_each_other(emulated: Emulator):
    rng = np.random.default_rng(3)
    assert RUNS == 2
    places = rng.uniform(0, 0.3, (12, RUNS, 2))
    same = np.repeat(places[:, :1], RUNS, 1)
    # every run by itself is a candidate's
    apart = places + np.array([[0.0, 0.0], [0.5, 0.5]])
    compared = []
    for number, where in enumerate((same, apart)):
        measured, valid = seen(spots(where, np.ones(12, bool)), 4 + number)
        compared.append([emulated.compare(*pair) for pair in zip(measured, valid, strict=True)])
    here, there = ([c.contradiction for c in found] for found in compared)
    assert max(here) < 0.02 < 0.1 < min(there)


def test_parameters_beyond_the_priors_would_do_better(emulated: Emulator):
    rng = np.random.default_rng(8)
    within = np.repeat(rng.uniform(0, 1, (12, 1, 2)), RUNS, 1)
    without = within.copy()
    without[..., 0] = 1.25
    gained = []
    for number, where in enumerate((within, without)):
        measured, valid = seen(spots(where, np.ones(12, bool)), 9 + number)
        gained.append([emulated.compare(*pair).beyond_priors for pair in zip(measured, valid, strict=True)])
    assert max(gained[0]) < 0.03 < 0.1 < min(gained[1])


def test_what_no_candidate_makes_is_left(emulated: Emulator):
    part = spectra(12, 5)
    own = [emulated.compare(*pair).unexplained for pair in zip(*seen(part.images, 6), strict=True)]
    upside_down = part.images.max((3, 4), keepdims=True) - part.images
    foreign = [emulated.compare(*pair).unexplained for pair in zip(*seen(upside_down, 6), strict=True)]
    assert max(own) < 0.1 < 0.5 < min(foreign)


def test_of_pixels_without_neighbours_nothing_is_said(emulated: Emulator):
    part = spectra(2, 11)
    # the noise of a tile is taken from neighbours: of every third pixel alone nobody can tell it
    lonely = np.zeros(SQUARE.shape, bool)
    lonely[..., ::3, ::3] = True
    found = emulated.compare(np.where(lonely, part.images[0], 0), lonely)
    assert found.tiles == 0 and (found.unexplained, found.beyond_priors, found.contradiction) == (0, 0, 0)
    everywhere = np.ones(SQUARE.shape, bool)
    assert emulated.compare(part.images[0], everywhere).tiles == RUNS * SLICES
    # one such tile takes nothing from the others
    everywhere[0, 0] = lonely[0, 0]
    found = emulated.compare(np.where(everywhere, part.images[0], 0), everywhere)
    assert found.tiles == RUNS * SLICES - 1 and found.explicable > 0 and found.unexplained < 0.1


def test_spectra_beyond_the_priors_make_it_know_what_is_there(emulated: Emulator, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "EPOCHS", 120)
    wider = spectra(480, 20, -0.5, 1.5)
    outside = np.abs(wider.parameters - 0.5).max(1) > 0.5
    wider = replace(wider, images=wider.images[outside], labels=wider.labels[outside])
    wider = replace(wider, parameters=wider.parameters[outside])
    found = fit_emulator(SQUARE.view, spectra(480, 0), 2, 0, wider)
    # what fits start from stays within
    assert all(c.library.min() >= 0 and c.library.max() <= 1 for c in found.candidates)
    other = spectra(40, 21, 1.2, 1.4)
    measured, valid = seen(other.images, 22)
    gained = [[e.compare(*pair).beyond_priors for pair in zip(measured, valid, strict=True)] for e in (found, emulated)]
    assert np.median(gained[0]) > 1.2 * np.median(gained[1])


def test_slopes_are_derivatives(emulated: Emulator):
    candidate = emulated.candidates[0]
    places = torch.rand(RUNS, 3, 2, generator=torch.Generator().manual_seed(0))
    made, turned = candidate.with_slopes(places)
    torch.testing.assert_close(made, candidate(places))
    for p in range(2):
        step = torch.zeros(2)
        step[p] = 1e-2
        by_hand = (candidate(places + step) - candidate(places - step)) / 2e-2
        torch.testing.assert_close(turned[..., p], by_hand, atol=2e-3 * float(by_hand.abs().max()), rtol=0.05)


def test_of_few_spectra_nothing_is_learnt():
    few = spectra(2 * module.FEWEST_IMAGES - 2, 0)
    assert fit_emulator(SQUARE.view, few, 2, 0) is None


def test_weights_carry_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "EPOCHS", 2)
    torch.manual_seed(0)
    network = CompactNetwork(RUNS, SLICES, 2, 2, width=16)
    train, held_back = spectra(420, 0), spectra(12, 1)
    everywhere = torch.ones((1, *SQUARE.shape), dtype=torch.bool)
    found = calibrate(network, train, held_back, everywhere, 0, SQUARE.view, Nuisance())
    assert found.signals[-3:] == OF_MATCH and found.held_back.shape[1] == 6
    card = {"kind": "compact", "width": 16, "seed": 0, "layout_hash": SQUARE.layout_hash, "physics_hash": "x"}
    save_weights(Weights(network, found, card), tmp_path / "w.safetensors")
    again = load_weights(tmp_path / "w.safetensors", SQUARE)[0].calibration
    measured, valid = seen(held_back.images[:3], 0)
    with torch.no_grad():
        output = network.eval()(network.prepare(torch.as_tensor(measured).float(), torch.as_tensor(valid)))
    there, here = (signal_values(c, output, measured, valid)[0] for c in (again, found))
    np.testing.assert_allclose(there, here, rtol=1e-3, atol=1e-5)
    for broken in (
        replace(found.emulator, components=found.emulator.components[:, :1]),
        replace(found.emulator, components=found.emulator.components * np.nan),
        None,
    ):
        save_weights(Weights(network, replace(found, emulator=broken), card), tmp_path / "w.safetensors")
        with pytest.raises(WeightsError, match="does not fit this version"):
            load_weights(tmp_path / "w.safetensors", SQUARE)


def of_one_run(monkeypatch: pytest.MonkeyPatch) -> tuple[CompactNetwork, Calibration, Spectrum]:
    """An untrained network of one run, its calibration with an emulator that has hardly learnt, and a spectrum."""
    monkeypatch.setattr(module, "EPOCHS", 2)
    torch.manual_seed(0)
    train, held_back = (replace(p, images=p.images[:, :1]) for p in (spectra(420, 0), spectra(12, 1)))
    network = CompactNetwork(1, SLICES, 2, 2, width=16)
    everywhere = torch.ones((1, *ONE_RUN.shape), dtype=torch.bool)
    found = calibrate(network, train, held_back, everywhere, 0, ONE_RUN.view, Nuisance())
    return network.eval(), found, Spectrum(ONE_RUN, train.images[0], np.ones(ONE_RUN.shape, bool))


def test_a_verdict_is_matched_where_it_points_and_one_run_contradicts_nobody(monkeypatch: pytest.MonkeyPatch):
    network, found, spectrum = of_one_run(monkeypatch)
    assert found.signals[-2:] == ("poor_match", "beyond_priors") and "contradicting_runs" not in found.signals
    verdict = classify(spectrum, Weights(network, found, {}))
    assert set(verdict.signals) == set(found.signals)
    for fitted, (name, best) in zip(
        found.emulator.compare(spectrum.signal, spectrum.valid).fitted, verdict.matches.items(), strict=True
    ):
        low, high = ONE_RUN.model(name).prior.T
        pointed = low + fitted.scaled[: len(low)] * (high - low)
        np.testing.assert_allclose(list(best.parameters.values()), pointed, rtol=1e-6)


def test_a_match_that_contradicts_the_network_is_said_and_joins_the_label_set(monkeypatch: pytest.MonkeyPatch):
    network, calibration, spectrum = of_one_run(monkeypatch)
    weights = Weights(network, replace(calibration, temperature=1.0, label_threshold=0.1), {})
    with torch.no_grad():
        output = network(
            network.prepare(torch.as_tensor(spectrum.signal)[None].float(), torch.as_tensor(spectrum.valid)[None])
        )
    matches = classify(spectrum, weights).matches
    chi_square = {name: found.match.chi_square for name, found in matches.items()}
    best = min(chi_square, key=chi_square.__getitem__)

    def named(preferred: str, by_emulator: str) -> Verdict:
        """What is said where the network and the emulator prefer these models."""
        hot = torch.tensor([[float(name == preferred) for name in chi_square]])
        said = replace(output, scores=0.9 * hot, logits=50 * hot)
        monkeypatch.setattr("magnoscope.verdict.run_network", lambda *_: said)
        monkeypatch.setattr(module.Comparison, "nearest", property(lambda _: list(chi_square).index(by_emulator)))
        return classify(spectrum, weights)

    (other,) = set(chi_square) - {best}
    agreed, contradicted, alone = named(best, best), named(other, best), named(other, other)
    assert agreed.better_match is None and agreed.label_set == (best,)
    # the simulator alone contradicts nobody
    assert alone.better_match is None and alone.label_set == (other,)
    assert contradicted.better_match == best and set(contradicted.label_set) == set(chi_square)
    said = replace(contradicted, in_distribution=True).sentence
    assert f"the best match of {best} describes it better" in said and "compare" in said
    assert contradicted.as_dict()["better_match"] == best
    beyond = replace(agreed, in_distribution=False, signals={"beyond_priors": {"value": 1.0, "p_value": 1e-3}})
    assert "beyond the priors would describe it better" in beyond.sentence
