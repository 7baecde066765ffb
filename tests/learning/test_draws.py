"""How parameter sets are drawn, and which of them the magnetic structure forbids."""

from itertools import islice

import numpy as np
import pytest

from magnoscope.dataset.draws import UNIFORM, Law, candidates
from magnoscope.dataset.parts import shared_targets
from magnoscope.dataset.rejections import rejections
from magnoscope.errors import StudyError
from magnoscope.spinwave import ModeSolver, is_stable
from magnoscope.study import Study


@pytest.fixture(scope="module")
def solver(pcsmo: Study) -> ModeSolver:
    return ModeSolver(pcsmo.models["goodenough"])


def draws(solver: ModeSolver, law: Law, number: int, tries: int = 1, seed: int = 4, **more) -> np.ndarray:
    """Tries of the first images, (images, tries, parameters)."""
    return np.array([list(islice(candidates(solver, seed, 0, i, law, **more), tries)) for i in range(number)])


def discrepancy(solver: ModeSolver, points: np.ndarray) -> float:
    """Largest gap between the drawn and the uniform distribution over all parameters."""
    low, high = solver.model.prior.T
    ordered = np.sort((points - low) / (high - low), axis=0)
    return float(np.abs(ordered - (np.arange(len(points))[:, None] + 0.5) / len(points)).max())


def test_uniform_draws_are_those_of_the_seed(solver: ModeSolver) -> None:
    low, high = solver.model.prior.T
    rng = np.random.default_rng([4, 0, 7])
    expected = [rng.uniform(low, high) for _ in range(3)]
    np.testing.assert_array_equal(list(islice(candidates(solver, 4, 0, 7), 3)), expected)


@pytest.mark.parametrize("attempt", [0, 1])
def test_sobol_points_are_spread_evenly_first_and_second_tries_alike(solver: ModeSolver, attempt: int) -> None:
    even = draws(solver, Law("sobol"), 256, 2)[:, attempt]
    assert discrepancy(solver, even) < 0.01 < discrepancy(solver, draws(solver, UNIFORM, 256, 2)[:, attempt])


def test_sobol_points_do_not_depend_on_how_many_there_are(solver: ModeSolver) -> None:
    alone = next(candidates(solver, 4, 0, 100, Law("sobol")))
    np.testing.assert_array_equal(draws(solver, Law("sobol"), 101)[100, 0], alone)
    assert not np.array_equal(alone, next(candidates(solver, 5, 0, 100, Law("sobol"))))


def test_draws_around_a_point(solver: ModeSolver) -> None:
    law = Law("around", 0.05, (("goodenough", "JF1", -19.0), ("dimer", "D", 0.1)))
    found = draws(solver, law, 500)[:, 0]
    low, high = solver.model.prior.T
    assert np.all((found >= low) & (found <= high))
    centre = solver.model.values({"JF1": -19.0})
    spread = found.std(0) / (high - low)
    assert np.all(spread[1:] == pytest.approx(0.05, rel=0.15)) and spread[0] < 0.05  # cut off at -20
    np.testing.assert_allclose(found[:, 1:].mean(0), centre[1:], atol=0.01 * (high - low)[1:].max())


def test_shared_draws_are_the_same_hamiltonian_in_both_models(pcsmo: Study) -> None:
    (overlap,) = pcsmo.overlaps
    for number, name in enumerate(pcsmo.classes):
        solver = ModeSolver(pcsmo.models[name])
        found = next(candidates(solver, 4, number, 5, Law("overlap"), pcsmo.overlaps))
        shared = np.linalg.lstsq(overlap.rows[name][:, :-1], found - overlap.rows[name][:, -1], rcond=None)[0]
        other = pcsmo.classes[1 - number]
        q = np.random.default_rng(0).uniform(-1, 1, (4, 3))
        partner = ModeSolver(pcsmo.models[other])
        values = overlap.values(other, shared)
        assert bool(is_stable(solver, found)) == bool(is_stable(partner, values))
        ours, theirs = solver.solve(found, q), partner.solve(values, q)
        np.testing.assert_allclose(ours.energies, theirs.energies, atol=1e-6)
        np.testing.assert_array_equal(shared_targets(pcsmo, name, range(2)), [[0.5, 0.5], [0.5, 0.5]])


def test_rejected_draws_by_parameter(pcsmo: Study) -> None:
    """Negative JA1 = JA2 are unstable, so rejections of the dimer model are where JA1 or JA2 is negative."""
    solver = ModeSolver(pcsmo.models["dimer"])
    thrown = np.zeros(60, np.int32)
    for index in range(60):
        stream = candidates(solver, 9, 1, index)
        thrown[index] = next(n for n, v in enumerate(stream) if bool(is_stable(solver, v)))
    done = np.arange(60) != 13
    table = rejections(pcsmo, 1, 9, thrown, done)
    assert table.parameters == tuple(p.name for p in solver.model.parameters)
    assert np.all(table.drawn.sum(1) == thrown[done].sum() + 59) and np.all(table.rejected.sum(1) == thrown[done].sum())
    shares = dict(zip(table.parameters, table.shares, strict=True))
    for name in ("JA1", "JA2"):
        assert np.nanmean(shares[name][:5]) > np.nanmean(shares[name][5:]) + 0.2
    assert table.share == pytest.approx(thrown[done].sum() / (thrown[done].sum() + 59))


def test_laws_that_make_no_sense(pcsmo: Study) -> None:
    for law, said in (
        (Law("around", 0.0), "a width of 0 of the prior makes no draws"),
        (Law("around", 0.1, (("goodenough", "JX", 1.0),)), "has no parameter JX"),
        (Law("around", 0.1, (("goodenough", "JA", 9.0),)), r"JA = 9 lies outside the prior \[0, 3\]"),
        (Law("nonsense"), "there are no draws nonsense"),  # type: ignore[arg-type]
    ):
        with pytest.raises(StudyError, match=said):
            law.check(pcsmo)
    assert Law.from_settings(None) == UNIFORM
    around = Law("around", 0.2, (("goodenough", "JA", 1.0),))
    assert Law.from_settings(around.settings()) == around
