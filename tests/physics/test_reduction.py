"""Blocks that the boson problem splits into, and sweeps in chunks: the same physics as the whole problem at once."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from magnoscope.crystal import Lattice
from magnoscope.errors import StudyError
from magnoscope.spinwave import ModeSolver, band_intensities, s_perp
from magnoscope.spinwave.boson import boson_hamiltonian

NO_PARAMETERS = np.zeros(0)
WAVE_VECTORS = np.random.default_rng(1).uniform(0.02, 0.98, (20, 3))


def whole(model) -> ModeSolver:
    """A solver that does not reduce."""
    solver = ModeSolver(model)
    solver.reduced = solver.boson
    return solver


def moments_of_intensity(solver, values, q):
    modes = solver.solve(values, q)
    assert bool(modes.stable.all())
    s = s_perp(modes)
    return modes.energies, torch.stack([(s * modes.energies**p).sum(-1) for p in (0, 1, 2)], -1)


def triangular(make_model, side, moments=True):
    """The 120-degree magnet of 3 x 3 x 8 Å on a cell of ``side`` x ``side``; a ferromagnet without ``moments``."""
    sites, bonds = [], []
    for x in range(side):
        for y in range(side):
            angle = 2 * np.pi / 3 * (x + y) if moments else 0.0
            sites.append(((x / side, y / side, 0), (np.cos(angle), np.sin(angle), 0)))
            for dx, dy in ((1, 0), (0, 1), (-1, -1)):
                end = side * ((x + dx) % side) + (y + dy) % side
                bonds.append((side * x + y, end, (dx / side, dy / side, 0), 1.0 if moments else -1.0))
    return make_model(Lattice(3, 3, 8, 90, 90, 120), sites, bonds, supercell=(side, side, 1))


@pytest.mark.parametrize(("name", "shape"), [("goodenough", (4, 4, 4)), ("dimer", (2, 8, 8))])
def test_blocks_of_the_worked_study(pcsmo, name, shape):
    # Goodenough: (0, 1/2) with all spins reversed, and the two sheets; the dimer pattern leaves one of them
    model = pcsmo.models[name]
    assert ModeSolver(model).reduced.shape == shape
    for method in ("half", "full"):
        solvers = ModeSolver(model), whole(model)
        for solver in solvers:
            solver.half_size = method == "half"
        small, large = (moments_of_intensity(s, model.reference, WAVE_VECTORS) for s in solvers)
        assert_allclose(small[0], large[0], rtol=1e-10)
        assert_allclose(small[1], large[1], rtol=1e-9)


def test_translations_have_complex_characters(make_model):
    # nine sites: three translations of the magnetic cell, whose characters are the cube roots of unity; all
    # sixteen of a ferromagnet
    for model, blocks in ((triangular(make_model, 3), 3), (triangular(make_model, 4, moments=False), 16)):
        solver = ModeSolver(model)
        assert solver.reduced.shape[0] == blocks
        small, large = (moments_of_intensity(s, NO_PARAMETERS, WAVE_VECTORS) for s in (solver, whole(model)))
        assert_allclose(small[0], large[0], rtol=1e-7, atol=1e-7)
        assert_allclose(small[1], large[1], rtol=1e-6)


def test_a_chain_of_random_couplings_is_left_whole(make_model):
    rng = np.random.default_rng(5)
    sites = [((i / 6, 0, 0), (0, 0, 1)) for i in range(6)]
    bonds = [(i, (i + 1) % 6, (1 / 6, 0, 0), -rng.uniform(0.5, 1.5)) for i in range(6)]
    model = make_model(Lattice(18, 8, 8), sites, bonds)
    assert ModeSolver(model).reduced.shape == (6, 6)
    # two couplings in turn leave the translations by two sites
    paired = replace(
        model, bonds=tuple(replace(b, exchange=-(1.0 + i % 2) * np.eye(3)[None]) for i, b in enumerate(model.bonds))
    )
    assert ModeSolver(paired).reduced.shape == (3, 2, 2)


def test_reduction_with_a_coupling_that_tells_q_from_minus_q(make_model):
    # Dzyaloshinskii-Moriya coupling along the moments: the full-size problem, and blocks whose partner at -q has the
    # conjugate character; w = 2 J (1 - cos) + 2 |K| + 2 D sin at each of the three waves that a cell of three holds
    exchange = np.array([[-1, 0.4, 0], [-0.4, -1, 0], [0, 0, -1.0]])
    sites = [((i / 3, 0, 0), (0, 0, 1)) for i in range(3)]
    bonds = [(i, (i + 1) % 3, (1 / 3, 0, 0), exchange) for i in range(3)]
    model = make_model(Lattice(9, 8, 8), sites, bonds, anisotropy=np.diag([0, 0, -1.0]))
    solver = ModeSolver(model)
    assert solver.reduced.shape == (3, 1, 1)
    assert not solver.half_size
    q = 0.37
    energies = solver.solve(NO_PARAMETERS, [(q, 0, 0)]).energies[0]
    x = 2 * np.pi * (q + np.arange(3)) / 3
    axis = np.diag([0, 0, -1.0])
    chain = make_model(Lattice(3, 8, 8), [((0, 0, 0), (0, 0, 1))], [(0, 0, (1, 0, 0), exchange)], anisotropy=axis)
    one = ModeSolver(chain).solve(NO_PARAMETERS, [(v / (2 * np.pi), 0, 0) for v in x])
    assert_allclose(energies, np.sort(one.energies[:, 0])[::-1], rtol=1e-9)
    signs = [2 * (1 - np.cos(x)) + 2 + s * 0.8 * np.sin(x) for s in (1, -1)]
    assert any(np.allclose(energies, np.sort(e)[::-1], rtol=1e-7) for e in signs)
    large = moments_of_intensity(whole(model), NO_PARAMETERS, [(q, 0.2, 0.1)])
    assert_allclose(moments_of_intensity(solver, NO_PARAMETERS, [(q, 0.2, 0.1)])[1], large[1], rtol=1e-8)


def test_lowest_eigenvalue_is_that_of_the_whole_matrix(pcsmo):
    model = pcsmo.models["goodenough"]
    q = torch.rand(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    values = torch.as_tensor(model.reference)
    reduced = boson_hamiltonian(model, reduce=True)
    small = torch.linalg.eigvalsh(reduced.matrix(values, q)).flatten(-2).sort(-1).values
    assert_allclose(small, torch.linalg.eigvalsh(boson_hamiltonian(model).matrix(values, q)), atol=1e-11)


@pytest.mark.parametrize(("threads", "chunk"), [(1, None), (2, 7), (3, 1000)])
def test_a_sweep_is_what_its_parts_are(pcsmo, threads, chunk):
    solver = ModeSolver(pcsmo.models["goodenough"])
    values = solver.model.reference
    q = np.random.default_rng(2).uniform(-1, 1, (50, 3))
    modes = solver.solve(values, q)
    bands = band_intensities(solver, values, q, threads=threads, chunk=chunk)
    assert bool(bands.stable.all())
    assert_allclose(bands.energies, modes.energies, rtol=1e-12)
    assert_allclose((bands.intensities * bands.energies).sum(-1), (s_perp(modes) * modes.energies).sum(-1), rtol=1e-9)
    parts = list(solver.solve_in_chunks(values, q, 20))
    assert [len(p.q) for p in parts] == [20, 20, 10]
    assert_allclose(torch.cat([p.energies for p in parts]), modes.energies, rtol=1e-12)


def test_a_sweep_marks_what_is_unstable(pcsmo):
    solver = ModeSolver(pcsmo.models["goodenough"])
    values = solver.model.values({"JA": -1.0})
    bands = band_intensities(solver, values, [(0.1, 0.2, 0.0), (0.3, 0.1, 0.5)])
    assert bands.stable.tolist() == [False, True]  # gives way at long wavelengths
    assert bands.energies.isnan().all(-1).tolist() == [True, False]
    assert bands.intensities.isnan().all(-1).tolist() == [True, False]
    with pytest.raises(StudyError, match="wave vectors have shape"):
        band_intensities(solver, values, [(0.1, 0.2)])
