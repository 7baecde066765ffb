"""Classical energies and their slopes; structures with torques on their spins are never given spin waves."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from magnoscope.crystal import Lattice
from magnoscope.errors import InstabilityError, StudyError
from magnoscope.hamiltonian import Parameter, SpinModel
from magnoscope.spinwave import ClassicalEnergy, ModeSolver, check_stable, is_stable
from magnoscope.units import BOHR_MAGNETON

NO_PARAMETERS = np.zeros(0)
CHAIN = Lattice(3, 8, 8)


def chain(make_model, moment, coupling=-1.0, anisotropy=None, field=None, spin=1.0) -> SpinModel:
    """One site per cell along a."""
    model = make_model(CHAIN, [((0, 0, 0), moment)], [(0, 0, (1, 0, 0), coupling)], spin=spin, anisotropy=anisotropy)
    return model if field is None else replace(model, field=np.array([field], float))


@pytest.fixture(scope="module")
def tangled(make_model) -> SpinModel:
    """Nothing is symmetric: three sites, full exchange matrices, anisotropy, field."""
    rng = np.random.default_rng(5)
    sites = [(tuple(rng.random(3)), tuple(rng.normal(size=3))) for _ in range(3)]
    bonds = []
    for i, j, cells in ((0, 1, (0, 0, 0)), (1, 2, (1, 0, 0)), (2, 0, (0, -1, 1)), (0, 0, (1, 1, 0)), (2, 2, (0, 0, 1))):
        bonds.append((i, j, tuple(np.subtract(sites[j][0], sites[i][0]) + cells), rng.normal(size=(3, 3))))
    single = rng.normal(size=(3, 1, 3, 3))
    model = make_model(Lattice(4, 5, 6, 80, 95, 107), sites, bonds, 1.5, single + single.swapaxes(-1, -2))
    return replace(model, field=rng.normal(size=(1, 3)))


def test_energy_is_the_sum_over_bonds_once(tangled):
    s = 1.5 * tangled.moments
    expected = sum(s[b.start] @ b.exchange[0] @ s[b.end] for b in tangled.bonds)
    expected += sum(x @ k[0] @ x for x, k in zip(s, tangled.anisotropy, strict=True))
    expected -= 2 * BOHR_MAGNETON * (s @ tangled.field[0]).sum()
    assert ClassicalEnergy(tangled).energy(NO_PARAMETERS) == pytest.approx(expected, rel=1e-12)


def test_slopes_are_those_of_the_energy(tangled):
    energy, rng = ClassicalEnergy(tangled), np.random.default_rng(1)
    v, step = rng.normal(size=(2, 3, 3))
    rise = energy.energy(NO_PARAMETERS, v + 1e-4 * step) - energy.energy(NO_PARAMETERS, v - 1e-4 * step)
    assert (energy.slopes(NO_PARAMETERS, v) * step).sum() == pytest.approx(rise / 2e-4, rel=1e-9)


def test_slope_in_k_is_that_of_the_energy(make_model):
    dm = np.array([[0, 0.7, 0], [-0.7, 0, 0], [0, 0, 0]])
    bonds = [(0, 1, (0.4, 0, 0), -np.eye(3) + dm), (1, 0, (0.6, 0, 1), 0.5 * np.eye(3) - dm)]
    model = make_model(CHAIN, [((0, 0, 0), (1, 0, 0)), ((0.4, 0, 0), (1, 1, 0.5))], bonds)
    energy = ClassicalEnergy(replace(model, propagation=(0.13, 0, 0.2), rotation_axis=(0, 0, 1)))
    k, step = np.array([0.13, 0, 0.2]), np.array([0.3, 0.2, -0.4])
    rise = energy.energy(NO_PARAMETERS, k=k + 1e-5 * step) - energy.energy(NO_PARAMETERS, k=k - 1e-5 * step)
    assert energy.slope_in_k(NO_PARAMETERS) @ step == pytest.approx(rise / 2e-5, rel=1e-7)
    with pytest.raises(StudyError, match="no propagation vector"):
        ClassicalEnergy(model).slope_in_k(NO_PARAMETERS)


def test_energy_needs_values_of_the_right_shape(tangled):
    with pytest.raises(StudyError, match=r"shape \(2,\); the energy of model test needs \(0,\)"):
        ClassicalEnergy(tangled).energy([1.0, 2.0])


def test_energies_of_the_worked_study(pcsmo):
    # CE order satisfies every JF1, JA and J_perp; JF2 and JF3 join parallel spins; D is paid nowhere (moments along b)
    model = pcsmo.models["goodenough"]
    jf1, ja, jf2, jf3, j_perp, _ = model.reference
    expected = (7 / 4) ** 2 * (16 * jf1 - 16 * ja + 8 * jf2 + 8 * jf3 - 8 * j_perp)
    assert ClassicalEnergy(model).energy(model.reference) == pytest.approx(expected, rel=1e-12)
    assert_allclose(ClassicalEnergy(model).torques(model.reference), 0, atol=1e-12)


# ---- linear terms -------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(angle=st.floats(1e-6, 3e-2), size=st.floats(0.02, 2))
def test_tilt_is_the_angle_to_the_easy_axis(make_model, angle, size):
    model = chain(make_model, (np.sin(angle), 0, np.cos(angle)), anisotropy=np.diag([0, 0, -size]), spin=1.5)
    found = ModeSolver(model).linear.tilts(torch.zeros(0, dtype=torch.float64))
    # Newton's step from this angle: tan(2 t) / 2
    assert float(found) == pytest.approx(np.tan(2 * angle) / 2, rel=1e-6)


def test_torque_of_an_anisotropy_that_exchange_dwarfs_is_felt(make_model):
    # 45 degrees off an easy axis of 0.01 meV in a ferromagnet of 100 meV: the quadratic part is positive, and wrong
    model = chain(make_model, (1, 0, 1), -100.0, anisotropy=np.diag([0, 0, -0.01]))
    solver = ModeSolver(model)
    assert float(solver.lowest_eigenvalue(NO_PARAMETERS, [(0.3, 0, 0)])) > 0
    modes = solver.solve(NO_PARAMETERS, [(0.3, 0, 0), (0.1, 0, 0)])
    assert not modes.stable.any()
    assert modes.energies.isnan().all() and modes.u.isnan().all() and modes.v.isnan().all()
    message = r"not stationary .* spin of site a\.0 feels a torque of 0\.01 meV and would turn far; give the moments"
    with pytest.raises(InstabilityError, match=message):
        check_stable(solver, NO_PARAMETERS, modes)
    assert not is_stable(solver, NO_PARAMETERS)


def test_field_across_the_moments_is_refused(make_model):
    # a field across a ferromagnet's easy axis tilts it by sin t = h / 2 K; the untilted state has a positive Hessian
    b = 0.2
    sine = 2 * BOHR_MAGNETON * b / (2 * 0.5)
    straight = chain(make_model, (0, 0, 1), anisotropy=np.diag([0, 0, -0.5]), field=(b, 0, 0))
    tilted = chain(make_model, (sine, 0, np.sqrt(1 - sine**2)), anisotropy=np.diag([0, 0, -0.5]), field=(b, 0, 0))
    q = [(0.2, 0, 0)]
    assert not ModeSolver(straight).solve(NO_PARAMETERS, q).stable.any()
    right = ModeSolver(tilted).solve(NO_PARAMETERS, q)
    assert bool(right.stable.all())
    # it can be had by asking for it, and is off
    wrong = ModeSolver(straight, tilt_tolerance=np.inf).solve(NO_PARAMETERS, q)
    assert bool(wrong.stable.all())
    assert abs(float(wrong.energies - right.energies)) > 1e-5


def test_parameter_sets_are_told_apart(make_model):
    # two sublattices canted by a field along z: cos t = h / 4 J for a chain; one of three fields fits the moments
    tilt = 0.3
    moments = [(np.cos(tilt), 0, np.sin(tilt)), (-np.cos(tilt), 0, np.sin(tilt))]
    bonds = [(0, 1, (0.5, 0, 0), 1.0), (1, 0, (0.5, 0, 0), 1.0)]
    model = make_model(CHAIN, [((0, 0, 0), moments[0]), ((0.5, 0, 0), moments[1])], bonds)
    right = 4 * np.sin(tilt) / (2 * BOHR_MAGNETON)
    model = replace(
        model,
        parameters=(Parameter("B", right, (0, 2 * right)),),
        bonds=tuple(replace(b, exchange=np.concatenate([0 * b.exchange, b.exchange])) for b in model.bonds),
        anisotropy=np.zeros((2, 2, 3, 3)),
        field=np.array([[0, 0, 1.0], [0, 0, 0]]),
    )
    solver = ModeSolver(model)
    modes = solver.solve([[right], [0.9 * right], [right]], [(0.1, 0, 0), (0.3, 0, 0)])
    assert modes.stable.tolist() == [[True, True], [False, False], [True, True]]
    assert torch.equal(modes.energies.isfinite().all(-1), modes.stable)
    with pytest.raises(InstabilityError, match="not stationary"):
        check_stable(solver, [[right], [0.9 * right], [right]], modes)


def test_moments_typed_to_three_digits_pass(make_model):
    steps = [(1 / 3, -1 / 3, 0), (1 / 3, 2 / 3, 0), (-2 / 3, -1 / 3, 0)]
    positions = [(0, 0, 0), (1 / 3, 2 / 3, 0), (2 / 3, 1 / 3, 0)]
    sites = list(zip(positions, [(1, 0, 0), (-0.5, 0.866, 0), (-0.5, -0.866, 0)], strict=True))
    bonds = [(i, (i + 1) % 3, d, 1.0) for i in range(3) for d in steps]
    model = make_model(Lattice(5.2, 5.2, 8, 90, 90, 120), sites, bonds)
    assert ModeSolver(model).solve(NO_PARAMETERS, [(0.2, 0.1, 0)]).stable.all()


@settings(max_examples=20)
@given(turn=st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda x: np.linalg.norm(x) > 0.1).map(Rotation.from_quat))
def test_turning_all_spins_of_an_isotropic_magnet_makes_no_torque(pcsmo, turn):
    model = pcsmo.models["goodenough"]
    values = model.values({"D": 0})
    turned = replace(model, sites=tuple(replace(s, moment=tuple(turn.apply(s.moment))) for s in model.sites))
    assert float(ModeSolver(turned).linear.tilts(torch.as_tensor(values)).max()) == 0
