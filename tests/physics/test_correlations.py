"""Correlations, temperature, widths, domains and powder averages: sums and balances that must hold."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.stats import norm

from magnoscope.crystal import Lattice
from magnoscope.errors import InstabilityError, StudyError
from magnoscope.spinwave import (
    Line,
    ModeSolver,
    correlation_tensor,
    dispersion,
    form_factor,
    powder_spectrum,
    s_perp,
    structure_factor,
)
from magnoscope.spinwave.powder import sphere
from magnoscope.study import Twin
from magnoscope.units import BOLTZMANN

NO_PARAMETERS = np.zeros(0)
CHAIN = Lattice(3, 8, 8)
ALONG_X = (1.0, 0, 0)
edges = np.linspace(-60, 60, 2401)
wave_vector = st.tuples(*[st.floats(0.05, 0.95)] * 3)


@pytest.fixture(scope="module")
def one_way(make_model) -> ModeSolver:
    """A ferromagnet without inversion: w(q) = 4 (1 - cos) + 2 K +- 2 D sin is not w(-q)."""
    dm = np.array([[-2, 0.8, 0], [-0.8, -2, 0], [0, 0, -2.0]])
    single = np.diag([0, 0, -3.0])
    return ModeSolver(make_model(CHAIN, [((0, 0, 0), (0, 0, 1))], [(0, 0, (1, 0, 0), dm)], anisotropy=single))


@pytest.fixture(scope="module")
def goodenough(pcsmo) -> ModeSolver:
    return ModeSolver(pcsmo.models["goodenough"])


@settings(max_examples=10)
@given(q=wave_vector)
def test_tensor_is_hermitian_positive_and_holds_s_perp(goodenough, q):
    model = goodenough.model
    modes = goodenough.solve(model.reference, [q])
    tensor = correlation_tensor(modes)
    assert tensor.shape == (1, 16, 3, 3)
    assert_allclose(tensor, tensor.mH.resolve_conj(), atol=1e-12)
    assert float(torch.linalg.eigvalsh(tensor).min()) > -1e-9
    unit = model.lattice.to_cartesian(q) / np.linalg.norm(model.lattice.to_cartesian(q))
    across = np.eye(3) - np.outer(unit, unit)
    assert_allclose(np.einsum("ab,qnab->qn", across, tensor).real, s_perp(modes), atol=1e-12)


# ---- shapes in energy ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["gaussian", "lorentzian", "oscillator"])
def test_width_is_the_full_width_at_half_maximum(shape):
    fine = torch.linspace(15, 25, 20001, dtype=torch.float64)
    profile = Line(0.5, shape).profile(fine, torch.tensor(20.0, dtype=torch.float64))
    above = (profile > profile.max() / 2).double().sum() * (fine[1] - fine[0])
    assert float(above) == pytest.approx(0.5, rel=3e-3)


@settings(max_examples=20)
@given(
    energy=st.floats(3, 30),
    width=st.floats(0, 1),
    temperature=st.sampled_from([0.0, 5.0, 300.0]),
    shape=st.sampled_from(["gaussian", "lorentzian"]),
)
def test_areas_are_those_of_bose(energy, width, temperature, shape):
    bins = torch.as_tensor(np.concatenate([[-1e7], edges, [1e7]]))
    place = torch.tensor(energy, dtype=torch.float64)
    n = 1 / np.expm1(energy / (BOLTZMANN * temperature)) if temperature else 0.0
    line = Line(width, shape)
    loss, gain = line.profile(bins, place, temperature), line.gain(bins, place, temperature)
    assert float((loss * bins.diff()).sum()) == pytest.approx(n + 1, rel=1e-6)
    assert float((gain * bins.diff()).sum()) == pytest.approx(n, rel=1e-6, abs=1e-12)


def test_oscillator_holds_the_static_susceptibility_and_goes_to_the_line():
    bins = torch.linspace(-400, 400, 800_001, dtype=torch.float64)
    centre, place = (bins[1:] + bins[:-1]) / 2, torch.tensor(12.0, dtype=torch.float64)
    kt = BOLTZMANN * 100
    for width in (0.2, 4.0, 15.0):
        line = Line(width, "oscillator")
        whole = line.profile(bins, place, 100.0) + line.gain(bins, place, 100.0)
        susceptibility = whole * -torch.expm1(-centre / kt)
        assert float((susceptibility / centre).sum() * 1e-3) == pytest.approx(2 / 12, rel=1e-3)
    n = 1 / np.expm1(12 / kt)
    narrow = Line(0.05, "oscillator")
    assert float(narrow.profile(bins, place, 100.0).sum() * 1e-3) == pytest.approx(n + 1, rel=5e-3)
    assert float(narrow.gain(bins, place, 100.0).sum() * 1e-3) == pytest.approx(n, rel=2e-2)
    # at zero transfer: kT times the slope of the susceptibility
    at_zero = Line(4.0, "oscillator").profile(torch.tensor([-1.0, 1], dtype=torch.float64), place, 100.0)
    assert float(at_zero) == pytest.approx(4 / np.pi * 2 * 12 * kt / 12**4, rel=1e-6)


def test_width_may_depend_on_energy():
    fine = torch.linspace(0, 40, 40_001, dtype=torch.float64)
    profile = Line(lambda w: 0.1 + 0.02 * w).profile(fine, torch.tensor([5.0, 30.0], dtype=torch.float64))
    widths = (profile > profile.amax(-1, keepdim=True) / 2).double().sum(-1) * 1e-3
    assert_allclose(widths, [0.2, 0.7], rtol=1e-2)


@pytest.mark.parametrize(
    ("fwhm", "shape", "message"),
    [
        (-1.0, "gaussian", "a width of -1.0 meV; it must be"),
        (float("nan"), "gaussian", "a width of nan meV"),
        (1.0, "square", 'a line of shape "square" is not known'),
        (0.0, "oscillator", "an oscillator needs a width above 0"),
        (lambda w: -w, "gaussian", "negative or not finite at one of the modes"),
    ],
)
def test_lines_that_there_are_not(fwhm, shape, message):
    with pytest.raises(StudyError, match=message):
        Line(fwhm, shape).profile(torch.linspace(0, 1, 3), torch.tensor([0.5]))


# ---- S(Q, w) ------------------------------------------------------------------------------------------------------


@settings(max_examples=10)
@given(h=st.floats(0.05, 0.95), temperature=st.floats(20, 500))
def test_detailed_balance_without_inversion(one_way, h, temperature):
    # S(Q, -w) = exp(-w / kT) S(-Q, w): with w(q) and w(-q) apart, only the modes at -Q will do
    q = np.array([(h, 0.1, 0.2)])
    forth = structure_factor(one_way, NO_PARAMETERS, q, edges, Line(1.0, "oscillator"), temperature)
    back = structure_factor(one_way, NO_PARAMETERS, -q, edges, Line(1.0, "oscillator"), temperature)
    factor = np.exp(-forth.energies / (BOLTZMANN * temperature))
    assert_allclose(forth.intensity[0, ::-1][forth.energies > 0], (factor * back.intensity[0])[forth.energies > 0])
    energies = [dispersion(one_way, NO_PARAMETERS, x).energies[0, 0] for x in (q, -q)]
    low, high = (
        abs(forth.energies[np.argmax(np.where(side, forth.intensity[0], 0))])
        for side in (forth.energies < 0, forth.energies > 0)
    )
    assert [high, low] == pytest.approx(energies, abs=0.2)


def test_sum_over_modes_and_domains(goodenough, pcsmo):
    values = pcsmo.models["goodenough"].reference
    q = np.random.default_rng(2).uniform(-1, 1, (7, 3))
    bins = np.linspace(0, 120, 241)
    found = structure_factor(goodenough, values, q, bins, Line(0.8), domains=pcsmo.twins)
    single = dispersion(goodenough, values, q, domains=pcsmo.twins)
    assert single.energies.shape == (7, 32) and single.domain.tolist() == [0] * 16 + [1] * 16
    assert_allclose(found.intensity.sum(1) * 0.5, single.intensities.sum(1), rtol=1e-6)
    # the second domain is the crystal with h and k exchanged
    swapped = goodenough.solve(values, q[:, [1, 0, 2]])
    assert_allclose(single.energies[:, 16:], swapped.energies, rtol=1e-9)
    assert_allclose(single.intensities[:, 16:].sum(1), 0.5 * s_perp(swapped).sum(1), rtol=1e-9)


def test_parts_do_not_matter(goodenough):
    values = goodenough.model.reference
    q = np.random.default_rng(4).uniform(-1, 1, (9, 3))
    bins = np.linspace(0, 100, 41)
    whole = structure_factor(goodenough, values, q, bins, Line(1.0), 50.0)
    for chunk in (1, 2, 4):
        parts = structure_factor(goodenough, values, q, bins, Line(1.0), 50.0, chunk=chunk)
        assert_allclose(parts.intensity, whole.intensity, rtol=1e-7, atol=1e-12)


def test_temperature_factor_of_single_modes(one_way):
    q = [(0.3, 0, 0)]
    cold, warm = (dispersion(one_way, NO_PARAMETERS, q, t) for t in (0.0, 60.0))
    n = 1 / np.expm1(cold.energies / (BOLTZMANN * 60))
    assert_allclose(warm.intensities, cold.intensities * (1 + n), rtol=1e-12)


def test_bad_questions_are_refused(one_way, make_model):
    q, bins, line = [(0.1, 0, 0)], [0.0, 1, 2], Line(0.5)
    for temperature in (-1.0, float("nan"), float("inf")):
        with pytest.raises(StudyError, match="the temperature is .* K; it must be"):
            dispersion(one_way, NO_PARAMETERS, q, temperature)
        with pytest.raises(StudyError, match="the temperature is"):
            structure_factor(one_way, NO_PARAMETERS, q, bins, line, temperature)
        with pytest.raises(StudyError, match="the temperature is"):
            powder_spectrum(one_way, NO_PARAMETERS, [1.0], bins, line, temperature)
    for wrong in ([1.0, 0.5], [1.0], [[0, 1]], [0, np.nan]):
        with pytest.raises(StudyError, match="edges of the energy bins"):
            structure_factor(one_way, NO_PARAMETERS, q, wrong, line)
    for empty, message in (
        (np.zeros((0, 3)), "there are no wave vectors"),
        ([], r"wave vectors have shape \(0,\)"),
        ([(0.1, 0)], r"wave vectors have shape \(1, 2\)"),
        (np.zeros((2, 2, 3)), r"wave vectors have shape \(2, 2, 3\)"),
        ([(0.1, np.nan, 0)], "a wave vector is not finite"),
    ):
        for ask in (one_way.solve, lambda v, x: dispersion(one_way, v, x)):
            with pytest.raises(StudyError, match=message):
                ask(NO_PARAMETERS, empty)
    for wrong in ([], [0.0], [-1.0], [[1.0]], [np.inf]):
        with pytest.raises(StudyError, match=r"\|Q\| of a powder must be"):
            powder_spectrum(one_way, NO_PARAMETERS, wrong, bins, line)
    with pytest.raises(StudyError, match="tolerance of a powder average is 0"):
        powder_spectrum(one_way, NO_PARAMETERS, [1.0], bins, line, tolerance=0)
    with pytest.raises(StudyError, match="still changes by .* at 576 directions"):
        powder_spectrum(
            one_way, NO_PARAMETERS, [1.0], np.linspace(5, 20, 200), Line(0.0), tolerance=1e-6, most_directions=1000
        )
    # a state that is stable at the q asked for, and nowhere else
    wrong = ModeSolver(make_model(CHAIN, [((0, 0, 0), (0, 0, 1))], [(0, 0, (1, 0, 0), 1.0)]))
    for ask in (
        lambda: dispersion(wrong, NO_PARAMETERS, [(0, 0.2, 0)]),
        lambda: structure_factor(wrong, NO_PARAMETERS, [(0, 0.2, 0)], bins, line),
        lambda: powder_spectrum(wrong, NO_PARAMETERS, [1.0], bins, line),
    ):
        with pytest.raises(InstabilityError, match="lowest eigenvalue"):
            ask()


# ---- powder -------------------------------------------------------------------------------------------------------


def test_directions_cover_the_sphere():
    points = sphere(5000)
    assert_allclose(np.linalg.norm(points, axis=1), 1)
    assert_allclose(points.mean(0), 0, atol=1e-3)
    assert_allclose(points.T @ points / 5000, np.eye(3) / 3, atol=1e-3)
    assert (points[:, 0] ** 2 * points[:, 1] ** 2 * points[:, 2] ** 2).mean() == pytest.approx(1 / 105, rel=1e-2)


def test_powder_of_a_chain(make_model):
    # only u = Q_a / Q matters: S(Q, w) = 1/2 int du S / 2 (1 + u^2) F^2 line(w - w(Q u)), moments along the chain
    model = make_model(CHAIN, [((0, 0, 0), ALONG_X)], [(0, 0, (1, 0, 0), -2.0)], anisotropy=np.diag([-1.0, 0, 0]))
    bins, lengths, sigma = np.linspace(0, 14, 57), [0.4, 1.1, 2.3], 1.0 / 2.3548200450309493
    found = powder_spectrum(ModeSolver(model), NO_PARAMETERS, lengths, bins, Line(1.0), tolerance=2e-3)
    for length, row in zip(lengths, found.intensity, strict=True):
        factor = float(form_factor("Mn3+", length)) ** 2

        def at(energy, length=length, factor=factor):
            def integrand(u):
                w = 4 * (1 - np.cos(3 * length * u)) + 2
                below, above = norm.cdf([energy - 0.125, energy + 0.125], w, sigma)
                return (1 + u**2) / 2 * factor * (above - below) / 0.25

            return quad(integrand, 0, 1, limit=200, epsabs=1e-6)[0]

        assert_allclose(row[::4], [at(e) for e in found.energies[::4]], atol=4e-3 * row.max())
    assert (found.change <= 2e-3).all()
    assert (found.directions >= 288).all()


def test_powder_total_of_a_flat_mode(make_model):
    # isolated easy-axis moments: every direction holds w = 2 K S and S / 2 (1 + cos^2), on average 2 S / 3
    model = make_model(CHAIN, [((0, 0, 0), ALONG_X)], [(0, 0, (1, 0, 0), 0.0)], 1.5, anisotropy=np.diag([-1.0, 0, 0]))
    found = powder_spectrum(
        ModeSolver(model), NO_PARAMETERS, [0.7], [2.5, 3.5], Line(0.0), include_form_factor=False, tolerance=1e-3
    )
    assert found.intensity[0, 0] == pytest.approx(2 / 3 * 1.5, rel=1e-4)
    warm = powder_spectrum(ModeSolver(model), NO_PARAMETERS, [0.7], [-3.5, -2.5, 2.5, 3.5], Line(0.0), 30.0)
    assert warm.intensity[0, 0] / warm.intensity[0, 2] == pytest.approx(np.exp(-3 / (BOLTZMANN * 30)), rel=1e-6)


def test_orbital_moment_enters_through_the_form_factor(make_model):
    model = make_model(CHAIN, [((0, 0, 0), ALONG_X)], [(0, 0, (1, 0, 0), -1.0)])
    with_orbit = replace(model, sites=(replace(model.sites[0], orbital=0.2),))
    q = [(0.3, 0.4, 0.1)]
    length = np.linalg.norm(model.lattice.to_cartesian(q[0]))
    ratio = form_factor("Mn3+", length, 0.2) / form_factor("Mn3+", length)
    strengths = [s_perp(ModeSolver(m).solve(NO_PARAMETERS, q)) for m in (with_orbit, model)]
    assert float(strengths[0] / strengths[1]) == pytest.approx(float(ratio) ** 2, rel=1e-12)
    assert float(ratio) > 1.001


def test_domains_of_any_shares(one_way):
    q = [(0.2, 0.1, 0)]
    twins = (Twin(np.eye(3), 0.25), Twin(-np.eye(3), 0.75))
    found = dispersion(one_way, NO_PARAMETERS, q, domains=twins)
    here, there = (dispersion(one_way, NO_PARAMETERS, [x]) for x in (q[0], np.negative(q[0])))
    assert_allclose(found.energies[0], [here.energies[0, 0], there.energies[0, 0]])
    assert_allclose(found.intensities[0], [0.25 * here.intensities[0, 0], 0.75 * there.intensities[0, 0]])
