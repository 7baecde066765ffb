"""Building training sets: images a second, what Dask and Zarr cost, memory, and what a thousand workers would do.

usage: python benchmarks/dataset.py [--images 32] [--resolution gaussian] [--light-workers 1000] [--only PART]

Times are CPU-seconds, so that other work on the machine counts little, beside the wall's.

PART "simulation": the same images of the worked study bare in one process and in two side by side, then built with one
worker and with two, each cluster warmed up by another set first. Two processes share caches and memory of the machine:
their scaling without Dask is its ceiling, beside which that of the build stands (by CPU-seconds an image: twice those
with one / those with two). Overhead is what all processes of the build together need beyond the bare simulation with
as many processes: Dask, transfer, checksums, compression and writing.

PART "many": a real scheduler, a real build and a thousand light workers (see light_workers.py), which simulate nothing
and answer with one encoded chunk. All that the process with the client and the scheduler does is there: tasks handed
out, images received, files written. Once more with empty answers and nothing written, for Dask's own part.
From both: the time for a million images, and what saturates first.
"""

import argparse
import multiprocessing
import os
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import psutil
import torch
from distributed import Client, LocalCluster
from light_workers import keep, light_workers

from magnoscope.dataset import build as building
from magnoscope.dataset.chunks import encode, write
from magnoscope.dataset.cluster import UNWATCHED, WORKER_ENVIRONMENT, dask_client
from magnoscope.dataset.draws import simulate_draw
from magnoscope.dataset.store import CHUNK, Settings
from magnoscope.dataset.tasks import Job, make_chunk, simulator_of
from magnoscope.machine import keep_memory
from magnoscope.studies import load_study, study_text

STUDY = "pcsmo"
MILLION = 1_000_000
TASKS_EACH = 2
"""Of a light worker."""


@dataclass(frozen=True)
class Timing:
    """Seconds an image: by the wall, of the workers' and of this process' CPU; largest memory of a worker, bytes."""

    wall: float
    workers: float
    here: float
    memory: int


def cpu(processes: list[psutil.Process]) -> float:
    return sum(sum(p.cpu_times()[:2]) for p in processes)


def job_of(resolution: str) -> Job:
    study, (text, where) = load_study(STUDY), study_text(STUDY)
    return Job(text, where, study.physics_hash, resolution, 1)  # type: ignore[arg-type]


# ---- simulation ----------------------------------------------------------------------------------------------------


def bare(images: int, resolution: str, barrier: Any, answers: Any) -> None:
    """Put wall and CPU seconds an image of the simulation alone; run in a process of its own."""
    torch.set_num_threads(1)
    keep_memory()
    job = job_of(resolution)
    simulator = simulator_of(job)
    for number in range(len(simulator.study.classes)):
        simulate_draw(simulator, number, job.seed + 1, 0)
    barrier.wait()
    started, wall = time.process_time(), time.monotonic()
    for number in range(len(simulator.study.classes)):
        for index in range(images):
            simulate_draw(simulator, number, job.seed, index)
    total = images * len(simulator.study.classes)
    answers.put(((time.monotonic() - wall) / total, (time.process_time() - started) / total))


def side_by_side(processes: int, images: int, resolution: str) -> tuple[float, float]:
    """Wall and CPU seconds an image in each of so many processes, means."""
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(processes), context.Queue()
    before = dict(os.environ)
    os.environ.update({k: str(v) for k, v in WORKER_ENVIRONMENT.items()})  # read by the allocator as a process starts
    running = [context.Process(target=bare, args=(images, resolution, barrier, answers)) for _ in range(processes)]
    for process in running:
        process.start()
    os.environ.clear()
    os.environ.update(before)
    found = [answers.get() for _ in running]
    for process in running:
        process.join()
    return sum(w for w, _ in found) / processes, sum(c for _, c in found) / processes


def timed(images: int, resolution: str, workers: int, folder: Path) -> Timing:
    """One build on a warm cluster."""
    study, (text, where) = load_study(STUDY), study_text(STUDY)
    total = images * len(study.classes)
    with dask_client(workers, None) as client:
        address = client.scheduler.address

        def run(name: str, n: int, seed: int) -> None:
            settings = Settings(n, seed, resolution)  # type: ignore[arg-type]
            building.build(study, text, folder / name, settings, workers, address, lambda line: None, where)

        run(f"warm{workers}.zarr", CHUNK * workers, 99)
        here = psutil.Process()
        pids = set(client.run(os.getpid).values())
        there = [p for p in here.children(recursive=True) if p.pid in pids]
        before, own, wall = cpu(there), cpu([here]), time.monotonic()
        run(f"set{workers}.zarr", images, 1)
        return Timing(
            (time.monotonic() - wall) / total,
            (cpu(there) - before) / total,
            (cpu([here]) - own) / total,
            max(p.memory_info().rss for p in there),
        )


def simulation(images: int, resolution: str, folder: Path) -> float:
    """Bare and built, with one worker and two; returns CPU-seconds an image of one worker."""
    plain, built = {}, {}
    for workers in (1, 2):
        plain[workers] = wall, alone = side_by_side(workers, images, resolution)
        print(
            f"bare simulation ({resolution}), {workers} process{'es' * (workers > 1)}: {alone:.3f} CPU-s an image, "
            f"{workers / wall:.2f} images a second by the wall",
            flush=True,
        )
        built[workers] = t = timed(images, resolution, workers, folder)
        print(
            f"{workers} worker{'s' * (workers > 1)}: {1 / t.wall:.2f} images a second by the wall; CPU-s an image "
            f"{t.workers:.3f} in workers, {t.here:.4f} in client and scheduler (overhead "
            f"{(t.workers + t.here) / alone - 1:+.1%}); {t.memory / 1e6:.0f} MB a worker",
            flush=True,
        )
    ceiling = 2 * plain[1][1] / plain[2][1]
    by_wall = 2 * plain[1][0] / plain[2][0]
    one, two = built[1], built[2]
    workers = 2 * one.workers / two.workers
    together = 2 * (one.workers + one.here) / (two.workers + two.here)
    print(f"what this machine allows, two bare processes over one: {ceiling:.2f} by CPU, {by_wall:.2f} by the wall")
    print(
        f"two workers over one: {workers:.2f} by the workers' CPU, {together:.2f} by that of all processes "
        f"({together / ceiling:.0%} of what the machine allows), {one.wall / two.wall:.2f} by the wall "
        f"({one.wall / two.wall / by_wall:.0%})"
    )
    return one.workers


# ---- a thousand workers --------------------------------------------------------------------------------------------


@contextmanager
def crowd(workers: int, path: Path | None) -> Iterator[Client]:
    """A client of a scheduler in this process, with so many light workers in another."""
    with (
        dask.config.set({**UNWATCHED, "distributed.scheduler.worker-ttl": None}),
        LocalCluster(n_workers=0, protocol="tcp", dashboard_address="127.0.0.1:0", silence_logs=50) as cluster,
        light_workers(cluster.scheduler_address, workers, path),
        Client(cluster) as client,
    ):
        while len(cluster.scheduler.workers) < workers:
            time.sleep(0.5)
        yield client


def many(workers: int, resolution: str, folder: Path, whole: bool) -> float:
    """CPU-seconds that a task costs client and scheduler with so many workers; ``whole``: with images and files."""
    study, job, path = load_study(STUDY), job_of(resolution), None
    if whole:
        path = folder / "chunk.npz"
        keep(encode(job.seed, 0, range(CHUNK), make_chunk(job, 0, range(CHUNK))), path)
    number = TASKS_EACH * workers
    todo = deque((n % 2, range(n // 2 * CHUNK, (n // 2 + 1) * CHUNK)) for n in range(number))
    joined = time.process_time()
    with crowd(workers, path) as client:
        joined, started, wall = time.process_time() - joined, time.process_time(), time.monotonic()
        for class_index, _, future in building._finished(client, job, todo, False):
            files = future.result()
            if whole:
                write(folder / "many" / study.classes[class_index], files)
        task, wall = (time.process_time() - started) / number, (time.monotonic() - wall) / number
    print(
        f"{workers} light workers, {'images received and written' if whole else 'empty answers'}: {1e3 * task:.2f} "
        f"CPU-ms a task of {CHUNK} images in client and scheduler, {CHUNK / task:.0f} images a CPU-second "
        f"({CHUNK / wall:.0f} a second by the wall here); {joined:.1f} CPU-s to join",
        flush=True,
    )
    return task


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=32, help="of each class")
    parser.add_argument("--resolution", choices=["gaussian", "montecarlo"], default="gaussian")
    parser.add_argument("--light-workers", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--only", choices=["simulation", "many"])
    parser.add_argument("--an-image", type=float, help="CPU-s of a worker, where the simulation is left out")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder, resolution = Path(name), arguments.resolution
        image = arguments.an_image
        if arguments.only != "many":
            image = simulation(arguments.images, resolution, folder)
        if arguments.only == "simulation":
            return
        for workers in arguments.light_workers:
            empty = many(workers, resolution, folder, False)
            full = many(workers, resolution, folder, True)
    limits = {"the process with client and scheduler": CHUNK / full, "Dask alone": CHUNK / empty}
    if image is not None:
        limits["the workers"] = workers / image
    first = min(limits, key=lambda k: limits[k])
    print(
        f"{MILLION} images on {workers} workers: "
        + ", ".join(f"{k} {v:.0f} images a second" for k, v in limits.items())
        + f"; {MILLION / limits[first] / 60:.0f} minutes, held back by {first}"
    )


if __name__ == "__main__":
    main()
