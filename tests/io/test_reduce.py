"""Reduction of runs: against the simulation that was measured virtually, against Horace's own binning, and itself."""

from pathlib import Path

import numpy as np
import pytest

from magnoscope.errors import DataError
from magnoscope.io.images import read_spectrum
from magnoscope.io.nxspe import read_nxspe, write_nxspe
from magnoscope.io.runs import open_runs
from magnoscope.io.sqw import read_sqw
from magnoscope.io.virtual import detector_array, image_intensity, write_virtual_run
from magnoscope.reduce.accumulate import reduce_runs
from magnoscope.reduce.binning import run_bins
from magnoscope.reduce.symmetry import operations
from magnoscope.simulate import Simulator
from magnoscope.spectrum import Spectrum
from magnoscope.studies import load_study, parse_study
from magnoscope.study import Study
from magnoscope.views import PathView

PATH = """
name = "scan"
lattice = { a = 4.0, b = 4.0, c = 8.0 }
orientation = { u = [1, 0, 0], v = [0, 1, 0] }
[[sites]]
name = "Mn"
ion = "Mn4+"
spin = 1.0
moment = [0, 0, 1]
positions = [[0, 0, 0]]
[models.chain.parameters]
J = { reference = -2.0, prior = [-4, 0] }
[[models.chain.bonds]]
exchange = "J"
between = [["Mn", "Mn"]]
vectors = [[1, 0, 0]]
[instrument]
preset = "maps-v1"
package = "S"
sample_size_mm = [10, 10, 10]
[[runs]]
ei = 80
frequency = 350
energy_bin = 0.3
[view]
kind = "path"
waypoints = [{ q = [1, 0, 0], label = "X" }, { q = [1.5, 0, 0], label = "M" }]
points = [10]
energies = { from = 4, to = 34, bins = 20 }
across = 0.15
normal = { direction = [0, 0, 1], width = 1.0 }
"""
"""A path along h of a magnet on a tetragonal cell."""


@pytest.fixture(scope="module")
def simulated(pcsmo_simulator: Simulator) -> Spectrum:
    return pcsmo_simulator("goodenough")


@pytest.fixture(scope="module")
def detectors() -> np.ndarray:
    return detector_array(tubes=64, pixels=64)


@pytest.fixture(scope="module")
def runs(simulated: Spectrum, detectors: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """PCSMO as a detector array would see it, without noise."""
    folder, out = tmp_path_factory.mktemp("runs"), []
    for number in range(len(simulated.study.runs)):
        out.append(folder / f"{number}.nxspe")
        write_virtual_run(simulated.study, number, image_intensity(simulated, number), detectors, out[-1], bins=60)
    return out


def test_the_simulated_image_comes_back(pcsmo: Study, simulated: Spectrum, runs: list[Path]) -> None:
    reduced = reduce_runs(pcsmo, open_runs(runs, pcsmo)).spectrum
    assert reduced.npix is not None and reduced.valid.mean() > 0.5
    assert not (reduced.valid & ~simulated.valid).any()
    difference = np.abs(reduced.signal - simulated.signal)[reduced.valid]
    # a point on the very edge between two pixels may go either way
    assert np.mean(difference > 1e-9 * np.nanmax(simulated.signal)) < 1e-3


def test_with_counting_noise_the_image_comes_back_within_its_error(
    pcsmo: Study, simulated: Spectrum, detectors: np.ndarray, tmp_path: Path
) -> None:
    """Chi-square per pixel against the direct simulation, with the variance that Poisson counts must have."""
    paths = []
    for number in (2, 3):
        paths.append(tmp_path / f"{number}.nxspe")
        intensity = image_intensity(simulated, number)
        write_virtual_run(pcsmo, number, intensity, detectors, paths[-1], counts=5, seed=3, bins=60)
    reduced = reduce_runs(pcsmo, open_runs(paths, pcsmo)).spectrum
    assert reduced.error is not None and reduced.npix is not None
    for number in (2, 3):
        part, direct = reduced.valid[number], simulated.signal[number]
        signal, npix = reduced.signal[number], reduced.npix[number]
        counted = part & (signal > 0)
        weight = np.median((reduced.error[number] ** 2 * npix)[counted] / signal[counted])
        bright = part & (direct * npix / weight > 5)  # five expected counts or more
        chi2 = np.mean(((signal - direct) ** 2 * npix)[bright] / (direct * weight)[bright])
        assert bright.sum() > 1500
        assert abs(chi2 - 1) < 5 * np.sqrt(2 / bright.sum()) + 0.01
        # and the errors that are written are those of the counts
        written = np.mean((reduced.error[number] ** 2 * npix)[bright] / (direct * weight)[bright])
        assert abs(written - 1) < 0.02


def test_a_bin_without_counts_is_a_measurement_with_an_error(pcsmo: Study, tmp_path: Path) -> None:
    """Zero of few counts must not vanish: the mean of many sparse bins is that of all of them."""
    array = detector_array(tubes=48, pixels=48)
    path = tmp_path / "a.nxspe"
    write_virtual_run(pcsmo, 2, lambda hkl, e: np.ones(len(e)), array, path, counts=0.2, seed=1, bins=60)
    reduced = reduce_runs(pcsmo, open_runs([path], pcsmo)).spectrum
    assert reduced.npix is not None and reduced.error is not None
    valid = reduced.valid[2]
    assert valid[reduced.npix[2] > 0].all() and (reduced.signal[2][valid] == 0).any()
    weighted = (reduced.signal[2] * reduced.npix[2])[valid].sum() / reduced.npix[2][valid].sum()
    assert abs(weighted - 1) < 5 / np.sqrt(0.2 * reduced.npix[2].sum())
    assert (reduced.error[2][valid] > 0).all()


def test_interrupted_it_goes_on_where_it_was(pcsmo: Study, runs: list[Path], tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("magnoscope.reduce.accumulate.SAVE_EVERY", 0.0)
    monkeypatch.setattr("magnoscope.io.runs.PIXELS", 100_000)
    whole = reduce_runs(pcsmo, open_runs(runs[:3], pcsmo)).spectrum
    state, seen = tmp_path / "state", []

    def stop(done: int, total: int, name: str) -> None:
        seen.append(done)
        if len(seen) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reduce_runs(pcsmo, open_runs(runs[:3], pcsmo), state=state, progress=stop)
    read = []
    original = type(open_runs(runs[:1], pcsmo)[0]).part
    monkeypatch.setattr(
        type(open_runs(runs[:1], pcsmo)[0]), "part", lambda self, n: read.append(n) or original(self, n)
    )
    sources = open_runs(runs[:3], pcsmo)
    again = reduce_runs(pcsmo, sources, state=state).spectrum
    assert len(read) == sum(s.parts for s in sources) - 5
    for name in ("signal", "error", "npix", "valid"):
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name))
    # other data, or a damaged state, start anew
    other = reduce_runs(pcsmo, open_runs(runs[1:3], pcsmo), state=state).spectrum
    assert not other.valid[0].any()
    state.write_bytes(state.read_bytes()[:200])
    np.testing.assert_array_equal(reduce_runs(pcsmo, sources, state=state).spectrum.signal, whole.signal)


def test_a_rotation_scan_fills_one_image(pcsmo: Study, tmp_path: Path) -> None:
    """Many angles of a function of (Q, energy): each pixel gets its mean over the hidden axis, from all of them."""
    array, paths = detector_array(half_angle=30, tubes=80, pixels=80), []

    def intensity(hkl: np.ndarray, energy: np.ndarray) -> np.ndarray:
        return 2 + np.cos(2 * np.pi * hkl[:, 0]) + 0.5 * hkl[:, 1] + 0.01 * energy

    for psi in range(-40, 41, 20):
        paths.append(tmp_path / f"{psi}.nxspe")
        write_virtual_run(pcsmo, 3, intensity, array, paths[-1], bins=60, psi=psi)
        assert read_nxspe(paths[-1]).psi == psi
    single = reduce_runs(pcsmo, open_runs(paths[2:3], pcsmo)).spectrum
    scan = reduce_runs(pcsmo, open_runs(paths, pcsmo)).spectrum
    assert scan.npix is not None and single.npix is not None
    assert scan.npix[3].sum() > 2 * single.npix[3].sum()
    x, y = (a.centres for a in pcsmo.maps.axes)
    edges = pcsmo.energy_edges[3]
    expected = (
        2 + np.cos(2 * np.pi * x)[None, :, None] + 0.5 * y[None, None, :]
        + 0.01 * ((edges[1:] + edges[:-1]) / 2)[:, None, None]
    )  # fmt: skip
    many = scan.npix[3] > 20
    width = pcsmo.maps.axes[0].width
    # pixels are sampled unevenly by few detectors: within what the function changes over half a pixel
    assert np.abs(scan.signal[3] - expected)[many].max() < np.pi * width + 0.25 * width + 0.03
    assert abs(np.mean((scan.signal[3] - expected)[many])) < 0.01


def test_folding_by_symmetry(pcsmo: Study, runs: list[Path]) -> None:
    plain = reduce_runs(pcsmo, open_runs(runs[2:3], pcsmo)).spectrum
    folded = reduce_runs(pcsmo, open_runs(runs[2:3], pcsmo), operations(["-h,k,l", "h,-k,l"])).spectrum
    np.testing.assert_allclose(folded.signal[2], folded.signal[2][:, ::-1], rtol=1e-9)
    np.testing.assert_allclose(folded.signal[2], folded.signal[2][:, :, ::-1], rtol=1e-9)
    assert plain.npix is not None and folded.npix is not None
    across = plain.npix[2] + plain.npix[2][:, ::-1]
    mirrored = across + across[:, :, ::-1]
    np.testing.assert_array_equal(folded.npix[2], mirrored)


@pytest.mark.parametrize(
    ("texts", "number"),
    [
        ([], 1),
        (["-h,k,l"], 2),
        (["-h,k,l", "h,-k,l"], 4),
        (["k,h,l"], 2),
        (["P m m m"], 8),
        (["-k,h,l"], 4),
        (["P 1"], 1),
    ],
)
def test_groups(texts: list[str], number: int) -> None:
    group = operations(texts)
    assert len(group) == number
    products = {np.round(a @ b).astype(int).tobytes() for a in group for b in group}
    assert products == {np.round(a).astype(int).tobytes() for a in group}


@pytest.mark.parametrize("text", ["nonsense", "h,k", "h,k,q", "h,h,l", "2h,k,l", ",,"])
def test_what_is_no_symmetry(text: str) -> None:
    with pytest.raises(DataError, match="--fold"):
        operations([text])


SMALL = """
[lattice]
a = 3.8498497
b = 3.8498497
c = 3.7481
[orientation]
u = [1, 1, 0]
v = [0, 0, 1]
"""


@pytest.fixture
def horace_study(tmp_path: Path) -> Study:
    """A study whose view is the bins of Horace's sample: 17 x 17 of 0.025 along (1,1,0), (-1,1,0), 30 to 40 meV."""
    path = tmp_path / "horace.toml"
    path.write_text(
        'name = "horace"\n'
        + SMALL
        + """
[[sites]]
name = "Mn"
ion = "Mn3+"
spin = 2.0
moment = [0, 0, 1]
positions = [[0, 0, 0]]
[models.one]
[models.one.parameters]
J = { reference = -1.0, prior = [-2, 0] }
[[models.one.bonds]]
exchange = "J"
between = [["Mn", "Mn"]]
vectors = [[1, 0, 0], [0, 1, 0]]
[instrument]
preset = "maps-v1"
package = "S"
sample_size_mm = [10, 10, 10]
[[runs]]
ei = 140
frequency = 400
energy_bin = 1.0
psi = -90
[view]
kind = "maps"
energy_fractions = { from = 0.21428571428571427, to = 0.2857142857142857, slices = 1 }
axes = [
    { name = "a", direction = [1, 1, 0], from = 0.0, to = 0.4, points = 17 },
    { name = "b", direction = [-1, 1, 0], from = 0.0, to = 0.4, points = 17 },
]
hidden = { name = "l", direction = [0, 0, 1] }
"""
    )
    return load_study(str(path))


def test_pixels_of_horace_in_its_own_bins(shared_data: Path, horace_study: Study) -> None:
    """Reduced by us into the bins that Horace chose, its pixels give the image that Horace made of them."""
    path = shared_data / "formats" / "w2d_qq_small_sqw.sqw"
    theirs = read_sqw(path).histogram
    ours = reduce_runs(horace_study, open_runs([path], horace_study)).spectrum
    assert ours.npix is not None and ours.error is not None and theirs.npix is not None
    np.testing.assert_array_equal(ours.npix[0, 0], theirs.npix[:, :, 0, 0])
    seen = theirs.valid[:, :, 0, 0]
    np.testing.assert_allclose(ours.signal[0, 0][seen], theirs.signal[:, :, 0, 0][seen], rtol=1e-5)
    np.testing.assert_allclose(ours.error[0, 0][seen], theirs.error[:, :, 0, 0][seen], rtol=1e-5)
    # and the image is read as it stands, too
    image = read_spectrum(path, horace_study)
    np.testing.assert_allclose(image.signal[0, 0][seen], theirs.signal[:, :, 0, 0][seen])
    np.testing.assert_array_equal(image.valid[0, 0], seen)


def test_a_path_gets_what_lies_in_its_box() -> None:
    """Points drawn in the box of a segment land in its pixels, others nowhere."""
    study = load_study("cri3")
    view = study.view
    assert isinstance(view, PathView)
    bins = run_bins(study, 0)
    assert bins.size == np.prod(view.shape)
    energies = np.asarray(view.energies)
    middle = (energies[1:] + energies[:-1]) / 2
    hkl = np.repeat(view.centres, len(middle), 0)
    found = bins.places(hkl, np.tile(middle, len(view.centres)))
    expected = (np.arange(len(middle)) * view.shape[1] + np.arange(view.shape[1])[:, None]).ravel()
    hit = np.stack(found)
    assert (hit == expected).any(0).all()
    normal = study.lattice.to_cartesian(view.normal)
    for segment, place in zip(view.segments, range(len(view.segments)), strict=True):
        along = study.lattice.to_cartesian(np.subtract(segment.end, segment.start))
        across = np.cross(normal, along)
        across /= np.linalg.norm(across)
        middle_hkl = (np.array(segment.start) + np.array(segment.end)) / 2
        for share, inside in ((0.49, True), (0.51, False), (-0.49, True), (-0.51, False)):
            beside = middle_hkl + share * view.across * across @ np.linalg.inv(study.lattice.reciprocal)
            assert (bins.places(beside[None], middle[:1])[place][0] >= 0) == inside
            above = middle_hkl + share * view.normal_width * np.array(view.normal)
            assert (bins.places(above[None], middle[:1])[place][0] >= 0) == inside


def test_what_cannot_be_reduced(pcsmo: Study, runs: list[Path], shared_data: Path, tmp_path: Path) -> None:
    samples = shared_data / "formats"
    ones = np.ones((3, 4))
    write_nxspe(tmp_path / "a", ones, ones, np.arange(5.0), [5, 6, 7], [0, 0, 0], 70.0)
    for path, reason in (
        (tmp_path / "a", "give it with --psi"),
        (samples / "w2d_qe_d2d.sqw", "histogram without pixels"),
        (samples / "w2d_qq_small_sqw.sqw", "give the study the lattice of the data"),
        (samples / "MAR11001_test.nxspe", "was measured with Ei 12.97"),
        (shared_data / "pcsmo" / "measured.npy", "give reduced runs"),
    ):
        with pytest.raises(Exception, match=reason):
            open_runs([path], pcsmo)
    with pytest.raises(DataError, match="give one for each, or one"):
        open_runs(runs[:3], pcsmo, [1.0, 2.0])
    write_nxspe(tmp_path / "b", ones, ones, np.arange(5.0), [50, 60, 70], [0, 0, 0], 70.0, psi=0.0)
    with pytest.raises(DataError, match="none of the measured pixels falls into the view"):
        reduce_runs(pcsmo, open_runs([tmp_path / "b"], pcsmo))


def test_not_yet_scaled_data_are_multiplied_by_ki_over_kf(pcsmo: Study, tmp_path: Path) -> None:
    array = detector_array(tubes=32, pixels=32)
    edges = np.linspace(7, 49, 13)
    flat = np.ones((array.shape[1], 12))
    images = []
    for name, scaled in (("a", True), ("b", False)):
        write_nxspe(tmp_path / name, flat, flat, edges, array[0], array[1], 70.0, psi=0.0, scaled=scaled)
        images.append(reduce_runs(pcsmo, open_runs([tmp_path / name], pcsmo)).spectrum)
    ratio = (images[1].signal / images[0].signal)[3]
    low, high = np.sqrt(70 / (70 - 7)), np.sqrt(70 / (70 - 49))
    assert np.nanmin(ratio) > low and np.nanmax(ratio) < high
    # a pixel holds a few energies: errors add in quadrature, signals do not
    np.testing.assert_allclose(images[1].error[3] / images[0].error[3], ratio, rtol=2e-3)


def test_a_rotation_scan_becomes_a_cut_along_a_path(tmp_path: Path) -> None:
    """A function of (Q, energy), seen by detectors at many crystal angles, averaged over the box of each pixel."""
    study = parse_study(PATH)
    view, array = study.path, detector_array(tubes=128, pixels=24)

    def intensity(hkl: np.ndarray, energy: np.ndarray) -> np.ndarray:
        band = 15 - 6 * np.cos(2 * np.pi * hkl[:, 0])
        return np.exp(-(((energy - band) / 3) ** 2)) + 0.1

    paths = []
    for psi in np.arange(-110.0, -50.0, 1.5):
        paths.append(tmp_path / f"{psi:g}.nxspe")
        write_virtual_run(study, 0, intensity, array, paths[-1], bins=60, psi=float(psi))
    reduced = reduce_runs(study, open_runs(paths, study)).spectrum
    assert reduced.npix is not None
    signal, seen = reduced.signal[0, :, :, 0], reduced.npix[0, :, :, 0] >= 3
    assert seen.mean() > 0.5
    edges = study.energy_edges[0]
    energies = (edges[1:] + edges[:-1]) / 2
    h = view.centres[:, 0]
    expected = intensity(np.tile(np.stack([h, 0 * h, 0 * h], 1), (len(energies), 1)), np.repeat(energies, len(h)))
    difference = (signal - expected.reshape(signal.shape))[seen]
    assert np.sqrt(np.mean(difference**2)) < 0.05
    assert abs(np.mean(difference)) < 0.01
