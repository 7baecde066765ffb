"""Identities of linear spin wave theory: invariances, sum rules, Goldstone modes, the two sizes of the eigenproblem."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from magnoscope.crystal import Lattice
from magnoscope.hamiltonian import Bond, SpinModel
from magnoscope.spinwave import ModeSolver, amplitudes, s_perp
from magnoscope.spinwave.bogoliubov import solve_full, solve_half

NO_PARAMETERS = np.zeros(0)
LATTICE = Lattice(3.2, 4.1, 7.3, 90, 97, 112)
ALONG_Z = np.array([0, 0, 1.0])

component = st.floats(-1, 1, allow_subnormal=False)
wave_vector = st.tuples(*[st.floats(0.02, 0.98)] * 3)
rotation = st.tuples(*[component] * 4).filter(lambda x: np.linalg.norm(x) > 0.1).map(Rotation.from_quat)
exchange = st.floats(0.1, 3)
inside = st.fixed_dictionaries({k: st.floats(0.05, 0.95) for k in ("JF1", "JA", "JF2", "JF3", "J_perp", "D")})


def within_prior(model: SpinModel, shares: dict[str, float]) -> np.ndarray:
    low, high = model.prior.T
    return low + (high - low) * np.array(list(shares.values()))


def correlations(modes) -> torch.Tensor:
    """Sum over modes of the tensor S_ab, without form factors, (n_q, 3, 3)."""
    w = amplitudes(modes, include_form_factor=False)
    return torch.einsum("qna,qnb->qab", w.conj(), w)


def rotated(model: SpinModel, turn: Rotation) -> SpinModel:
    """All moments, exchange and anisotropy matrices turned in spin space."""
    r = turn.as_matrix()
    return replace(
        model,
        sites=tuple(replace(s, moment=tuple(r @ s.moment)) for s in model.sites),
        bonds=tuple(replace(b, exchange=r @ b.exchange @ r.T) for b in model.bonds),
        anisotropy=r @ model.anisotropy @ r.T,
    )


def repeated(model: SpinModel, times: int) -> SpinModel:
    """The same magnet on a cell ``times`` as long along a."""
    n = len(model.sites)
    shrink = np.array([1 / times, 1, 1])

    def home(x: float) -> int:
        return int(np.floor(x + 1e-6))

    sites, bonds = [], []
    for copy in range(times):
        for site in model.sites:
            sites.append(replace(site, position=tuple((np.array(site.position) + [copy, 0, 0]) * shrink)))
        for bond in model.bonds:
            end = model.sites[bond.start].position[0] + bond.vector[0] - model.sites[bond.end].position[0]
            other = (copy + home(end)) % times
            bonds.append(
                Bond(bond.start + n * copy, bond.end + n * other, tuple(np.array(bond.vector) * shrink), bond.exchange)
            )
    a, b, c = model.supercell
    return replace(
        model,
        sites=tuple(sites),
        bonds=tuple(bonds),
        anisotropy=np.tile(model.anisotropy, (times, 1, 1, 1)),
        supercell=(a * times, b, c),
    )


@pytest.fixture(scope="module")
def ferromagnet(make_model):
    """A ferromagnet of two sites with moments along any direction and any three couplings, S = 3/2."""

    def build(couplings, direction=ALONG_Z, anisotropy=None):
        j1, j2, j3 = couplings
        sites = [((0.1, 0.2, 0), direction), ((0.6, 0.4, 0.3), direction)]
        bonds = [(0, 0, (1, 0, 0), -j1), (0, 1, (0.5, 0.2, 0.3), -j2), (1, 0, (0.5, 0.8, -0.3), -j3)]
        return make_model(LATTICE, sites, bonds, spin=1.5, anisotropy=anisotropy)

    return build


@pytest.fixture(scope="module")
def canted_magnet(make_model):
    """A 120-degree magnet on the sqrt(3) x sqrt(3) cell: the full-size problem is needed."""
    positions = [(0, 0, 0), (1 / 3, 2 / 3, 0), (2 / 3, 1 / 3, 0)]
    moments = [(np.cos(a), np.sin(a), 0) for a in 2 * np.pi / 3 * np.arange(3)]
    steps = [(1 / 3, -1 / 3, 0), (1 / 3, 2 / 3, 0), (-2 / 3, -1 / 3, 0)]
    bonds = [(i, (i + 1) % 3, d, 1.0) for i in range(3) for d in steps]
    return make_model(Lattice(5.2, 5.2, 8, 90, 90, 120), list(zip(positions, moments, strict=True)), bonds)


@pytest.fixture(scope="module")
def goodenough(pcsmo):
    return ModeSolver(pcsmo.models["goodenough"])


@pytest.fixture(scope="module")
def dimer(pcsmo):
    return ModeSolver(pcsmo.models["dimer"])


@settings(max_examples=20)
@given(q=wave_vector, turn=rotation)
def test_heisenberg_models_do_not_care_where_the_moments_point(canted_magnet, q, turn):
    before = ModeSolver(canted_magnet).solve(NO_PARAMETERS, [q])
    # exchange is isotropic: turning the moments alone is a global rotation of the spins
    turned = replace(canted_magnet, sites=rotated(canted_magnet, turn).sites)
    after = ModeSolver(turned).solve(NO_PARAMETERS, [q])
    assert_allclose(after.energies, before.energies, rtol=1e-7, atol=1e-7)
    r = turn.as_matrix()
    assert_allclose(correlations(after)[0], r @ correlations(before)[0].numpy() @ r.T, atol=1e-6)


@settings(max_examples=20)
@given(q=wave_vector, turn=rotation, couplings=st.tuples(exchange, exchange, exchange), d=st.floats(0.01, 1))
def test_anisotropic_models_turn_with_their_spins(ferromagnet, q, turn, couplings, d):
    model = ferromagnet(couplings, anisotropy=np.diag([0.3 * d, 0.1 * d, -d]))
    before = ModeSolver(model).solve(NO_PARAMETERS, [q])
    after = ModeSolver(rotated(model, turn)).solve(NO_PARAMETERS, [q])
    assert_allclose(after.energies, before.energies, rtol=1e-9)
    r = turn.as_matrix()
    assert_allclose(correlations(after)[0], r @ correlations(before)[0].numpy() @ r.T, atol=1e-8)


@settings(max_examples=20)
@given(q=wave_vector, shift=st.tuples(component, component, component))
def test_origin_of_the_cell_does_not_matter(canted_magnet, q, shift):
    moved = tuple(replace(s, position=tuple(np.add(s.position, shift))) for s in canted_magnet.sites)
    before = ModeSolver(canted_magnet).solve(NO_PARAMETERS, [q])
    after = ModeSolver(replace(canted_magnet, sites=moved)).solve(NO_PARAMETERS, [q])
    assert_allclose(after.energies, before.energies, rtol=1e-12)
    assert_allclose(s_perp(after).sum(), s_perp(before).sum(), rtol=1e-9)


@settings(max_examples=20)
@given(h=st.floats(0.03, 0.97), j=exchange)
def test_chain_in_one_and_two_site_cells(make_model, h, j):
    chain = make_model(Lattice(3, 8, 8), [((0, 0, 0), ALONG_Z)], [(0, 0, (1, 0, 0), -j)])
    one = ModeSolver(chain, shift=0).solve(NO_PARAMETERS, [(h, 0, 0), (h + 0.5, 0, 0)])
    two = ModeSolver(repeated(chain, 2), shift=0).solve(NO_PARAMETERS, [(h, 0, 0)])
    assert_allclose(two.energies[0], np.sort(one.energies[:, 0])[::-1], rtol=1e-7, atol=1e-9)
    # all intensity is in the mode of h; the other one is folded back and dark
    here = s_perp(one, False)[0, 0]
    assert_allclose((s_perp(two, False) * two.energies).sum() / 2, here * one.energies[0, 0], rtol=1e-6, atol=1e-9)
    assert_allclose(s_perp(two, False).sum() / 2, here, rtol=1e-9)


@settings(max_examples=6)
@given(q=wave_vector, shares=inside)
def test_choice_of_cell_of_the_worked_study(goodenough, q, shares):
    model = goodenough.model
    values = within_prior(model, shares)
    small = goodenough.solve(values, [q])
    large = ModeSolver(repeated(model, 2)).solve(values, [q])
    assume(bool(small.stable.all() and large.stable.all()))
    for power in (0, 1, 2):
        a, b = ((s_perp(m) * m.energies**power).sum() for m in (small, large))
        assert_allclose(b / 2, a, rtol=1e-6)


@settings(max_examples=25)
@given(q=wave_vector, couplings=st.tuples(exchange, exchange, exchange), turn=rotation)
def test_sum_rule_of_a_ferromagnet(ferromagnet, q, couplings, turn):
    """A ferromagnet is its own exact ground state: v = 0, so the modes hold S per site at every Q.

    Of <S.S> = S (S + 1) the Bragg peaks take S^2; what is left is transverse, S / 2 for each direction across the
    moment m, whatever the couplings: S_perp = S / 2 (1 + (Q.m)^2 / Q^2) per site.
    """
    direction = turn.apply(ALONG_Z)
    model = ferromagnet(couplings, direction)
    modes = ModeSolver(model, shift=0).solve(NO_PARAMETERS, [q])
    spin, n = 1.5, 2
    tensor = correlations(modes)[0].numpy() / n
    assert_allclose(tensor.real, spin / 2 * (np.eye(3) - np.outer(direction, direction)), atol=1e-8)
    assert np.trace(tensor).real == pytest.approx(spin, rel=1e-9)
    unit = LATTICE.to_cartesian(q) / np.linalg.norm(LATTICE.to_cartesian(q))
    assert float(s_perp(modes, False).sum()) / n == pytest.approx(spin / 2 * (1 + (unit @ direction) ** 2), rel=1e-8)


@settings(max_examples=5)
@given(shares=inside)
def test_sum_rule_of_an_antiferromagnet(goodenough, shares):
    """Over a whole set of zones, the modes hold S (1 + 2 delta) per site, delta the zero-point bosons of a site.

    The trace of S_ab at q + G, averaged over reciprocal lattice vectors G, keeps only what a site has with itself.
    """
    model = goodenough.model
    values = within_prior(model, shares)
    # a step of a zone along each axis tells the sites of a sheet apart after four, sheets at +-0.1 c after five
    zones = np.stack(np.meshgrid(np.arange(4), np.arange(4), np.arange(5), indexing="ij"), -1).reshape(-1, 3)
    q = (zones + np.array([0.31, 0.17, 0.23])) / model.supercell
    modes = goodenough.solve(values, q)
    assume(bool(modes.stable.all()))
    trace = (amplitudes(modes, False).abs() ** 2).sum(-1).sum(-1).mean()
    bosons = (modes.v[0].abs() ** 2).sum()
    assert float(trace) == pytest.approx(7 / 4 * (16 + 2 * float(bosons)), rel=1e-6)


@settings(max_examples=20)
@given(q=wave_vector, couplings=st.tuples(exchange, exchange, exchange))
def test_eigenvectors_keep_the_commutators(canted_magnet, q, couplings):
    modes = ModeSolver(canted_magnet).solve(NO_PARAMETERS, [q])
    u, v = modes.u[0], modes.v[0]
    assert_allclose(u.mH @ u - v.mH @ v, np.eye(3), atol=1e-6)


@settings(max_examples=10)
@given(shares=inside, q=wave_vector)
def test_half_size_problem_agrees_with_the_full_one(goodenough, shares, q):
    solver = goodenough
    values = torch.as_tensor(within_prior(solver.model, shares))
    assert solver.half_size
    half = solver.solve(values, [q])
    cartesian = half.q @ solver.reciprocal
    energies, u, v, stable = solve_full(solver.boson.matrix(values, cartesian), solver.shift)
    assert torch.equal(stable, half.stable)
    assume(bool(stable.all()))
    assert_allclose(energies, half.energies, rtol=1e-8)
    full = replace(half, u=u, v=v)
    for power in (0, 1):
        a, b = ((s_perp(m) * m.energies**power).sum() for m in (half, full))
        assert_allclose(a, b, rtol=1e-7)


def test_half_size_problem_is_refused_where_it_does_not_apply(canted_magnet):
    # a magnet without inversion of the boson problem: its full-size modes differ from what the half would say
    dm = np.array([[-1, 0.4, 0], [-0.4, -1, 0], [0, 0, -1.0]])
    model = replace(
        canted_magnet,
        bonds=(Bond(0, 0, (1, 0, 0), dm[None]),),
        sites=(replace(canted_magnet.sites[0], moment=(0, 0, 1)),),
        anisotropy=np.diag([0, 0, -1.0])[None, None],
    )
    solver = ModeSolver(model)
    assert not solver.half_size
    forth, back = solver.solve(NO_PARAMETERS, [(0.2, 0, 0), (-0.2, 0, 0)]).energies[:, 0]
    # w = 2 J (1 - cos) + 2 |K| +- 2 D sin: Dzyaloshinskii-Moriya coupling along the moment tells q from -q
    middle, split = 2 * (1 - np.cos(0.4 * np.pi)) + 2, 2 * 0.4 * np.sin(0.4 * np.pi)
    assert_allclose(sorted([float(forth), float(back)]), [middle - split, middle + split], rtol=1e-7)


@settings(max_examples=15)
@given(couplings=st.tuples(exchange, exchange, exchange), turn=rotation)
def test_goldstone_mode_of_an_isotropic_ferromagnet(ferromagnet, couplings, turn):
    model = ferromagnet(couplings, turn.apply(ALONG_Z))
    energies = ModeSolver(model).solve(NO_PARAMETERS, [(0, 0, 0), (0.01, 0, 0)]).energies
    assert float(energies[0, -1]) < 1e-5
    assert float(energies[1, -1]) > 1e-4


def test_goldstone_modes_of_a_coplanar_magnet(canted_magnet):
    # SO(3) is broken altogether: three modes
    energies = ModeSolver(canted_magnet).solve(NO_PARAMETERS, [(0, 0, 0)]).energies[0]
    assert (energies < 1e-3).all()


@settings(max_examples=10)
@given(shares=inside)
def test_goldstone_modes_of_the_worked_study(goodenough, shares):
    values = within_prior(goodenough.model, shares)
    isotropic = values.copy()
    isotropic[-1] = 0
    at_zero = goodenough.solve(np.stack([isotropic, values]), [(0, 0, 0)])
    assume(bool(at_zero.stable.all()))
    # isotropic: two for a collinear antiferromagnet; easy plane: the rotation within it stays free, the other costs
    assert (at_zero.energies[0, 0, -2:] < 5e-3).all()
    assert float(at_zero.energies[1, 0, -1]) < 5e-3
    assert float(at_zero.energies[1, 0, -2]) > 0.05


def test_shift_of_goldstone_modes_is_what_it_says(ferromagnet):
    model = ferromagnet((1, 2, 3))
    for shift in (1e-8, 1e-4):
        lowest = ModeSolver(model, shift=shift).solve(NO_PARAMETERS, [(0, 0, 0)]).energies[0, -1]
        assert float(lowest) == pytest.approx(shift, rel=1e-3, abs=1e-12)


@settings(max_examples=10)
@given(q=wave_vector)
def test_energies_are_even_and_periodic(dimer, q):
    step = np.array([1, -2, 3]) / dimer.model.supercell
    energies = dimer.solve(dimer.model.reference, np.stack([q, -np.array(q), q + step])).energies
    assert_allclose(energies[1], energies[0], rtol=1e-8)
    assert_allclose(energies[2], energies[0], rtol=1e-8)


def test_half_solver_is_exact_for_one_mode():
    # A = 3, B = 1.2: w = sqrt(A^2 - B^2); u and v from tanh 2 theta = -B / A
    a, b = torch.tensor([[3.0 + 0j]], dtype=torch.complex128), torch.tensor([[1.2 + 0j]], dtype=torch.complex128)
    energies, u, v, stable = solve_half(a, b, shift=0)
    w = np.sqrt(9 - 1.44)
    assert bool(stable)
    assert float(energies) == pytest.approx(w, rel=1e-12)
    assert float(u.abs() ** 2) == pytest.approx((3 / w + 1) / 2, rel=1e-12)
    assert float(v.abs() ** 2) == pytest.approx((3 / w - 1) / 2, rel=1e-12)
    assert float((u * v.conj()).real) < 0
