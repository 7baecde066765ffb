"""Whether a training set is what it says: checksums, and a random sample simulated again."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from .. import __version__
from ..errors import DataError
from ..study import Study
from . import store
from .draws import Law, candidates
from .store import CHUNK, checksum
from .tasks import Job, make_chunk, simulator_of

UNREADABLE = (OSError, ValueError, RuntimeError, KeyError)
"""What Zarr and its codecs raise on chunks that are cut off or changed."""
CLOSE = 4.0
"""Roundings (see :data:`~magnoscope.dataset.store.ROUNDING`) by which an image made on another processor may differ."""

Report = Callable[[str], None]


@dataclass
class Verification:
    """What was found.

    Attributes
    ----------
    done, checked : int
        Images there, and those whose checksum was worked out again.
    damaged : dict of str to list of int
        For each class the first image of every chunk that cannot be read or has another checksum.
    identical, close, different : list of (class, index)
        Of the sample that was simulated again: the same bytes, the same but for the last digit, and neither.
    """

    done: int = 0
    checked: int = 0
    damaged: dict[str, list[int]] = field(default_factory=dict)
    identical: list[tuple[str, int]] = field(default_factory=list)
    close: list[tuple[str, int]] = field(default_factory=list)
    different: list[tuple[str, int]] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether nothing is damaged or different."""
        return not self.damaged and not self.different


@dataclass(frozen=True)
class Held:
    """One stored chunk of a class: the images of it that are done."""

    start: int
    indices: NDArray[np.int64]
    images: NDArray
    parameters: NDArray[np.float64]
    rejected: NDArray[np.int32]
    checksums: NDArray[np.uint64] | None


def read_chunks(root: zarr.Group, name: str) -> Iterator[Held | int]:
    """Chunks of a class; of one that cannot be read only the first index."""
    group: Any = root[name]
    for start in range(0, group["done"].shape[0], CHUNK):
        where = slice(start, start + CHUNK)
        try:
            done = np.flatnonzero(np.asarray(group["done"][where]))
            images, parameters, rejected = (np.asarray(group[a][where])[done] for a in store.ARRAYS[:3])
            sums = np.asarray(group["checksums"][where])[done] if "checksums" in group else None
        except UNREADABLE:
            yield start
            continue
        if len(done):
            yield Held(start, start + done, images, parameters, rejected, sums)


def check_sums(root: zarr.Group, found: Verification, report: Report) -> None:
    """Read everything and work out its checksums again."""
    last = time.monotonic()
    for name in root.attrs["classes"]:  # type: ignore[union-attr]
        for held in read_chunks(root, str(name)):
            if isinstance(held, int):
                found.damaged.setdefault(str(name), []).append(held)
                continue
            found.done += len(held.indices)
            found.checked += len(held.indices)
            sums = [checksum(*parts) for parts in zip(held.images, held.parameters, held.rejected, strict=True)]
            if held.checksums is None or not np.array_equal(np.array(sums, np.uint64), held.checksums):
                found.damaged.setdefault(str(name), []).append(held.start)
            if time.monotonic() - last > 10:
                last = time.monotonic()
                report(f"{found.checked} images checked, {sum(map(len, found.damaged.values()))} chunks damaged")


def job_of(attributes: dict[str, Any], study: Study, text: str, where: str) -> Job:
    """What the images of a set were made with.

    Raises
    ------
    DataError
        If the study has changed since.
    """
    if attributes["physics_hash"] != study.physics_hash:
        raise DataError(
            f"study {study.name} has changed since this set was built; it can be simulated again only with the study "
            "of then (--study)"
        )
    law = Law.from_settings(attributes.get("draws"))
    precision = attributes.get("precision", "float16")
    return Job(text, where, study.physics_hash, attributes["resolution"], attributes["seed"], law, precision)


def simulate_again(
    root: zarr.Group, job: Job, sample: int, rng: np.random.Generator, found: Verification, report: Report
) -> None:
    """Simulate a random sample of the images that are done, and compare it with what is stored."""
    classes = simulator_of(job).study.classes
    pairs = [(n, int(i)) for n, c in enumerate(classes) for i in _readable(root, c, found.damaged.get(c, []))]
    chosen = rng.permutation(len(pairs))[:sample]
    limit = store.ROUNDING[job.precision]["relative"] * CLOSE
    for count, place in enumerate(chosen):
        number, index = pairs[place]
        fresh = make_chunk(job, number, range(index, index + 1))
        group: Any = root[classes[number]]
        image, values = np.asarray(group["images"][index]), np.asarray(group["parameters"][index])
        if not np.array_equal(values, fresh.parameters[0]) or int(group["rejected"][index]) != fresh.rejected[0]:
            where = found.different
        elif np.array_equal(image, fresh.images[0]):
            where = found.identical
        else:
            off = np.abs(image.astype(float) - fresh.images[0].astype(float))
            where = found.close if np.all(off <= limit * np.abs(image).max()) else found.different
        where.append((classes[number], index))
        report(f"{count + 1} of {len(chosen)} images simulated again, {len(found.different)} differ")


def _readable(root: zarr.Group, name: str, damaged: list[int]) -> NDArray[np.int64]:
    group: Any = root[name]
    try:
        done = np.asarray(group["done"]).copy()
    except UNREADABLE:
        return np.zeros(0, np.int64)
    for start in damaged:
        done[start : start + CHUNK] = False
    return np.flatnonzero(done)


def mend(path: Path, found: Verification) -> int:
    """Drop the damaged chunks, so that a build makes them again; returns how many."""
    for name, starts in found.damaged.items():
        for start in starts:
            store.forget_chunk(path, name, start)
    return sum(map(len, found.damaged.values()))


def adopt(path: Path, study: Study, text: str, where: str, sample: int, report: Report) -> Verification:
    """Bring a store of format 1 over to this one, in place: seeds, checksums, and what the attributes lacked.

    Nothing that was there is changed. Every image is read, must be finite and not negative, and its parameters must be
    the draws of its seed to the last bit; a sample is simulated again. The mark of the new format is set last.

    Raises
    ------
    DataError
        If any of that fails; the store is then as it was but for arrays that format 1 does not look at.
    """
    root = store.open_store(path, write=True)
    attributes = root.attrs.asdict()
    if attributes.get("format") == store.FORMAT:
        raise DataError(f"{path} is of this version's format already; `magnoscope dataset verify` checks it")
    job, found = job_of(attributes, study, text, where), Verification()
    simulator = simulator_of(job)
    for number, name in enumerate(study.classes):
        group: Any = root[name]
        n = group["done"].shape[0]
        seeds, sums = np.zeros((n, 3), np.int64), np.zeros(n, np.uint64)
        for held in read_chunks(root, name):
            if isinstance(held, int):
                raise DataError(f"{path} is damaged in class {name} from image {held}; build it again")
            found.done += len(held.indices)
            for index, image, values, rejected in zip(
                held.indices, held.images, held.parameters, held.rejected, strict=True
            ):
                draws = candidates(simulator.solver(name), job.seed, number, int(index), job.law)
                for _ in range(int(rejected)):
                    next(draws)
                if not np.array_equal(next(draws), values) or not np.all(np.isfinite(image) & (image >= 0)):
                    raise DataError(f"image {index} of {name} in {path} is not what its seed draws; build it again")
                seeds[index] = job.seed, number, index
                sums[index] = checksum(image, values, int(rejected))
        for array, values in (("seeds", seeds), ("checksums", sums)):
            if array in group:
                del group[array]
            store.add_array(group, array, values.shape, str(values.dtype))[:] = values
        report(f"{found.done} images read")
    simulate_again(root, job, sample, np.random.default_rng(), found, report)
    if found.different:
        name, index = found.different[0]
        raise DataError(f"image {index} of {name} in {path} comes out differently today; build the set again")
    more: dict[str, Any] = {
        "study_text": text,
        "draws": job.law.settings(),
        "precision": job.precision,
        "rounding": store.ROUNDING[job.precision],
        "adopted_by": __version__,
        "format": store.FORMAT,
    }
    root.attrs.update(more)
    return found
