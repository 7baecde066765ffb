"""Damaged and hostile files: a clear error, soon, and no more memory than the file is worth."""

import importlib.util
import os
import re
import resource
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
import pytest

from magnoscope.errors import MagnoscopeError
from magnoscope.io.contents import inspect
from magnoscope.io.images import read_spectrum, write_spectrum
from magnoscope.io.mdhisto_write import write_mdhisto
from magnoscope.io.nxspe import read_nxspe, write_nxspe
from magnoscope.io.sqw import read_sqw
from magnoscope.spectrum import Spectrum
from magnoscope.study import Study

SECONDS = 1.0
"""Processor time of this process, within which an error must come; that of the reading process is limited to 0.7 s."""


def refused(reader: Callable[[], object]) -> str:
    """The one line with which a reader gives up, within a second."""
    cpu, wall = time.process_time(), time.monotonic()
    with pytest.raises(MagnoscopeError) as caught:
        reader()
    assert time.process_time() - cpu < SECONDS and time.monotonic() - wall < 20
    message = str(caught.value)
    assert "\n" not in message and len(message) < 600
    return message


def a_run(path: Path, detectors: int = 4) -> Path:
    ones = np.ones((detectors, 3))
    write_nxspe(path, ones, ones, np.arange(4.0), np.arange(detectors) + 5.0, np.zeros(detectors), 20.0, psi=0.0)
    return path


def an_image(study: Study) -> Spectrum:
    return Spectrum(study, np.ones(study.shape), np.ones(study.shape, bool), np.ones(study.shape))


def swap(name: str, value: object, **more: object) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        if more:
            file.create_dataset(name, data=value, **more)
        else:
            file[name] = value

    return change


def bomb(file: h5py.File) -> None:
    """A hundred thousand detectors of as many energies, none of them stored."""
    for name in ("data", "error"):
        del file["run/data"][name]
        file["run/data"].create_dataset(name, (100_000, 100_000), "f8", chunks=(1000, 1000), compression="gzip")
    for name, size in (("polar", 100_000), ("azimuthal", 100_000), ("energy", 100_001)):
        del file["run/data"][name]
        file["run/data"][name] = np.arange(size, dtype=float)


def packed_bomb(file: h5py.File) -> None:
    """One block that unpacks to two gigabytes."""
    for name in ("data", "error"):
        del file["run/data"][name]
        file["run/data"].create_dataset(name, (4, 3), "f8", maxshape=(None, None), chunks=(40_000, 10_000))


def far_away(file: h5py.File) -> None:
    for name in ("data", "error"):
        del file["run/data"][name]
        file["run/data"].create_dataset(name, (4, 3), "f8", external=[("/etc/passwd", 0, 96)])


def linked(file: h5py.File) -> None:
    del file["run/data/data"]
    file["run/data/data"] = h5py.ExternalLink("/etc/passwd", "/data")


def looped(file: h5py.File) -> None:
    del file["run/data/data"]
    file["run/data/data"] = h5py.SoftLink("/run/data/data")


def virtual_source(file: h5py.File) -> None:
    del file["run/data/data"]
    layout = h5py.VirtualLayout((4, 3), "f8")
    layout[:] = h5py.VirtualSource("/nowhere.h5", "data", (4, 3))
    file["run/data"].create_virtual_dataset("data", layout)


RUN_CHANGES: dict[str, tuple[Callable[[h5py.File], None], str]] = {
    "bomb": (bomb, "declares 10000000000 values but holds only 0 bytes"),
    "packed bomb": (packed_bomb, "is packed in blocks|declares"),
    "external storage": (far_away, "lies in another file"),
    "external link": (linked, "is a link to another place"),
    "link to itself": (looped, "is a link to another place"),
    "virtual": (virtual_source, "lies in another file"),
    "no detectors": (swap("run/data/data", np.ones((0, 3))), "neither zero"),
    "one axis": (swap("run/data/data", np.ones(3)), "detectors x energies are needed"),
    "other shape": (swap("run/data/error", np.ones((4, 2))), "must have the shape"),
    "text for intensities": (swap("run/data/data", np.full((4, 3), b"ab")), "holds no numbers|must be"),
    "NaN angles": (swap("run/data/polar", np.full(4, np.nan)), "finite angle"),
    "too few angles": (swap("run/data/azimuthal", np.ones(3)), "finite angle"),
    "NaN energies": (swap("run/data/energy", np.full(4, np.nan)), "finite bin edges"),
    "falling energies": (swap("run/data/energy", np.arange(4.0)[::-1]), "must rise"),
    "negative Ei": (swap("run/NXSPE_info/fixed_energy", -5.0), "must be positive"),
    "NaN Ei": (swap("run/NXSPE_info/fixed_energy", np.nan), "must be positive"),
    "text for Ei": (swap("run/NXSPE_info/fixed_energy", "high"), "must hold one number"),
    "many Ei": (swap("run/NXSPE_info/fixed_energy", np.ones(9)), "must hold one number"),
    "group for Ei": (swap("run/NXSPE_info/fixed_energy", h5py.SoftLink("/run/data")), "is a link"),
    "no data": (lambda f: f.pop("run/data"), "is missing"),
    "not NXSPE": (swap("run/definition", np.array([b"NXsas"])), "is no NXSPE|none of the files"),
    "number for definition": (swap("run/definition", 3.0), "is no NXSPE|none of the files"),
}


@pytest.mark.parametrize("case", RUN_CHANGES)
def test_runs(case: str, tmp_path: Path) -> None:
    change, expected = RUN_CHANGES[case]
    path = a_run(tmp_path / "run.nxspe")
    with h5py.File(path, "r+") as file:
        change(file)

    def read() -> None:
        read_nxspe(path).rows(0, 10**9)

    assert re.search(expected, refused(read))


@pytest.mark.parametrize(
    "value",
    [3.0, np.arange(3), h5py.Empty("f8"), np.bytes_("1.2"), "1.2", np.array(["1.2"], object), np.full(7000, 1.0)],
)
def test_an_attribute_of_another_type_is_no_obstacle(tmp_path: Path, value: object) -> None:
    path = a_run(tmp_path / "run.nxspe")
    with h5py.File(path, "r+") as file:
        kind = h5py.string_dtype() if isinstance(value, np.ndarray) and value.dtype == object else None
        file["run/definition"].attrs.create("version", value, dtype=kind)
        file["run"].attrs["NX_class"] = 7
    assert read_nxspe(path).version in ("1.2", "unknown")


def test_memory_stays_small_with_a_bomb(pcsmo: Study, tmp_path: Path) -> None:
    """Eighty gigabytes of declared zeros in every format of HDF5."""
    run, own, mantid = a_run(tmp_path / "run.nxspe"), tmp_path / "own.h5", tmp_path / "mantid.nxs"
    write_spectrum(an_image(pcsmo), own)
    write_mdhisto(an_image(pcsmo), 0, mantid)
    for path, names in (
        (run, ("run/data/data", "run/data/error", "run/data/polar")),
        (own, ("signal", "valid")),
        (mantid, ("MDHistoWorkspace/data/signal", "MDHistoWorkspace/data/D0")),
    ):
        with h5py.File(path, "r+") as file:
            for name in names:
                attributes = dict(file[name].attrs)
                del file[name]
                file.create_dataset(name, (10**5, 10**5), "f8", chunks=(100, 100), compression="gzip")
                file[name].attrs.update(attributes)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(lambda: read_nxspe(run))
    refused(lambda: read_spectrum(own, pcsmo))
    refused(lambda: read_spectrum(mantid, pcsmo))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB


@pytest.mark.parametrize(
    "content", [b"", b"\x89HDF\r\n\x1a\n", b"\x93NUMPY", b"PK\x03\x04", b"\x06\0\0\0horace", b"text"]
)
def test_nothing_but_a_beginning(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(content)
    assert str(tmp_path / "a") in refused(lambda: inspect(tmp_path / "a"))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_cut_short(share: float, pcsmo: Study, tmp_path: Path) -> None:
    whole = {"run": a_run(tmp_path / "run", 300), "own": tmp_path / "own.h5", "mantid": tmp_path / "mantid"}
    write_spectrum(an_image(pcsmo), whole["own"])
    write_mdhisto(an_image(pcsmo), 0, whole["mantid"])
    for path in whole.values():
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])
        assert str(path) in refused(lambda path=path: inspect(path))


@pytest.mark.parametrize(
    "name", ["w2d_qq_small_sqw.sqw", "test_sqw_file_read_write_v3_3.sqw", "faccess_sqw_v4_sample.sqw"]
)
def test_horace_files_with_huge_numbers(shared_data: Path, tmp_path: Path, name: str) -> None:
    """Each of the first five hundred integers replaced by one near two thousand million: read as before, or refused."""
    content = (shared_data / "formats" / name).read_bytes()
    path = tmp_path / "a.sqw"
    rng, numbers = np.random.default_rng(0), 0
    for at in rng.choice(np.arange(18, 2000), 25, replace=False):
        changed = bytearray(content)
        struct.pack_into("<i", changed, int(at), 2**31 - 5)
        path.write_bytes(changed)
        cpu = time.process_time()
        try:
            read_sqw(path)
        except MagnoscopeError:
            numbers += 1
        assert time.process_time() - cpu < SECONDS
    assert numbers > 0


def test_numpy_files_are_never_unpickled(pcsmo: Study, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "sprung",))

    np.save(tmp_path / "a.npy", np.array([Trap()], object), allow_pickle=True)
    assert "Python objects" in refused(lambda: read_spectrum(tmp_path / "a.npy", pcsmo))
    assert "Python objects" in refused(lambda: inspect(tmp_path / "a.npy"))
    assert not (tmp_path / "sprung").exists()


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "fuzz_readers.py"
    spec = importlib.util.spec_from_file_location("fuzz_readers", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz_readers"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_seeded_damage(fuzz: ModuleType, tmp_path: Path) -> None:
    """A few of the inputs of benchmarks/fuzz_readers.py for every reader that needs no samples."""
    for kind, contents in fuzz.sources(tmp_path, None).items():
        tally = fuzz.try_reader(kind, contents, 12, seed=1)
        assert not tally.wrong, (kind, tally.wrong)
        assert tally.tried == 12 and tally.refused > 0


def test_after_a_hostile_file_the_next_is_read(tmp_path: Path) -> None:
    bad, good = tmp_path / "bad", a_run(tmp_path / "good")
    content = bytearray(good.read_bytes())
    content[100:2000] = b"\xff" * 1900
    bad.write_bytes(content)
    for _ in range(3):
        refused(lambda: read_nxspe(bad))
        assert read_nxspe(good).shape == (4, 3)


def test_the_reading_process_ends_with_the_program(tmp_path: Path) -> None:
    """Nothing is left running, and Python, which is told to warn of such, has nothing to say."""
    path = tmp_path / "one.h5"
    with h5py.File(path, "w") as file:
        file["a"] = 7.0
    program = (
        "import pathlib, sys; from magnoscope.io import hdf5\n"
        "with hdf5.Hdf5Reader(pathlib.Path(sys.argv[1])) as file: assert file.number('/a') == 7\n"
        "print(hdf5._server.process.pid)"
    )
    words = [sys.executable, "-W", "always", "-c", program, str(path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert (done.returncode, "ResourceWarning" in done.stderr) == (0, False), done.stderr
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)
