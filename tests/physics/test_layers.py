"""Modes that are flat along a direction: reuse over l, zones and domains gives what solving at each Q gives."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from magnoscope.crystal import Lattice
from magnoscope.hamiltonian import SpinModel
from magnoscope.spinwave import ModeSolver, s_perp
from magnoscope.spinwave.layers import Bundles, Plane, layer_tables

SAME, EXCHANGED = np.eye(3), np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1.0]])
L_AXIS = np.array([0, 0, 1.0])


def both_ways(model: SpinModel, values, domains, count=12, tolerance=0.0):
    """Sum over modes of S_perp and of S_perp times energy at random Q in each domain: reused, and solved there."""
    rng = np.random.default_rng(8)
    plane = np.round(rng.uniform(-1.5, 1.5, (count, 2)) * 48) / 48
    points = np.concatenate([plane, np.zeros((count, 1))], 1)
    place = np.concatenate([plane, rng.uniform(-3, 3, (count, 1))], 1)
    heights = [model.layer_heights(model.lattice.to_cartesian(m @ L_AXIS)) for m, _ in domains]
    solver = ModeSolver(model)
    plane = Plane.of(model, points, np.eye(3), domains, heights)
    tables = layer_tables(solver, values, plane, tolerance)
    for table, (matrix, fraction) in zip(tables, domains, strict=True):
        bundles = table.bundles
        point, bundle = (table.domain.zone[:, None] == bundles.zone).nonzero(as_tuple=True)
        reused = table.intensity(table.terms(bundle, point), torch.as_tensor(place).T[:, point]).double()
        energies = table.energies[table.domain.zone]
        modes = solver.solve(values, place @ matrix.T)
        solved = s_perp(modes) * fraction
        assert_allclose(energies, modes.energies, rtol=1e-6)
        for power in (0, 1):
            total = torch.zeros(count, dtype=torch.float64)
            total.index_add_(0, point, reused * bundles.energy[bundle] ** power)
            yield total.numpy(), (solved * modes.energies**power).sum(1).numpy()


@pytest.mark.parametrize("name", ["goodenough", "dimer"])
def test_worked_study(pcsmo, name):
    model = pcsmo.models[name]
    domains = [(t.matrix, t.fraction) for t in pcsmo.twins]
    for reused, solved in both_ways(model, model.reference, domains):
        # single precision
        assert_allclose(reused, solved, rtol=1e-4, atol=1e-5 * solved.max())


def test_modes_taken_together_keep_their_intensity(pcsmo):
    model = pcsmo.models["goodenough"]
    domains = [(t.matrix, t.fraction) for t in pcsmo.twins]
    apart, together = (list(both_ways(model, model.reference, domains, tolerance=t)) for t in (0.0, 0.5))
    for (single, _), (bundled, _) in zip(apart, together, strict=True):
        assert_allclose(bundled, single, rtol=0.01)


def test_bundles():
    energies = torch.tensor([[9.0, 8.9, 8.6, 2.0], [5.0, 4.0, 3.0, 2.0]], dtype=torch.float64)
    bundles = Bundles.of(energies, 0.3)
    assert bundles.number.tolist() == [[0, 0, 1, 2], [3, 4, 5, 6]]
    assert bundles.zone.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert bundles.mode.tolist() == [0, 2, 3, 0, 1, 2, 3]
    assert_allclose(bundles.energy, [8.95, 8.6, 2, 5, 4, 3, 2])
    assert_allclose(bundles.mean(energies[..., None])[:, 0], bundles.energy)


@pytest.mark.parametrize("lattice", [Lattice(3, 4, 9), Lattice(3, 4, 9, 90, 90, 105)])
def test_three_sheets_without_a_mirror(make_model, lattice):
    # sheets displaced in the plane and unequally spaced: the sense of l matters
    sites = [((0, 0, 0), (0, 0.6, 0.8)), ((0.3, 0.1, 0.15), (0, 0.6, 0.8)), ((0.7, 0.4, 0.4), (0, 0.6, 0.8))]
    bonds = [(i, i, d, -1.0 - 0.3 * i) for i in range(3) for d in ((1, 0, 0), (0, 1, 0))]
    bonds += [(0, 1, (0.3, 0.1, 0.15), -0.8), (1, 2, (0.4, 0.3, 0.25), -0.5), (0, 1, (0.3, -0.9, 0.15), -0.2)]
    model = make_model(lattice, sites, bonds)
    for reused, solved in both_ways(model, np.zeros(0), [(SAME, 0.3), (EXCHANGED, 0.7)]):
        assert_allclose(reused, solved, rtol=1e-4, atol=1e-5 * solved.max())


def test_coupled_cells_are_not_flat(pcsmo, make_model):
    model = pcsmo.models["goodenough"]
    assert model.layer_heights(L_AXIS) is not None
    assert model.layer_heights(np.array([1.0, 0, 0])) is None
    assert model.layer_heights(np.array([0, 1.0, 0])) is None
    chain = make_model(Lattice(3, 4, 9), [((0, 0, 0), L_AXIS)], [(0, 0, (0, 0, 1), -1.0)])
    assert chain.layer_heights(L_AXIS) is None
    assert_allclose(chain.layer_heights(np.array([1.0, 0, 0])), [0])
