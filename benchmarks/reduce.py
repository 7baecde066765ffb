"""Rate and memory of a reduction: measured pixels a second, and the most memory, for any number of pixels.

    python benchmarks/reduce.py [--pixels 1e8] [--study pcsmo] [--sqw] [--folder FOLDER]

One run is written as a detector array of 36,864 detectors and 200 energy bins would have counted it, and reduced as
often as it takes, under as many names; or, with ``--sqw``, one file of Horace's version 2 with so many pixels (36 bytes
each, in the folder), spread over three times the view along each axis. The reduction runs in a process of its own,
whose memory is measured; the process that reads HDF5 is measured too. Prints processor seconds, so that a busy machine
does not matter.
"""

import argparse
import json
import os
import resource
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from magnoscope.io.runs import open_runs
from magnoscope.io.virtual import detector_array, write_virtual_run
from magnoscope.reduce.accumulate import reduce_runs
from magnoscope.studies import load_study
from magnoscope.study import Study


def reduce_files(study_name: str, paths: list[Path]) -> None:
    study = load_study(study_name)
    cpu, wall = time.process_time(), time.monotonic()
    reduced = reduce_runs(study, open_runs(paths, study))
    own = time.process_time() - cpu
    assert reduced.spectrum.npix is not None
    from magnoscope.io import hdf5

    if hdf5._server is not None:  # an .sqw file needs none
        hdf5._server.stop()
    reader = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        json.dumps(
            {
                "cpu": own,
                "reader_cpu": reader.ru_utime + reader.ru_stime,
                "wall": time.monotonic() - wall,
                "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "reader_memory": reader.ru_maxrss / 1024,
                "in_view": float(reduced.spectrum.npix.sum()),
            }
        )
    )


def write_runs(folder: Path, study: Study, number: int, pixels: int) -> tuple[list[Path], int]:
    """Write a run and link it under as many names as it takes; returns them and the number of pixels."""
    array, paths = detector_array(), [folder / "0.nxspe"]
    write_virtual_run(study, number, lambda hkl, e: 1 + np.cos(hkl[:, 0]) ** 2, array, paths[0], counts=1.0)
    each = array.shape[1] * 200
    while len(paths) * each < pixels:
        paths.append(folder / f"{len(paths)}.nxspe")
        os.link(paths[0], paths[-1])
    return paths, len(paths) * each


def write_sqw(path: Path, study: Study, number: int, pixels: int) -> int:
    """Write an .sqw file of a study's run; returns how many of its pixels are in the view."""
    rng, run, view, chunk = np.random.default_rng(0), study.runs[number], study.maps, 500_000
    edges = study.energy_edges[number]
    table = np.zeros((chunk, 9), "<f4")
    inside = np.ones(chunk, bool)
    for axis in view.axes:
        # a third within the view, none on the edge of a pixel, where single precision could move it
        pixel = rng.integers(-axis.points, 2 * axis.points, chunk)
        place = axis.start + (pixel + rng.uniform(0.01, 0.99, chunk) - 0.5) * axis.width
        table[:, :3] += place[:, None] * np.array(axis.direction)
        inside &= (pixel >= 0) & (pixel < axis.points)
    table[:, 3] = rng.uniform(0, run.ei, chunk)
    inside &= (table[:, 3] >= edges[0]) & (table[:, 3] < edges[-1])
    table[:, 4:7] = 1
    table[:, 7] = rng.poisson(1.0, chunk)
    table[:, 8] = table[:, 7]
    lattice = study.lattice
    cell = [lattice.a, lattice.b, lattice.c, lattice.alpha, lattice.beta, lattice.gamma]
    frame = np.r_[np.zeros(4), np.eye(4).ravel(), np.ones(4)]
    labels = struct.pack("<ii", 4, 1) + b"hkle"
    with open(path, "wb") as file:
        file.write(_text("horace") + struct.pack("<dii", 2.0, 1, 0))
        file.write(_text("") + _text("") + _text("benchmark") + struct.pack("<i", 1))
        file.write(_text("") + _text("") + _floats(run.ei) + struct.pack("<i", 1) + _floats(*cell))
        file.write(_floats(*study.orientation.u, *study.orientation.v, np.radians(run.psi), 0, 0, 0, 0))
        file.write(struct.pack("<i", 2) + _floats(0, run.ei) + _floats(*frame) + labels)
        file.write(_text("") + _text("") + struct.pack("<i", 0))
        file.write(_text("") + _text("") + _text("benchmark") + _floats(*cell, *frame) + labels)
        file.write(struct.pack("<5i", 0, 1, 2, 3, 4) + _floats(*[-9, 9] * 3, 0, run.ei))
        file.write(_floats(1, 1) + struct.pack("<q", pixels) + _floats(*[0] * 8) + struct.pack("<iq", 0, pixels))
        for first in range(0, pixels, chunk):
            table[: pixels - first].tofile(file)
    whole, rest = divmod(pixels, chunk)
    return whole * int(inside.sum()) + int(inside[:rest].sum())


def _text(value: str) -> bytes:
    return struct.pack("<i", len(value)) + value.encode()


def _floats(*values: float) -> bytes:
    return np.array(values, "<f4").tobytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pixels", type=float, default=1e8)
    parser.add_argument("--study", default="pcsmo")
    parser.add_argument("--sqw", action="store_true", help="one file of pixels instead of many NXSPE")
    parser.add_argument("--folder", type=Path, help="where the files go for the time")
    parser.add_argument("--paths", nargs="*", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.paths:
        reduce_files(options.study, options.paths)
        return
    study = load_study(options.study)
    pixels, number = int(options.pixels), len(study.runs) // 2
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        if options.sqw:
            paths = [Path(folder) / "0.sqw"]
            expected = write_sqw(paths[0], study, number, pixels)
        else:
            paths, pixels = write_runs(Path(folder), study, number, pixels)
        called = [sys.executable, __file__, "--study", options.study, "--paths", *map(str, paths)]
        said = json.loads(subprocess.run(called, check=True, capture_output=True, text=True).stdout)
    if options.sqw and said["in_view"] != expected:
        raise SystemExit(f"{expected} pixels are in the view, {said['in_view']:.0f} were found there")
    total = said["cpu"] + said["reader_cpu"]
    print(f"{pixels:.3g} pixels of {len(paths)} files ({said['in_view']:.3g} in the view)")
    rate = pixels / total / 1e6
    print(f"{total:.1f} CPU s, {said['reader_cpu']:.1f} of them reading HDF5: {rate:.2f} million pixels a CPU s")
    print(f"most memory: {said['memory']:.0f} MB, of the process that reads HDF5 {said['reader_memory']:.0f} MB")
    print(f"{said['wall']:.0f} s on the wall")


if __name__ == "__main__":
    main()
