"""What can go wrong while a training set is built: nothing is lost, nothing doubled, and one line says what to do."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import zarr
from distributed import LocalCluster

from magnoscope.dataset import build as building
from magnoscope.dataset.lock import only_builder
from magnoscope.dataset.tasks import Job, make_chunk, run_task
from magnoscope.study import Study

Refuse = Callable[..., str]
CLUSTER = """
import time
from distributed import LocalCluster
cluster = LocalCluster(n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=None)
print(cluster.scheduler_address, flush=True)
time.sleep(300)
"""
"""A scheduler and a worker in one process."""
PER_CLASS = 40
"""Five chunks of each class."""


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """A running scheduler with two workers, so that not every test starts its own."""
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 2}),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster,
    ):
        yield cluster.scheduler_address


@pytest.fixture
def words(square_file: Path, tmp_path: Path, scheduler: str) -> list[object]:
    """The command that the tests interrupt."""
    return [*command(square_file, tmp_path / "set.zarr"), "--scheduler", scheduler]


def command(square_file: Path, path: Path) -> list[object]:
    return ["dataset", "build", square_file, "-n", PER_CLASS, "-o", path, "--seed", 3]


def start(*arguments: object) -> subprocess.Popen[str]:
    """The real command, left running."""
    words = [str(Path(sys.executable).with_name("magnoscope")), *map(str, arguments)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(condition: Callable[[], Any], seconds: float = 400) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


def some_done(path: Path) -> bool:
    """Whether a chunk has been written and more are to come."""
    return len(list(path.glob("*/done/c/*"))) >= 1


@pytest.fixture(scope="module")
def expected(square_file: Path, square: Study) -> dict[str, np.ndarray]:
    """What each image must be, made without a build."""
    job = Job(square_file.read_text("utf-8"), str(square_file), square.physics_hash, "gaussian", 3)
    out = {}
    for number, name in enumerate(square.classes):
        chunk = make_chunk(job, number, range(PER_CLASS))
        out |= {f"{name}/{a}": getattr(chunk, a) for a in ("images", "parameters", "rejected", "checksums")}
    return out


def assert_whole(path: Path, expected: dict[str, np.ndarray]) -> None:
    """Every image there, once, and the right one; nothing else in the folder."""
    root = zarr.open_group(str(path), mode="r")
    for key, array in expected.items():
        np.testing.assert_array_equal(np.asarray(root[key]), array)
    assert all(np.asarray(root[f"{name}/done"]).all() for name in root.attrs["classes"])
    assert not list(path.rglob("*.partial")) and not path.with_name(path.name + ".lock").exists()


# ---- workers and schedulers ----------------------------------------------------------------------------------------


def test_a_worker_that_is_killed(run, words, tmp_path: Path, expected, monkeypatch) -> None:
    marker = tmp_path / "killed"

    def fatal_once(job, class_index, indices):
        try:
            os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return run_task(job, class_index, indices)
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(building, "run_task", fatal_once)
    outcome = run(*words, "--json")
    assert outcome.json["done"] == {"near": PER_CLASS, "far": PER_CLASS} and marker.exists()
    assert_whole(tmp_path / "set.zarr", expected)


def test_images_that_end_every_worker(run, words, tmp_path: Path, expected, monkeypatch) -> None:
    def fatal(job, class_index, indices):
        if indices.start == 8:
            os.kill(os.getpid(), signal.SIGKILL)
        return run_task(job, class_index, indices)

    with monkeypatch.context() as patch:
        patch.setattr(building, "run_task", fatal)
        outcome = run(*words)
    assert outcome.status == 2
    said = outcome.err.splitlines()[-1]
    assert "ended every worker that tried it" in said and "safe in" in said and "fewer workers" in said
    assert run(*words, "--json").json["done"] == {"near": PER_CLASS, "far": PER_CLASS}
    assert_whole(tmp_path / "set.zarr", expected)


@pytest.mark.slow
def test_a_scheduler_that_goes_away(square_file: Path, tmp_path: Path, expected) -> None:
    path = tmp_path / "set.zarr"
    cluster = subprocess.Popen([sys.executable, "-c", CLUSTER], stdout=subprocess.PIPE, text=True)
    assert cluster.stdout is not None
    many = [*command(square_file, path)[:4], 4000, *command(square_file, path)[5:]]
    try:
        going = start(*many, "--scheduler", cluster.stdout.readline().strip())
        wait_for(lambda: some_done(path))
        cluster.kill()
        _, said = going.communicate(timeout=120)
    finally:
        cluster.kill()
        cluster.communicate()
        going.kill()
    assert going.returncode == 2, said
    last = said.splitlines()[-1]
    assert last.startswith("magnoscope: the Dask scheduler at") and "went away after" in last and "safe in" in last
    assert "Traceback" not in said
    root = zarr.open_group(str(path), mode="r")
    for name in root.attrs["classes"]:
        done = np.flatnonzero(np.asarray(root[f"{name}/done"])[:PER_CLASS])
        np.testing.assert_array_equal(np.asarray(root[f"{name}/images"])[done], expected[f"{name}/images"][done])


# ---- the building process and its disk -----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_build_that_is_killed_and_started_again(run, square_file: Path, tmp_path: Path, words, expected) -> None:
    path = tmp_path / "set.zarr"
    process = start(*command(square_file, path), "--workers", 1)
    wait_for(lambda: some_done(path))
    process.kill()
    process.communicate()
    # what a write leaves that is cut off in the middle
    (path / "near" / "images" / "c" / "0" / "0.0123.partial").parent.mkdir(parents=True, exist_ok=True)
    (path / "near" / "images" / "c" / "0" / "0.0123.partial").write_bytes(b"half")
    outcome = run(*words, "--json")
    assert outcome.json["done"] == {"near": PER_CLASS, "far": PER_CLASS}
    assert "images there already" in outcome.err
    assert_whole(path, expected)


def test_a_full_disk(run, words, tmp_path: Path, expected, monkeypatch) -> None:
    path, put, written = tmp_path / "set.zarr", Path.write_bytes, []

    def full(file: Path, content: bytes) -> int:
        if "/parameters/c/" in str(file):
            written.append(file)
            if len(written) > 3:
                put(file, content[:10])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
        return put(file, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        outcome = run(*words)
    assert outcome.status == 2
    said = outcome.err.splitlines()[-1]
    assert "cannot be written after 24 of 80 images: No space left on device" in said
    assert "safe in" in said and "make room and run the same command again" in said
    assert not list(path.rglob("*.partial"))
    again = run(*words, "--json")
    assert "24 of 80 images there already" in again.err
    assert_whole(path, expected)


def test_two_builds_into_one_folder(refuse: Refuse, run, words, tmp_path: Path, expected) -> None:
    path = tmp_path / "set.zarr"
    with only_builder(path):
        said = refuse(*words, "--json")
        assert "set.zarr is being built by process" in said and "wait until that ends, or stop it" in said
        assert not path.exists()
    run(*words)
    assert_whole(path, expected)


def test_one_worker_or_eight(run, words, square_file: Path, tmp_path: Path) -> None:
    """The same files to the last byte, whoever made which image."""
    one, eight = tmp_path / "one.zarr", tmp_path / "eight.zarr"

    def cluster_of(workers: int) -> LocalCluster:
        options = {"processes": False, "dashboard_address": "127.0.0.1:0", "silence_logs": 50}
        return LocalCluster(n_workers=workers, threads_per_worker=1, **options)

    with cluster_of(8) as cluster:
        made = run(*command(square_file, eight), "--scheduler", cluster.scheduler_address, "--json")
    assert made.json["done"] == {"near": PER_CLASS, "far": PER_CLASS}
    with cluster_of(1) as cluster:
        assert run(*command(square_file, one), "--scheduler", cluster.scheduler_address).status == 0
    files = {file.relative_to(one): file.read_bytes() for file in one.rglob("*") if file.is_file()}
    assert len(files) > 2 * 5 * 5
    assert files == {file.relative_to(eight): file.read_bytes() for file in eight.rglob("*") if file.is_file()}


# ---- what was written ----------------------------------------------------------------------------------------------


def test_chunks_in_any_order_and_a_set_that_grows(
    run, words, square_file, tmp_path: Path, expected, monkeypatch
) -> None:
    missing = building.missing_chunks
    monkeypatch.setattr(building, "missing_chunks", lambda *a: missing(*a)[::-1])
    few = [*words[:4], 13, *words[5:]]
    assert run(*few, "--json").json["done"] == {"near": 13, "far": 13}
    assert run(*words, "--json").json["done"] == {"near": PER_CLASS, "far": PER_CLASS}
    assert_whole(tmp_path / "set.zarr", expected)


@pytest.fixture
def copy(training_set: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(training_set, tmp_path / "copy.zarr"))


def chunk_of(path: Path, array: str) -> Path:
    folder = path / "near" / array / "c" / "1"
    return folder if folder.is_file() else next(f for f in folder.rglob("*") if f.is_file())


@pytest.mark.parametrize("array", ["images", "parameters", "done", "checksums"])
def test_a_truncated_chunk(
    array: str, run, refuse: Refuse, copy: Path, training_set: Path, scheduler, square_file
) -> None:
    chunk = chunk_of(copy, array)
    chunk.write_bytes(chunk.read_bytes()[:-5])
    said = run("dataset", "verify", copy, "--sample", 0, "--json")
    assert said.status == 2 and "is damaged in 1 chunk (near from image 8)" in said.err
    mended = run("dataset", "verify", copy, "--sample", 0, "--mend", "--json").json
    assert mended["dropped"] == 1 and mended["damaged"] == {"near": [8]}
    build = ["dataset", "build", square_file, "-n", 12, "-o", copy, "--seed", 3, "--scheduler", scheduler, "--json"]
    outcome = run(*build)
    assert "20 of 24 images there already" in outcome.err
    found, original = (zarr.open_group(str(p), mode="r") for p in (copy, training_set))
    np.testing.assert_array_equal(np.asarray(found["near/images"]), np.asarray(original["near/images"]))
    assert run("dataset", "verify", copy, "--json").json["identical"] == 4


def test_a_changed_image_is_found(run, copy: Path) -> None:
    """A chunk that can be read, but holds something else."""
    root = zarr.open_group(str(copy), mode="r+")
    root["far/images"][9, 0, 0, 0, 0] = 1.0
    said = run("dataset", "verify", copy, "--sample", 0)
    assert said.status == 2 and "is damaged in 1 chunk (far from image 8)" in said.err


def test_no_worker_is_left(run, words, tmp_path: Path, expected, monkeypatch) -> None:
    """Processes that end and cannot be started again must not leave a build waiting for ever."""

    class Closed:
        @staticmethod
        def nthreads() -> dict[str, int]:
            return {}

    def never() -> None:
        raise TimeoutError

    monkeypatch.setattr(building, "LONGEST_WITHOUT_WORKERS", 0.05)
    with pytest.raises(building.NoWorkers):
        building._patiently(Closed(), never, lonely=True)
    tried = []

    def late() -> str:
        tried.append(1)
        if len(tried) < 5:
            raise TimeoutError
        return "came"

    assert building._patiently(Closed(), late, lonely=False) == "came"
    with monkeypatch.context() as patch:
        patch.setattr(building, "_patiently", lambda *rest: (_ for _ in ()).throw(building.NoWorkers))
        outcome = run(*words)
    assert outcome.status == 2 and "no worker is left after" in outcome.err and "safe in" in outcome.err
    assert run(*words, "--json").json["done"] == {"near": PER_CLASS, "far": PER_CLASS}
    assert_whole(tmp_path / "set.zarr", expected)
