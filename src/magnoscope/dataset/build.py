"""Building a training set on Dask: chunks are independent, so a killed build goes on where it stopped."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from distributed import Client, KilledWorker, as_completed

from ..errors import DataError, MagnoscopeError
from ..study import Study
from . import store
from .chunks import Files, write
from .cluster import connect, dashboard, dask_client
from .draws import check_priors, drawn_classes
from .lock import only_builder
from .store import Settings
from .tasks import Job, run_task

SECONDS_BETWEEN_REPORTS = 10.0
FEWEST_IN_FLIGHT = 16
"""Tasks handed to the scheduler at once, and three for each thread of the cluster if that is more."""

PATIENCE = 5.0
"""Seconds after which a wait for the scheduler is taken up anew."""
LONGEST_WITHOUT_WORKERS = 60.0
"""Seconds without any worker after which a local cluster is given up: its processes are not started again."""

LOOK = 0.05
"""Seconds between two looks at whether a task has ended."""

Report = Callable[[str], None]


def missing_chunks(root: zarr.Group, study: Study, classes: list[int]) -> list[tuple[int, range]]:
    """Chunks (class index, image indices) that are not in the store yet, classes taken in turn.

    Raises
    ------
    DataError
        If the marks of what is done cannot be read.
    """
    per_class = int(root.attrs["per_class"])  # type: ignore[arg-type]
    done = {}
    for number in classes:
        try:
            done[number] = np.asarray(root[f"{study.classes[number]}/done"])
        except (OSError, ValueError, RuntimeError):
            raise DataError(
                f"{root.store_path.store} is damaged; run `magnoscope dataset verify --mend` on it, then build again"
            ) from None
    chunks = []
    for start in range(0, per_class, store.CHUNK):
        for number in classes:
            if not done[number][start : start + store.CHUNK].all():
                chunks.append((number, range(start, min(start + store.CHUNK, per_class))))
    return chunks


@dataclass
class Progress:
    """Counts of a build, and what it says of them.

    Attributes
    ----------
    total, before : int
        Images wanted, and there already.
    """

    classes: tuple[str, ...]
    total: int
    before: int
    report: Report
    fresh: dict[int, int] = field(default_factory=dict)
    rejected: dict[int, int] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)
    last: float = 0.0

    @property
    def done(self) -> int:
        """Images that are in the store."""
        return self.before + sum(self.fresh.values())

    def add(self, class_index: int, chunk: Files) -> None:
        """Count a chunk that was written; report now and then, and at the end."""
        self.fresh[class_index] = self.fresh.get(class_index, 0) + len(chunk.rejected)
        self.rejected[class_index] = self.rejected.get(class_index, 0) + int(chunk.rejected.sum())
        now = time.monotonic()
        if now - self.last > SECONDS_BETWEEN_REPORTS or self.done == self.total:
            self.last = now
            self.report(self.line(now))

    def line(self, now: float) -> str:
        """One line of progress."""
        rate = sum(self.fresh.values()) / max(now - self.started, 1e-9)
        minutes = (self.total - self.done) / rate / 60
        unstable = ", ".join(
            f"{self.classes[n]} {self.rejected[n] / (self.rejected[n] + self.fresh[n]):.0%}" for n in sorted(self.fresh)
        )
        return (
            f"{self.done} of {self.total} images, {rate:.2f} a second, {minutes:.0f} minutes left, draws rejected as "
            f"unstable: {unstable}"
        )


def build(
    study: Study,
    text: str,
    path: Path,
    settings: Settings,
    workers: int = 2,
    scheduler: str | None = None,
    report: Report = print,
    where: str = "study",
) -> zarr.Group:
    """Build (or go on building) a training set.

    Parameters
    ----------
    study, text, where
        The study, the text of its file, and the file's path (workers read it themselves).
    path : Path
        Folder of the Zarr store.
    settings : Settings
        How many images of each model, and what fixes them.
    workers, scheduler
        Size of a local cluster of single-thread processes, or the address of a Dask scheduler that runs already.
    report : callable
        Gets lines of progress.

    Raises
    ------
    DataError
        If the folder holds something else, was begun with other settings or is being built, there is no such
        scheduler or it goes away, or the disk is full. What was written before is kept; the same call goes on.
    StudyError
        If the priors hold no stable structure; then nothing is written.
    """
    settings.law.check(study)
    if not path.exists():
        check_priors(study, settings.seed, settings.law)
    if scheduler is not None:
        connect(scheduler).close()
    with only_builder(path):
        root = store.create(path, study, text, settings)
        store.sweep(path)
        classes = drawn_classes(study, settings.law)
        todo = missing_chunks(root, study, classes)
        total = settings.per_class * len(classes)
        progress = Progress(study.classes, total, total - sum(len(indices) for _, indices in todo), report)
        report(f"{progress.done} of {total} images there already" if progress.done else f"{total} images to simulate")
        if todo:
            job = Job(
                text, where, study.physics_hash, settings.resolution, settings.seed, settings.law, settings.precision
            )
            _simulate(study, job, todo, progress, path, workers, scheduler)
    return root


def _simulate(
    study: Study,
    job: Job,
    todo: list[tuple[int, range]],
    progress: Progress,
    path: Path,
    workers: int,
    scheduler: str | None,
) -> None:
    """Simulate and store what is missing, on a local cluster or on that of a scheduler."""
    with dask_client(min(workers, len(todo)), scheduler) as client:
        progress.report(f"Dask dashboard: {dashboard(client)}")
        progress.started = time.monotonic()
        try:
            _collect(client, study, job, deque(todo), progress, path, lonely=scheduler is None)
        except NoWorkers:
            raise DataError(
                f"no worker is left after {progress.done} of {progress.total} images: their processes ended and could "
                f"not be started again; the images so far are safe in {path}, run the same command again"
            ) from None


def _collect(
    client: Client,
    study: Study,
    job: Job,
    todo: deque[tuple[int, range]],
    progress: Progress,
    path: Path,
    lonely: bool,
) -> None:
    """Hand tasks to the scheduler, a few for each thread at a time, and write what comes back.

    ``lonely``: no other workers than the first ones will ever come, as in a local cluster.
    """
    safe = f"the images so far are safe in {path}"
    for class_index, indices, future in _finished(client, job, todo, lonely):
        try:
            files = _patiently(client, lambda: future.result(timeout=PATIENCE), lonely)  # noqa: B023
        except CancelledError:
            raise DataError(
                f"the Dask scheduler at {client.scheduler.address if client.scheduler else 'that address'} went away "
                f"after {progress.done} of {progress.total} images; {safe}, run the same command again with a "
                "scheduler that runs"
            ) from None
        except KilledWorker:
            raise DataError(
                f"image {indices.start} to {indices.stop - 1} of {study.classes[class_index]} ended every worker that "
                f"tried it, most likely for lack of memory; {safe}, run the same command again with fewer workers"
            ) from None
        except (ImportError, MemoryError, OSError, RuntimeError, TypeError, AttributeError) as error:
            raise DataError(
                f"a worker failed ({type(error).__name__}: {error}); {safe}, run the same command again with the same "
                "version of magnoscope on every worker"
            ) from None
        if isinstance(files, MagnoscopeError):
            raise files
        try:
            write(path / study.classes[class_index], files)
        except OSError as error:
            raise DataError(
                f"{path} cannot be written after {progress.done} of {progress.total} images: "
                f"{error.strerror or error}; {safe}, make room and run the same command again"
            ) from None
        progress.add(class_index, files)


class NoWorkers(Exception):
    """There has been no worker for longer than it takes to start one."""


def _patiently(client: Client, attempt: Callable[[], Any], lonely: bool) -> Any:
    """What an attempt gives that times out while nothing has come yet.

    Raises
    ------
    NoWorkers
        If there are none, have been none for a while, and none will come.
    """
    last = time.monotonic()
    while True:
        try:
            return attempt()
        except TimeoutError:
            now = time.monotonic()
            if _threads(client):
                last = now
            elif lonely and now - last > LONGEST_WITHOUT_WORKERS:
                raise NoWorkers from None


def _next(ended: Any) -> Any:
    """The next future that has ended; TimeoutError if none does for a while."""
    until = time.monotonic() + PATIENCE
    while not ended.has_ready():
        if time.monotonic() > until:
            raise TimeoutError
        time.sleep(LOOK)
    return next(ended)


def _finished(
    client: Client, job: Job, todo: deque[tuple[int, range]], lonely: bool
) -> Iterator[tuple[int, range, Any]]:
    """Tasks that have ended, (class index, image indices, future), while further ones are handed out."""
    running: dict[Any, tuple[int, range]] = {}
    ended = as_completed()
    asked, most = 0.0, FEWEST_IN_FLIGHT
    while todo or running:
        if time.monotonic() - asked > SECONDS_BETWEEN_REPORTS:  # a cluster may grow
            most = max(FEWEST_IN_FLIGHT, 3 * _threads(client))
            asked = time.monotonic()
        while todo and len(running) < most:
            task = todo.popleft()
            future = client.submit(run_task, job, *task, pure=False)
            running[future] = task
            ended.add(future)
        future = _patiently(client, lambda: _next(ended), lonely)
        task = running.pop(future)
        yield *task, future
        future.release()


def _threads(client: Client) -> int:
    """Threads of all workers; none where the scheduler does not answer, as the next task will tell."""
    try:
        return sum(client.nthreads().values())
    except (OSError, RuntimeError, CancelledError):
        return 0
