"""Rate and memory of a reduction: measured pixels a second, and the most memory, for any number of pixels.

    python benchmarks/reduce.py [--pixels 1e8] [--study pcsmo]

One run is written as a detector array of 36,864 detectors and 200 energy bins would have counted it, and reduced as
often as it takes, under as many names. The reduction runs in a process of its own, whose memory is measured; the
process that reads HDF5 is measured too. Prints processor seconds, so that a busy machine does not matter.
"""

import argparse
import json
import os
import resource
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


def reduce_files(study_name: str, paths: list[Path]) -> None:
    study = load_study(study_name)
    cpu, wall = time.process_time(), time.monotonic()
    reduced = reduce_runs(study, open_runs(paths, study))
    own = time.process_time() - cpu
    assert reduced.spectrum.npix is not None
    from magnoscope.io import hdf5

    assert hdf5._server is not None
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pixels", type=float, default=1e8)
    parser.add_argument("--study", default="pcsmo")
    parser.add_argument("--paths", nargs="*", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.paths:
        reduce_files(options.study, options.paths)
        return
    study = load_study(options.study)
    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder) / "0.nxspe"
        array = detector_array()
        write_virtual_run(
            study, len(study.runs) // 2, lambda hkl, e: 1 + np.cos(hkl[:, 0]) ** 2, array, first, counts=1.0
        )
        paths = [first]
        while len(paths) * array.shape[1] * 200 < options.pixels:
            paths.append(Path(folder) / f"{len(paths)}.nxspe")
            os.link(first, paths[-1])
        pixels = len(paths) * array.shape[1] * 200
        called = [sys.executable, __file__, "--study", options.study, "--paths", *map(str, paths)]
        said = json.loads(subprocess.run(called, check=True, capture_output=True, text=True).stdout)
    total = said["cpu"] + said["reader_cpu"]
    print(f"{pixels:.3g} pixels of {len(paths)} files ({said['in_view']:.3g} in the view)")
    rate = pixels / total / 1e6
    print(f"{total:.1f} CPU s, {said['reader_cpu']:.1f} of them reading HDF5: {rate:.2f} million pixels a CPU s")
    print(f"most memory: {said['memory']:.0f} MB, of the process that reads HDF5 {said['reader_memory']:.0f} MB")
    print(f"{said['wall']:.0f} s on the wall")


if __name__ == "__main__":
    main()
