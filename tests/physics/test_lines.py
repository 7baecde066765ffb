"""Lorentzian and damped modes in maps and along paths, against lines convolved with the resolution number by number."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from magnoscope.errors import StudyError
from magnoscope.intensity import MEV_PER_KELVIN, Intensity
from magnoscope.resolution.deviations import covariance
from magnoscope.resolution.lines import run_slices
from magnoscope.resolution.setting import run_setting
from magnoscope.simulate import Sampling, Simulator
from magnoscope.spinwave import ModeSolver, s_perp
from magnoscope.studies import parse_study
from magnoscope.units import FWHM_PER_SIGMA

# One ferromagnetic site with an easy axis: one band, from 2 D S on, in slices from 5 to 35 meV.
STUDY = """
name = "one"
lattice = { a = 4.0, b = 4.0, c = 12.0 }
orientation = { u = [0, 0, 1], v = [1, 0, 0] }
[[sites]]
name = "Mn"
ion = "Mn4+"
spin = 1.0
moment = [0, 1, 0]
positions = [[0, 0, 0]]
[models.one.parameters]
J = { reference = -1.5, prior = [-4, 0] }
D = { reference = 6.0, prior = [0, 20] }
[[models.one.bonds]]
exchange = "J"
between = [["Mn", "Mn"]]
vectors = [[1, 0, 0], [0, 1, 0]]
[[models.one.anisotropy]]
axis = [0, 1, 0]
value = "-D"
[instrument]
preset = "maps-v1"
package = "S"
sample_size_mm = [10, 10, 10]
intrinsic_width = 2.0
LINE
[[runs]]
ei = 50
frequency = 200
energy_bin = 0.25
[view]
kind = "maps"
energy_fractions = { from = 0.1, to = 0.7, slices = 12 }
axes = [
    { name = "h", direction = [1, 0, 0], from = -0.8, to = 0.8, points = 9 },
    { name = "k", direction = [0, 1, 0], from = -0.8, to = 0.8, points = 9 },
]
hidden = { name = "l", direction = [0, 0, 1] }
"""
PATH = """
[view]
kind = "path"
waypoints = [{ q = [1, 0, 0], label = "X" }, { q = [1.5, 0, 0], label = "M" }]
points = [8]
energies = { from = FROM, to = TO, bins = BINS }
across = 0.15
normal = { direction = [0, 0, 1], width = 0.5 }
"""


def study_with(line: str = "", width: float = 2.0, temperature: float = 0.0, kf_over_ki: bool = False):
    found = parse_study(STUDY.replace("LINE", f'line = "{line}"' if line else ""))
    intensity = Intensity(temperature=temperature, kf_over_ki=kf_over_ki)
    return replace(found, intrinsic_width=width, intensity=intensity)


def path_with(line: str, start: float, stop: float, bins: int, width: float = 2.0):
    text = STUDY[: STUDY.index("[view]")] + PATH.replace("FROM", str(start)).replace("TO", str(stop))
    text = text.replace("u = [0, 0, 1], v = [1, 0, 0]", "u = [1, 0, 0], v = [0, 1, 0]").replace("BINS", str(bins))
    return replace(
        parse_study(text.replace("LINE", f'line = "{line}"').replace("ei = 50", "ei = 80")), intrinsic_width=width
    )


def relative(found, expected) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def response(line: str, energy, mode: float, fwhm: float, temperature: float) -> np.ndarray:
    """S(E) of a mode of unit strength from the formulas themselves, 1/meV."""
    half, kt = fwhm / 2, max(MEV_PER_KELVIN * temperature, 1e-3)
    if line == "lorentzian":
        return half / np.pi / ((energy - mode) ** 2 + half**2) / -np.expm1(-mode / kt)
    damped = 4 * half * mode * energy / ((energy**2 - mode**2) ** 2 + 4 * half**2 * energy**2) / np.pi
    return damped / -np.expm1(np.clip(-energy / kt, None, 500))


def convolved(study, energy: np.ndarray, spectrum: np.ndarray, sigma: float) -> np.ndarray:
    """A spectrum on evenly spaced energies, blurred by a Gaussian, and averaged over the study's slices."""
    step = energy[1] - energy[0]
    around = np.arange(-8 * sigma, 8 * sigma, step)
    kernel = np.exp(-0.5 * (around / sigma) ** 2)
    blurred = np.convolve(spectrum, kernel / kernel.sum(), "same")
    edges = study.energy_edges[0]
    return np.array([blurred[(energy > a) & (energy < b)].mean() for a, b in zip(edges[:-1], edges[1:], strict=True)])


DENSE = np.arange(-80, 140, 0.01) + 0.005  # meV


@pytest.mark.parametrize(
    ("line", "mode", "width", "temperature", "tolerance"),
    [
        ("lorentzian", 20.0, 0.2, 0.0, 0.005),
        ("lorentzian", 20.0, 2.0, 0.0, 0.01),
        ("lorentzian", 20.0, 8.0, 50.0, 0.005),
        ("oscillator", 20.0, 0.2, 0.0, 0.005),
        ("oscillator", 20.0, 2.0, 200.0, 0.01),
        ("oscillator", 8.0, 2.0, 0.0, 0.01),
        ("oscillator", 8.0, 6.0, 0.0, 0.005),
        # detailed balance is taken after the resolution, which matters where it changes within its width
        ("oscillator", 8.0, 6.0, 100.0, 0.02),
        # overdamped, below the slices: a tail alone, some of whose shape is lost
        ("oscillator", 2.0, 6.0, 100.0, 0.07),
    ],
)
def test_a_level_mode_is_its_line_convolved_with_the_resolution(line, mode, width, temperature, tolerance):
    study = study_with(line, width, temperature)
    simulator = Simulator(study, "gaussian", Sampling(zone_points=16))
    changes = {"J": 0.0, "D": mode / 2}
    part = slice(2, 7)
    found = simulator("one", changes).signal[0, :, part, part].mean((1, 2))
    setting, scan = run_setting(study, 0)
    x, y = (a.ravel() for a in np.meshgrid(*(a.centres[part] for a in study.maps.axes), indexing="ij"))
    q = scan.q_spectrometer(x, y, np.full(len(x), mode))
    sigma = np.sqrt(covariance(setting, q, np.full(len(x), mode))[:, 3, 3].mean())
    # the tail of a mode below the slices is seen at l of the first of them
    hidden = scan.hidden(*(torch.as_tensor(a) for a in (x, y, np.full(len(x), mode)))).numpy()
    modes = simulator.solver("one").solve(study.model("one").values(changes), np.stack([x, y, hidden], -1))
    assert_allclose(modes.energies, mode, rtol=1e-6)
    strength = float(s_perp(modes).sum(-1).mean())
    expected = strength * convolved(study, DENSE, response(line, DENSE, mode, width, temperature), sigma)
    assert relative(found, expected) < tolerance


@pytest.mark.parametrize("kf_over_ki", [False, True])
def test_a_band_is_the_sum_of_its_lines(kf_over_ki):
    # without resolution, point by point: 24 x 24 points of each pixel
    study = study_with("lorentzian", 2.0, kf_over_ki=kf_over_ki)
    found = Simulator(study, "none", Sampling(zone_points=40))("one").signal[0]
    _, scan = run_setting(study, 0)
    each = 24
    offsets = (np.arange(each) + 0.5) / each - 0.5
    axes = [(a.centres[3:7, None] + offsets * a.width).ravel() for a in study.maps.axes]
    x, y = (a.ravel() for a in np.meshgrid(*axes, indexing="ij"))
    solver, values = ModeSolver(study.model("one")), study.model("one").reference
    level = np.zeros_like(x)
    energy = solver.solve(values, np.stack([x, y, level], -1)).energies[:, 0].numpy()
    hidden = scan.hidden(*(torch.as_tensor(a) for a in (x, y, energy))).numpy()
    weight = s_perp(solver.solve(values, np.stack([x, y, hidden], -1)))[:, 0].numpy()
    edges = study.energy_edges[0][:, None]
    if kf_over_ki:
        fine = np.linspace(edges[0], edges[-1], 12 * 40 + 1)
        share = np.diff(np.arctan(fine - energy) / np.pi, axis=0) * np.sqrt(1 - (fine[1:] + fine[:-1]) / 2 / 50)
        share = share.reshape(12, 40, -1).sum(1)
    else:
        share = np.diff(np.arctan(edges - energy) / np.pi, axis=0)
    expected = (share / 2.5 * weight).reshape(12, 4, each, 4, each).mean((2, 4))
    assert expected.max() > 10 * expected.min()
    assert relative(found[:, 3:7, 3:7], expected) < 0.01


@pytest.mark.parametrize("line", ["lorentzian", "oscillator"])
@pytest.mark.parametrize("method", ["none", "gaussian", "montecarlo"])
def test_a_narrow_line_is_none(method, line):
    sampling = Sampling(zone_points=24)
    sharp = Simulator(study_with("gaussian", 0.0), method, sampling)("one").signal
    assert relative(Simulator(study_with(line, 1e-3), method, sampling)("one").signal, sharp) < 0.003


@pytest.mark.parametrize("line", ["lorentzian", "oscillator"])
def test_what_the_slices_do_not_receive_of_a_line_lies_beyond_them(line):
    study = study_with(line, 3.0)
    slices = run_slices(study, 0, 1.2)
    assert slices.line is not None
    assert slices.shares is not None
    bins = slices.bins
    centres = bins.start + bins.width * (np.arange(bins.count) + 0.5)
    low, high = study.energy_edges[0, [0, -1]]
    received = (slices.shares * 2.5).sum(0).numpy()

    def above(energy, place):
        return 0.5 - np.arctan((energy - place) / 1.5) / np.pi

    beyond = 1 - above(low, centres) + above(high, centres)
    mirrored = 0.0 if line == "lorentzian" else above(low, -centres) - above(high, -centres)
    assert_allclose(received + beyond + mirrored, 1, atol=1e-12)
    # modes from further off would give the slices next to nothing
    assert centres[0] < slices.modes[0]
    assert centres[-1] > slices.modes[1] > high + 20 * 3.0
    spot = slices.placed(torch.tensor([18.0], dtype=torch.float64))
    if line == "oscillator":  # poles of 4 g w E / ((E^2 - w^2)^2 + 4 g^2 E^2)
        pole, gain = (float(part) for part in spot)
        energy = np.linspace(1, 60, 200)
        two = 1.5 / ((energy - pole) ** 2 + 1.5**2) - 1.5 / ((energy + pole) ** 2 + 1.5**2)
        assert_allclose(gain * two / np.pi, response(line, energy, 18.0, 3.0, 0.0), rtol=1e-9)


@pytest.mark.parametrize("line", ["lorentzian", "oscillator"])
def test_modes_out_of_reach_leave_their_tails(line):
    # at 60 meV the neutrons of 50 meV do not reach the mode, but its tail of 4 meV width
    study = study_with(line, 4.0)
    found = Simulator(study, "gaussian", Sampling(zone_points=12))("one", {"J": 0.0, "D": 30.0}).signal[0, :, 4, 4]
    edges = study.energy_edges[0]
    centres = (edges[1:] + edges[:-1]) / 2
    shape = response(line, centres, 60.0, 4.0, 0.0)
    assert_allclose(found / found[0], shape / shape[0], rtol=0.02)
    assert found[-1] > 3 * found[0] > 0


@pytest.mark.parametrize("method", ["gaussian", "montecarlo"])
def test_a_path_is_convolved_in_energy(method):
    # the same without width on finer bins, out to where nothing is left, convolved with the line
    sampling = Sampling(zone_points=10, across=3, draws=2, draws_per_mode=1)
    sharp = Simulator(path_with("gaussian", 6, 34, 140, 0.0), method, sampling)("one").signal[0, :, :, 0]
    study = path_with("lorentzian", 6, 34, 56)
    found = Simulator(study, method, sampling)("one").signal[0, :, :, 0]
    centres, edges = 6 + (np.arange(140) + 0.5) * 0.2, study.energy_edges[0][:, None]
    share = np.diff(np.arctan(edges - centres) / np.pi, axis=0) / 0.5
    assert relative(found, share @ np.nan_to_num(sharp) * 0.2) < 0.005


def test_the_coarse_method_knows_no_line():
    with pytest.raises(StudyError, match="gaussian-coarse is for gaussian modes"):
        Simulator(study_with("lorentzian"), "gaussian-coarse")


def test_a_study_says_its_line():
    plain, gaussian, other = (study_with(line) for line in ("", "gaussian", "lorentzian"))
    assert (plain.line, other.line) == ("gaussian", "lorentzian")
    assert (plain.gaussian_width, other.gaussian_width) == (2.0, 0.0)
    assert other.physics_hash not in (plain.physics_hash, gaussian.physics_hash)
    half = Simulator(study_with("", 2.0), sampling=Sampling(zone_points=12))._plans[0].spread.full[20].min()
    none = Simulator(study_with("lorentzian"), sampling=Sampling(zone_points=12))._plans[0].spread.full[20].min()
    assert float(half - none) == pytest.approx((2 / FWHM_PER_SIGMA) ** 2, rel=0.01)
