"""Spectra along a path: the crystal turns as it must, sharp bands come out where and as wide as they should."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from magnoscope.errors import StudyError
from magnoscope.resolution.deviations import dimensions, true_deviations
from magnoscope.resolution.path_spread import SIDES, cut, segment_covariance, segment_map
from magnoscope.resolution.setting import pixel_wave_vectors, run_rotation, segment_axes, setting_of
from magnoscope.resolution.shown import shown_covariance
from magnoscope.simulate import Sampling, Simulator, converged
from magnoscope.spinwave import ModeSolver, s_perp
from magnoscope.studies import parse_study
from magnoscope.units import FWHM_PER_SIGMA, wavevector

# Ferromagnetic chains along a and b with an easy axis: one band from 10 to 26 meV, flat along c unless layers couple.
STUDY = """
name = "square"
lattice = { a = 4.0, b = 4.0, c = 8.0 }
orientation = { u = [1, 0, 0], v = [0, 1, 0] }
[[sites]]
name = "Mn"
ion = "Mn4+"
spin = 1.0
moment = [0, 0, 1]
positions = [[0, 0, 0]]
[models.square.parameters]
J = { reference = -2.0, prior = [-4, 0] }
Jc = { reference = 0.0, prior = [-4, 0] }
D = { reference = 5.0, prior = [0, 9] }
[[models.square.bonds]]
exchange = "J"
between = [["Mn", "Mn"]]
vectors = [[1, 0, 0], [0, 1, 0]]
[[models.square.bonds]]
exchange = "Jc"
between = [["Mn", "Mn"]]
vectors = [[0, 0, 1]]
[[models.square.anisotropy]]
axis = [0, 0, 1]
value = "-D"
[instrument]
preset = "maps-v1"
package = "S"
sample_size_mm = [20, 10, 10]
[[runs]]
ei = 80
frequency = 350
energy_bin = 0.3
[view]
kind = "path"
waypoints = [
    { q = [1, 0, 0], label = "X" },
    { q = [1.5, 0, 0], label = "M" },
    { q = [1.5, 0.5, 0], label = "K" },
    { q = [1, 1, 0], label = "G", begins = true },
    { q = [1.25, 0.75, 0], label = "L" },
]
points = [16, 12, 10]
energies = { from = 4, to = 34, bins = 60 }
across = 0.15
normal = { direction = [0, 0, 1], width = 0.5 }
DETECTORS
"""
FLAT = {"J": 0.0, "D": 10.0}  # at 2 D S = 20 meV
METHODS = ("none", "gaussian", "montecarlo")


def study_with(*pairs: tuple[str, str], detectors: str = ""):
    text = STUDY.replace("DETECTORS", detectors)
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return parse_study(text)


@pytest.fixture(scope="module")
def square():
    return study_with()


@pytest.fixture(scope="module")
def simulators(square):
    return {method: Simulator(square, method) for method in METHODS}


def relative(found, expected) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def in_the_box(study, model, values, points: int = 9) -> np.ndarray:
    """Intensity of all modes of a model averaged over the box around each pixel's centre, (points of the path,)."""
    view, solver = study.path, ModeSolver(study.models[model])
    out = []
    for number, part in enumerate(view.slices_of()):
        axes = segment_axes(study, number)
        share = (np.arange(points) + 0.5) / points - 0.5
        across = share * view.across
        normal = share * view.normal_width * np.linalg.norm(study.lattice.to_cartesian(view.normal))
        offsets = across[:, None, None] * axes[1] + normal[:, None] * axes[2]
        q = study.lattice.to_cartesian(view.centres[part])[:, None] + offsets.reshape(-1, 3)
        modes = solver.solve(values, (q @ np.linalg.inv(study.lattice.reciprocal)).reshape(-1, 3))
        out.append(s_perp(modes).sum(-1).reshape(len(q), -1).mean(1).numpy())
    return np.concatenate(out)


def test_layout(square):
    view = square.path
    assert square.shape == (1, 60, 38, 1)
    assert square.image_shape == (38, 60)
    assert view.named_points() == ((0.0, "X"), (16.0, "M"), (28.0, "K|G"), (38.0, "L"))
    assert_allclose(
        view.centres[[0, 15, 16, 28]], [[1 + 1 / 64, 0, 0], [1.5 - 1 / 64, 0, 0], [1.5, 1 / 48, 0], [1.0125, 0.9875, 0]]
    )
    assert_allclose(np.diff(view.distances[:16]), np.pi / 4 / 16)
    assert_allclose(view.distances[-1] + view.segments[-1].width / 2, np.pi / 2 + np.pi / 2 / 8**0.5)
    tiles = view.as_tiles(np.arange(60 * 38).reshape(square.shape))
    assert tiles.shape == (1, 1, 60, 38)
    assert np.array_equal(view.from_tiles(tiles).ravel(), np.arange(60 * 38))
    rows, columns = view.tile_edges(80.0)
    assert (rows.label, rows.low, rows.high) == ("energy transfer (meV)", 4, 34)
    assert columns.ticks == view.named_points()


@pytest.mark.parametrize("side", SIDES)
def test_crystal_turns_until_neutrons_have_the_right_energy(square, side):
    rng = np.random.default_rng(3)
    hkl = rng.uniform([0.8, -0.6, -0.5], [1.5, 0.6, 0.5], (50, 3))
    energy = rng.uniform(2, 30, 50)
    rotation = run_rotation(square, 0)
    q = rotation.q_spectrometer(hkl, energy, side)
    assert np.isfinite(q).all()
    k_f = np.array([wavevector(80.0), 0, 0]) - q
    assert_allclose(np.linalg.norm(k_f, axis=1), wavevector(80 - energy), rtol=1e-12)
    assert (np.sign(q[:, 1]) == side).all()
    for psi, point, seen in zip(rotation.turn(hkl, q), hkl, q, strict=True):
        assert_allclose(point @ square.orientation.spectrometer_frame(square.lattice, psi), seen, atol=1e-9)


def test_part_of_a_gaussian_in_a_slab():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(3, 3))
    mean = np.array([0.3, -0.4, 0.1])
    points = rng.normal(size=(400_000, 3)) @ root.T + mean
    inside = points[np.abs(points[:, 1]) < 0.7]
    found = cut(torch.tensor(mean)[None], torch.tensor(root @ root.T)[None], 1, 0.7)
    assert float(found[0]) == pytest.approx(len(inside) / len(points), rel=0.01)
    assert_allclose(found[1][0], inside.mean(0), atol=0.01)
    assert_allclose(found[2][0], np.cov(inside.T), atol=0.02)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("width", [0.0, 0.15, 0.5], ids=["thin box", "box", "wide box"])
def test_flat_band_stays_flat_and_keeps_its_intensity(method, width):
    study = study_with(("across = 0.15", f"across = {width}"))
    signal = Simulator(study, method)("square", FLAT).signal[0, :, :, 0]
    expected = in_the_box(study, "square", study.models["square"].values(FLAT))
    # what comes in over the ends of a segment is weaker or stronger by the form factor there
    if method == "montecarlo":  # the draws' noise, more of it the fewer of them a box lets through
        assert signal.sum() * 0.5 == pytest.approx(expected.sum(), rel=0.01)
    assert_allclose(signal.sum(0) * 0.5, expected, rtol=0.06 if method == "montecarlo" else 0.004)


def test_flat_band_has_the_place_and_width_of_the_resolution(square):
    # a box so wide that it does not select among the deviations
    wide = study_with(("across = 0.15", "across = 0.8"), ("width = 0.5", "width = 1.2"))
    # the place depends on how the intensity falls across the path too, which few points follow to 0.01 meV only
    signal = Simulator(wide, "gaussian", Sampling(across=12))("square", FLAT).signal[0, :, :, 0]
    edges = square.energy_edges[0]
    energy = (edges[1:] + edges[:-1]) / 2
    mean = (signal * energy[:, None]).sum(0) / signal.sum(0)
    sigma = np.sqrt((signal * (energy[:, None] - mean) ** 2).sum(0) / signal.sum(0))
    intrinsic, bin_ = square.intrinsic_width / FWHM_PER_SIGMA, 0.5
    for point in (4, 8, 11):
        shown = shown_covariance(square, 0, square.path.centres[point], 20.0)[2]
        # intensity falls along the path, and what comes from further back is recorded at another energy; modes are
        # displaced by the resolution at their true place (decision 1), whose change along the path adds 0.02 meV
        around = signal[:, [point - 1, point + 1]].sum(0)
        fall = np.diff(np.log(around))[0] / np.diff(square.path.distances[[point - 1, point + 1]])[0]
        assert mean[point] == pytest.approx(20.0 - shown[0, 1] * fall, abs=0.03)
        assert sigma[point] == pytest.approx(np.sqrt(shown[1, 1] + intrinsic**2 + bin_**2 / 12), rel=0.002)


def test_the_coarse_method_is_for_maps(square):
    with pytest.raises(StudyError, match="gaussian-coarse is for maps"):
        Simulator(square, "gaussian-coarse")


def test_without_resolution_a_band_is_where_its_modes_are(square, simulators):
    narrow = study_with(("across = 0.15", "across = 0"), ("width = 0.5", "width = 0"))
    signal = Simulator(narrow, "none")("square").signal[0, :, :, 0]
    modes = ModeSolver(narrow.models["square"]).solve(narrow.models["square"].reference, narrow.path.centres)
    edges = narrow.energy_edges[0]
    mean = (signal * (edges[1:] + edges[:-1])[:, None] / 2).sum(0) / signal.sum(0)
    assert_allclose(mean, modes.energies[:, 0], atol=0.1)  # bins of 0.5 meV


def test_resolution_methods_conserve_intensity(simulators):
    totals = [float(s("square").signal.sum()) for s in simulators.values()]
    assert max(totals) / min(totals) - 1 < 0.02, totals


def brute_force(study, true_shapes: bool, number: int, seed: int = 0) -> np.ndarray:
    """Neutrons one by one on the first segment: true points about it, all deviations drawn, recorded in the box.

    Gives (energy bins, points), in the units of a simulated spectrum.
    """
    segment, view = study.path.segments[0], study.path
    axes, model = segment_axes(study, 0), study.models["square"]
    rng = np.random.default_rng(seed)
    normal_width = view.normal_width * float(np.linalg.norm(study.lattice.to_cartesian(view.normal)))
    wide = np.array([segment.length + 0.4, view.across + 0.5, normal_width + 0.4])
    place = (rng.uniform(size=(number, 3)) - 0.5) * wide + [segment.length / 2, 0, 0]
    hkl = (study.lattice.to_cartesian(segment.start) + place @ axes) @ np.linalg.inv(study.lattice.reciprocal)
    modes = ModeSolver(model).solve(model.reference, hkl)
    energy, weight = modes.energies[:, 0].numpy(), s_perp(modes)[:, 0].numpy()
    setting, rotation = setting_of(study, 0), run_rotation(study, 0)
    edges = [study.energy_edges[0], np.arange(segment.points + 1) * segment.width]
    total = np.zeros((len(edges[0]) - 1, segment.points))
    for side in SIDES:
        q = rotation.q_spectrometer(hkl, energy, side)
        assert np.isfinite(q).all()
        maps = segment_map(study, 0, axes, hkl, q, energy)
        if true_shapes:
            deviations = true_deviations(setting, rng.uniform(size=(number, dimensions(setting))))
        else:
            deviations = rng.normal(size=(number, maps.shape[-1])) * np.sqrt(setting.variances())
        recorded = np.einsum("nij,nj->ni", maps, deviations)
        recorded[:, :3] += place
        recorded[:, 3] += energy + rng.normal(size=number) * study.intrinsic_width / FWHM_PER_SIGMA
        inside = (np.abs(recorded[:, 1]) < view.across / 2) & (np.abs(recorded[:, 2]) < normal_width / 2)
        total += np.histogram2d(recorded[inside, 3], recorded[inside, 0], edges, weights=weight[inside])[0]
    box = view.across * normal_width * segment.width * np.diff(edges[0])[0]
    return total / (len(SIDES) * number) * np.prod(wide) / box


@pytest.mark.slow
@pytest.mark.parametrize(("method", "smoothing"), [("gaussian", 0.5), ("montecarlo", 0.1)])
def test_brute_force_gives_the_same(method, smoothing):
    # layers that couple, so that the band disperses along all three directions of the box
    study = study_with(("Jc = { reference = 0.0", "Jc = { reference = -0.5"))
    halves = [brute_force(study, method == "montecarlo", 700_000, seed) for seed in (0, 1)]
    reference, noise = sum(halves) / 2, relative(*halves) / 2
    fine = Sampling(zone_points=40, draws=32, draws_per_mode=16, smoothing=smoothing, across=12)
    found = Simulator(study, method, fine)("square").signal[0, :, :16, 0]
    assert noise < 0.05
    # away from the path's middle line its covariance stands for the true one: 0.02 meV of 1.3 in the place of the band
    assert np.sqrt(relative(found, reference) ** 2 - noise**2) < 0.045
    assert found.sum() == pytest.approx(reference.sum(), rel=0.005)


def test_true_shapes_have_a_tail(square, simulators):
    # the moderator's tail is a tail towards lower energy transfer: the third moment of the band in energy is negative
    signal = simulators["montecarlo"]("square", FLAT).signal[0, :, :16, 0].sum(1)
    normal = simulators["gaussian"]("square", FLAT).signal[0, :, :16, 0].sum(1)
    energy = (square.energy_edges[0, 1:] + square.energy_edges[0, :-1]) / 2

    def skewness(profile):
        mean = (profile * energy).sum() / profile.sum()
        second, third = (((energy - mean) ** n * profile).sum() / profile.sum() for n in (2, 3))
        return third / second**1.5

    assert abs(skewness(normal)) < 0.02
    assert skewness(signal) < -0.05


def test_default_sampling_is_near_the_converged_image(square):
    fine = Simulator(square, "gaussian", Sampling(zone_points=80, across=21))("square").signal
    assert relative(Simulator(square, "gaussian")("square").signal, fine) < 0.05


def test_a_tolerance_is_met(square):
    simulator, spectrum, distance = converged(square, "square", "gaussian", 0.02)
    assert distance <= 0.02
    assert spectrum.signal.shape == square.shape


def test_pixels_out_of_reach_are_not_valid():
    near = study_with(("q = [1, 0, 0], label", "q = [0.1, 0, 0], label"))
    spectrum = Simulator(near)("square")
    # Q = (0.1 .., 0, 0): the largest energy transfer is 2.0721 (2 k_i Q - Q^2)
    q = np.linalg.norm(near.lattice.to_cartesian(near.path.centres), axis=1)
    most = 2.072124652 * (2 * wavevector(80.0) * q - q**2)
    expected = near.energy_edges[0, 1:, None] <= most
    assert np.array_equal(spectrum.valid[0, :, :, 0], expected)
    assert 0.1 < (~expected).mean() < 0.5
    assert np.array_equal(np.isnan(spectrum.signal), ~spectrum.valid)


def test_detectors_limit_what_is_valid(square):
    limits = "detectors = { horizontal = [-5, 19], vertical = [-20, 20] }"
    some = study_with(detectors=limits)
    edges = square.energy_edges[0]
    k_f = np.array([wavevector(80.0), 0, 0]) - pixel_wave_vectors(square, 0, edges)
    angle = np.degrees(np.abs(np.arctan2(k_f[..., 1], k_f[..., 0])))[..., 0]
    seen = angle <= 19  # the +y and the -y side of a flat path are mirror images
    assert np.array_equal(Simulator(some)("square").valid[0, :, :, 0], seen[:-1] & seen[1:])
    assert 0.2 < seen.mean() < 0.9


def test_both_sides_have_their_own_correlation(square):
    # a path that is not radial: place along it and energy are correlated with opposite parts on the two sides
    point = square.path.centres[20][None]
    axes, rotation, energy = segment_axes(square, 1), run_rotation(square, 0), np.array([20.0])
    found = [
        segment_covariance(square, 0, axes, point, rotation.q_spectrometer(point, energy, side), energy)[0]
        for side in SIDES
    ]
    assert np.linalg.norm(found[0] - found[1]) > 0.05 * np.linalg.norm(found[0][:3, :3])
    for matrix in found:
        assert np.linalg.eigvalsh(matrix).min() > 0


def test_runs_have_their_own_resolution(square):
    two = replace(square, runs=(square.runs[0], replace(square.runs[0], ei=70.0)))
    signal = Simulator(two)("square", FLAT).signal[..., 0]
    edges = two.energy_edges[0]
    energy = (edges[1:] + edges[:-1]) / 2
    profile = signal[:, :, 5]
    sigma = np.sqrt((profile * (energy - 20) ** 2).sum(1) / profile.sum(1))
    assert sigma[1] < 0.9 * sigma[0]
