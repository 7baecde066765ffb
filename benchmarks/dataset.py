"""Building training sets: images a second, what Dask and Zarr cost, memory, and what a thousand workers would do.

usage: python benchmarks/dataset.py [--images 32] [--resolution gaussian] [--simulated-workers 1000]

Builds the same images of the worked study bare (in this process), with one worker and with two, each cluster warmed up
by another set first. Times are CPU-seconds, so that other work on the machine does not count, beside the wall's;
scaling is that of two workers over one: by the wall, and by CPU-seconds an image (2 x those of one / those of two).
Overhead is what all processes together need beyond the bare simulation: drawing again is part of both, so what is left
is Dask, transfer, checksums, compression and writing. Then a scheduler is given many workers that do nothing, to see
how many tasks it can hand out, and all is put together for a million images.
"""

import argparse
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import dask
import psutil
import torch
from distributed import Client, LocalCluster

from magnoscope.dataset.build import build, write_chunk
from magnoscope.dataset.cluster import dask_client
from magnoscope.dataset.draws import simulate_draw
from magnoscope.dataset.store import CHUNK, Settings, create
from magnoscope.dataset.tasks import Job, make_chunk, simulator_of
from magnoscope.machine import keep_memory
from magnoscope.studies import load_study, study_text

STUDY = "pcsmo"
MILLION = 1_000_000
UNWATCHED = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.interval": "1h",
    **{f"distributed.worker.memory.{k}": False for k in ("target", "spill", "pause", "terminate")},
}
"""A thousand workers in one process: none of them watches memory or is profiled, or that would be all they do."""


@dataclass(frozen=True)
class Timing:
    """Seconds an image: by the wall, of the workers' and of this process' CPU; largest memory of a worker, bytes."""

    wall: float
    workers: float
    here: float
    memory: int


def cpu(processes: list[psutil.Process]) -> float:
    return sum(sum(p.cpu_times()[:2]) for p in processes)


def bare(images: int, job: Job) -> float:
    """CPU-seconds an image of the simulation alone."""
    simulator = simulator_of(job)
    simulate_draw(simulator, 0, job.seed + 1, 0)
    started = time.process_time()
    for number in range(len(simulator.study.classes)):
        for index in range(images):
            simulate_draw(simulator, number, job.seed, index)
    return (time.process_time() - started) / (images * len(simulator.study.classes))


def timed(images: int, resolution: str, workers: int, folder: Path) -> Timing:
    """One build on a warm cluster."""
    study, (text, where) = load_study(STUDY), study_text(STUDY)
    total = images * len(study.classes)
    with dask_client(workers, None) as client:
        address = client.scheduler.address

        def run(name: str, n: int, seed: int) -> None:
            settings = Settings(n, seed, resolution)  # type: ignore[arg-type]
            build(study, text, folder / name, settings, workers, address, lambda line: None, where)

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


def writing(job: Job, folder: Path) -> float:
    """Seconds of CPU that this process needs to write an image."""
    study, (text, _) = load_study(STUDY), study_text(STUDY)
    chunk = make_chunk(job, 0, range(CHUNK))
    repeats = 20
    root = create(folder / "write.zarr", study, text, Settings(CHUNK * repeats, job.seed, job.resolution))
    started = time.process_time()
    for number in range(repeats):
        group = root[study.classes[0]]
        write_chunk(group, job.seed, 0, range(CHUNK * number, CHUNK * (number + 1)), chunk)  # type: ignore[arg-type]
    return (time.process_time() - started) / (repeats * CHUNK)


def nothing(number: int) -> int:
    return number


def scheduling(workers: int, tasks: int) -> float:
    """CPU-seconds a task costs a scheduler with so many workers, all in this process: theirs and the client's too."""
    with (
        dask.config.set(UNWATCHED),
        LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=False, dashboard_address=None, silence_logs=50
        ) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(workers)
        client.gather(client.map(nothing, range(workers), pure=False))
        started = time.process_time()
        client.gather(client.map(nothing, range(tasks), pure=False))
        return (time.process_time() - started) / tasks


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=32, help="of each class")
    parser.add_argument("--resolution", choices=["gaussian", "montecarlo"], default="gaussian")
    parser.add_argument("--simulated-workers", type=int, default=1000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    study, (text, where) = load_study(STUDY), study_text(STUDY)
    job = Job(text, where, study.physics_hash, arguments.resolution, 1)
    alone = bare(arguments.images, job)
    print(f"bare simulation ({arguments.resolution}): {alone:.3f} CPU-s an image", flush=True)
    with tempfile.TemporaryDirectory() as name:
        found = {}
        for workers in (1, 2):
            found[workers] = t = timed(arguments.images, arguments.resolution, workers, Path(name))
            print(
                f"{workers} worker{'s' * (workers > 1)}: {1 / t.wall:.2f} images a second by the wall; CPU-s an image "
                f"{t.workers:.3f} in workers, {t.here:.4f} in client and scheduler (overhead "
                f"{(t.workers + t.here) / alone - 1:+.1%}); {t.memory / 1e6:.0f} MB a worker",
                flush=True,
            )
        write = writing(job, Path(name))
    one, two = found[1], found[2]
    print(f"scaling of two over one: {one.wall / two.wall:.2f} by the wall, {2 * one.workers / two.workers:.2f} by CPU")
    print(f"writing: {1e3 * write:.1f} ms an image, {1 / write:.0f} images a second")
    many = arguments.simulated_workers
    task = scheduling(many, 5 * many)
    print(f"scheduler with {many} workers: {1e3 * task:.2f} CPU-ms a task, {1 / task:.0f} tasks a second")
    wanted = many / one.workers
    limits = {"workers": wanted, "client": 1 / one.here, "scheduler": CHUNK / task}
    first = min(limits, key=lambda k: limits[k])
    print(
        f"{MILLION} images on {many} workers: "
        + ", ".join(f"{k} allow {v:.0f} images a second" for k, v in limits.items())
        + f"; {MILLION / limits[first] / 60:.0f} minutes, held back by the {first}; "
        f"the next to saturate is the {sorted(limits, key=lambda k: limits[k])[1]}"
    )


if __name__ == "__main__":
    main()
