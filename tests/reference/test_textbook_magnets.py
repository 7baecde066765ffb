"""Closed forms of linear spin wave theory beyond the worked study, each bond counted once, H = sum J S.S + K S_z^2."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from magnoscope.crystal import Lattice
from magnoscope.errors import InstabilityError
from magnoscope.spinwave import ModeSolver, form_factor, orbital_share, require_minimum
from magnoscope.units import BOHR_MAGNETON

NO_PARAMETERS = np.zeros(0)
HEXAGONAL = Lattice(6, 6, 10, 90, 90, 120)
HONEYCOMB = [(1 / 3, 2 / 3, 0), (2 / 3, 1 / 3, 0)]
NEAREST = [(1 / 3, -1 / 3, 0), (1 / 3, 2 / 3, 0), (-2 / 3, -1 / 3, 0)]
UP, DOWN = (0, 0, 1), (0, 0, -1)
wave_vector = st.tuples(*[st.floats(0.03, 0.97)] * 3)


def dm(z: float) -> np.ndarray:
    """Matrix of D z . (S_i x S_j)."""
    return np.array([[0, z, 0], [-z, 0, 0], [0, 0, 0]])


def waves(model, q, **options):
    return ModeSolver(model, **options).solve(NO_PARAMETERS, q).energies.numpy()


def honeycomb(make_model, moments, j, d=0.0, anisotropy=None, spin=1.5):
    bonds = [(0, 1, step, j) for step in NEAREST]
    # second neighbours: the sense of the Dzyaloshinskii-Moriya vector is opposite on the two sublattices
    for site, sense in ((0, 1), (1, -1)):
        bonds += [(site, site, step, sense * dm(d)) for step in ((1, 0, 0), (0, 1, 0), (-1, -1, 0))] if d else []
    sites = list(zip(HONEYCOMB, moments, strict=True))
    return make_model(HEXAGONAL, sites, bonds, spin, anisotropy=anisotropy)


def test_gap_of_a_honeycomb_ferromagnet(make_model):
    # Dirac magnons at K, w = 3 |J| S, are parted by second-neighbour DM coupling by 6 sqrt(3) D S
    # (S. A. Owerre, J. Phys.: Condens. Matter 28, 386001 (2016))
    spin, j, d = 1.5, -2.0, 0.15
    corner = [(1 / 3, 1 / 3, 0), (2 / 3, 2 / 3, 0)]
    assert_allclose(waves(honeycomb(make_model, [UP, UP], j), corner), 3 * 2 * spin, rtol=1e-7)
    both = waves(honeycomb(make_model, [UP, UP], j, d), corner)
    assert_allclose(both, [[3 * 2 * spin + 3 * np.sqrt(3) * d * spin, 3 * 2 * spin - 3 * np.sqrt(3) * d * spin]] * 2)


@settings(max_examples=15)
@given(q=wave_vector)
def test_honeycomb_antiferromagnet(make_model, q):
    # w = 3 J S sqrt(1 - |gamma|^2), gamma = sum over neighbours exp(i q . d) / 3
    gamma = np.exp(2j * np.pi * np.array(NEAREST) @ q).mean()
    found = waves(honeycomb(make_model, [UP, DOWN], 0.7), [q])[0]
    assert_allclose(found, 3 * 0.7 * 1.5 * np.sqrt(1 - abs(gamma) ** 2), rtol=1e-6)


@settings(max_examples=15)
@given(q=wave_vector)
def test_flat_band_of_a_kagome_ferromagnet(make_model, q):
    # a band at 6 |J| S everywhere; the others hold the rest of the trace 12 |J| S
    positions = [(0.5, 0, 0), (0, 0.5, 0), (0.5, 0.5, 0)]
    steps = [(0, 1, (0.5, 0.5, 0)), (1, 2, (0.5, 0, 0)), (2, 0, (0, 0.5, 0))]
    bonds = [(i, j, tuple(sign * np.array(d)), -1.0) for i, j, d in steps for sign in (1, -1)]
    found = waves(make_model(HEXAGONAL, [(p, UP) for p in positions], bonds, 0.5), [q, (0, 0, 0)])
    assert_allclose(found[:, 0], 3, rtol=1e-8)
    assert found[0].sum() == pytest.approx(6, rel=1e-7)
    assert_allclose(found[1], [3, 3, 0], atol=1e-7)


@settings(max_examples=15)
@given(q=wave_vector, ratio=st.floats(0, 0.45))
def test_frustrated_square_lattice(make_model, q, ratio):
    # w = 4 J1 S sqrt((1 - (J2 / J1)(1 - cos kx cos ky))^2 - ((cos kx + cos ky) / 2)^2) in the Neel phase, J2 < J1 / 2
    # (P. Chandra and B. Doucot, Phys. Rev. B 38, 9335 (1988))
    spin = 1.0
    near = [(0.5, -0.5, 0), (-0.5, 0.5, 0), (0.5, 0.5, 0), (-0.5, -0.5, 0)]
    bonds = [(0, 1, d, 1.0) for d in near]
    bonds += [(i, i, d, ratio) for i in (0, 1) for d in ((1, 0, 0), (0, 1, 0))]
    model = make_model(Lattice(4, 4, 9), [((0, 0, 0), UP), ((0.5, 0.5, 0), DOWN)], bonds, spin)
    # cell vectors are a + b and -a + b of the square lattice
    kx, ky = np.pi * (q[0] - q[1]), np.pi * (q[0] + q[1])
    one, two = (np.cos(kx) + np.cos(ky)) / 2, np.cos(kx) * np.cos(ky)
    expected = 4 * spin * np.sqrt((1 - ratio * (1 - two)) ** 2 - one**2)
    assert_allclose(waves(model, [q])[0], expected, rtol=1e-5, atol=1e-6)


def test_frustration_beyond_a_half_is_refused(make_model):
    near = [(0.5, -0.5, 0), (-0.5, 0.5, 0), (0.5, 0.5, 0), (-0.5, -0.5, 0)]
    bonds = [(0, 1, d, 1.0) for d in near] + [(i, i, d, 0.55) for i in (0, 1) for d in ((1, 0, 0), (0, 1, 0))]
    model = make_model(Lattice(4, 4, 9), [((0, 0, 0), UP), ((0.5, 0.5, 0), DOWN)], bonds)
    with pytest.raises(InstabilityError, match="lowest eigenvalue"):
        require_minimum(ModeSolver(model), NO_PARAMETERS)


@settings(max_examples=15)
@given(spin=st.sampled_from([0.5, 1.0, 2.5]), k=st.floats(0.01, 2))
def test_gap_of_an_easy_axis_ferromagnet(make_model, spin, k):
    # 2 |K| S, without the factor 1 - 1 / 2S of some texts
    chain = make_model(Lattice(3, 8, 8), [((0, 0, 0), UP)], [(0, 0, (1, 0, 0), -1.0)], spin, np.diag([0, 0, -k]))
    assert_allclose(waves(chain, [(0, 0, 0)])[0, 0], 2 * k * spin, rtol=1e-6, atol=2e-8)


@settings(max_examples=15)
@given(h=st.floats(0.02, 0.98), k=st.floats(0.01, 2))
def test_easy_plane_ferromagnet(make_model, h, k):
    # w = sqrt(e (e + 2 K S)), e = 2 |J| S (1 - cos): sound at long wavelengths
    chain = make_model(Lattice(3, 8, 8), [((0, 0, 0), (1, 0, 0))], [(0, 0, (1, 0, 0), -1.0)], 1.5, np.diag([0, 0, k]))
    e = 2 * 1.5 * (1 - np.cos(2 * np.pi * h))
    assert_allclose(waves(chain, [(h, 0, 0)])[0, 0], np.sqrt(e * (e + 2 * k * 1.5)), rtol=1e-6)


@settings(max_examples=10)
@given(k=st.floats(0.02, 1.5), share=st.floats(0.1, 0.95))
def test_easy_axis_antiferromagnet_in_a_field(make_model, k, share):
    # C. Kittel, Phys. Rev. 82, 565 (1951): at q = 0, w = 2 S sqrt(K (K + z J)) +- g mu_B B; the state gives way where
    # the lower one softens
    spin, j, z = 2.0, 1.0, 2
    bonds = [(0, 1, (0.5, 0, 0), j), (1, 0, (0.5, 0, 0), j)]
    model = make_model(
        Lattice(6, 8, 8), [((0, 0, 0), UP), ((0.5, 0, 0), DOWN)], bonds, spin, anisotropy=np.diag([0, 0, -k])
    )
    gap = 2 * spin * np.sqrt(k * (k + z * j))
    assert_allclose(waves(model, [(0, 0, 0)])[0], gap, rtol=1e-6)
    critical = gap / (2 * BOHR_MAGNETON)
    below, above = (replace(model, field=np.array([[0, 0, x * critical]])) for x in (share, 1.05))
    assert_allclose(waves(below, [(0, 0, 0)])[0], [gap * (1 + share), gap * (1 - share)], rtol=1e-5)
    with pytest.raises(InstabilityError):
        require_minimum(ModeSolver(above), NO_PARAMETERS)


def test_zero_point_energy_of_the_square_antiferromagnet(make_model):
    # mean of sqrt(1 - gamma^2) is 0.842: E = -2 J S (S + 0.158) per site (P. W. Anderson, Phys. Rev. 86, 694 (1952))
    near = [(0.5, -0.5, 0), (-0.5, 0.5, 0), (0.5, 0.5, 0), (-0.5, -0.5, 0)]
    model = make_model(Lattice(4, 4, 9), [((0, 0, 0), UP), ((0.5, 0.5, 0), DOWN)], [(0, 1, d, 1.0) for d in near], 1.0)
    axis = (np.arange(60) + 0.5) / 60
    q = np.stack(np.meshgrid(axis, axis, [0.0], indexing="ij"), -1).reshape(-1, 3)
    assert waves(model, q).mean() / 4 == pytest.approx(1 - 0.1579, abs=2e-4)


def test_spin_reduction_of_the_triangular_antiferromagnet(make_model):
    # 0.2613 (Th. Jolicoeur and J. C. Le Guillou, Phys. Rev. B 40, 2727 (1989)), in the rotating frame
    bonds = [(0, 0, d, 1.0) for d in ((1, 0, 0), (0, 1, 0), (-1, -1, 0))]
    model = make_model(Lattice(3, 3, 8, 90, 90, 120), [((0, 0, 0), (1, 0, 0))], bonds)
    solver = ModeSolver(replace(model, propagation=(1 / 3, 1 / 3, 0), rotation_axis=(0, 0, 1)))

    def reduction(points):
        axis = (np.arange(points) + 0.5) / points
        q = np.stack(np.meshgrid(axis, axis, [0.0], indexing="ij"), -1).reshape(-1, 3)
        modes = solver.solve(NO_PARAMETERS, q)
        return float((modes.v.abs() ** 2).sum((-1, -2)).mean()) / 3  # three channels hold the same bosons

    # the error of a grid falls with its step
    assert 2 * reduction(72) - reduction(36) == pytest.approx(0.2613, abs=1e-3)


def test_form_factor_of_a_rare_earth():
    # Yb3+, g = 8/7: <j0> + 3/4 <j2> (International Tables C, 4.4.5; coefficients of <j2> / s^2 for Yb3+)
    a, b, c, d, e, f, g = 0.157, 18.555, 0.8484, 6.54, 0.888, 2.037, 0.0318
    s2 = (2.5 / (4 * np.pi)) ** 2
    j2 = s2 * (a * np.exp(-b * s2) + c * np.exp(-d * s2) + e * np.exp(-f * s2) + g)
    assert orbital_share(8 / 7) == pytest.approx(0.75)
    assert orbital_share(2.2, quenched=True) == pytest.approx(0.2 / 2.2)
    found = float(form_factor("Yb3+", 2.5, 0.75) - form_factor("Yb3+", 2.5))
    assert found == pytest.approx(0.75 * j2, rel=1e-12)
