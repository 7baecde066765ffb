"""Damaged files through every reader: none may hang, fill the memory or fail with anything but a clear error.

    python benchmarks/fuzz_readers.py [--inputs 2000] [--only KIND] [--seed 0] [--samples FOLDER]

Every reader gets files it can read, generated here and (where there are any) the samples in FOLDER, with seeded damage:
bits, bytes and blocks changed, cut, repeated or moved, and sizes replaced by huge or negative ones. Prints for each
reader how many inputs were tried, read and refused, the longest time one took (processor seconds of this process and
of the one that reads HDF5, and wall time), and the most memory.
"""

import argparse
import os
import resource
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import h5py
import numpy as np

from magnoscope.errors import MagnoscopeError
from magnoscope.io.contents import inspect
from magnoscope.io.images import read_array, read_spectrum, write_spectrum
from magnoscope.io.mdhisto import read_mdhisto
from magnoscope.io.mdhisto_write import write_mdhisto
from magnoscope.io.nxspe import read_nxspe, write_nxspe
from magnoscope.io.sqw import read_sqw
from magnoscope.spectrum import Spectrum
from magnoscope.studies import load_study
from magnoscope.study import Study

HUGE = (2**31 - 1, -1, 2**31, 2**40, 2**62, -(2**62), 0)


def damage(content: bytes, rng: np.random.Generator) -> bytes:
    """A file with one to four kinds of damage."""
    out = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        if len(out) < 16:
            break
        # the beginning of a file says most of what is in it
        reach = len(out) if rng.random() < 0.5 else min(len(out), 4096)
        at, length = int(rng.integers(reach)), int(rng.integers(1, 65))
        match rng.integers(8):
            case 0:
                out[at] ^= 1 << int(rng.integers(8))
            case 1:
                out[at : at + length] = rng.bytes(len(out[at : at + length]))
            case 2:
                out[at : at + length] = bytes([int(rng.choice([0, 255]))]) * len(out[at : at + length])
            case 3:
                del out[int(rng.integers(len(out))) :]
            case 4:
                out[at:at] = out[at : at + length]
            case 5:
                del out[at : at + length]
            case 6:
                kind = str(rng.choice(["<i", "<q"]))
                value = int(rng.choice(np.array(HUGE, object)))
                size = struct.calcsize(kind)
                value = (value + 2 ** (8 * size - 1)) % 2 ** (8 * size) - 2 ** (8 * size - 1)
                if at + size <= len(out):
                    struct.pack_into(kind, out, at, value)
            case 7:
                other = int(rng.integers(len(out)))
                out[at : at + length] = out[other : other + len(out[at : at + length])] or b"\0"
    return bytes(out)


def strings_of_variable_length(path: Path) -> None:
    """An NXSPE whose texts are of variable length, kept on HDF5's heap: the kind that hung an earlier reader."""
    write_nxspe(
        path, np.ones((4, 3)), np.ones((4, 3)), np.arange(4.0), np.arange(4) + 5.0, np.arange(4.0), 20.0, psi=0.0
    )
    with h5py.File(path, "r+") as file:
        for name in ("definition", "program_name", "instrument/name"):
            value = file["run"][name][0].decode()
            del file["run"][name]
            file["run"].create_dataset(name, data=[value], dtype=h5py.string_dtype())
            file["run"][name].attrs["version"] = "1.3"
        file["run/data/data"].attrs["axes"] = "polar:energy"
        file["run"].attrs["NX_class"] = "NXentry"


def sources(folder: Path, samples: Path | None) -> dict[str, list[bytes]]:
    """For every reader, contents of files that it can read."""
    study = worked_study()
    rng = np.random.default_rng(0)
    spectrum = Spectrum(study, rng.random(study.shape), np.ones(study.shape, bool), np.ones(study.shape))
    write_spectrum(spectrum, folder / "a.h5")
    write_mdhisto(spectrum, 0, folder / "a.nxs")
    np.save(folder / "a.npy", spectrum.image.astype(np.float32))
    strings_of_variable_length(folder / "a.nxspe")
    found = {
        "own HDF5": [(folder / "a.h5").read_bytes()],
        "npy": [(folder / "a.npy").read_bytes()],
        "MDHisto": [(folder / "a.nxs").read_bytes()],
        "NXSPE": [(folder / "a.nxspe").read_bytes()],
    }
    if samples is not None:
        for path in sorted(samples.iterdir()):
            kind = {".nxspe": "NXSPE", ".nxs": "MDHisto"}.get(path.suffix)
            version = struct.unpack_from("<d", path.read_bytes(), 10)[0]
            found.setdefault(kind or f"SQW version {version:g}", []).append(path.read_bytes())
    return found


def read_all(kind: str, path: Path) -> None:
    """Read everything that a reader reads."""
    inspect(path)
    if kind == "NXSPE":
        run = read_nxspe(path)
        for first in range(0, run.shape[0], 10_000):
            run.rows(first, first + 10_000)
    elif kind == "MDHisto":
        read_mdhisto(path)
    elif kind.startswith("SQW"):
        for part in read_sqw(path).chunks(100_000):
            part.sum()
    elif kind == "npy":
        np.asarray(read_array(path)).sum()
    else:
        read_spectrum(path, worked_study())


@cache
def worked_study() -> Study:
    """The study whose layout our own files have."""
    return load_study("pcsmo")


@dataclass
class Tally:
    """What became of the inputs of one reader."""

    tried: int = 0
    read: int = 0
    refused: int = 0
    slowest_cpu: float = 0.0
    slowest_wall: float = 0.0
    wrong: list[str] = field(default_factory=list)


def children_time(server: int | None) -> float:
    """Processor seconds that the reader's process and those it has waited for have used."""
    if server is None:
        return 0.0
    try:
        parts = Path(f"/proc/{server}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return sum(int(t) for t in parts[11:15]) / os.sysconf("SC_CLK_TCK")


def server_process() -> int | None:
    """The process that reads HDF5, if there is one."""
    from magnoscope.io import hdf5

    return None if hdf5._server is None else hdf5._server.process.pid


def inputs(contents: list[bytes], number: int, seed: int) -> Iterator[tuple[int, bytes]]:
    """Damaged contents, each from a seed of its own."""
    for i in range(number):
        rng = np.random.default_rng([seed, i])
        yield i, damage(contents[i % len(contents)], rng)


def try_reader(kind: str, contents: list[bytes], number: int, seed: int, reader: Callable = read_all) -> Tally:
    """Give one reader damaged files."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "input"
        for i, content in inputs(contents, number, seed):
            path.write_bytes(content)
            server, before = server_process(), children_time(server_process())
            wall, cpu = time.monotonic(), time.process_time()
            try:
                reader(kind, path)
                tally.read += 1
            except MagnoscopeError as error:
                tally.refused += 1
                if "\n" in str(error):
                    tally.wrong.append(f"input {i}: a message of several lines")
            except Exception as error:
                tally.wrong.append(f"input {i}: {type(error).__name__}: {error}")
            used = time.process_time() - cpu
            if server is not None and server == server_process():
                used += children_time(server) - before
            tally.tried += 1
            tally.slowest_cpu = max(tally.slowest_cpu, used)
            tally.slowest_wall = max(tally.slowest_wall, time.monotonic() - wall)
    return tally


def main() -> None:
    np.seterr(all="ignore")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=2000, help="for each reader")
    parser.add_argument("--only", default="", help="readers whose name starts so")
    parser.add_argument("--seed", type=int, default=0)
    data = os.environ.get("MAGNOSCOPE_DATA")
    parser.add_argument("--samples", type=Path, default=Path(data) / "formats" if data else None)
    options = parser.parse_args()
    failed = False
    print(f"{'reader':>16}  tried   read  refused  slowest: CPU s  wall s")
    with tempfile.TemporaryDirectory() as folder:
        for kind, contents in sources(Path(folder), options.samples).items():
            if not kind.startswith(options.only):
                continue
            t = try_reader(kind, contents, options.inputs, options.seed)
            print(
                f"{kind:>16} {t.tried:6} {t.read:6} {t.refused:8} {t.slowest_cpu:15.2f} {t.slowest_wall:7.2f}",
                flush=True,
            )
            for line in t.wrong[:5]:
                print(f"    {line}")
            failed |= bool(t.wrong)
    for who, name in ((resource.RUSAGE_SELF, "this process"), (resource.RUSAGE_CHILDREN, "any process that read HDF5")):
        print(f"most memory of {name}: {resource.getrusage(who).ru_maxrss / 1024:.0f} MB")
    sys.exit(failed)


if __name__ == "__main__":
    main()
