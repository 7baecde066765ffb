"""Published and closed-form results of linear spin wave theory."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from magnoscope.crystal import Lattice
from magnoscope.spinwave import ModeSolver, form_factor, s_perp

NO_PARAMETERS = np.zeros(0)
IN_PLANE = np.array([[np.cos(a), np.sin(a), 0] for a in 2 * np.pi / 3 * np.arange(3)])


def test_ferromagnetic_chain(make_model):
    # H = J sum S.S with each bond once: w = 2 |J| S (1 - cos 2 pi h); S_perp = S / 2 for Q along the chain and the
    # moment perpendicular to it (any textbook; the same chain is SpinW's tutorial 1)
    model = make_model(Lattice(3, 8, 8), [((0, 0, 0), (0, 0, 1))], [(0, 0, (1, 0, 0), -1.0)])
    modes = ModeSolver(model).solve(NO_PARAMETERS, [(0.1, 0, 0), (0.25, 0, 0), (0.5, 0, 0)])
    assert_allclose(modes.energies[:, 0], [0.38196601, 2, 4], rtol=0, atol=3e-8)
    assert_allclose(s_perp(modes, include_form_factor=False)[:, 0], 0.5, rtol=1e-12)


def square_antiferromagnet(make_model):
    """S = 1, J = 1 on the cell a + b, -a + b of a square lattice of 3 Å."""
    steps = [(0.5, -0.5, 0), (-0.5, 0.5, 0), (0.5, 0.5, 0), (-0.5, -0.5, 0)]
    side = 3 * np.sqrt(2)
    return make_model(
        Lattice(side, side, 8), [((0, 0, 0), (0, 0, 1)), ((0.5, 0.5, 0), (0, 0, -1))], [(0, 1, d, 1.0) for d in steps]
    )


def test_square_antiferromagnet_dispersion(make_model):
    # w = 4 J S sqrt(1 - ((cos kx + cos ky) / 2)^2): P. W. Anderson, Phys. Rev. 86, 694 (1952)
    h, k = np.random.default_rng(1).uniform(0.05, 0.95, (2, 50))
    q = np.stack([h + k, k - h, 0 * h], -1)
    gamma = (np.cos(2 * np.pi * h) + np.cos(2 * np.pi * k)) / 2
    modes = ModeSolver(square_antiferromagnet(make_model), shift=0).solve(NO_PARAMETERS, q)
    assert_allclose(modes.energies, np.repeat(4 * np.sqrt(1 - gamma**2)[:, None], 2, 1), rtol=1e-12)


def test_square_antiferromagnet_spin_reduction(make_model):
    # zero-point reduction of the ordered moment, 0.1966: P. W. Anderson, Phys. Rev. 86, 694 (1952)
    solver = ModeSolver(square_antiferromagnet(make_model))

    def reduction(points):
        axis = (np.arange(points) + 0.5) / points
        q = np.stack(np.meshgrid(axis, axis, [0.0], indexing="ij"), -1).reshape(-1, 3)
        return float((solver.solve(NO_PARAMETERS, q).v.abs() ** 2).sum((-1, -2)).mean() / 2)

    # the integrand goes as 1/q at the Goldstone mode: the error of a grid falls with its step
    assert_allclose(2 * reduction(80) - reduction(40), 0.19660, rtol=0, atol=1e-4)


def test_triangular_120_degrees(make_model):
    # S = 1, J = 1 on 3 x 3 x 8 Å with gamma = 120 degrees, q = (0.1, 0.2, 0): w = 3 J S sqrt((1 - g)(1 + 2 g)),
    # g = (cos 2 pi h + cos 2 pi k + cos 2 pi (h + k)) / 3 (Th. Jolicoeur and J. C. Le Guillou, Phys. Rev. B 40, 2727
    # (1989)), at q, q + k and q - k; S_perp per site by an independent calculation in the rotating frame.
    # Here the sqrt(3) x sqrt(3) cell 2a + b, -a + b, whose three modes at q are those of the rotating frame at q and
    # q -+ k, k = (1/3, 1/3): the same three energies, and three times the intensity for three sites.
    positions = [(0, 0, 0), (1 / 3, 2 / 3, 0), (2 / 3, 1 / 3, 0)]
    steps = [(1 / 3, -1 / 3, 0), (1 / 3, 2 / 3, 0), (-2 / 3, -1 / 3, 0)]
    side = 3 * np.sqrt(3)
    bonds = [(i, (i + 1) % 3, d, 1.0) for i in range(3) for d in steps]
    model = make_model(Lattice(side, side, 8, 90, 90, 120), list(zip(positions, IN_PLANE, strict=True)), bonds)
    solver = ModeSolver(model)
    h, k = 0.1, 0.2
    modes = solver.solve(NO_PARAMETERS, [(2 * h + k, k - h, 0)])
    assert bool(modes.stable.all())
    assert_allclose(modes.energies[0], [3.1808857, 3.0482344, 2.1424829], rtol=0, atol=1e-7)
    assert_allclose(s_perp(modes, False)[0] / 3, [0.34440, 0.13159, 0.06843], rtol=0, atol=6e-6)


def test_triangular_in_the_nine_site_cell(make_model):
    # the same magnet in a 3 x 3 cell: six of nine modes belong to other q and must carry nothing
    sites, bonds = [], []
    for x in range(3):
        for y in range(3):
            sites.append(((x / 3, y / 3, 0), IN_PLANE[(x + y) % 3]))
            for dx, dy in ((1, 0), (0, 1), (-1, -1)):
                bonds.append((3 * x + y, 3 * ((x + dx) % 3) + (y + dy) % 3, (dx / 3, dy / 3, 0), 1.0))
    model = make_model(Lattice(3, 3, 8, 90, 90, 120), sites, bonds, supercell=(3, 3, 1))
    modes = ModeSolver(model).solve(NO_PARAMETERS, [(0.1, 0.2, 0)])
    intensity = s_perp(modes, False)[0] / 9
    energies = modes.energies[0]
    for energy, expected in ((3.1808857, 0.34440), (3.0482344, 0.13159), (2.1424829, 0.06843)):
        assert_allclose(intensity[(energies - energy).abs() < 1e-6].sum(), expected, rtol=0, atol=6e-6)
    assert_allclose(intensity.sum(), 0.34440 + 0.13159 + 0.06843, rtol=0, atol=2e-5)


def test_dzyaloshinskii_moriya_spiral(make_model):
    # Ising coupling J = 0.8 along the DM vector D = 1: k = 3/4, energy -1 per site (Sunny's spiral tests). In the
    # rotating frame an XXZ chain with Jx = Jy = -1, Jz = 0.8: w(q) = 2 sqrt((1 - cos q)(1 + 0.8 cos q)); its four-site
    # cell holds the modes at q and at q displaced by quarters.
    exchange = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 0.8]])
    angles = 2 * np.pi * 3 / 4 * np.arange(4)
    sites = [((i / 4, 0, 0), (np.cos(a), np.sin(a), 0)) for i, a in enumerate(angles)]
    bonds = [(i, (i + 1) % 4, (0.25, 0, 0), exchange) for i in range(4)]
    model = make_model(Lattice(3, 8, 8), sites, bonds, supercell=(4, 1, 1))
    moments = np.array([s.moment for s in model.sites])
    energy = sum(moments[b.start] @ b.exchange[0] @ moments[b.end] for b in model.bonds) / 4
    assert energy == pytest.approx(-1, abs=1e-12)
    q = 0.11
    modes = ModeSolver(model).solve(NO_PARAMETERS, [(q, 0, 0)])
    assert bool(modes.stable.all())
    phase = 2 * np.pi * (q + np.arange(4) / 4)
    expected = 2 * np.sqrt((1 - np.cos(phase)) * (1 + 0.8 * np.cos(phase)))
    assert_allclose(modes.energies[0], np.sort(expected)[::-1], rtol=1e-7)


@pytest.mark.parametrize(
    ("ion", "expected"), [("Mn3+", (0.94264, 0.79395, 0.60404)), ("Mn4+", (0.95036, 0.81763, 0.64154))]
)
def test_form_factors(ion, expected):
    # International Tables for Crystallography C, table 4.4.5.1 (3d ions), <j0> at 1, 2 and 3 1/Å
    values = form_factor(ion, torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
    assert_allclose(values, expected, rtol=0, atol=5.5e-6)
