"""Structures of lowest energy: found from random starts where they are known in closed form."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from magnoscope.crystal import Lattice
from magnoscope.errors import InstabilityError, StudyError
from magnoscope.spinwave import ClassicalEnergy, ModeSolver, require_minimum
from magnoscope.spinwave.luttinger_tisza import luttinger_tisza
from magnoscope.spinwave.minimise import minimise_structure
from magnoscope.spinwave.structure import check_structure
from magnoscope.units import BOHR_MAGNETON

NO_PARAMETERS = np.zeros(0)
CHAIN = Lattice(3, 8, 8)


def frustrated_chain(make_model, j1, j2, moment=(1.0, 0, 0)):
    bonds = [(0, 0, (1, 0, 0), j1), (0, 0, (2, 0, 0), j2)]
    return make_model(CHAIN, [((0, 0, 0), moment)], bonds)


def rotating(model, k, axis=(0, 0, 1.0)):
    return replace(model, propagation=(k, 0, 0), rotation_axis=axis)


@settings(max_examples=15)
@given(ratio=st.floats(0.3, 2), sign=st.sampled_from([1, -1]))
def test_pitch_of_a_frustrated_chain(make_model, ratio, sign):
    # E(k) = J1 cos + J2 cos 2: cos(theta) = -J1 / 4 J2 for J2 > |J1| / 4, E = -J1^2 / 8 J2 - J2
    # (A. Yoshimori, J. Phys. Soc. Jpn. 14, 807 (1959); any textbook)
    j1, j2 = sign * 1.0, ratio
    found = minimise_structure(rotating(frustrated_chain(make_model, j1, j2), 0.05), NO_PARAMETERS, 4)
    assert found.lower
    assert found.energy == pytest.approx(-(j1**2) / (8 * j2) - j2, rel=1e-10)
    assert np.cos(2 * np.pi * found.model.propagation[0]) == pytest.approx(-j1 / (4 * j2), abs=1e-6)
    require_minimum(ModeSolver(found.model), NO_PARAMETERS)
    bound = luttinger_tisza(found.model, NO_PARAMETERS)
    assert bound.energy == pytest.approx(found.energy, rel=1e-9)
    assert np.cos(2 * np.pi * bound.k[0]) == pytest.approx(-j1 / (4 * j2), abs=1e-5)


def test_triangular_120_degrees_is_found(make_model):
    # three sublattices from random directions: E = -3/2 J S^2 per site, all pairs at 120 degrees
    positions = [(0, 0, 0), (1 / 3, 2 / 3, 0), (2 / 3, 1 / 3, 0)]
    steps = [(1 / 3, -1 / 3, 0), (1 / 3, 2 / 3, 0), (-2 / 3, -1 / 3, 0)]
    bonds = [(i, (i + 1) % 3, d, 1.0) for i in range(3) for d in steps]
    sites = [(p, (0, 0, 1)) for p in positions]
    model = make_model(Lattice(5.2, 5.2, 8, 90, 90, 120), sites, bonds, spin=2.0)
    found = minimise_structure(model, NO_PARAMETERS, 6, seed=3)
    assert found.lower and found.reached == 6
    assert found.energy == pytest.approx(-4.5 * 4, rel=1e-12)
    assert_allclose(found.model.moments @ found.model.moments.T, 1.5 * np.eye(3) - 0.5, atol=1e-8)
    assert float(ModeSolver(found.model).linear.tilts(ModeSolver(found.model).check_values([])).max()) < 1e-8
    # and as a rotating frame of one site: k = (1/3, 1/3)
    one = make_model(
        Lattice(3, 3, 8, 90, 90, 120),
        [((0, 0, 0), (1, 0, 0))],
        [(0, 0, d, 1.0) for d in [(1, 0, 0), (0, 1, 0), (-1, -1, 0)]],
    )
    found = minimise_structure(replace(one, propagation=(0.2, 0.1, 0), rotation_axis=(0, 0, 1)), NO_PARAMETERS, 6)
    assert found.energy == pytest.approx(-1.5, rel=1e-12)
    k = np.array(found.model.propagation)
    assert_allclose(np.minimum(np.abs(k - 1 / 3), np.abs(k - 2 / 3))[:2], 0, atol=1e-6)
    assert k[2] == 0


def test_dzyaloshinskii_moriya_spiral_is_found(make_model):
    # J = 0.8, D = 1 along the axis. With J an Ising coupling along D the turn is a quarter: k = 3/4, E = -1 per site.
    # With an isotropic J = 0.8 it is not: k = 0.607, E = -sqrt(J^2 + D^2) = -1.2806
    dm = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 0.0]])
    for exchange, k, energy in (
        (dm + np.diag([0, 0, 0.8]), 0.75, -1.0),
        (dm + 0.8 * np.eye(3), np.arctan2(-1, -0.8) / (2 * np.pi) % 1, -np.hypot(1, 0.8)),
    ):
        model = make_model(CHAIN, [((0, 0, 0), (1, 0, 0))], [(0, 0, (1, 0, 0), exchange)])
        found = minimise_structure(rotating(model, 0.1), NO_PARAMETERS, 5)
        assert found.energy == pytest.approx(energy, rel=1e-12)
        assert found.model.propagation[0] == pytest.approx(k, abs=1e-7)
        assert found.ends.min() == pytest.approx(energy, rel=1e-9)


@settings(max_examples=10)
@given(share=st.floats(0.05, 0.95))
def test_canting_in_a_field(make_model, share):
    # an isotropic antiferromagnetic chain cants to sin t = h / 4 J S; it saturates at h = 4 J S
    spin, j = 1.5, 1.0
    bonds = [(0, 1, (0.5, 0, 0), j), (1, 0, (0.5, 0, 0), j)]
    model = make_model(CHAIN, [((0, 0, 0), (1, 0, 0)), ((0.5, 0, 0), (-1, 0, 0))], bonds, spin)
    field = share * 4 * j * spin / (2 * BOHR_MAGNETON)
    model = replace(model, field=np.array([[0, 0, field]]))
    found = minimise_structure(model, NO_PARAMETERS, 3)
    assert_allclose(found.model.moments[:, 2], share, atol=1e-7)
    check = check_structure(found.model, NO_PARAMETERS)
    assert check.stationary and check.minimum
    straight = check_structure(model, NO_PARAMETERS)
    assert not straight.stationary and not straight.minimum
    assert_allclose(np.linalg.norm(straight.torques, axis=1), 2 * BOHR_MAGNETON * field * spin, rtol=1e-12)


def test_a_saddle_is_left(make_model):
    # parallel moments on an antiferromagnetic pair of sublattices: no torque, and a maximum
    bonds = [(0, 1, (0.5, 0, 0), 1.0), (1, 0, (0.5, 0, 0), 1.0)]
    model = make_model(CHAIN, [((0, 0, 0), (0, 0, 1)), ((0.5, 0, 0), (0, 0, 1))], bonds)
    check = check_structure(model, NO_PARAMETERS, starts=1)
    assert check.stationary and not check.minimum
    assert check.found.lower and check.found.energy == pytest.approx(-2, rel=1e-12)
    assert_allclose(check.found.model.moments[0], -check.found.model.moments[1], atol=1e-8)


@settings(max_examples=8)
@given(seed=st.integers(0, 1000))
def test_what_is_found_is_a_minimum_above_the_bound(make_model, seed):
    # any three-site magnet: no torque is left, the Hessian on the cell is positive, and no bound is broken
    rng = np.random.default_rng(seed)
    sites = [(tuple(rng.random(3)), tuple(rng.normal(size=3))) for _ in range(3)]
    bonds = []
    for i, j, cells in ((0, 1, (0, 0, 0)), (1, 2, (1, 0, 0)), (2, 0, (0, -1, 1)), (0, 0, (1, 1, 0)), (2, 2, (0, 0, 1))):
        bonds.append((i, j, tuple(np.subtract(sites[j][0], sites[i][0]) + cells), rng.normal(size=(3, 3))))
    single = rng.normal(size=(3, 1, 3, 3))
    model = make_model(Lattice(4, 5, 6, 80, 95, 107), sites, bonds, 1.5, single + single.swapaxes(-1, -2))
    model = replace(model, field=rng.normal(size=(1, 3)))
    found = minimise_structure(model, NO_PARAMETERS, 8, seed)
    energy = ClassicalEnergy(found.model)
    assert np.abs(energy.torques(NO_PARAMETERS)).max() < 1e-9
    solver = ModeSolver(found.model)
    assert float(solver.lowest_eigenvalue(NO_PARAMETERS, [(0, 0, 0)])[0]) > -1e-8
    assert luttinger_tisza(found.model, NO_PARAMETERS, 6).energy <= found.energy + 1e-9
    assert found.energy == pytest.approx(energy.energy(NO_PARAMETERS), rel=1e-12)
    assert found.energy == pytest.approx(found.ends.min(), rel=1e-12)


def test_the_worked_study_is_its_own_lowest(pcsmo):
    for name, model in pcsmo.models.items():
        found = minimise_structure(model, model.reference, 5)
        assert not found.lower, name
        assert found.model is model
        assert found.reached == 5


def test_words(make_model):
    tilted = make_model(CHAIN, [((0, 0, 0), (0.1, 0, 1))], [(0, 0, (1, 0, 0), -1.0)], anisotropy=np.diag([0, 0, -0.5]))
    check = check_structure(tilted, NO_PARAMETERS, starts=2)
    assert "It is not stationary: the spin of site a.0 feels a torque of 0.099 meV" in check.sentences[1]
    assert "by about 5.8 degrees" in check.sentences[1]
    assert check.sentences[-2] == "A lower structure was found, at -1.5 meV per site (2 of 2 starts reached it)."
    assert check.sentences[-1] == "No structure on any cell lies lower (Luttinger-Tisza)."
    wrong = check_structure(frustrated_chain(make_model, 1.0, 0.1), NO_PARAMETERS)
    assert wrong.found is None and wrong.stationary and not wrong.minimum
    assert "at q = (0.5, 0, 0) the lowest eigenvalue of the boson Hamiltonian is -4 meV" in wrong.sentences[2]
    assert "a cell that holds this wave, or a propagation vector, has a lower structure" in wrong.sentences[2]
    assert "below -0.9 meV per site; the wave vector that is best there is k = (0.5, 0, 0)" in wrong.sentences[3]
    off = check_structure(rotating(frustrated_chain(make_model, -1.0, 1.0), 0.1), NO_PARAMETERS, starts=3)
    assert off.stationary and not off.minimum
    assert "another propagation vector or a structure of more waves is lower" in off.sentences[2]
    assert "A lower structure was found with k = (0.209785, 0, 0), at -1.125 meV" in off.sentences[3].replace(
        "0.790215", "0.209785"
    )
    good = check_structure(off.found.model, NO_PARAMETERS, starts=3)
    assert good.minimum
    assert "It is a minimum" in good.sentences[2]
    assert good.sentences[3] == "No lower structure was found on this magnetic cell (3 of 3 starts reached it)."


def test_bad_questions(make_model):
    model = frustrated_chain(make_model, 1.0, 0.1)
    with pytest.raises(StudyError, match="at least one start, not 0"):
        minimise_structure(model, NO_PARAMETERS, 0)
    with pytest.raises(StudyError, match=r"shape \(1,\)"):
        minimise_structure(model, [1.0])
    with pytest.raises(StudyError, match="not along the rotation axis"):
        minimise_structure(replace(rotating(model, 0.3), field=np.array([[1.0, 0, 0]])), NO_PARAMETERS)
    with pytest.raises(InstabilityError, match=r"q = \(.*\) the lowest eigenvalue"):
        require_minimum(ModeSolver(model), NO_PARAMETERS)
