"""Single-k structures: the rotating frame gives what a supercell gives, and is refused where it does not apply."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from magnoscope.crystal import Lattice
from magnoscope.errors import InstabilityError, StudyError
from magnoscope.hamiltonian import Bond, Site, SpinModel
from magnoscope.spinwave import ModeSolver, amplitudes, check_stable, s_perp

NO_PARAMETERS = np.zeros(0)
CHAIN = Lattice(3, 8, 8)
wave_vector = st.tuples(*[st.floats(0.02, 0.98)] * 3)


def dm(x: float, y: float, z: float) -> np.ndarray:
    """Matrix of D . (S_i x S_j)."""
    return np.array([[0, z, -y], [-z, 0, x], [y, -x, 0]])


def spiral(make_model, exchange, k, moment=(1.0, 0, 0), axis=(0, 0, 1.0), anisotropy=None, field=None) -> SpinModel:
    """A chain along a of one site per cell with exchange to the neighbour."""
    model = make_model(CHAIN, [((0, 0, 0), moment)], [(0, 0, (1, 0, 0), exchange)], anisotropy=anisotropy)
    return replace(model, propagation=(k, 0, 0), rotation_axis=axis, field=field)


def tensors(modes) -> torch.Tensor:
    """Sum over modes of S_ab and of S_ab times energy, (2, n_q, 3, 3)."""
    w = amplitudes(modes)
    weight = torch.stack([torch.ones_like(modes.energies), modes.energies]).to(w.dtype)
    return torch.einsum("pqn,qna,qnb->pqab", weight, w.conj(), w)


def unrolled(model: SpinModel, times: int) -> SpinModel:
    """The same structure on ``times`` cells along a, where its propagation vector fits."""
    sites, bonds, n = [], [], len(model.sites)
    shrink = np.array([1 / times, 1, 1])
    k = 2 * np.pi * model.propagation[0]
    cross = np.cross(np.eye(3), np.array(model.rotation_axis) / np.linalg.norm(model.rotation_axis)).T
    for copy in range(times):
        turn = np.eye(3) - np.sin(k * copy) * cross + (1 - np.cos(k * copy)) * cross @ cross
        for s in model.sites:
            position = (np.array(s.position) + [copy, 0, 0]) * shrink
            sites.append(replace(s, moment=tuple(turn @ s.moment), position=tuple(position)))
        for b in model.bonds:
            cells = round(model.sites[b.start].position[0] + b.vector[0] - model.sites[b.end].position[0])
            end = b.end + n * ((copy + cells) % times)
            bonds.append(Bond(b.start + n * copy, end, tuple(np.array(b.vector) * shrink), b.exchange))
    return replace(
        model,
        sites=tuple(sites),
        bonds=tuple(bonds),
        anisotropy=np.tile(model.anisotropy, (times, 1, 1, 1)),
        supercell=(times, 1, 1),
        propagation=None,
        rotation_axis=None,
    )


def test_triangular_120_degrees(make_model):
    # S = 1, J = 1 on 3 x 3 x 8 Å with gamma = 120 degrees, moments in the plane, k = (1/3, 1/3, 0): energies by
    # the closed form in tests/reference/test_spin_waves.py, S_perp by an independent calculation
    bonds = [(0, 0, d, 1.0) for d in ((1, 0, 0), (0, 1, 0), (-1, -1, 0))]
    model = make_model(Lattice(3, 3, 8, 90, 90, 120), [((0, 0, 0), (0, 1, 0))], bonds)
    solver = ModeSolver(replace(model, propagation=(1 / 3, 1 / 3, 0), rotation_axis=(0, 0, 1)))
    modes = solver.solve(NO_PARAMETERS, [(0.1, 0.2, 0)])
    assert_allclose(modes.energies[0], [3.1808857, 3.0482344, 2.1424829], rtol=0, atol=1e-7)
    assert_allclose(s_perp(modes, False)[0], [0.34440, 0.13159, 0.06843], rtol=0, atol=6e-6)


def test_dzyaloshinskii_moriya_spiral_of_quarters(make_model):
    # J = 0.8 couples the components along D = 1 alone: every pair wants a quarter turn, k = 3/4, energy -1 per site.
    # (An isotropic J would turn the plane too: see the next test.) XXZ chain in the rotating frame:
    # w(q) = 2 sqrt((1 - cos q)(1 + 0.8 cos q)), seen at q and q +- k
    model = spiral(make_model, dm(0, 0, 1) + np.diag([0, 0, 0.8]), 0.75)
    q = np.array([0.11, 0.37])
    modes = ModeSolver(model).solve(NO_PARAMETERS, [(x, 0, 0) for x in q])
    phase = 2 * np.pi * (q[:, None] + np.array([0, -0.75, 0.75]))
    expected = 2 * np.sqrt((1 - np.cos(phase)) * (1 + 0.8 * np.cos(phase)))
    assert_allclose(modes.energies, -np.sort(-expected, 1), rtol=1e-7)


def test_dzyaloshinskii_moriya_spiral_of_an_isotropic_chain(make_model):
    # E(k) = J cos 2 pi k + D sin 2 pi k per site is least, -C = -sqrt(J^2 + D^2), where (cos, sin) = -(J, D) / C.
    # In the rotating frame the exchange is -C in the plane and J along D: w = 2 sqrt((C - C cos q)(C + J cos q))
    j, d = 0.8, 1.0
    k = np.arctan2(-d, -j) / (2 * np.pi) % 1
    c = np.hypot(j, d)
    assert j * np.cos(2 * np.pi * k) + d * np.sin(2 * np.pi * k) == pytest.approx(-c, rel=1e-12)
    q = 0.21
    modes = ModeSolver(spiral(make_model, j * np.eye(3) + dm(0, 0, d), k)).solve(NO_PARAMETERS, [(q, 0, 0)])
    phase = 2 * np.pi * (q + np.array([0, -k, k]))
    expected = 2 * np.sqrt(c * (1 - np.cos(phase)) * (c + j * np.cos(phase)))
    assert_allclose(modes.energies[0], -np.sort(-expected), rtol=1e-7)
    # a k far off is no minimum
    solver = ModeSolver(spiral(make_model, j * np.eye(3) + dm(0, 0, d), 0.1))
    off = solver.solve(NO_PARAMETERS, [(q, 0, 0)])
    assert not off.stable.any()
    with pytest.raises(InstabilityError, match="lowest eigenvalue of the boson Hamiltonian is -"):
        check_stable(solver, NO_PARAMETERS, off)


@settings(max_examples=25)
@given(q=wave_vector, turns=st.sampled_from([(1, 3), (1, 5), (2, 5), (3, 4), (2, 7)]), cone=st.floats(0, 1.2))
def test_rotating_frame_is_the_supercell(make_model, q, turns, cone):
    # exchange that prefers this k, and a field along the axis that lifts the spins out of the plane by the cone's
    # angle t: E = -C cos^2 t + Jz sin^2 t - h sin t is stationary at sin t = h / 2 (C + Jz)
    k = turns[0] / turns[1]
    j, d = np.cos(2 * np.pi * k) * -1.3, np.sin(2 * np.pi * k) * -1.3
    exchange = np.diag([j, j, 0.4]) + dm(0, 0, d)
    field = np.array([[0, 0, 2 * (1.3 + 0.4) * np.sin(cone) / (2 * 0.05788381806)]])
    moment = (np.cos(cone), 0, np.sin(cone))
    chain = spiral(make_model, exchange, k, moment, field=field, anisotropy=None)
    one, many = (ModeSolver(m).solve(NO_PARAMETERS, [q]) for m in (chain, unrolled(chain, turns[1])))
    assert bool(one.stable.all() and many.stable.all())
    if turns[1] == 4:  # 2 k is no zone vector here, but 4 k is: q + k and q - k stay apart
        assert len(set(one.channel[0].tolist())) == 3
    size = float(tensors(one).abs().max())
    assert_allclose(tensors(many) / turns[1], tensors(one), atol=2e-6 * size)


def test_two_sites_and_any_origin(make_model):
    # two sites a cell, the second of which turns by an angle of its own; the cell's origin is moved
    k, j, d = 0.2, np.cos(0.2 * np.pi) * -1.0, np.sin(0.2 * np.pi) * -1.0
    exchange = j * np.eye(3) + dm(0, 0, d)
    half = np.array([np.cos(0.2 * np.pi), np.sin(0.2 * np.pi), 0])
    sites = [((0.05, 0, 0), (1, 0, 0)), ((0.45, 0, 0), tuple(half))]
    bonds = [(0, 1, (0.4, 0, 0), exchange), (1, 0, (0.6, 0, 0), exchange * 1.3)]
    model = replace(make_model(CHAIN, sites, bonds), propagation=(k, 0, 0), rotation_axis=(0, 0, 2.0))
    q = [(0.13, 0.2, 0.4), (0.6, 0.1, 0)]
    one, many = (ModeSolver(m).solve(NO_PARAMETERS, q) for m in (model, unrolled(model, 5)))
    assert bool(one.stable.all() and many.stable.all())
    assert_allclose(tensors(many) / 5, tensors(one), atol=1e-6)
    moved = tuple(replace(s, position=tuple(np.add(s.position, (0.3, 0.1, 0.2)))) for s in model.sites)
    again = ModeSolver(replace(model, sites=moved)).solve(NO_PARAMETERS, q)
    assert_allclose(tensors(again), tensors(one), atol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"exchange": np.diag([-1.0, -0.8, -1.0])},
            "the exchange of a bond from a.0 along .* changes when the spins turn",
        ),
        ({"anisotropy": np.diag([0.1, 0, 0])}, "the anisotropy of site a.0 changes"),
        ({"field": np.array([[1.0, 0, 0]])}, "the field at site a.0 is not along the rotation axis"),
        ({"k": 0.5}, "twice its propagation vector is a reciprocal lattice vector"),
    ],
)
def test_a_hamiltonian_that_changes_is_refused(make_model, change, message):
    settings = {"exchange": -np.eye(3), "k": 0.3, **change}
    with pytest.raises(StudyError, match=message):
        ModeSolver(spiral(make_model, **settings))


def test_two_sided_description_is_asked_for(make_model):
    model = make_model(CHAIN, [((0, 0, 0), (1, 0, 0))], [(0, 0, (1, 0, 0), -1.0)])
    with pytest.raises(StudyError, match="go together"):
        replace(model, propagation=(0.1, 0, 0))
    assert isinstance(model.sites[0], Site)
