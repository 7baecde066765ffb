"""What a worker of a build does: one chunk of images, from the text of the study."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from .. import __version__
from ..errors import DataError, MagnoscopeError
from ..machine import keep_memory
from ..resolution.spread import Method
from ..simulate import Simulator
from ..studies import parse_study
from .chunks import Chunk, Files, encode
from .draws import UNIFORM, Law, simulate_draw
from .store import Precision, checksum


@dataclass(frozen=True)
class Job:
    """What all images of a build have in common; small enough to go with every task.

    Attributes
    ----------
    text, where : str
        The study's file and its path: an instrument file of the user's lies beside it.
    physics_hash, version : str
        What the worker must find too, so that all images come from the same study and program.
    """

    text: str
    where: str
    physics_hash: str
    resolution: Method
    seed: int
    law: Law = UNIFORM
    precision: Precision = "float16"
    version: str = __version__


@lru_cache(maxsize=2)
def _simulator(text: str, where: str, resolution: Method) -> Simulator:
    """One simulator per worker process and study."""
    torch.set_num_threads(1)
    keep_memory()
    return Simulator(parse_study(text, where), resolution)


def simulator_of(job: Job) -> Simulator:
    """The simulator of a job in this process.

    Raises
    ------
    DataError
        If this process runs another version of the package, or reads another study or instrument.
    """
    if job.version != __version__:
        raise DataError(f"a worker runs magnoscope {__version__}, this is {job.version}; install the same everywhere")
    simulator = _simulator(job.text, job.where, job.resolution)
    if simulator.study.physics_hash != job.physics_hash:
        raise DataError("a worker reads another instrument file than this process; give all the same files")
    return simulator


def make_chunk(job: Job, class_index: int, indices: range) -> Chunk:
    """Images ``indices`` of a class; depends on its arguments alone.

    Raises
    ------
    StudyError
        If the priors hold no stable structure.
    DataError
        If the process is unlike the one that asks, or intensities are too large for float16.
    """
    simulator = simulator_of(job)
    draws = [simulate_draw(simulator, class_index, job.seed, i, job.law) for i in indices]
    signals, parameters, rejected = zip(*draws, strict=True)
    with np.errstate(over="ignore"):
        images = np.stack(signals).astype(job.precision)
    if not np.isfinite(images).all():
        raise DataError(f"intensities are too large for {job.precision}; store them with --precision float32")
    sums = [checksum(*parts) for parts in zip(images, parameters, rejected, strict=True)]
    return Chunk(images, np.stack(parameters), np.array(rejected, np.int32), np.array(sums, np.uint64))


def run_task(job: Job, class_index: int, indices: range) -> Files | MagnoscopeError:
    """The files of a chunk; what a user can mend is returned, not raised: Dask would print the trace of each."""
    try:
        return encode(job.seed, class_index, indices, make_chunk(job, class_index, indices))
    except MagnoscopeError as error:
        return error
