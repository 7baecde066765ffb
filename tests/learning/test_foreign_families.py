"""Families of foreign inputs: that they are what they say, and that settings were chosen on others."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from magnoscope.dataset.draws import Law, reach, simulate_draw
from magnoscope.networks.foreign import FAMILIES as TRAINED_ON
from magnoscope.simulate import Simulator
from magnoscope.spinwave import ModeSolver, is_stable
from magnoscope.studies import load_study
from magnoscope.trust import families
from magnoscope.trust.families import CHOSEN_ON, FROM_TEST_PART, HALF_MISSING, half_missing, stitched, trained_on
from magnoscope.trust.held_back import RANDOM_MAGNETS, UNSEEN
from magnoscope.trust.other_magnets import other_materials, third_hamiltonian
from magnoscope.trust.suite import COARSE, FRANKEN, FRANKEN_SLICES, MATERIALS, RESOLUTIONS, THIRD, _area, _area_interval


def test_families_that_are_reported_are_none_that_settings_were_chosen_on():
    reported = [f.name for f in FROM_TEST_PART] + [f.name for f in (HALF_MISSING, THIRD, MATERIALS, FRANKEN, COARSE)]
    assert set(CHOSEN_ON) == {*TRAINED_ON, RANDOM_MAGNETS, *UNSEEN} and not set(reported) & set(CHOSEN_ON)
    # those that are a candidate's spectra after all say so
    assert all(f.note for f in (HALF_MISSING, *RESOLUTIONS.values()))


def test_relatives_are_said_where_weights_were_trained_on_them():
    for family in (*FROM_TEST_PART, THIRD, MATERIALS, FRANKEN, FRANKEN_SLICES):
        assert set(family.relatives) <= {*TRAINED_ON, RANDOM_MAGNETS}
    old = {"settings": {"foreign": 0.25}}
    new = {"foreign_families": [*TRAINED_ON, RANDOM_MAGNETS]}
    assert trained_on(old) == TRAINED_ON[:5] and trained_on({"settings": {"foreign": 0.0}}) == ()
    assert trained_on({"kind": "ensemble", "members": [old, new]}) == (*TRAINED_ON, RANDOM_MAGNETS)
    assert THIRD.remark(trained_on(old)) == ""
    assert THIRD.remark(trained_on(new)) == "relative of training's random magnets"
    assert HALF_MISSING.remark(trained_on(new)) == HALF_MISSING.note


def test_the_third_hamiltonian_is_a_stable_ferromagnet_on_the_same_sites(pcsmo):
    study = third_hamiltonian(pcsmo)
    model = study.models["ferromagnet"]
    assert np.allclose(model.moments, model.moments[0])
    assert np.array_equal(model.positions, pcsmo.models["goodenough"].positions)
    solver, rng = ModeSolver(model), np.random.default_rng(0)
    assert all(is_stable(solver, rng.uniform(*model.prior.T)) for _ in range(5))


@pytest.fixture(scope="module")
def square():
    return load_study(Path(__file__).parents[1] / "cli" / "square.toml")


def test_a_study_of_ferromagnets_has_no_ferromagnet_as_a_third_hamiltonian(square):
    assert third_hamiltonian(square) is None


def test_other_materials_are_stable_with_bands_within_the_runs(pcsmo):
    study = other_materials(pcsmo)
    assert study.classes == ("square", "chains", "centred", "stripes")
    top = float(pcsmo.energy_edges.max())
    q = np.random.default_rng(0).uniform(-1, 1, (200, 3))
    for model in study.models.values():
        solver = ModeSolver(model)
        for values in (model.prior[:, 0], model.prior.mean(1), model.prior[:, 1]):
            assert is_stable(solver, values)
            energies = solver.solve(values, q).energies.numpy()
            assert 0.1 * top < energies.max() < 1.2 * top


def test_square_ferromagnet_among_the_materials_has_its_textbook_dispersion(pcsmo):
    model = other_materials(pcsmo).models["square"]
    spin, (j1, j2, d) = model.sites[0].spin, (-2.0, 0.0, -0.1)
    q = np.array([[0.1, 0.2, 0.0], [0.5, 0.5, 0.3]])
    expected = 2 * spin * -j1 * (2 - np.cos(2 * np.pi * q[:, 0]) - np.cos(2 * np.pi * q[:, 1])) - 2 * spin * d
    found = ModeSolver(model).solve(np.array([j1, j2, d]), q).energies.numpy()
    for row, energy in zip(found, expected, strict=True):  # one of the four folded into the magnetic cell
        assert np.abs(row - energy).min() < 1e-6 * energy


def test_draws_beyond_the_priors_leave_them(square):
    low, high = reach(square.models["near"], Law("beyond"))
    assert np.allclose(high - low, 2 * np.diff(square.models["near"].prior)[:, 0])
    seen = []

    class Spy(Simulator):
        def signal(self, model, values):
            seen.append((model, values))
            return np.zeros(self.study.shape)

    simulator = Spy(square)
    for index in range(6):
        simulate_draw(simulator, index % 2, 0, index, Law("beyond"))
    for model, values in seen:
        low, high = square.models[model].prior.T
        assert np.any((values < low) | (values > high))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(1).gamma(2.0, size=(6, 3, 4, 10, 10))


def study_of(pcsmo, images):
    axes = tuple(replace(axis, points=10) for axis in pcsmo.view.axes)
    view = replace(pcsmo.view, axes=axes, energy_fractions=(0.1, 0.25, 0.4, 0.55, 0.7))
    return replace(pcsmo, runs=pcsmo.runs[:3], view=view)


@pytest.mark.parametrize("family", FROM_TEST_PART, ids=lambda family: family.name)
def test_every_family_changes_every_image_and_stays_an_intensity(family, pcsmo, images):
    made = FROM_TEST_PART[family](images, study_of(pcsmo, images), np.random.default_rng(0))
    assert made.shape == images.shape and np.isfinite(made).all() and made.min() >= 0
    assert all(not np.allclose(a, b) for a, b in zip(made, images, strict=True))


def test_exchanged_runs_are_whole(pcsmo, images):
    made = families.runs_exchanged(images, study_of(pcsmo, images), np.random.default_rng(0))
    for new, old in zip(made, images, strict=True):
        assert sorted(new.sum((1, 2, 3))) == pytest.approx(sorted(old.sum((1, 2, 3))))


def test_franken_images_hold_runs_or_slices_of_others(images):
    rng = np.random.default_rng(0)
    others = np.random.default_rng(2).gamma(0.5, size=(8, 3, 4, 10, 10))
    whole = stitched(images, others, rng, True)
    for run in range(3):
        pattern = whole[0, run] / whole[0, run].mean()
        assert min(np.abs(pattern - o[run] / o[run].mean()).max() for o in others) < 1e-9
    some = stitched(images, others, rng, False)
    share = (some == images).all((3, 4)).mean()
    assert 0.3 < share < 0.7


def test_half_of_the_detectors_are_missing():
    study = load_study("pcsmo")
    seen = half_missing(torch.ones(2, *study.shape, dtype=torch.bool), study).float().mean((1, 2, 3, 4))
    assert torch.all((seen > 0.35) & (seen < 0.65))


def test_area_under_the_curve_and_its_interval():
    rng = np.random.default_rng(3)
    own, foreign = rng.normal(0, 1, 400), rng.normal(2, 1, 300)
    area = _area(own, foreign)
    assert area == pytest.approx(0.9214, abs=0.03)  # Phi(2 / sqrt 2)
    low, high = _area_interval(area, 400, 300)
    assert low < area < high and high - low < 0.06
    assert _area(own, own) == pytest.approx(0.5)
