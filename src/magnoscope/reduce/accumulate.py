"""From measured pixels to a study's image: sums in bins, in parts that fit in memory; resumed where it was stopped."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..spectrum import Spectrum
from ..study import Study
from .binning import RunBins, run_bins
from .source import Points, Source

SAVE_EVERY = 20.0
"""Seconds between two states that are kept for going on after an interruption."""
FIELDS = ("signal", "variance", "npix", "q")


@dataclass
class Sums:
    """Sums over the pixels of each bin of a study: of signal, variance, number and length of Q (1/Å)."""

    signal: NDArray[np.float64]
    variance: NDArray[np.float64]
    npix: NDArray[np.float64]
    q: NDArray[np.float64]

    @classmethod
    def empty(cls, study: Study) -> "Sums":
        """No pixels yet; arrays (runs, bins of a run)."""
        shape = len(study.runs), int(np.prod(study.shape[1:]))
        return cls(*(np.zeros(shape) for _ in FIELDS))

    def add(self, run: int, bins: RunBins, points: Points, operations: NDArray, lengths: NDArray) -> None:
        """Add pixels, at every wave vector that the operations take theirs to."""
        for operation in operations:
            for place in bins.places(points.hkl @ operation.T, points.energy):
                inside = np.flatnonzero(place >= 0)
                at, size = place[inside], self.signal.shape[1]
                self.signal[run] += np.bincount(at, points.signal[inside], size)
                self.variance[run] += np.bincount(at, points.variance[inside], size)
                self.npix[run] += np.bincount(at, minlength=size)
                self.q[run] += np.bincount(at, lengths[inside], size)


@dataclass(frozen=True)
class Reduction:
    """A reduced image, and the mean length of Q (1/Å) in each of its pixels, NaN where there are none."""

    spectrum: Spectrum
    q: NDArray[np.float64]


def reduce_runs(
    study: Study,
    sources: Sequence[Source],
    operations: NDArray[np.float64] | None = None,
    state: Path | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> Reduction:
    """Bin measured pixels into a study's view; axes that the view does not show are integrated.

    The intensity of a pixel is the mean over what fell into it, its error the root of the summed variances over their
    number.

    Parameters
    ----------
    operations : (n, 3, 3), optional
        Symmetry operations on (h, k, l): every measured point counts at all wave vectors they take it to.
    state : Path, optional
        File that keeps the sums between parts, so that an interrupted reduction goes on where it was.
    progress : callable
        Called with the pixels done, all pixels, and the name of the source.

    Raises
    ------
    DataError
        If nothing falls into the view.
    """
    turns = np.eye(3)[None] if operations is None else operations
    bins = [run_bins(study, number) for number in range(len(study.runs))]
    key = _key(study, sources, turns)
    sums, done = _resume(state, key, study)
    total = sum(source.size for source in sources)
    counted, saved = 0, time.monotonic()
    before = 0
    for source in sources:
        for number in range(source.parts):
            counted += 1
            if counted > done:
                for run, points in source.part(number):
                    lengths = np.linalg.norm(study.lattice.to_cartesian(points.hkl), axis=1)
                    sums.add(run, bins[run], points, turns, lengths)
                if state is not None and time.monotonic() - saved > SAVE_EVERY:
                    _save(state, key, sums, counted)
                    saved = time.monotonic()
            if progress is not None:
                progress(before + source.size * (number + 1) // source.parts, total, source.name)
        before += source.size
    if state is not None:
        _save(state, key, sums, counted)
    return finish(study, sums)


def finish(study: Study, sums: Sums) -> Reduction:
    """The image of sums.

    A pixel without a single count has the error of one count, as large as those of its run have been.
    """
    seen = sums.npix > 0
    if not seen.any():
        raise DataError(
            f"none of the measured pixels falls into the view of study {study.name}; check Ei, psi and the orientation"
        )
    number = np.where(seen, sums.npix, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        signal, variance, q = sums.signal / number, sums.variance.copy(), sums.q / number
        for run in range(len(variance)):
            known = sums.variance[run] > 0
            if known.any():
                # y = w n and var = w^2 n for n counts of weight w, so that w = var / y
                weight = np.median(sums.variance[run][known] / np.abs(sums.signal[run][known]).clip(1e-30))
                variance[run][seen[run] & ~known] = weight**2
        error = np.sqrt(variance) / number
    valid = (seen & np.isfinite(signal) & np.isfinite(error) & ~((signal == 0) & (error == 0))).reshape(study.shape)
    shaped = [np.where(valid, a.reshape(study.shape), np.nan) for a in (signal, error, q)]
    return Reduction(Spectrum(study, shaped[0], valid, shaped[1], sums.npix.reshape(study.shape)), shaped[2])


def _key(study: Study, sources: Sequence[Source], operations: NDArray) -> str:
    """Of everything that the sums depend on."""
    what = [study.layout_hash, study.physics_hash, operations.tolist(), [(s.key, s.parts) for s in sources]]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()


def _save(path: Path, key: str, sums: Sums, done: int) -> None:
    partial = path.with_name(path.name + ".part")
    with open(partial, "wb") as file:
        np.save(file, np.frombuffer(bytes.fromhex(key), np.uint8), allow_pickle=False)
        np.save(file, np.array([done]), allow_pickle=False)
        np.save(file, np.stack([getattr(sums, name) for name in FIELDS]), allow_pickle=False)
    os.replace(partial, path)


def _resume(path: Path | None, key: str, study: Study) -> tuple[Sums, int]:
    """Sums of an interrupted reduction of the same data, and the parts that are in them."""
    sums = Sums.empty(study)
    if path is None or not path.exists():
        return sums, 0
    try:
        with open(path, "rb") as file:
            kept, done, arrays = (np.load(file, allow_pickle=False) for _ in range(3))
    except (OSError, ValueError, EOFError):
        return sums, 0
    if kept.tobytes().hex() != key or arrays.shape != (len(FIELDS), *sums.signal.shape):
        return sums, 0
    return Sums(*arrays), int(done[0])
