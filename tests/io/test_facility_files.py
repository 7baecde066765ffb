"""Files of facilities, against what is known of the samples and against themselves.

Samples: test suites of Horace (https://github.com/pace-neutrons/Horace) and Sunny.jl; the figures beside them were read
off with the tools named there.
"""

from pathlib import Path

import h5py
import numpy as np
import pytest

from magnoscope.crystal import Lattice, Orientation
from magnoscope.errors import DataError, SpectrumError
from magnoscope.io.contents import Kind, inspect, kind_of
from magnoscope.io.images import read_part, read_spectrum, write_spectrum
from magnoscope.io.mdhisto import direction, read_mdhisto
from magnoscope.io.mdhisto_write import axis_name, write_mdhisto
from magnoscope.io.nxspe import read_nxspe, write_nxspe
from magnoscope.io.sqw import read_sqw
from magnoscope.reduce.merge import merge
from magnoscope.spectrum import Spectrum
from magnoscope.study import Study
from magnoscope.units import wavevector

HORACE_2_K_TO_E = 2.07
"""hbar^2/2m (meV Å^2) of the Horace that wrote the version 2 sample: what its pixels and its angles agree with."""


@pytest.fixture(scope="module")
def samples(shared_data: Path) -> Path:
    return shared_data / "formats"


# ---- Horace --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "version", "runs", "pixels"),
    [
        ("w2d_qq_small_sqw.sqw", 2.0, 1, 4250),
        ("test_sqw_file_read_write_v3_3.sqw", 3.3, 1, 7680),
        ("faccess_sqw_v4_sample.sqw", 4.0, 109, 4324),
    ],
)
def test_pixels_binned_again_are_the_image_of_the_file(samples: Path, name, version, runs, pixels) -> None:
    """The two halves of a file were made from each other by Horace: binning its pixels must give its image."""
    sqw = read_sqw(samples / name)
    assert (sqw.version, len(sqw.runs), sqw.pixels) == (version, runs, pixels)
    image = sqw.histogram
    axes = np.array([a.direction for a in image.axes[:3]])
    sums = np.zeros((3, *image.shape))
    for part in sqw.chunks(1000):
        to_hkl = np.array([run.to_hkl for run in sqw.runs])[np.minimum(part[:, 4].astype(int) - 1, runs - 1)]
        hkl = np.einsum("nij,nj->ni", to_hkl, part[:, :3].astype(float))
        places = np.c_[(hkl - image.offset) @ np.linalg.inv(axes), part[:, 3]]
        index = tuple(
            np.clip(np.searchsorted(a.edges, places[:, n]) - 1, 0, a.bins - 1) for n, a in enumerate(image.axes)
        )
        for into, values in zip(sums, (part[:, 7], part[:, 8], np.ones(len(part))), strict=True):
            np.add.at(into, index, values)
    signal, variance, npix = sums
    np.testing.assert_array_equal(npix, image.npix)
    counted = npix > 0
    np.testing.assert_allclose((signal / npix.clip(1))[image.valid], image.signal[image.valid], rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(
        (np.sqrt(variance) / npix.clip(1))[image.valid], image.error[image.valid], rtol=1e-5, atol=1e-9
    )
    assert not (image.valid & ~counted).any()


@pytest.mark.parametrize("name", ["w2d_qq_small_sqw.sqw"])
def test_angles_of_the_detectors_give_the_wave_vectors_of_the_pixels(samples: Path, name: str) -> None:
    """Signs of polar angle, azimuth and psi: Horace's own pixels from its own detector table (58880 detectors)."""
    sqw = read_sqw(samples / name)
    run = sqw.runs[0]
    table = np.fromfile(samples / name, "<f4", 6 * 58880, offset=944 + 4 + 22 + 4 + 32 + 4).reshape(6, -1)
    pixels = np.concatenate(list(sqw.chunks(10**6))).astype(float)
    detector = pixels[:, 5].astype(int) - 1
    polar, azimuth = np.radians(table[2:4, detector].astype(float))
    scale = np.sqrt(HORACE_2_K_TO_E / 2.072124652)
    k_i, k_f = wavevector(run.ei) / scale, wavevector(run.ei - pixels[:, 3]) / scale
    beam = np.stack([np.cos(polar), np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth)], 1)
    q = np.array([k_i, 0, 0]) - k_f[:, None] * beam
    frame = Orientation(run.u, run.v).spectrometer_frame(run.lattice, run.psi)
    np.testing.assert_allclose(q @ np.linalg.inv(frame), pixels[:, :3] @ run.to_hkl.T, atol=3e-6)


def test_old_histogram(samples: Path) -> None:
    sqw = read_sqw(samples / "w2d_qe_d2d.sqw")
    assert sqw.pixels == 0 and not sqw.runs and sqw.version == 2
    assert sqw.histogram.shape == (81, 1, 1, 72)
    np.testing.assert_allclose(sqw.histogram.axes[0].direction, [1, 1, 0])
    assert sqw.histogram.lattice is not None and abs(sqw.histogram.lattice.a - 3.84985) < 1e-4
    assert (~sqw.histogram.valid).sum() == 1034  # bins with npix 0, as Horace counts them
    assert any("Ei" in text for text in sqw.histogram.lacks)


def test_bins_without_pixels_are_not_measured(samples: Path) -> None:
    """81 of 176 bins have npix 0 and signal exactly 0; one more has both signal and error 0."""
    image = read_sqw(samples / "faccess_dnd_v4_sample.sqw").histogram
    assert image.valid.size == 176 and (image.npix == 0).sum() == 81
    assert not image.valid[image.npix == 0].any()
    np.testing.assert_allclose(image.axes[0].direction, [1, 1, 0], atol=1e-6)
    np.testing.assert_allclose(image.axes[1].direction, [0, 0, 1], atol=1e-6)


def test_version_4_as_scippneutron_reads_it(samples: Path) -> None:
    sqw_io = pytest.importorskip("scippneutron.io.sqw")
    path = samples / "faccess_sqw_v4_sample.sqw"
    with sqw_io.Sqw.open(path) as file:
        image, pixels = file.read_data_block("data", "nd_data"), file.read_data_block("pix", "data_wrap")
    ours = read_sqw(path)
    np.testing.assert_array_equal(np.concatenate(list(ours.chunks(1000))), pixels)
    for theirs, mine in zip(image, (ours.histogram.signal, ours.histogram.error**2, ours.histogram.npix), strict=True):
        np.testing.assert_allclose(mine.ravel(), theirs.ravel(), rtol=1e-12)


# ---- NXSPE ---------------------------------------------------------------------------------------------------------


def test_nxspe_versions(samples: Path) -> None:
    old, mari, new = (
        read_nxspe(samples / n)
        for n in ("nxspe_version1_0.nxspe", "MAR11001_test.nxspe", "inst_maps_ei400_600hz.nxspe")
    )
    assert [r.version for r in (old, mari, new)] == ["1.0", "1.1", "1.3"]
    assert [r.instrument for r in (old, mari, new)] == ["MAPS", "MARI", "MAPS"]
    assert (old.ei, new.ei) == (800, 400) and abs(mari.ei - 12.97283725) < 1e-7
    assert (old.psi, mari.psi, new.psi) == (0, 0, None) and any("--psi" in text for text in new.lacks)
    assert mari.shape == (285, 110) and mari.scaled and len(mari.energies) == 111
    # centres instead of edges
    assert new.shape == (5, 5) and len(new.energies) == 6


def test_masked_spectra_of_mari_are_not_valid_but_empty_bins_are(samples: Path) -> None:
    """3630 NaN are 33 masked spectra; elsewhere a bin with neither signal nor error is a count of zero."""
    run = read_nxspe(samples / "MAR11001_test.nxspe")
    signal, error, valid = run.rows(0, 285)
    assert np.isnan(signal).sum() == 3630 and not valid[np.isnan(signal)].any()
    assert (~valid).all(1).sum() == 33 and valid.any(1).sum() == 252
    empty = valid & (signal == 0) & (error == 0)
    assert empty.sum() > 1000
    part, _, _ = run.rows(100, 110)
    np.testing.assert_array_equal(part, signal[100:110])


# ---- Mantid --------------------------------------------------------------------------------------------------------


def test_mdhisto_stores_variances(samples: Path) -> None:
    image = read_mdhisto(samples / "mdhisto_1dcut.nxs")
    with h5py.File(samples / "mdhisto_1dcut.nxs") as file:
        variance = file["MDHistoWorkspace/data/errors_squared"][:, 0, 0, 0]
    np.testing.assert_allclose(image.error[0, 0, 0], np.sqrt(variance))
    assert image.shape == (1, 1, 1, 88) and image.energy.bins == 88
    np.testing.assert_allclose(image.axes[1].direction, [-0.5, 1, 0])
    assert any("lattice" in text for text in image.lacks)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("[H,0,0]", (1, 0, 0)),
        ("[-0.5K,K,0]", (-0.5, 1, 0)),
        ("[0,0,L]", (0, 0, 1)),
        ("[H,-H,0]", (1, -1, 0)),
        ("[0.0,2.5K,0]", (0, 2.5, 0)),
        ("DeltaE", None),
        ("[H,K,0]", None),
        ("[H,0]", None),
        ("[0,0,0]", None),
        ("Q_sample_x", None),
    ],
)
def test_names_of_axes(name: str, expected) -> None:
    found = direction(name)
    assert (found is None) == (expected is None)
    if expected is not None:
        np.testing.assert_allclose(found, expected)
        np.testing.assert_allclose(direction(axis_name(expected, "H")), expected)


# ---- there and back ------------------------------------------------------------------------------------------------


def a_spectrum(study: Study, seed: int = 0) -> Spectrum:
    rng = np.random.default_rng(seed)
    valid = rng.random(study.shape) > 0.2
    npix = np.where(valid, rng.integers(1, 9, study.shape), 0).astype(float)
    signal = np.where(valid, rng.exponential(1, study.shape), np.nan)
    return Spectrum(study, signal, valid, np.where(valid, 0.1 + 0.1 * rng.random(study.shape), np.nan), npix)


def test_our_file_keeps_everything(pcsmo: Study, tmp_path: Path) -> None:
    spectrum = a_spectrum(pcsmo)
    write_spectrum(spectrum, tmp_path / "a.h5")
    again = read_spectrum(tmp_path / "a.h5", pcsmo)
    for name in ("signal", "valid", "error", "npix"):
        np.testing.assert_array_equal(getattr(again, name), getattr(spectrum, name))


@pytest.mark.parametrize("number", [0, 3])
def test_mdhisto_of_a_run_comes_back(pcsmo: Study, tmp_path: Path, number: int) -> None:
    spectrum = a_spectrum(pcsmo)
    write_mdhisto(spectrum, number, tmp_path / "run.nxs")
    again = read_spectrum(tmp_path / "run.nxs", pcsmo)
    others = [n for n in range(len(pcsmo.runs)) if n != number]
    assert not again.valid[others].any()
    np.testing.assert_array_equal(again.valid[number], spectrum.valid[number])
    np.testing.assert_allclose(again.signal[number], spectrum.signal[number], rtol=1e-12)
    np.testing.assert_allclose(again.error[number], spectrum.error[number], rtol=1e-12)
    np.testing.assert_array_equal(again.npix[number], spectrum.npix[number])
    image = read_mdhisto(tmp_path / "run.nxs")
    assert image.ei == (pcsmo.runs[number].ei,) and image.psi == (0,)
    assert image.lattice == Lattice(5.408, 5.4599, 19.266)
    with h5py.File(tmp_path / "run.nxs") as file:
        # LoadMD looks the instrument up by its name
        assert file["MDHistoWorkspace/experiment0/instrument/name"][()].tolist() == [b"MAPS"]


def test_parts_of_an_image_are_joined(pcsmo: Study, tmp_path: Path) -> None:
    spectrum, parts = a_spectrum(pcsmo), []
    for number in range(len(pcsmo.runs)):
        write_mdhisto(spectrum, number, tmp_path / f"{number}.nxs")
        parts.append(read_part(tmp_path / f"{number}.nxs", pcsmo))
    whole = merge(parts)
    np.testing.assert_array_equal(whole.valid, spectrum.valid)
    for name in ("signal", "error", "npix"):
        np.testing.assert_allclose(getattr(whole, name), getattr(spectrum, name), rtol=1e-12)
    # measured twice: the same mean, an error smaller by the root of two
    twice = merge([spectrum, spectrum])
    np.testing.assert_allclose(twice.signal, spectrum.signal)
    assert twice.error is not None and spectrum.error is not None
    np.testing.assert_allclose(twice.error, spectrum.error / np.sqrt(2))
    bare = Spectrum(pcsmo, spectrum.signal, spectrum.valid)
    assert merge([spectrum, bare]).error is None and merge([spectrum, bare]).npix is None


def test_nxspe_comes_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    signal = rng.exponential(1, (7, 5))
    signal[2] = np.nan
    polar, azimuthal = rng.uniform(3, 60, 7), rng.uniform(-180, 180, 7)
    write_nxspe(
        tmp_path / "a",
        signal,
        np.sqrt(signal),
        np.linspace(-5, 50, 6),
        polar,
        azimuthal,
        60.0,
        psi=12.5,
        distance=6.0,
        instrument="MAPS",
    )
    assert kind_of(tmp_path / "a") == Kind.nxspe
    run = read_nxspe(tmp_path / "a")
    assert (run.ei, run.psi, run.scaled, run.instrument, run.version) == (60.0, 12.5, True, "MAPS", "1.2")
    again, error, valid = run.rows(0, 7)
    np.testing.assert_array_equal(again, signal)
    np.testing.assert_array_equal(run.polar, polar)
    np.testing.assert_array_equal(run.azimuthal, azimuthal)
    assert not valid[2].any() and valid[[0, 1, 3]].all()


# ---- kinds, and what does not fit ----------------------------------------------------------------------------------


def test_kinds_are_told_by_content(samples: Path, tmp_path: Path) -> None:
    expected = {
        "MAR11001_test.nxspe": Kind.nxspe,
        "mdhisto_1dcut.nxs": Kind.mdhisto,
        "w2d_qe_d2d.sqw": Kind.sqw,
        "faccess_dnd_v4_sample.sqw": Kind.sqw,
    }
    for name, kind in expected.items():
        other = tmp_path / "renamed.npy"
        other.write_bytes((samples / name).read_bytes())
        assert kind_of(other) == kind
        lines = inspect(other).lines()
        assert 2 <= len(lines) <= 10 and str(kind).split()[0] in lines[0]


def test_files_that_do_not_fit_say_why(samples: Path, pcsmo: Study) -> None:
    for name, reason in (
        ("mdhisto_1dcut.nxs", "do not lie whole in the slices of any run of study pcsmo"),
        ("w2d_qe_d2d.sqw", "give the study the lattice of the data"),
        ("MAR11001_test.nxspe", "magnoscope reduce"),
    ):
        with pytest.raises(SpectrumError, match=reason) as caught:
            read_spectrum(samples / name, pcsmo)
        assert "\n" not in str(caught.value)


def test_other_bins_and_axes_are_refused(pcsmo: Study, tmp_path: Path) -> None:
    path = tmp_path / "run.nxs"
    for change, reason in (
        (lambda d: d["D0"].__setitem__(..., d["D0"][()] * 1.1), "do not lie whole in the pixels of axis h"),
        (lambda d: d["D0"].attrs.__setitem__("long_name", np.bytes_("[H,H,0]")), "bin it along these"),
        (lambda d: d["D0"].attrs.__setitem__("long_name", np.bytes_("Q_sample_x")), "bin the data in r.l.u."),
        (lambda d: d["D3"].__setitem__(..., d["D3"][()] * 1.03), "bin it in these"),
        (lambda d: d["D0"].__setitem__(..., np.nan), "must be finite and rise"),
        (lambda d: d["D0"].__setitem__(..., d["D0"][()][::-1]), "must be finite and rise"),
    ):
        write_mdhisto(a_spectrum(pcsmo), 1, path)
        with h5py.File(path, "r+") as file:
            change(file["MDHistoWorkspace/data"])
        with pytest.raises(SpectrumError, match=reason):
            read_spectrum(path, pcsmo)


def test_finer_bins_are_joined_with_their_weights(pcsmo: Study, tmp_path: Path) -> None:
    """Bins of half the width in h and energy, measured with unequal weights, are their weighted mean."""
    path, fine = tmp_path / "run.nxs", tmp_path / "fine.nxs"
    write_mdhisto(a_spectrum(pcsmo), 2, path)
    with h5py.File(path) as file, h5py.File(fine, "w") as out:
        file.copy("MDHistoWorkspace", out)
        data = out["MDHistoWorkspace/data"]
        arrays = {name: data[name][()] for name in ("signal", "errors_squared", "num_events", "mask")}
        for name in ("D0", "D3"):
            edges = data[name][()]
            attributes = dict(data[name].attrs)
            del data[name]
            data[name] = np.sort(np.r_[edges, (edges[1:] + edges[:-1]) / 2])
            data[name].attrs.update(attributes)
        attributes = dict(data["signal"].attrs)
        for name, array in arrays.items():
            del data[name]
            data[name] = array.repeat(2, 0).repeat(2, 3)
        data["signal"].attrs.update(attributes)
        data["signal"][..., ::2] *= 3
        data["num_events"][..., ::2] *= 2
    coarse, joined = read_spectrum(path, pcsmo), read_spectrum(fine, pcsmo)
    np.testing.assert_array_equal(joined.valid, coarse.valid)
    np.testing.assert_allclose(joined.signal[2], coarse.signal[2] * (2 * 3 + 1) / 3, rtol=1e-12)
    np.testing.assert_allclose(joined.npix[2], coarse.npix[2] * 6, rtol=1e-12)


def test_wrong_lattice_is_refused(pcsmo: Study, tmp_path: Path) -> None:
    path = tmp_path / "run.nxs"
    write_mdhisto(a_spectrum(pcsmo), 2, path)
    with h5py.File(path, "r+") as file:
        file["MDHistoWorkspace/experiment0/sample/oriented_lattice/unit_cell_a"][...] = 3.85
    with pytest.raises(SpectrumError, match="lattice of"):
        read_spectrum(path, pcsmo)


def test_indirect_geometry_is_refused(samples: Path, tmp_path: Path) -> None:
    content = bytearray((samples / "w2d_qq_small_sqw.sqw").read_bytes())
    at = content.index(np.float32(140).tobytes() + np.int32(1).tobytes())
    content[at + 4 : at + 8] = np.int32(2).tobytes()
    (tmp_path / "a.sqw").write_bytes(content)
    with pytest.raises(DataError, match="indirect"):
        read_sqw(tmp_path / "a.sqw")
