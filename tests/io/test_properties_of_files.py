"""Files of any content: written, read and written again they stay the same, and are read with what was put in."""

import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from magnoscope.io.images import read_spectrum, write_spectrum
from magnoscope.io.mdhisto_write import write_mdhisto
from magnoscope.io.nxspe import read_nxspe, write_nxspe
from magnoscope.io.sqw import read_sqw
from magnoscope.spectrum import Spectrum
from magnoscope.study import Study

FEW = settings(max_examples=15)


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def contents(path: Path) -> dict[str, object]:
    """All arrays and attributes of an HDF5 file."""
    out: dict[str, object] = {}

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            out[name] = item[()]
        for key, value in item.attrs.items():  # type: ignore[attr-defined]
            out[f"{name}@{key}"] = str(value)

    with h5py.File(path) as file:
        file.visititems(visit)
        out |= {f"@{key}": str(value) for key, value in file.attrs.items()}
    return out


def same(first: Path, second: Path) -> None:
    a, b = contents(first), contents(second)
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


sizes = st.tuples(st.integers(1, 6), st.integers(1, 5))
values = st.floats(-1e6, 1e6, allow_subnormal=False)


@st.composite
def runs(draw: st.DrawFn) -> dict[str, object]:
    detectors, bins = draw(sizes)
    signal = draw(arrays(float, (detectors, bins), elements=values | st.just(np.nan)))
    error = draw(arrays(float, (detectors, bins), elements=st.floats(0, 1e6, allow_subnormal=False)))
    steps = draw(arrays(float, bins + 1, elements=st.floats(0.01, 10)))
    return {
        "signal": signal,
        "error": error,
        "energies": draw(st.floats(-50, 0)) + np.cumsum(steps),
        "polar": draw(arrays(float, detectors, elements=st.floats(0, 180))),
        "azimuthal": draw(arrays(float, detectors, elements=st.floats(-180, 180))),
        "ei": draw(st.floats(0.1, 1000)),
        "psi": draw(st.none() | st.floats(-360, 360)),
        "scaled": draw(st.booleans()),
        "instrument": draw(st.sampled_from(["MAPS", "SEQUOIA", ""])),
    }


@FEW
@given(runs())
def test_nxspe(run: dict) -> None:
    with folder() as place:
        write_nxspe(place / "a", **run)
        found = read_nxspe(place / "a")
        signal, error, valid = found.rows(0, 100)
        assert (found.ei, found.psi, found.scaled) == (run["ei"], run["psi"], run["scaled"])
        for name in ("energies", "polar", "azimuthal"):
            np.testing.assert_array_equal(getattr(found, name), run[name])
        np.testing.assert_array_equal(signal, run["signal"])
        np.testing.assert_array_equal(error, run["error"])
        assert not (valid & np.isnan(signal)).any()
        empty = ((signal == 0) & (error == 0)).all(1)
        assert not valid[empty].any()
        written = {"signal": signal, "error": error, "instrument": run["instrument"], "distance": found.distance}
        fields = ("energies", "polar", "azimuthal", "ei", "psi", "scaled")
        write_nxspe(place / "b", **written, **{name: getattr(found, name) for name in fields})
        same(place / "a", place / "b")


@pytest.mark.parametrize(
    ("seed", "missing", "with_error", "with_npix"),
    [(0, 0.0, True, True), (1, 0.5, True, False), (2, 0.3, False, True), (3, 0.6, False, False)],
)
def test_spectra(pcsmo: Study, seed: int, missing: float, with_error: bool, with_npix: bool) -> None:
    rng = np.random.default_rng(seed)
    valid = rng.random(pcsmo.shape) >= missing
    signal = np.where(valid, rng.normal(size=pcsmo.shape) + 3, np.nan)
    error = np.where(valid, rng.random(pcsmo.shape) + 0.1, np.nan) if with_error else None
    npix = np.where(valid, rng.integers(1, 100, pcsmo.shape), 0).astype(float) if with_npix else None
    spectrum = Spectrum(pcsmo, signal, valid, error, npix)
    with folder() as place:
        for name in ("a.h5", "a.npy"):
            write_spectrum(spectrum, place / name)
            found = read_spectrum(place / name, pcsmo)
            np.testing.assert_array_equal(found.signal, signal)
            np.testing.assert_array_equal(found.valid, valid)
            write_spectrum(found, place / f"b{name[1:]}")
        same(place / "a.h5", place / "b.h5")
        assert (place / "a.npy").read_bytes() == (place / "b.npy").read_bytes()
        found = read_spectrum(place / "a.h5", pcsmo)
        for mine, theirs in ((error, found.error), (npix, found.npix)):
            assert (mine is None) == (theirs is None)
            if mine is not None:
                np.testing.assert_array_equal(mine, theirs)
        write_mdhisto(spectrum, 4, place / "a.nxs")
        run = read_spectrum(place / "a.nxs", pcsmo)
        write_mdhisto(run, 4, place / "b.nxs")
        np.testing.assert_array_equal(run.valid[4], valid[4])
        np.testing.assert_allclose(run.signal[4], signal[4], rtol=1e-12)


def text(value: str) -> bytes:
    return struct.pack("<i", len(value)) + value.encode()


@st.composite
def histograms(draw: st.DrawFn) -> tuple[bytes, dict]:
    """A Horace histogram of version 2, written by what is known of its layout."""
    shown = sorted(draw(st.sets(st.integers(1, 4), min_size=0, max_size=4)))
    hidden = [n for n in range(1, 5) if n not in shown]
    edges = {n: draw(st.floats(-5, 5)) + 0.25 * np.arange(draw(st.integers(2, 5))) for n in shown}
    limits = {n: (draw(st.floats(-5, 0)), draw(st.floats(0.5, 5))) for n in hidden}
    shape = tuple(len(edges[n]) - 1 if n in edges else 1 for n in range(1, 5))
    count = int(np.prod(shape))
    npix = draw(arrays(np.int64, count, elements=st.integers(0, 9)))
    signal = np.where(npix > 0, draw(arrays(np.float32, count, elements=st.floats(-99, 99, width=32))), 0)
    variance = np.where(npix > 0, draw(arrays(np.float32, count, elements=st.floats(0, 99, width=32))), 0)
    out = text("horace") + struct.pack("<dii", 2.0, 0, len(shown)) + text("a") + text("b") + text("title")
    out += np.array([4, 5, 6, 90, 90, 90, 0, 0, 0, 0], "<f4").tobytes() + np.eye(4, dtype="<f4").tobytes()
    out += np.ones(4, "<f4").tobytes() + struct.pack("<ii", 4, 1) + b"hkle" + struct.pack("<i", len(shown))
    if hidden:
        out += np.array(hidden, "<i4").tobytes() + np.array([limits[n] for n in hidden], "<f4").tobytes()
    if shown:
        out += np.array(shown, "<i4").tobytes()
        for n in shown:
            out += struct.pack("<i", len(edges[n])) + edges[n].astype("<f4").tobytes()
        out += np.arange(1, len(shown) + 1, dtype="<i4").tobytes()
    out += signal.astype("<f4").tobytes() + variance.astype("<f4").tobytes() + npix.astype("<i8").tobytes()
    return out, {"shape": shape, "signal": signal, "variance": variance, "npix": npix, "edges": edges, "limits": limits}


@FEW
@given(histograms())
def test_histograms_of_horace(made: tuple[bytes, dict]) -> None:
    content, what = made
    with folder() as place:
        (place / "a").write_bytes(content)
        image = read_sqw(place / "a").histogram
        assert image.shape == what["shape"]
        signal, variance, npix = (
            what[name].reshape(what["shape"], order="F") for name in ("signal", "variance", "npix")
        )
        np.testing.assert_array_equal(image.npix, npix)
        np.testing.assert_array_equal(image.valid, (npix > 0) & ((signal != 0) | (variance != 0)))
        np.testing.assert_array_equal(image.signal[image.valid], signal[image.valid])
        np.testing.assert_allclose(image.error[image.valid], np.sqrt(variance.astype(float))[image.valid])
        for n, axis in enumerate(image.axes, 1):
            expected = what["edges"].get(n, np.array(what["limits"].get(n, ())))
            np.testing.assert_allclose(axis.edges, expected, rtol=1e-6, atol=1e-6)
