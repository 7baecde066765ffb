"""Gradients of spectra and energies with respect to parameters, against finite differences, at degenerate modes too."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from magnoscope.crystal import Lattice
from magnoscope.hamiltonian import Bond, Parameter, SpinModel
from magnoscope.spinwave import ModeSolver, s_perp
from magnoscope.spinwave.gradients import mode_energies, spectral_sum

CHANNELS = torch.linspace(0.5, 95, 40, dtype=torch.float64)


def line(width: float):
    """A Gaussian line in every channel."""
    return lambda energies: torch.exp(-(((CHANNELS - energies[..., None]) / width) ** 2) / 2)


def plain_sum(solver: ModeSolver, values, q, f) -> torch.Tensor:
    """The same sum from the modes themselves."""
    modes = solver.solve(values, q)
    return (s_perp(modes)[..., None] * f(modes.energies)).sum(-2)


def slopes(function, values: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """Central differences along each parameter, of fourth order: (n_parameters, ...)."""
    out = []
    for unit in np.eye(len(values)):
        near, far = ((function(values + n * step * unit) - function(values - n * step * unit)) for n in (1, 2))
        out.append((8 * near - far) / (12 * step))
    return np.array(out)


def named(model: SpinModel, names: str, coefficients: list[list[float]], reference: list[float]) -> SpinModel:
    """A model without parameters whose bond b becomes sum_p coefficients[b][p] p times what it was."""
    bonds = tuple(
        replace(b, exchange=np.stack([*(x * b.exchange[0] for x in row), np.zeros((3, 3))]))
        for b, row in zip(model.bonds, coefficients, strict=True)
    )
    single = np.concatenate([np.zeros((len(model.sites), len(names.split()), 3, 3)), model.anisotropy], 1)
    parameters = tuple(Parameter(n, r, (r - 1, r + 1)) for n, r in zip(names.split(), reference, strict=True))
    return replace(model, parameters=parameters, bonds=bonds, anisotropy=single)


@pytest.fixture(scope="module")
def triangle(make_model) -> ModeSolver:
    """Three sites at 120 degrees: the full-size problem; couplings in and out of the cell are parameters."""
    positions = [(0, 0, 0), (1 / 3, 2 / 3, 0), (2 / 3, 1 / 3, 0)]
    moments = [(np.cos(a), np.sin(a), 0) for a in 2 * np.pi / 3 * np.arange(3)]
    steps = [(1 / 3, -1 / 3, 0), (1 / 3, 2 / 3, 0), (-2 / 3, -1 / 3, 0)]
    bonds = [(i, (i + 1) % 3, d, 1.0) for d in steps for i in range(3)]
    model = make_model(Lattice(5.2, 5.2, 8, 90, 90, 120), list(zip(positions, moments, strict=True)), bonds)
    model = replace(model, anisotropy=np.tile(np.diag([0, 0, 0.3])[None, None], (3, 1, 1, 1)))
    return ModeSolver(named(model, "J1 J2 J3", [list(row) for row in np.eye(3).repeat(3, 0)], [30.0, 33.0, 27.0]))


@pytest.fixture(scope="module")
def spiral(make_model) -> ModeSolver:
    """A spiral in its rotating frame: an XXZ chain with Dzyaloshinskii-Moriya coupling at its best k for J = D."""
    dm = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 0]], float)
    model = make_model(Lattice(3, 8, 8), [((0, 0, 0), (1, 0, 0))], [(0, 0, (1, 0, 0), np.eye(3))])
    exchange = np.stack([np.diag([1.0, 1, 0]) + dm, np.diag([0, 0, 1.0]), np.zeros((3, 3))])
    model = replace(
        model,
        parameters=(Parameter("J", 20.0, (0, 40)), Parameter("Jz", 11.0, (0, 40))),
        bonds=(Bond(0, 0, (1, 0, 0), exchange),),
        anisotropy=np.zeros((1, 3, 3, 3)),
        propagation=(0.625, 0, 0),
        rotation_axis=(0, 0, 1),
    )
    return ModeSolver(model)


@pytest.fixture(scope="module")
def solvers(pcsmo, triangle, spiral) -> dict[str, ModeSolver]:
    return {
        "goodenough": ModeSolver(pcsmo.models["goodenough"]),
        "dimer": ModeSolver(pcsmo.models["dimer"]),
        "triangle": triangle,
        "spiral": spiral,
    }


NAMES = st.sampled_from(["goodenough", "dimer", "triangle", "spiral"])


@settings(max_examples=8)
@given(name=NAMES, q=st.tuples(*[st.floats(0.05, 0.45)] * 3), width=st.floats(0.5, 5), seed=st.integers(0, 99))
def test_sums_and_gradients_are_those_of_the_modes(solvers, name, q, width, seed):
    # PCSMO's modes come in quartets split by 0.1 meV and less: each would have a gradient of its own, and of no meaning
    solver = solvers[name]
    reference = solver.model.reference
    outer = torch.as_tensor(np.random.default_rng(seed).normal(size=(1, len(CHANNELS))))
    values = torch.tensor(reference, requires_grad=True)
    found = spectral_sum(solver, values, [q], line(width))
    expected = plain_sum(solver, reference, [q], line(width))
    assert_allclose(found.detach(), expected, rtol=1e-9, atol=1e-9 * float(expected.max()))
    (gradient,) = torch.autograd.grad((found * outer).sum(), values)
    differences = slopes(lambda x: float((plain_sum(solver, x, [q], line(width)) * outer).sum()), reference)
    assert_allclose(gradient, differences, rtol=2e-6, atol=2e-6 * np.abs(differences).max())


def test_exactly_degenerate_modes(make_model):
    # two sublattices of an antiferromagnet: every energy twice, w = 4 J sqrt(1 - gamma^2); dI/dJ in closed form
    steps = [(0.5, -0.5, 0), (-0.5, 0.5, 0), (0.5, 0.5, 0), (-0.5, -0.5, 0)]
    sites = [((0, 0, 0), (0, 0, 1)), ((0.5, 0.5, 0), (0, 0, -1))]
    model = make_model(Lattice(4.2, 4.2, 8), sites, [(0, 1, d, 1.0) for d in steps])
    solver = ModeSolver(named(model, "J", [[1.0]] * 4, [7.0]), shift=0)
    q = [(0.17, 0.31, 0.2), (0.5, 0.1, 0)]
    values = torch.tensor([7.0], dtype=torch.float64, requires_grad=True)
    found = mode_energies(solver, values, q)
    assert not found.separated.any()
    for row in range(2):
        for mode in range(2):
            (gradient,) = torch.autograd.grad(found.energies[row, mode], values, retain_graph=True)
            assert float(gradient) == pytest.approx(float(found.energies[row, mode].detach()) / 7, rel=1e-9)
    # S_n does not depend on J alone: the sum moves with the energies and nothing else
    width = 3.0
    total = spectral_sum(solver, values, q, line(width))
    modes = solver.solve([7.0], q)
    w = modes.energies[..., None]
    slope = line(width)(modes.energies) * (CHANNELS - w) / width**2 * w / 7
    expected = (s_perp(modes)[..., None] * slope).sum()
    (gradient,) = torch.autograd.grad(total.sum(), values)
    assert float(gradient) == pytest.approx(float(expected), rel=1e-9)


def test_near_degenerate_modes_are_as_good_as_far_ones(solvers):
    # on a zone boundary of the worked study quartets meet; go through the meeting point in steps down to nothing
    solver = solvers["goodenough"]
    reference = solver.model.reference
    values = torch.tensor(reference, requires_grad=True)
    for away in (0.0, 1e-12, 1e-9, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3):
        q = [(0.125 + away, 0.225, 0.55)]
        (gradient,) = torch.autograd.grad(spectral_sum(solver, values, q, line(1.5)).sum(), values)
        differences = slopes(lambda x, q=q: float(plain_sum(solver, x, q, line(1.5)).sum()), reference)
        assert_allclose(gradient, differences, rtol=1e-6, atol=1e-6 * np.abs(differences).max())


@settings(max_examples=8)
@given(name=NAMES, q=st.tuples(*[st.floats(0.06, 0.44)] * 3))
def test_energies_that_are_separated(solvers, name, q):
    solver = solvers[name]
    reference = solver.model.reference
    values = torch.tensor(reference, requires_grad=True)
    found = mode_energies(solver, values, [q])
    assert_allclose(found.energies.detach(), solver.solve(reference, [q]).energies, rtol=1e-9)
    differences = slopes(lambda x: solver.solve(x, [q]).energies[0].numpy(), reference, 1e-6)
    gaps = np.abs(np.subtract.outer(found.energies[0].detach().numpy(), found.energies[0].detach().numpy()))
    clear = (gaps + np.eye(len(gaps)) * 9).min(0) > 5e-3
    assert found.separated[0][torch.as_tensor(clear)].all()
    for mode in np.flatnonzero(clear):
        (gradient,) = torch.autograd.grad(found.energies[0, mode], values, retain_graph=True)
        assert_allclose(gradient, differences[:, mode], rtol=1e-5, atol=1e-6 * np.abs(differences).max())
    # their sum is smooth whatever meets
    (gradient,) = torch.autograd.grad(found.energies.sum(), values)
    assert_allclose(gradient, differences.sum(1), rtol=1e-6, atol=1e-6 * np.abs(differences).max())


def test_parameters_of_the_line_have_gradients_too(solvers):
    solver = solvers["goodenough"]
    values = torch.tensor(solver.model.reference, requires_grad=True)
    width = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    q = [(0.1, 0.2, 0.3)]
    total = spectral_sum(solver, values, q, lambda w: torch.exp(-((20.0 - w) ** 2) / (2 * width**2)))
    assert total.shape == (1,)
    _, gradient = torch.autograd.grad(total.sum(), (values, width))

    def at(x: float) -> float:
        return float(
            plain_sum(solver, solver.model.reference, q, lambda w: torch.exp(-(((20 - w[..., None]) / x) ** 2) / 2))
        )

    assert float(gradient) == pytest.approx((at(1.3 + 1e-5) - at(1.3 - 1e-5)) / 2e-5, rel=1e-7)


def test_a_batch_of_parameter_sets_and_a_wrong_one(pcsmo, solvers):
    # each set has a gradient of its own; that of an unstable one is NaN and touches no other
    solver, model = solvers["goodenough"], pcsmo.models["goodenough"]
    bad = model.values({"JF1": -0.5, "JF2": 3.0, "JF3": 3.0})
    other = model.values({"JF1": -10.5, "D": 0.1})
    q = np.random.default_rng(3).uniform(-1, 1, (5, 3))
    values = torch.tensor(np.stack([model.reference, bad, other]), requires_grad=True)
    total = spectral_sum(solver, values, q, line(2.0))
    assert total.shape == (3, 5, len(CHANNELS))
    (gradient,) = torch.autograd.grad(total.sum(), values)
    assert gradient[1].isnan().all()
    for row, single in ((0, model.reference), (2, other)):
        alone = torch.tensor(single, requires_grad=True)
        (expected,) = torch.autograd.grad(spectral_sum(solver, alone, q, line(2.0)).sum(), alone)
        assert_allclose(gradient[row], expected, rtol=1e-9)


def test_a_fit_finds_the_parameters_back(solvers):
    # least squares from 5 % off, on the gradients alone
    solver = solvers["goodenough"]
    reference = solver.model.reference
    q = np.random.default_rng(8).uniform(-0.5, 0.5, (12, 3))
    with torch.no_grad():
        target = spectral_sum(solver, reference, q, line(4.0))
    values = torch.tensor(reference * (1 + 0.05 * np.array([1, -1, 1, -1, 1, -1])), requires_grad=True)
    minimiser = torch.optim.LBFGS([values], max_iter=60, line_search_fn="strong_wolfe", tolerance_grad=1e-12)

    def loss() -> torch.Tensor:
        minimiser.zero_grad()
        misfit = ((spectral_sum(solver, values, q, line(4.0)) - target) ** 2).sum()
        misfit.backward()
        return misfit

    minimiser.step(loss)
    assert_allclose(values.detach()[:5], reference[:5], rtol=0, atol=2e-3)
