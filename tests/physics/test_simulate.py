"""Simulated maps: intensity is conserved, put in the right place, and does not depend on how it was computed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from magnoscope.errors import StudyError
from magnoscope.resolution.deviations import covariance, linear_map
from magnoscope.resolution.setting import run_setting
from magnoscope.simulate import Sampling, Simulator, converged, simulate
from magnoscope.spinwave import ModeSolver, s_perp
from magnoscope.studies import parse_study
from magnoscope.study import Run
from magnoscope.units import FWHM_PER_SIGMA, wavevector

# Bilayers of ferromagnetic sheets; an easy axis lifts all modes (10 to 28 meV) into the slices (5 to 35 meV).
STUDY = """
name = "sheets"
lattice = { a = 4.0, b = 4.0, c = 12.0 }
orientation = { u = [0, 0, 1], v = [1, 0, 0] }
[[sites]]
name = "Mn"
ion = "Mn4+"
spin = 1.0
moment = [0, 1, 0]
positions = [[0, 0, 0.1], [0, 0, -0.1]]
TWINS
[models.sheets.parameters]
Ja = { reference = -2.0, prior = [-4, 0] }
Jb = { reference = -1.0, prior = [-4, 0] }
Jc = { reference = -3.0, prior = [-5, 0] }
D = { reference = 5.0, prior = [0, 9] }
[[models.sheets.bonds]]
exchange = "Ja"
between = [["*", "*"]]
vectors = [[1, 0, 0]]
[[models.sheets.bonds]]
exchange = "Jb"
between = [["*", "*"]]
vectors = [[0, 1, 0]]
[[models.sheets.bonds]]
exchange = "Jc"
between = [["*", "*"]]
vectors = [[0, 0, 0.2]]
BETWEEN_BILAYERS
[[models.sheets.anisotropy]]
axis = [0, 1, 0]
value = "-D"
[instrument]
preset = "maps-v1"
package = "S"
sample_size_mm = [10, 10, 10]
[[runs]]
ei = 50
frequency = 200
energy_bin = 0.25
[view]
kind = "maps"
energy_fractions = { from = 0.1, to = 0.7, slices = SLICES }
axes = [
    { name = "h", direction = [1, 0, 0], from = -1, to = 1, points = 21 },
    { name = "k", direction = [0, 1, 0], from = -1, to = 1, points = 21 },
]
hidden = { name = "l", direction = [0, 0, 1] }
"""
AS_IT_IS = "[[twins]]\nfraction = {}\n"
EXCHANGED = "[[twins]]\nfraction = {}\nmatrix = [[0, 1, 0], [1, 0, 0], [0, 0, 1]]\n"
BETWEEN_BILAYERS = '[[models.sheets.bonds]]\nexchange = -0.3\nbetween = [["*", "*"]]\nvectors = [[0, 0, 0.8]]\n'
FINE = Sampling(zone_points=64, draws=16, draws_per_mode=16)
FLAT_BAND = {"Ja": 0.0, "Jb": 0.0, "Jc": 0.0, "D": 10.0}  # at 2 D S = 20 meV
METHODS = ("none", "gaussian", "montecarlo")


def study_with(twins: str = "", between_bilayers: str = "", slices: int = 6):
    text = STUDY.replace("TWINS", twins).replace("BETWEEN_BILAYERS", between_bilayers)
    return parse_study(text.replace("SLICES", str(slices)))


@pytest.fixture(scope="module")
def sheets():
    return study_with()


@pytest.fixture(scope="module")
def spectra(sheets):
    return {method: Simulator(sheets, method)("sheets") for method in METHODS}


def integral(spectrum) -> float:
    """Over energy transfer (meV) and both axes (r.l.u.)."""
    widths = np.diff(spectrum.study.energy_edges, axis=1)[:, :, None, None]
    x, y = spectrum.study.view.axes
    return float((spectrum.signal * widths).sum() * x.width * y.width)


def relative(found, expected) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def intensity_of_modes(study, points: int = 40, energies: int = 121) -> float:
    """Integral over the view and energy transfer E of sum S_perp delta(E - w), everything taken at l(E).

    Each root of w(E) = E counts S_perp / |1 - dw/dE|; roots are looked for on a fine grid of E.
    """
    solver, values = ModeSolver(study.models["sheets"]), study.models["sheets"].reference
    _, scan = run_setting(study, 0)
    centres = -1.05 + 2.1 * (np.arange(points) + 0.5) / points
    x, y = (torch.as_tensor(a.ravel()) for a in np.meshgrid(centres, centres, indexing="ij"))
    transfers = torch.linspace(4, 36, energies, dtype=torch.float64)
    excess, intensity = [], []
    for transfer in transfers:
        modes = solver.solve(values, torch.stack([x, y, scan.hidden(x, y, transfer)], -1))
        excess.append(modes.energies - transfer)
        intensity.append(s_perp(modes))
    f, s = torch.stack(excess), torch.stack(intensity)
    step = f.diff(dim=0)
    part = -f[:-1] / step  # of the way to the next grid point
    root = (f[:-1] > 0) != (f[1:] > 0)
    found = (s[:-1] + part * s.diff(dim=0)) / (step.abs() / (transfers[1] - transfers[0]))
    return float(found[root].sum()) * (2.1 / points) ** 2


@pytest.fixture(scope="module")
def expected_integral(sheets):
    return intensity_of_modes(sheets)


@pytest.mark.parametrize("method", METHODS)
def test_image_holds_the_intensity_of_the_modes(expected_integral, spectra, method):
    # what a resolution carries out of the view it carries in elsewhere: the bands are periodic
    tolerance = 0.002 if method == "none" else 0.01
    assert integral(spectra[method]) == pytest.approx(expected_integral, rel=tolerance)


def test_resolution_methods_conserve_intensity(spectra):
    totals = [integral(s) for s in spectra.values()]
    assert max(totals) / min(totals) - 1 < 0.01


def test_resolution_methods_conserve_intensity_of_the_worked_study(pcsmo):
    # Ei 140 from the gap at 47.6 meV upwards holds the upper bands (57 to 87 meV) whole; lower down, steeply rising
    # intensity is carried into the first slices from below them
    light = Sampling(zone_points=12, draws=4, draws_per_mode=2)
    study = replace(pcsmo, runs=pcsmo.runs[5:])
    totals = {m: Simulator(study, m, light)("goodenough").signal[0, 4:].sum() for m in METHODS}
    totals["default sampling"] = Simulator(study)("goodenough").signal[0, 4:].sum()
    assert max(totals.values()) / min(totals.values()) - 1 < 0.01, totals


@pytest.mark.parametrize(
    ("between_bilayers", "tolerance"),
    # where modes disperse along l, a mode is seen at the energy transfers that lie on it: 1 / |1 - dw/dE| times
    [("", 0.002), (BETWEEN_BILAYERS, 0.01)],
    ids=["flat along l", "dispersive along l"],
)
def test_general_path_holds_the_intensity_of_the_modes(between_bilayers, tolerance):
    study = study_with(between_bilayers=between_bilayers)
    simulator = Simulator(study, "none")
    simulator._flat["sheets"] = None
    assert integral(simulator("sheets")) == pytest.approx(intensity_of_modes(study), rel=tolerance)


def test_flatness_along_the_hidden_axis_is_noticed(sheets):
    light = Sampling(zone_points=4, draws=1, draws_per_mode=1)
    assert Simulator(sheets, sampling=light)._flat["sheets"] is not None
    assert Simulator(study_with(between_bilayers=BETWEEN_BILAYERS), sampling=light)._flat["sheets"] is None


def test_layered_path_agrees_with_the_general_one(sheets):
    simulator = Simulator(sheets, "gaussian", Sampling(zone_points=48))
    layered = simulator("sheets").signal
    simulator._flat["sheets"] = None
    # the general path leaves out the slope of a band within a fine cell: 0.6 % at this grid
    assert relative(simulator("sheets").signal, layered) < 0.01


def test_layered_path_agrees_with_the_general_one_for_twins():
    study = study_with(twins=AS_IT_IS.format(0.3) + EXCHANGED.format(0.7))
    simulator = Simulator(study, "gaussian", Sampling(zone_points=48))
    layered = simulator("sheets").signal
    simulator._flat["sheets"] = None
    assert relative(simulator("sheets").signal, layered) < 0.01


def test_slopes_within_a_fine_cell_make_up_for_a_coarse_grid():
    # fine slices show the steps of a band that is taken as level within each cell (14 %), or tilted wrongly (19 %)
    study = study_with(slices=30)
    coarse, fine = (Simulator(study, "none", replace(FINE, zone_points=n))("sheets").signal for n in (24, 96))
    assert relative(coarse, fine) < 0.06


def test_twins_are_the_weighted_sum_of_domains():
    both, one, other = (
        Simulator(study_with(twins=t))("sheets").signal
        for t in (
            AS_IT_IS.format(0.5) + EXCHANGED.format(0.5),
            AS_IT_IS.format(1.0),
            EXCHANGED.format(1.0),
        )
    )
    assert relative(one, other) > 0.3
    assert_allclose(both, (one + other) / 2, rtol=0, atol=1e-5 * both.max())


def test_twins_of_the_worked_study_are_the_half_sum_of_its_domains(pcsmo):
    light = Sampling(zone_points=12, draws=4, draws_per_mode=2)
    both, one, other = (
        Simulator(replace(pcsmo, twins=twins), sampling=light)("goodenough").signal
        for twins in (pcsmo.twins, (replace(pcsmo.twins[0], fraction=1.0),), (replace(pcsmo.twins[1], fraction=1.0),))
    )
    assert np.nanmax(np.abs(one - other)) > 0.5 * np.nanmax(one)
    # which modes count as faint, and so get fewer draws, depends a little on what else is in the batch
    assert np.sqrt(np.nansum((both - (one + other) / 2) ** 2) / np.nansum(both**2)) < 0.01


def test_second_domain_is_the_first_with_axes_exchanged(sheets):
    # a = b: the image at (h, k) is that of the first domain at (k, h), its l included (the sheets' structure factor
    # turns by half a circle over the energies seen)
    first = Simulator(sheets, "none", FINE)("sheets").signal
    second = Simulator(study_with(twins=EXCHANGED.format(1.0)), "none", FINE)("sheets").signal
    assert relative(second.swapaxes(2, 3), first) < 0.01
    assert relative(second, first) > 0.3


def test_flat_band_is_everywhere_as_bright_as_its_mode(sheets):
    # all couplings off: two modes at 20 meV, S / 2 (1 + (Q.m)^2 / Q^2) F^2 each
    simulator = Simulator(sheets, "none", FINE)
    spectrum = simulator("sheets", FLAT_BAND)
    per_pixel = (spectrum.signal[0] * np.diff(sheets.energy_edges[0])[:, None, None]).sum(0)
    x, y = np.meshgrid(*(a.centres for a in sheets.view.axes), indexing="ij")
    _, scan = run_setting(sheets, 0)
    l_at = scan.hidden(torch.as_tensor(x), torch.as_tensor(y), torch.as_tensor(20.0)).numpy()
    solver = simulator.solver("sheets")
    q = np.stack([x, y, l_at], -1).reshape(-1, 3)
    modes = solver.solve(solver.model.values(FLAT_BAND), q)
    assert_allclose(modes.energies, 20, rtol=1e-8)
    expected = s_perp(modes).sum(-1).numpy().reshape(x.shape)
    assert_allclose(per_pixel, expected, rtol=0.03)
    assert relative(per_pixel, expected) < 0.01


@pytest.mark.parametrize(
    ("method", "sampling"),
    [
        ("gaussian", Sampling()),
        ("montecarlo", Sampling()),
        # a small share of the resolution in the spots about draws leaves the draws their shape
        ("montecarlo", replace(FINE, smoothing=0.1, corrections=16)),
    ],
)
def test_line_shape_of_a_flat_band(method, sampling):
    study = study_with(slices=120)
    spectrum = Simulator(study, method, sampling)("sheets", FLAT_BAND)
    edges = study.energy_edges[0]
    centres, width = (edges[1:] + edges[:-1]) / 2, edges[1] - edges[0]
    profile = spectrum.signal[0, :, 6:15, 6:15].sum((1, 2))
    profile /= profile.sum()
    mean = (profile * centres).sum()
    second, third = ((profile * (centres - mean) ** n).sum() for n in (2, 3))
    setting, scan = run_setting(study, 0)
    x, y = np.meshgrid(*(a.centres[6:15] for a in study.view.axes), indexing="ij")
    q = scan.q_spectrometer(x.ravel(), y.ravel(), 20.0)
    expected = covariance(setting, q, np.full(len(q), 20.0))[:, 3, 3].mean()
    # third cumulants add: the moderator's is that of t^2 exp(-t / tau), the rest is even; late neutrons are faster than
    # they are taken for, which makes a tail to low energy transfer
    moderator = linear_map(setting, q, np.full(len(q), 20.0))[:, 3, 0] * np.sqrt(setting.variances()[0])
    expected_third = -(moderator**3).mean() * 2 / np.sqrt(3)
    # of the slices (Sheppard) and of the mode itself
    expected += width**2 / 12 + (study.intrinsic_width / FWHM_PER_SIGMA) ** 2
    assert mean == pytest.approx(20, abs=0.05)
    assert np.sqrt(second) == pytest.approx(np.sqrt(expected), rel=0.01)
    skewness = third / second**1.5
    if method == "gaussian":
        assert skewness == pytest.approx(0, abs=0.02)
    else:
        assert skewness < -0.2
        assert third == pytest.approx(expected_third, rel=0.15)


def test_pixels_out_of_reach_are_not_valid(pcsmo):
    study = replace(pcsmo, runs=(Run(ei=6, frequency=100, energy_bin=0.05), pcsmo.runs[2]))
    light = Sampling(zone_points=6, draws=2, draws_per_mode=1)
    spectrum = Simulator(study, sampling=light)("goodenough")
    x, y = np.meshgrid(*(a.centres for a in study.view.axes), indexing="ij")
    in_plane = (2 * np.pi) ** 2 * ((x / study.lattice.a) ** 2 + (y / study.lattice.b) ** 2)
    # the beam is along c: the scattered neutron must keep something of k_f for that direction
    k_f = wavevector(np.array([run.ei for run in study.runs])[:, None] - study.energy_edges[:, 1:])
    assert np.array_equal(spectrum.valid, k_f[..., None, None] ** 2 >= in_plane)
    assert 0.1 < spectrum.valid[0].mean() < 0.9
    assert spectrum.valid[1].all()
    assert np.array_equal(np.isfinite(spectrum.signal), spectrum.valid)
    assert (spectrum.signal[spectrum.valid] >= 0).all()
    assert np.isnan(spectrum.image).sum() == (~spectrum.valid).sum()


def test_hidden_coordinate(pcsmo, pcsmo_simulator):
    # l = (c / 2 pi) (k_i - sqrt(k_f^2 - q_h^2 - q_k^2)) where the beam is along c
    x, y = np.meshgrid(*(a.centres for a in pcsmo.view.axes), indexing="ij")
    in_plane = (2 * np.pi) ** 2 * ((x / pcsmo.lattice.a) ** 2 + (y / pcsmo.lattice.b) ** 2)
    hidden = pcsmo_simulator.hidden_axis()
    for run, edges, found in zip(pcsmo.runs, pcsmo.energy_edges, hidden, strict=True):
        for number, energy in enumerate((edges[1:] + edges[:-1]) / 2):
            rest = wavevector(run.ei - energy) ** 2 - in_plane
            expected = pcsmo.lattice.c / (2 * np.pi) * (wavevector(run.ei) - np.sqrt(np.where(rest >= 0, rest, np.nan)))
            assert_allclose(found[number], expected, rtol=1e-9)


@pytest.mark.parametrize("psi", [0.0, 25.0])
def test_scattered_neutrons_have_the_right_energy(pcsmo, psi):
    study = replace(pcsmo, runs=(replace(pcsmo.runs[3], psi=psi),))
    _, scan = run_setting(study, 0)
    x, y = np.random.default_rng(6).uniform(-0.8, 0.8, (2, 40))
    energy = np.linspace(5, 45, 40)
    q = scan.q_spectrometer(x, y, energy)
    k_f = np.array([wavevector(70), 0, 0]) - q
    assert_allclose(np.linalg.norm(k_f, axis=1), wavevector(70 - energy), rtol=1e-10)
    assert (k_f[:, 0] > 0).all()


def test_simulation_repeats_itself(sheets, spectra):
    again = simulate(sheets, "sheets", Ja=-2.0)
    assert np.array_equal(again.signal, spectra["gaussian"].signal)
    changed = simulate(sheets, "sheets", Ja=-2.5)
    assert relative(changed.signal, spectra["gaussian"].signal) > 0.05


@pytest.mark.parametrize("method", ["gaussian", "montecarlo"])
def test_a_tolerance_is_met(sheets, method):
    simulator, spectrum, distance = converged(sheets, "sheets", method, 0.05)
    assert distance <= 0.05
    assert simulator.sampling.zone_points > Sampling().zone_points
    finest = Simulator(sheets, method, Sampling(96, 32, 16, 0.1))("sheets").signal
    assert relative(spectrum.signal, finest) < 0.05


@pytest.mark.parametrize("tolerance", [0.0, -1.0, 1e-5, 1.0, float("nan")])
def test_a_tolerance_out_of_range_is_refused(sheets, tolerance):
    with pytest.raises(StudyError, match="tolerance"):
        converged(sheets, "sheets", "gaussian", tolerance)


def test_pixels_far_smaller_than_the_resolution():
    # windows of many pixels and slices, worked on in small lots
    fine = Simulator(study_with(slices=240), "gaussian")("sheets").signal
    coarse = Simulator(study_with(slices=60), "gaussian")("sheets").signal
    together = fine.reshape(fine.shape[0], 60, 4, *fine.shape[2:]).mean(2)
    assert relative(together, coarse) < 0.02


COARSE = Sampling(coarse_points=42)  # two on each side of a pixel


def test_coarse_method_sums_over_the_points_of_its_grid(sheets):
    sheets = replace(sheets, intrinsic_width=3.0)  # the slice's centre is 2.5 meV from the modes
    signal = Simulator(sheets, "gaussian-coarse", COARSE).signal("sheets", sheets.models["sheets"].values(FLAT_BAND))
    setting, scan = run_setting(sheets, 0)
    points, step = COARSE.coarse_points, 2.1 / COARSE.coarse_points
    grid = -1.05 + (np.arange(points) + 0.5) * step
    x, y = (torch.as_tensor(a.ravel()) for a in np.meshgrid(grid, grid, indexing="ij"))
    q = torch.stack([x, y, scan.hidden(x, y, torch.full_like(x, 20.0))], -1)
    modes = ModeSolver(sheets.models["sheets"]).solve(sheets.models["sheets"].values(FLAT_BAND), q)
    weight = s_perp(modes).sum(-1).nan_to_num().numpy().reshape(points, points)
    to_view = np.eye(4)
    to_view[:3, :3] = np.linalg.inv(scan.view).T
    known = [int(n * points / 8) + points // 16 for n in range(8)]
    centre = 22.5  # the modes are at 20
    found = 0.0
    for row, column in ((24, 18), (24, 19), (25, 18), (25, 19)):
        for i, j in np.ndindex(13, 13):
            i, j = row + i - 6, column + j - 6
            place = [grid[known[n * 8 // points]] for n in (i, j)]
            at = scan.q_spectrometer([place[0]], [place[1]], [centre])
            whole = to_view @ covariance(setting, at, np.array([centre]))[0] @ to_view.T
            whole[3, 3] += (sheets.intrinsic_width / FWHM_PER_SIGMA) ** 2
            away = np.array([(row - i) * step, (column - j) * step, centre - 20.0])
            square = away @ np.linalg.solve(whole[np.ix_([0, 1, 3], [0, 1, 3])], away)
            found += weight[i, j] * np.exp(-square / 2) * step**2 / (2 * np.pi) / 4
    assert found > 0.1 * signal.max()
    assert found == pytest.approx(signal[0, 3, 12, 9], rel=0.01)


def test_coarse_method_counts_the_volume_of_the_resolution(sheets):
    totals = {}
    for method in ("gaussian", "gaussian-coarse"):
        for width in (4.0, 8.0):  # twice as wide, by far the widest thing in energy
            one = Simulator(replace(sheets, intrinsic_width=width), method, COARSE)
            totals[method, width] = integral(one("sheets", FLAT_BAND))
    assert totals["gaussian", 8.0] == pytest.approx(totals["gaussian", 4.0], rel=0.05)
    assert totals["gaussian-coarse", 8.0] == pytest.approx(2 * totals["gaussian-coarse", 4.0], rel=0.15)
