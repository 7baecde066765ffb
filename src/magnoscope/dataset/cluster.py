"""Dask for a build: a local cluster of single-thread processes, or a scheduler that runs already."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import dask
from distributed import Client, LocalCluster

from ..errors import DataError

CONNECT = 10
"""Seconds after which a scheduler is said not to be there, or to have gone."""

WORKER_ENVIRONMENT = {
    "MALLOC_MMAP_MAX_": 0,
    "MALLOC_TRIM_THRESHOLD_": 1 << 34,
    "MALLOC_TOP_PAD_": 1 << 28,
    "MALLOC_ARENA_MAX": 1,
    "OMP_NUM_THREADS": 1,
    "MKL_NUM_THREADS": 1,
    "OPENBLAS_NUM_THREADS": 1,
}
"""Workers keep their memory instead of giving it back after every array, and use one thread.

Only the first arena of glibc's allocator can; the thread that works would have another one.
"""

UNWATCHED = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.tick.limit": "30s",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.worker.memory.monitor-interval": "1s",
}
"""Dask's processes watch themselves less often.

By default they look at every task a hundred times a second, at their event loops fifty times, at the memory of workers
ten times and at that of the machine twice: some 4 per cent of a core in the process that builds and 2 in each worker.
"""


def connect(scheduler: str) -> Client:
    """A client of a scheduler that runs already.

    Raises
    ------
    DataError
        If there is none at that address.
    """
    try:
        return Client(scheduler, timeout=CONNECT)
    except (OSError, ValueError) as error:
        raise DataError(
            f"there is no Dask scheduler at {scheduler} ({error}); give an address such as tcp://host:8786"
        ) from None


@contextmanager
def dask_client(workers: int, scheduler: str | None) -> Iterator[Client]:
    """A client of a scheduler that runs already, or of a local cluster."""
    # a lost scheduler or worker is said in one line by the build; Dask would print a trace for each
    with _quiet("distributed.client", "distributed.core", "distributed.batched", "tornado.application"):
        if scheduler is not None:
            with connect(scheduler) as client:
                yield client
            return
        with (
            dask.config.set({"distributed.nanny.pre-spawn-environ": WORKER_ENVIRONMENT, **UNWATCHED}),
            LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
            Client(cluster) as client,
        ):
            yield client


@contextmanager
def _quiet(*names: str) -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def dashboard(client: Client) -> str:
    """Address of the live dashboard; without bokeh of its tables of workers and tasks, which need none."""
    link = str(client.dashboard_link)
    if find_spec("bokeh") is None:
        return link.removesuffix("/status") + "/info/main/workers.html (tables; install bokeh for the live figures)"
    return link
