"""Images and masks that cannot be used are refused in one sentence; what was written is read back."""

import io
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from magnoscope.errors import SpectrumError
from magnoscope.io.images import read_spectrum, write_spectrum
from magnoscope.spectrum import Spectrum, to_tiles
from magnoscope.studies import load_study, parse_study
from magnoscope.study import Study

SQUARE = Path(__file__).parents[1] / "cli" / "square.toml"


@pytest.fixture(scope="module")
def study() -> Study:
    return load_study(SQUARE)


@pytest.fixture(scope="module")
def image(study: Study) -> np.ndarray:
    image = np.random.default_rng(1).gamma(2.0, size=study.image_shape)
    image[:2, :3] = np.nan
    return image


@pytest.fixture
def said(study: Study) -> Callable[..., str]:
    """What is said of a file, which must not be readable."""

    def read(path: Path, mask: Path | None = None) -> str:
        with pytest.raises(SpectrumError) as caught:
            read_spectrum(path, study, mask)
        message = str(caught.value)
        assert "\n" not in message and (mask or path).name in message
        return message

    return read


def put(path: Path, array: object, **options: bool) -> Path:
    np.save(path, array, **options)  # type: ignore[arg-type]
    return path


class Trap:
    """Does something that can be seen when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


# ---- arrays --------------------------------------------------------------------------------------------------------

ARRAYS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "too few rows": (lambda a: a[:5], "the image has shape 5 x 24; study square needs 12 x 24"),
    "transposed": (lambda a: a.T, "the image has shape 24 x 12"),
    "three images": (lambda a: np.stack([a] * 3), "3 x 12 x 24"),
    "flat": (lambda a: a.ravel(), "the image has shape 288;"),
    "number": (lambda a: np.array(1.0), "the image has shape ();"),
    "nothing": (lambda a: a[:0], "the image has shape 0 x 24"),
    "no detector": (lambda a: a * np.nan, "has no pixel with a detector: all are NaN or infinite"),
    "infinite": (lambda a: np.full(a.shape, np.inf), "has no pixel with a detector"),
    "few detectors": (lambda a: np.where(np.arange(a.size).reshape(a.shape) == 50, a, np.nan), "only 0.3% of the"),
    "zero": (lambda a: a * 0, "is zero in every pixel"),
    "zero and no detector": (lambda a: np.where(np.isnan(a), a, 0), "is zero in every pixel"),
    "negative": (lambda a: -a, "has no pixel above zero"),
    "huge": (lambda a: a * 1e300, "the largest intensity in"),
    "tiny": (lambda a: a * 1e-300, "scale it to lie between"),
    "text": (lambda a: a.astype(str), "instead of one array of real numbers"),
    "bytes": (lambda a: a.astype("S8"), "instead of one array of real numbers"),
    "complex": (lambda a: a + 0j, "holds complex128 instead of one array of real numbers"),
    "dates": (lambda a: np.zeros(a.shape, "M8[s]"), "holds datetime64[s] instead"),
    "records": (lambda a: np.zeros(a.shape, [("x", float)]), "instead of one array of real numbers"),
    "boolean": (lambda a: a > 1, "is boolean; an image holds intensities (give a mask with --mask)"),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_that_are_no_image(case: str, said, image: np.ndarray, tmp_path: Path) -> None:
    change, expected = ARRAYS[case]
    assert expected in said(put(tmp_path / "image.npy", change(image)))


@pytest.mark.parametrize("dtype", ["f2", "f4", ">f8", "longdouble"])
def test_arrays_that_are(study: Study, image: np.ndarray, tmp_path: Path, dtype: str) -> None:
    path = put(tmp_path / "image.npy", np.asfortranarray(image.astype(dtype)))
    found = read_spectrum(path, study)
    np.testing.assert_allclose(found.image, image, rtol=1e-3)
    np.testing.assert_array_equal(found.valid, to_tiles(np.isfinite(image), study))


def test_counts_and_axes_of_length_one(study: Study, tmp_path: Path) -> None:
    counts = np.random.default_rng(0).poisson(3.0, study.image_shape)
    found = read_spectrum(put(tmp_path / "image.npy", counts[None, ..., None]), study)
    assert found.valid.all()
    np.testing.assert_array_equal(found.image, counts)


def test_infinite_and_negative_pixels_among_others(study: Study, image: np.ndarray, tmp_path: Path) -> None:
    """What is not finite was not measured; a value below zero was, after its background was taken off."""
    changed = image.copy()
    changed[3, 3], changed[4, 4], changed[5, 5] = np.inf, -np.inf, -1.0
    found = read_spectrum(put(tmp_path / "image.npy", changed), study)
    lost = np.isnan(found.image)
    assert lost[3, 3] and lost[4, 4] and not lost[5, 5]
    assert lost.sum() == np.isnan(image).sum() + 2


# ---- files ---------------------------------------------------------------------------------------------------------


def test_files_that_are_no_array(said, image: np.ndarray, tmp_path: Path) -> None:
    good = put(tmp_path / "good.npy", image).read_bytes()
    contents = {
        "text": (b"1 2 3\n4 5 6\n", "is no NumPy array file"),
        "empty": (b"", "is no NumPy array file"),
        "half": (good[: len(good) // 2], "is empty, damaged or cut short"),
        "header": (good[:20], "is empty, damaged or cut short"),
        "magic": (good[:6], "is empty, damaged or cut short"),
        "version": (good[:6] + b"\x09" + good[7:], "is empty, damaged or cut short"),
        "open header": (good[:10] + b"{'descr': '<f8', 'shape': (1, 2".ljust(117) + b"\n", "is empty, damaged or cut"),
        "zip": (b"PK\x03\x04nothing", "is an archive of arrays (.npz)"),
    }
    for name, (content, expected) in contents.items():
        path = tmp_path / f"{name}.npy"
        path.write_bytes(content)
        assert expected in said(path)
    np.savez(tmp_path / "two.npz", image, image)
    assert "is an archive of arrays (.npz)" in said((tmp_path / "two.npz").rename(tmp_path / "renamed.npy"))
    assert "there is no file" in said(tmp_path / "missing.npy")
    (tmp_path / "folder.npy").mkdir()
    assert "is a folder" in said(tmp_path / "folder.npy")
    assert "cannot be read: Not a directory" in said(tmp_path / "good.npy" / "more.npy")


def test_header_that_declares_more_than_there_is(said, tmp_path: Path) -> None:
    for shape in ("(1000000000, 10000)", "(-1, 24)", "(12, 25)"):
        header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
        path = tmp_path / "image.npy"
        path.write_bytes(b"\x93NUMPY\x01\x00\x76\x00" + header.encode() + bytes(12 * 24 * 8))
        assert "is empty, damaged or cut short" in said(path)


def test_nothing_is_ever_unpickled(said, image: np.ndarray, tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    array = image.astype(object)
    array[0, 0] = Trap(sprung)
    assert "holds Python objects" in said(put(tmp_path / "objects.npy", array, allow_pickle=True))
    (tmp_path / "pickle.npy").write_bytes(pickle.dumps(Trap(sprung)))
    assert "is no NumPy array file" in said(tmp_path / "pickle.npy")
    np.savez(tmp_path / "objects.npz", array)
    assert "is an archive" in said(tmp_path / "objects.npz")
    assert "holds Python objects" in said(tmp_path / "objects.npy", None)
    assert not sprung.exists()


def test_damaged_bytes_never_raise_anything_else(study: Study, image: np.ndarray, tmp_path: Path) -> None:
    """Every byte of the header in turn replaced; the outcome is a spectrum or a SpectrumError."""
    buffer = io.BytesIO()
    np.save(buffer, image)
    good, path = buffer.getvalue(), tmp_path / "image.npy"
    for place in range(70):
        for byte in (0, 39, 40, 45, 57, 123, 255):
            path.write_bytes(good[:place] + bytes([byte]) + good[place + 1 :])
            try:
                read_spectrum(path, study)
            except SpectrumError as error:
                assert "image.npy" in str(error)


# ---- HDF5 ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def stored(study: Study, image: np.ndarray, tmp_path: Path) -> Path:
    tiles = to_tiles(image, study)
    path = tmp_path / "spectrum.h5"
    error = np.sqrt(np.abs(tiles))
    write_spectrum(Spectrum(study, tiles, np.isfinite(tiles), error), path, {"model": "near", "count": 3})
    return path


def test_round_trip(study: Study, image: np.ndarray, stored: Path, tmp_path: Path) -> None:
    found = read_spectrum(stored, study)
    np.testing.assert_array_equal(found.image, image)
    np.testing.assert_array_equal(found.error, np.sqrt(np.abs(to_tiles(image, study))))
    bare = tmp_path / "bare.npy"
    write_spectrum(found, bare)
    again = read_spectrum(bare, study)
    np.testing.assert_array_equal(again.signal, found.signal)
    np.testing.assert_array_equal(again.valid, found.valid)
    assert {path.name for path in tmp_path.iterdir()} == {"spectrum.h5", "bare.npy"}
    shutil.copy(stored, tmp_path / "named.npy")
    np.testing.assert_array_equal(read_spectrum(tmp_path / "named.npy", study).signal, found.signal)


def test_zero_with_zero_error_was_not_measured(study: Study, stored: Path) -> None:
    with h5py.File(stored, "r+") as file:
        file["signal"][0, 0, 5, 5:7] = 0.0
        file["error"][0, 0, 5, 5] = 0.0
    found = read_spectrum(stored, study)
    assert not found.valid[0, 0, 5, 5] and np.isnan(found.signal[0, 0, 5, 5])
    assert found.valid[0, 0, 5, 6] and found.signal[0, 0, 5, 6] == 0


def replaced(name: str, value: object) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = value

    return change


def grouped(file: h5py.File) -> None:
    del file["signal"]
    file.create_group("signal")


def dangling(file: h5py.File) -> None:
    del file["signal"]
    file["signal"] = h5py.ExternalLink("nowhere.h5", "/signal")


FULL = (1, 2, 12, 12)
CHANGES: dict[str, tuple[Callable[[h5py.File], None], str]] = {
    "other layout": (lambda f: f.attrs.update(layout_hash="x"), "with other tiles, axes or classes than square has"),
    "odd layout": (lambda f: f.attrs.update(layout_hash=np.arange(3)), "name the right study with --study"),
    "no layout": (lambda f: f.attrs.pop("layout_hash"), "name the right study with --study"),
    "no signal": (lambda f: f.pop("signal"), "is HDF5 but no magnoscope spectrum"),
    "group": (grouped, "is HDF5 but no magnoscope spectrum"),
    "dangling link": (dangling, "is a link to another place, which is not followed"),
    "shape": (replaced("signal", np.ones((2, 12, 12))), "`signal` holds float64 of shape (2, 12, 12); it must be"),
    "text": (replaced("signal", np.full(FULL, b"ab")), "it must be real numbers of shape (1, 2, 12, 12)"),
    "complex": (replaced("signal", np.ones(FULL, complex)), "it must be real numbers"),
    "number": (replaced("signal", 3.0), "`signal` holds float64 of shape ()"),
    "null": (replaced("signal", h5py.Empty("f8")), "it must be real numbers"),
    "float mask": (replaced("valid", np.ones(FULL)), "`valid` holds float64"),
    "error of another shape": (replaced("error", np.ones(3)), "`error` holds float64 of shape (3,)"),
    "nothing valid": (replaced("valid", np.zeros(FULL, bool)), "has no pixel with a detector"),
    "infinite": (replaced("signal", np.full(FULL, np.inf)), "has no pixel with a detector"),
    "negative": (replaced("signal", np.full(FULL, -3)), "has no pixel above zero"),
    "zero": (replaced("signal", np.zeros(FULL)), "is zero in every pixel"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_hdf5_that_is_not_ours(case: str, said, stored: Path) -> None:
    change, expected = CHANGES[case]
    with h5py.File(stored, "r+") as file:
        change(file)
    assert expected in said(stored)


def test_hdf5_for_another_study(said, stored: Path, study: Study) -> None:
    text = SQUARE.read_text("utf-8")
    other = parse_study(text.replace('"square"', '"wide"').replace("-0.9", "-0.8"))
    found = read_spectrum(stored, study)
    write_spectrum(Spectrum(other, found.signal, found.valid), stored)
    assert "was written for study wide with other tiles" in said(stored)


def test_hdf5_cut_short(said, stored: Path) -> None:
    content = stored.read_bytes()
    for length in (9, 100, 1000, len(content) // 2, len(content) - 50):
        stored.write_bytes(content[:length])
        assert "is damaged or cut short" in said(stored)


# ---- masks ---------------------------------------------------------------------------------------------------------


def test_mask(study: Study, image: np.ndarray, tmp_path: Path) -> None:
    path = put(tmp_path / "image.npy", image)
    mask = np.random.default_rng(2).uniform(size=image.shape) < 0.3
    for form in (mask, mask.astype(np.uint8), mask[None]):
        found = read_spectrum(path, study, put(tmp_path / "mask.npy", form))
        np.testing.assert_array_equal(np.isnan(found.image), mask | np.isnan(image))
        np.testing.assert_array_equal(np.isnan(found.signal), ~found.valid)


MASKS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "shape": (lambda a: np.zeros((3, 3), bool), "the image has shape 3 x 3; study square needs 12 x 24"),
    "tiles": (lambda a: np.zeros((2, 12, 12), bool), "2 x 12 x 12"),
    "float": (lambda a: np.zeros(a.shape), "holds float64; it must be boolean, True where there is no detector"),
    "counts": (lambda a: np.full(a.shape, 7), "holds numbers from 7 to 7; it must be boolean"),
    "everything": (lambda a: np.ones(a.shape, bool), "has no pixel with a detector: all are NaN or infinite or masked"),
    "text": (lambda a: np.full(a.shape, "x"), "instead of one array of real numbers"),
}


@pytest.mark.parametrize("case", MASKS)
def test_masks_that_are_none(case: str, said, image: np.ndarray, tmp_path: Path) -> None:
    change, expected = MASKS[case]
    path, mask = put(tmp_path / "image.npy", image), put(tmp_path / "mask.npy", change(image))
    assert expected in said(path, mask)


def test_mask_that_is_missing(said, image: np.ndarray, tmp_path: Path, stored: Path) -> None:
    path = put(tmp_path / "image.npy", image)
    assert "there is no file" in said(path, tmp_path / "mask.npy")
    assert "is a folder" in said(path, tmp_path)
    assert "is no NumPy array file" in said(path, stored)


# ---- writing -------------------------------------------------------------------------------------------------------


def test_writing_leaves_nothing_half_done(
    study: Study, image: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spectrum = read_spectrum(put(tmp_path / "image.npy", image), study)
    before = (tmp_path / "image.npy").read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(SpectrumError, match="image.npy cannot be written: No space left on device"):
        write_spectrum(spectrum, tmp_path / "image.npy")
    monkeypatch.setattr(h5py, "File", full)
    with pytest.raises(SpectrumError, match="x.h5 cannot be written: No space left on device"):
        write_spectrum(spectrum, tmp_path / "x.h5")
    for path, expected in (("nowhere/x.npy", "cannot be written"), ("x.txt", "must end in .npy")):
        with pytest.raises(SpectrumError, match=expected):
            write_spectrum(spectrum, tmp_path / path)
    assert [path.name for path in tmp_path.iterdir()] == ["image.npy"]
    assert (tmp_path / "image.npy").read_bytes() == before
