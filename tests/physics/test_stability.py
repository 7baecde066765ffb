"""States that are no energy minimum are found, named and never given plausible numbers."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from magnoscope.crystal import Lattice
from magnoscope.errors import InstabilityError
from magnoscope.simulate import Sampling, Simulator
from magnoscope.spinwave import ModeSolver, check_stable, is_stable, s_perp, zone_grid

NO_PARAMETERS = np.zeros(0)
wave_vector = st.tuples(*[st.floats(-1, 1)] * 3)


@pytest.fixture(scope="module")
def wrong_chain(make_model):
    """Parallel moments on a chain whose coupling is antiferromagnetic."""
    return make_model(Lattice(3, 8, 8), [((0, 0, 0), (0, 0, 1))], [(0, 0, (1, 0, 0), 1.0)])


def test_wrong_state_gives_no_numbers(wrong_chain):
    solver = ModeSolver(wrong_chain)
    modes = solver.solve(NO_PARAMETERS, [(0.1, 0, 0), (0.4, 0, 0)])
    assert not modes.stable.any()
    assert modes.energies.isnan().all()
    assert s_perp(modes).isnan().all()
    assert not is_stable(solver, NO_PARAMETERS)


def test_error_names_q_and_lowest_eigenvalue(wrong_chain):
    solver = ModeSolver(wrong_chain)
    q = [(0.0, 0, 0), (0.25, 0, 0), (0.4, 0, 0)]
    modes = solver.solve(NO_PARAMETERS, q)
    # w = 2 (cos 2 pi h - 1): zero at h = 0, -2 at a quarter
    assert modes.stable.tolist() == [True, False, False]
    with pytest.raises(InstabilityError, match=r"q = \(0\.25, 0, 0\) the lowest eigenvalue .* is -2 meV"):
        check_stable(solver, NO_PARAMETERS, modes)


def test_right_state_passes(make_model):
    chain = make_model(Lattice(3, 8, 8), [((0, 0, 0), (0, 0, 1))], [(0, 0, (1, 0, 0), -1.0)])
    solver = ModeSolver(chain)
    check_stable(solver, NO_PARAMETERS, solver.solve(NO_PARAMETERS, zone_grid(chain)))
    assert is_stable(solver, NO_PARAMETERS)


def test_a_batch_is_told_apart(pcsmo):
    model = pcsmo.models["goodenough"]
    solver = ModeSolver(model)
    bad = model.values({"JF1": -0.5, "JF2": 3.0, "JF3": 3.0})
    values = np.stack([model.reference, bad, model.reference])
    assert is_stable(solver, values).tolist() == [True, False, True]
    modes = solver.solve(values, zone_grid(model))
    assert modes.stable[[0, 2]].all()
    assert modes.energies[[0, 2]].isfinite().all()
    assert torch.equal(modes.energies[1].isnan().all(-1), ~modes.stable[1])
    with pytest.raises(InstabilityError, match="model goodenough is not an energy minimum"):
        check_stable(solver, bad, solver.solve(bad, zone_grid(model)))


def test_anisotropy_does_not_hide_an_instability(pcsmo):
    # D stiffens A + B: a test of that block alone would pass these
    model = pcsmo.models["dimer"]
    solver = ModeSolver(model)
    values = model.values({"JA1": -0.02, "JA2": -0.02, "D": 0.2})
    q = zone_grid(model)
    a, b = solver.boson.blocks(torch.as_tensor(values), torch.as_tensor(q) @ solver.reciprocal)
    fault = torch.linalg.cholesky_ex(a + b).info
    unstable = ~solver.solve(values, q).stable
    assert unstable.any()
    assert (unstable & (fault == 0)).any()


@pytest.fixture(scope="module")
def solvers(pcsmo):
    return {name: ModeSolver(model) for name, model in pcsmo.models.items()}


@settings(max_examples=40)
@given(shares=st.tuples(*[st.floats(0, 1)] * 6), q=wave_vector, name=st.sampled_from(["goodenough", "dimer"]))
def test_energies_are_real_exactly_where_the_state_is_a_minimum(solvers, shares, q, name):
    solver = solvers[name]
    low, high = solver.model.prior.T
    values = low + (high - low) * np.array(shares)
    lowest = float(solver.lowest_eigenvalue(values, [q])[0])
    assume(abs(lowest) > 1e-3)
    modes = solver.solve(values, [q])
    assert bool(modes.stable[0]) == (lowest > 0)
    assert bool(modes.energies.isfinite().all()) == (lowest > 0)
    assert bool(modes.energies.isnan().all()) == (lowest < 0)
    if lowest > 0:
        assert (modes.energies > 0).all()
        # the lowest mode lies above the lowest eigenvalue of the matrix that it comes from
        assert float(modes.energies[0, -1]) >= lowest * (1 - 1e-9)


def test_simulation_of_an_unstable_model_stops(pcsmo):
    simulator = Simulator(pcsmo, sampling=Sampling(zone_points=6, draws=1, draws_per_mode=1))
    with pytest.raises(InstabilityError, match="lowest eigenvalue of the boson Hamiltonian is -"):
        simulator("dimer", {"JA1": -1.0, "JA2": -1.0})
