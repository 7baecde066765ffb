"""CrI3: the models of the literature give the published band edges and gaps.

Sources: L. Chen et al., Phys. Rev. X 8, 041028 (2018): two bands separated by a gap of about 4 meV at the Dirac points;
I. Lee et al., Phys. Rev. Lett. 124, 017201 (2020): K of about -5.2 meV opens a gap of about 5 meV at the Dirac points,
Gamma of about -0.0675 meV one of about 0.3 meV at the zone centre. Both as said in the abstracts. Dz = 0.22 meV and the
other exchange constants of Chen et al. as in a public SpinW model of their paper.
"""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from magnoscope.spinwave import ModeSolver, is_stable, s_perp
from magnoscope.studies import load_study

GAMMA, M, K = [1, 1, 0], [1.5, 1, 0], [4 / 3, 4 / 3, 0]
S = 1.5


@pytest.fixture(scope="module")
def study():
    return load_study("cri3")


def energies(study, model, q, **changes):
    solver = ModeSolver(study.models[model])
    found = solver.solve(study.models[model].values(changes), np.array([q], float))
    return found.energies[0].numpy(), s_perp(found)[0].numpy()


def test_layers_are_honeycombs_on_top_of_each_other(study):
    lattice = study.lattice
    cartesian = np.array([s.position for s in study.models["dm"].sites]) @ lattice.direct
    assert len(cartesian) == 6
    by_length: dict[str, list[float]] = {}
    for bond in study.models["dm"].bonds:
        by_length.setdefault(bond.label, []).append(float(np.linalg.norm(np.array(bond.vector) @ lattice.direct)))
    a, c = lattice.a, lattice.c
    expected = {"J1": a / 3**0.5, "J3": 2 * a / 3**0.5, "Jc": c / 3}
    counts = {"J1": 9, "J3": 9, "Jc": 3}
    for label, length in expected.items():
        assert_allclose(by_length[label], [length] * counts[label], rtol=1e-4)


@pytest.mark.parametrize("a", [0.31, 0.2])
def test_dzyaloshinskii_moriya_opens_the_textbook_gap(study, a):
    # a single honeycomb layer: 6 sqrt(3) A S at K (Owerre, J. Phys.: Condens. Matter 28, 386001 (2016))
    found = energies(study, "dm", K, Jc=0.0, A=a)[0]
    assert found[2] - found[3] == pytest.approx(6 * 3**0.5 * a * S, rel=1e-5)
    closed = energies(study, "dm", K, Jc=0.0, A=0.0)[0]
    assert closed[2] - closed[3] == pytest.approx(0, abs=1e-5)


def test_published_dm_model(study):
    at_gamma, strength = energies(study, "dm", GAMMA)
    # a uniform precession costs 2 |D| S; nothing else is seen at (1, 1, 0)
    assert at_gamma[-1] == pytest.approx(2 * 0.22 * S, abs=1e-4)
    assert strength[-1] == pytest.approx(strength.sum(), rel=1e-4)
    # the top: 2 S (3 |J1| - 3 J3 + |Jc|) + 2 |D| S
    assert at_gamma[0] == pytest.approx(2 * S * (3 * 2.01 - 3 * 0.08 + 0.59) + 2 * 0.22 * S, abs=1e-4)
    at_k = energies(study, "dm", K)[0]
    # published: about 4 meV; the published parameters themselves give more
    assert 4.0 < at_k[2] - at_k[3] < 5.3


def test_published_kitaev_model(study):
    at_gamma = energies(study, "kitaev", GAMMA)[0]
    # 3 S |Gamma|: Kitaev exchange alone opens no gap there in linear spin wave theory. Published: about 0.3 meV
    assert at_gamma[-1] == pytest.approx(3 * S * 0.0675, abs=1e-3)
    assert at_gamma[-1] == pytest.approx(0.3, abs=0.05)
    at_k = energies(study, "kitaev", K, Jc=0.0)[0]
    # published: about 5 meV
    assert 4.3 < at_k[2] - at_k[3] < 5.3
    closed = energies(study, "kitaev", K, Jc=0.0, K=0.0, G=0.0, J=-2.0)[0]
    assert closed[2] - closed[3] == pytest.approx(0, abs=1e-5)


def test_kitaev_axes(study):
    # the three exchange matrices of a layer sum to isotropic J + K / 3 and an easy axis along c from Gamma
    model = study.models["kitaev"]
    values = np.array([*model.reference, 1.0])
    own = [np.tensordot(values, b.exchange, 1) for b in model.bonds if b.label != "Jc"]
    total = sum(own) / 3
    assert_allclose(total, np.diag(np.full(3, 3 * -0.2 - 5.2)) - 0.0675 * np.diag([-1, -1, 2]), atol=1e-5)
    for matrix in own:
        # in cubic axes diag(J, J, J + K) with Gamma between the first two
        assert_allclose(np.linalg.eigvalsh(matrix), [-5.4, -0.2675, -0.1325], atol=1e-5)


@pytest.mark.parametrize("model", ["dm", "kitaev"])
def test_the_ferromagnet_is_mostly_stable_in_the_priors(study, model):
    low, high = study.models[model].prior.T
    values = np.random.default_rng(0).uniform(low, high, (60, len(low)))
    stable = is_stable(ModeSolver(study.models[model]), values)
    assert stable.double().mean() > 0.9
