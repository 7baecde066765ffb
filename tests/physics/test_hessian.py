"""The boson Hamiltonian is the classical Hessian; spin waves are real exactly where it is positive, in any model."""

from dataclasses import replace

import numpy as np
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from magnoscope.crystal import Lattice
from magnoscope.spinwave import ClassicalEnergy, ModeSolver
from magnoscope.spinwave.boson import local_frames
from magnoscope.spinwave.minimise import minimise_structure

NO_PARAMETERS = np.zeros(0)
LATTICE = Lattice(4, 5, 6, 80, 95, 107)


def tangled(make_model, seed: int):
    """Two sites of a triclinic cell with full exchange matrices, anisotropies and a field, spins as they like it."""
    rng = np.random.default_rng(seed)
    sites = [(tuple(rng.random(3)), tuple(rng.normal(size=3))) for _ in range(2)]
    bonds = []
    for i, j, cells in ((0, 1, (0, 0, 0)), (1, 0, (1, 0, 0)), (0, 1, (0, -1, 1)), (0, 0, (0, 1, 0)), (1, 1, (0, 0, 1))):
        bonds.append((i, j, tuple(np.subtract(sites[j][0], sites[i][0]) + cells), rng.normal(size=(3, 3))))
    single = rng.normal(size=(2, 1, 3, 3))
    model = make_model(LATTICE, sites, bonds, 1.5, single + single.swapaxes(-1, -2))
    model = replace(model, field=5 * rng.normal(size=(1, 3)))
    return minimise_structure(model, NO_PARAMETERS, 4, seed).model


def classical_hessian(model) -> np.ndarray:
    """Second derivatives of the energy in the two angles of each spin, (2 n_sites, 2 n_sites): real parts first."""
    energy, frames = ClassicalEnergy(model), local_frames(model)[0].numpy()
    n, v = len(frames), energy.directions
    across = np.stack([frames.real, frames.imag])  # (2, n, 3)
    matrix = energy.quadratic(NO_PARAMETERS).reshape(n, 3, n, 3)
    curve = np.einsum("aix,ixjy,bjy->aibj", across, matrix, across).reshape(2 * n, 2 * n)
    return curve - np.diag(np.tile((energy.slopes(NO_PARAMETERS) * v).sum(1), 2))


def twice(model, axis: int):
    """The same magnet on a cell twice as long."""
    n = len(model.sites)
    shrink, shift = np.ones(3), np.zeros(3)
    shrink[axis], shift[axis] = 0.5, 1
    sites, bonds = [], []
    for copy in range(2):
        sites += [replace(s, position=tuple((np.array(s.position) + copy * shift) * shrink)) for s in model.sites]
        for b in model.bonds:
            cells = np.array(model.sites[b.start].position) + b.vector - model.sites[b.end].position
            end = b.end + n * ((copy + round(cells[axis])) % 2)
            bonds.append(replace(b, start=b.start + n * copy, end=end, vector=tuple(np.array(b.vector) * shrink)))
    cell = np.ones(3, int)
    cell[axis] = 2
    anisotropy = np.tile(model.anisotropy, (2, 1, 1, 1))
    return replace(
        model, sites=tuple(sites), bonds=tuple(bonds), anisotropy=anisotropy, supercell=tuple(map(int, cell))
    )


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), axis=st.integers(0, 2))
def test_boson_matrix_is_the_classical_hessian(make_model, seed, axis):
    # b = (S / 2)^1/2 (t1 + i t2): the same form in other coordinates, at q = 0 and, on twice the cell, at half a zone
    model = tangled(make_model, seed)
    half = np.eye(3)[axis] / 2
    solver, large = ModeSolver(model), twice(model, axis)
    for one, q in ((model, [(0, 0, 0)]), (large, [(0, 0, 0)])):
        h = ModeSolver(one).boson.matrix(torch.zeros(0, dtype=torch.float64), torch.as_tensor(q, dtype=torch.float64))
        n = len(one.sites)
        turn = np.sqrt(1.5 / 2) * np.block([[np.eye(n), 1j * np.eye(n)], [np.eye(n), -1j * np.eye(n)]])
        assert_allclose(turn.conj().T @ h[0].numpy() @ turn, classical_hessian(one), atol=1e-9)
    # the doubled cell holds the waves of both points
    levels = np.linalg.eigvalsh(
        solver.boson.matrix(
            torch.zeros(0, dtype=torch.float64), torch.as_tensor(np.stack([0 * half, half])) @ solver.reciprocal
        ).numpy()
    )
    both = np.linalg.eigvalsh(classical_hessian(large)) / 1.5
    assert_allclose(np.sort(levels.ravel()), both, atol=1e-8)


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), q=st.tuples(*[st.floats(-1, 1)] * 3), strain=st.floats(0, 3))
def test_energies_are_real_exactly_where_the_hessian_is_positive(make_model, seed, q, strain):
    # a magnet at rest on its cell may give way to a wave; a coupling between cells of equal sites that makes no torque
    # on parallel spins pushes it there
    model = tangled(make_model, seed)
    push = replace(model.bonds[3], vector=(1, 0, 0), exchange=strain * np.eye(3)[None])
    model = replace(model, bonds=(*model.bonds, push))
    solver = ModeSolver(model)
    assert float(solver.linear.tilts(torch.zeros(0, dtype=torch.float64)).max()) < 1e-6
    lowest = float(solver.lowest_eigenvalue(NO_PARAMETERS, [q])[0])
    assume(abs(lowest) > 1e-4)
    modes = solver.solve(NO_PARAMETERS, [q])
    assert bool(modes.stable[0]) == (lowest > 0)
    if lowest > 0:
        assert bool((modes.energies > 0).all())
    else:
        assert bool(modes.energies.isnan().all())


@settings(max_examples=10)
@given(seed=st.integers(0, 10_000), q=st.tuples(*[st.floats(-1, 1)] * 3))
def test_trace_of_the_energies(make_model, seed, q):
    """The columns of T diagonalise h as they keep the commutators: T^H h T = w, T^H g T = g."""
    solver = ModeSolver(tangled(make_model, seed), shift=0)
    modes = solver.solve(NO_PARAMETERS, [q])
    assume(bool(modes.stable.all()))
    u, v, n = modes.u[0], modes.v[0], 2
    cartesian = modes.q @ solver.reciprocal
    h = solver.boson.matrix(torch.zeros(0, dtype=torch.float64), cartesian)[0]
    columns = torch.cat([u, v])
    assert_allclose((columns.mH @ h @ columns).resolve_conj(), torch.diag(modes.energies[0]), atol=1e-7)
    assert_allclose((u.mH @ u - v.mH @ v).resolve_conj(), np.eye(n), atol=1e-8)
