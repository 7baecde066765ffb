"""Measured files as sources of a reduction: reduced runs (NXSPE), and the pixels of a Horace file."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..reduce.source import Points
from ..study import Study
from ..units import wavevector
from .contents import Kind, kind_of
from .gridding import check_lattice
from .nxspe import Nxspe, read_nxspe
from .sqw import Sqw, read_sqw

PIXELS = 500_000
"""Pixels that are worked on at a time."""
SAME_EI = 0.03
"""Runs whose Ei differ by less (relative) are the same setting."""


def file_key(path: Path) -> str:
    """Changes whenever a file does."""
    status = path.stat()
    return f"{path.resolve()}:{status.st_size}:{status.st_mtime_ns}"


def study_run(study: Study, ei: float, psi: float, source: object) -> int:
    """The run of a study with the incident energy (meV) of a file; of several, the one with the nearest psi (degrees).

    Raises
    ------
    DataError
        If no run has that energy.
    """
    near = [n for n, run in enumerate(study.runs) if abs(run.ei - ei) < SAME_EI * run.ei]
    if not near:
        raise DataError(
            f"{source} was measured with Ei {ei:g} meV; study {study.name} has runs with "
            f"{', '.join(f'{run.ei:g}' for run in study.runs)} meV"
        )
    return min(near, key=lambda n: (abs(study.runs[n].psi - psi), abs(study.runs[n].ei - ei)))


def beam_directions(polar: NDArray[np.float64], azimuthal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Directions (n, 3) of scattered neutrons in the spectrometer frame: x along k_i, azimuth 0 along +y, z up."""
    polar, azimuthal = np.radians(polar), np.radians(azimuthal)
    out = np.sin(polar)
    return np.stack([np.cos(polar), out * np.cos(azimuthal), out * np.sin(azimuthal)], -1)


@dataclass(frozen=True)
class NxspeSource:
    """A reduced run of one crystal angle (degrees)."""

    run: Nxspe
    study: Study
    psi: float

    @property
    def name(self) -> str:
        """The file's name."""
        return self.run.path.name

    @property
    def key(self) -> str:
        """Changes whenever the file or the angle does."""
        return f"{file_key(self.run.path)}:{self.psi!r}"

    @property
    def size(self) -> int:
        """Number of pixels: detectors times energy bins."""
        return self.run.shape[0] * self.run.shape[1]

    @property
    def _step(self) -> int:
        return max(1, PIXELS // self.run.shape[1])

    @property
    def parts(self) -> int:
        """Number of parts."""
        return -(-self.run.shape[0] // self._step)

    @cached_property
    def _number(self) -> int:
        return study_run(self.study, self.run.ei, self.psi, self.run.path)

    @cached_property
    def _to_hkl(self) -> NDArray[np.float64]:
        frame = self.study.orientation.spectrometer_frame(self.study.lattice, self.psi)
        return np.asarray(np.linalg.inv(frame), float)

    def part(self, number: int) -> list[tuple[int, Points]]:
        """Detectors of a part, at the energies that the study's view looks at."""
        run, first = self.run, number * self._step
        signal, error, valid = run.rows(first, first + self._step)
        middle = (run.energies[1:] + run.energies[:-1]) / 2
        edges = self.study.energy_edges[self._number]
        looked = (middle >= edges[0] - 1e-6 * abs(edges[0])) & (middle <= edges[-1]) & (middle < run.ei)
        energy = middle[looked]
        k_i, k_f = wavevector(run.ei), wavevector(run.ei - energy)
        # hkl = (k_i - k_f n) M is one product for each detector and one number for each energy
        beam = beam_directions(run.polar[first : first + self._step], run.azimuthal[first : first + self._step])
        scattered = beam @ self._to_hkl
        keep = valid[:, looked]
        detector, bin_ = np.nonzero(keep)
        hkl = k_i * self._to_hkl[0] - k_f[bin_][:, None] * scattered[detector]
        scale = 1.0 if run.scaled is not False else k_i / k_f[bin_]
        picked, spread = signal[:, looked][keep], error[:, looked][keep]
        return [(self._number, Points(hkl, energy[bin_], picked * scale, (spread * scale) ** 2))]


@dataclass(frozen=True)
class SqwSource:
    """The pixels of a Horace file, of one or many crystal angles."""

    sqw: Sqw
    study: Study

    @property
    def name(self) -> str:
        """The file's name."""
        return self.sqw.path.name

    @property
    def key(self) -> str:
        """Changes whenever the file does."""
        return file_key(self.sqw.path)

    @property
    def size(self) -> int:
        """Number of pixels."""
        return self.sqw.pixels

    @property
    def parts(self) -> int:
        """Number of parts."""
        return -(-self.sqw.pixels // PIXELS)

    @cached_property
    def _numbers(self) -> NDArray[np.int64]:
        """The study's run for each run of the file."""
        return np.array([study_run(self.study, run.ei, run.psi, self.sqw.path) for run in self.sqw.runs])

    @cached_property
    def _to_hkl(self) -> NDArray[np.float64]:
        return np.array([run.to_hkl.T for run in self.sqw.runs])

    def part(self, number: int) -> list[tuple[int, Points]]:
        """The pixels of a part."""
        pixels = next(self.sqw.chunks(PIXELS, number * PIXELS))
        run = pixels[:, 4].astype(np.int64) - 1
        if len(self.sqw.runs) == 1:
            run[:] = 0
        good = (run >= 0) & (run < len(self.sqw.runs)) & np.isfinite(pixels).all(1)
        if not good.any():
            return []
        pixels, run = pixels[good].astype(float), run[good]
        which = self._numbers[run]
        out = []
        for study_number in np.unique(which):
            mine = which == study_number
            turn = self._to_hkl[run[mine]]
            hkl = (
                np.einsum("ni,nij->nj", pixels[mine, :3], turn)
                if len(self._to_hkl) > 1
                else (pixels[mine, :3] @ self._to_hkl[0])
            )
            out.append((int(study_number), Points(hkl, pixels[mine, 3], pixels[mine, 7], pixels[mine, 8])))
        return out


def open_runs(paths: Sequence[Path], study: Study, psi: Sequence[float] = ()) -> list[NxspeSource | SqwSource]:
    """Measured files as sources.

    Parameters
    ----------
    psi : sequence of float
        Angles (degrees) of the NXSPE files in their order, or one for all, instead of what the files say.

    Raises
    ------
    DataError
        If a file is of another kind, has no pixels, or is in r.l.u. of another lattice.
    """
    kinds = [kind_of(path) for path in paths]
    needed = kinds.count(Kind.nxspe)
    if psi and len(psi) not in (1, needed):
        raise DataError(f"{len(psi)} angles are given with --psi for {needed} NXSPE files; give one for each, or one")
    angles = iter(list(psi) * needed if len(psi) == 1 else psi)
    out: list[NxspeSource | SqwSource] = []
    for path, kind in zip(paths, kinds, strict=True):
        if kind == Kind.nxspe:
            run = read_nxspe(path)
            said = next(angles, run.psi)
            if said is None:
                raise DataError(f"{path} does not say at which angle the crystal stood; give it with --psi (degrees)")
            out.append(NxspeSource(run, study, float(said)))
        elif kind == Kind.sqw:
            sqw = read_sqw(path)
            if not sqw.pixels:
                raise DataError(f"{path} is a histogram without pixels; reduce the .sqw file that it was cut from")
            for one in sqw.runs:
                check_lattice(one.lattice.direct, study, path)
            out.append(SqwSource(sqw, study))
        else:
            raise DataError(f"{path} is {kind or 'none of the files that are read'}; give reduced runs (NXSPE or .sqw)")
    for source in out:  # a wrong Ei is said before the long work
        _ = source._number if isinstance(source, NxspeSource) else source._numbers
    return out
