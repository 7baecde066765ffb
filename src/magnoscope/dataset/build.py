"""Building a training set on Dask: chunks are independent, so a killed build goes on where it stopped."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import dask
import numpy as np
import torch
import zarr
from distributed import Client, LocalCluster, as_completed
from numpy.typing import NDArray

from ..errors import DataError, StudyError
from ..resolution.spread import Method
from ..simulate import Simulator
from ..studies import parse_study
from ..study import Study
from . import store
from .draws import check_priors, simulate_draw

WORKER_ENVIRONMENT = {
    "MALLOC_MMAP_MAX_": 0,
    "MALLOC_TRIM_THRESHOLD_": 1 << 34,
    "MALLOC_TOP_PAD_": 1 << 28,
    "OMP_NUM_THREADS": 1,
    "MKL_NUM_THREADS": 1,
    "OPENBLAS_NUM_THREADS": 1,
}
"""Workers keep their memory instead of giving it back after every array, and use one thread."""

Chunk = tuple[NDArray[np.float16], NDArray[np.float64], NDArray[np.int32]]


@lru_cache(maxsize=2)
def _simulator(text: str, resolution: Method) -> Simulator:
    """One simulator per worker process and study."""
    torch.set_num_threads(1)
    return Simulator(parse_study(text), resolution)


def simulate_chunk(text: str, resolution: Method, class_index: int, seed: int, indices: range) -> Chunk | StudyError:
    """Images, parameters and rejected draws of one chunk; depends on its arguments alone.

    A mistake in the study is returned, not raised: Dask would print the trace of each.
    """
    simulator = _simulator(text, resolution)
    try:
        draws = [simulate_draw(simulator, class_index, seed, i) for i in indices]
    except StudyError as error:
        return error
    images, parameters, rejected = zip(*draws, strict=True)
    return np.stack(images).astype(np.float16), np.stack(parameters), np.array(rejected, np.int32)


def _connect(scheduler: str) -> Client:
    """A client of a scheduler that runs already."""
    try:
        return Client(scheduler, timeout=10)
    except (OSError, ValueError) as error:
        raise DataError(
            f"there is no Dask scheduler at {scheduler} ({error}); give an address such as tcp://host:8786"
        ) from None


@contextmanager
def dask_client(workers: int, scheduler: str | None) -> Iterator[Client]:
    """A client of a scheduler that runs already, or of a local cluster."""
    if scheduler is not None:
        with _connect(scheduler) as client:
            yield client
        return
    with (
        dask.config.set({"distributed.nanny.pre-spawn-environ": WORKER_ENVIRONMENT}),
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        yield client


def missing_chunks(root: zarr.Group, study: Study) -> list[tuple[int, range]]:
    """Chunks (class index, image indices) that are not in the store yet, classes taken in turn."""
    per_class = int(root.attrs["per_class"])  # type: ignore[arg-type]
    done = [np.asarray(root[f"{name}/done"]) for name in study.classes]
    chunks = []
    for start in range(0, per_class, store.CHUNK):
        for number in range(len(study.classes)):
            if not done[number][start : start + store.CHUNK].all():
                chunks.append((number, range(start, min(start + store.CHUNK, per_class))))
    return chunks


def _write(group: zarr.Group, indices: range, chunk: Chunk) -> None:
    """Store one chunk of a class; it counts as done only when the rest of it is there."""
    where = slice(indices.start, indices.stop)
    group["images"][where], group["parameters"][where], group["rejected"][where] = chunk  # type: ignore[index]
    group["done"][where] = True  # type: ignore[index]


def build(
    study: Study,
    text: str,
    path: Path,
    per_class: int,
    seed: int = 0,
    resolution: Method = "gaussian",
    workers: int = 2,
    scheduler: str | None = None,
    report: Callable[[str], None] = print,
) -> zarr.Group:
    """Build (or go on building) a training set.

    Parameters
    ----------
    study, text
        The study, and the text of its file (workers read it themselves).
    path : Path
        Folder of the Zarr store.
    per_class : int
        Stable images of each model.
    workers, scheduler
        Size of a local cluster of single-thread processes, or the address of a Dask scheduler that runs already.
    report : callable
        Gets lines of progress.

    Raises
    ------
    DataError
        If the folder holds something else or was begun with other settings, or there is no such scheduler.
    StudyError
        If the priors hold no stable structure; then nothing is written.
    """
    if not path.exists():
        check_priors(study, seed)
    if scheduler is not None:
        _connect(scheduler).close()
    root = store.create(path, study, per_class, seed, resolution)
    todo = missing_chunks(root, study)
    total = per_class * len(study.classes)
    done = total - sum(len(indices) for _, indices in todo)
    report(f"{done} of {total} images there already" if done else f"{total} images to simulate")
    if not todo:
        return root
    with dask_client(min(workers, len(todo)), scheduler) as client:
        report(f"Dask dashboard: {client.dashboard_link}")
        started, fresh, rejected, last = time.monotonic(), 0, 0, 0.0
        futures = {
            client.submit(simulate_chunk, text, resolution, number, seed, indices, pure=False): (number, indices)
            for number, indices in todo
        }
        for future in as_completed(futures):
            number, indices = futures.pop(future)
            chunk = future.result()
            if isinstance(chunk, StudyError):
                raise chunk
            _write(root[study.classes[number]], indices, chunk)  # type: ignore[arg-type]
            future.release()
            fresh, rejected = fresh + len(indices), rejected + int(chunk[2].sum())
            if time.monotonic() - last > 10 or not futures:
                last = time.monotonic()
                rate = fresh / (last - started)
                left = (total - done - fresh) / rate
                report(
                    f"{done + fresh} of {total} images, {rate:.2f} a second, {left / 60:.0f} minutes left, "
                    f"{rejected / (rejected + fresh):.0%} of draws unstable"
                )
    return root
