"""Workers that simulate nothing, as many as wanted in one process, for any running Dask scheduler.

usage: python benchmarks/light_workers.py ADDRESS NUMBER FILES

Each registers, is sent tasks, says at once that they are done and hands over the result when it is asked for, all in
Dask's own protocol over TCP: to scheduler and client it is a worker like any other, but a thousand of them cost what
one real one costs. FILES holds one encoded chunk (see :func:`keep`); a task is answered with it under its own number,
or with nothing at all where FILES is "-". Only heartbeats are left out.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from distributed.comm import connect
from distributed.core import Server, Status
from distributed.protocol import to_serialize
from distributed.protocol.pickle import dumps

from magnoscope.dataset.chunks import Files
from magnoscope.dataset.store import CHUNK

METRICS: dict[str, Any] = {
    "task_counts": {},
    "bandwidth": {"total": 1e8, "workers": {}, "types": {}},
    "digests_total_since_heartbeat": {},
    "managed_bytes": 0,
    "spilled_bytes": {"memory": 0, "disk": 0},
    "transfer": {},
    "event_loop_interval": 0.02,
    "memory": 0,
    "cpu": 0,
}
AT_ONCE = 50


def keep(files: Files, path: Path) -> None:
    """Write an encoded chunk where light workers find it."""
    names = {place.split("/")[0]: place.count("/") for place in files.contents}
    contents = {f"content/{p.split('/')[0]}": np.frombuffer(c or b"", np.uint8) for p, c in files.contents.items()}
    arrays = {"rejected": files.rejected, "names": np.frombuffer(json.dumps(names).encode(), np.uint8)} | contents
    np.savez(path, **arrays)  # type: ignore[arg-type]


def kept(path: str) -> tuple[dict[str, bytes], dict[str, int], np.ndarray]:
    """What :func:`keep` wrote: contents and number of slashes in the place of each array, and rejected draws."""
    with np.load(path, allow_pickle=False) as found:
        names = json.loads(found["names"].tobytes())
        return {n: found[f"content/{n}"].tobytes() for n in names}, names, found["rejected"].copy()


class LightWorker(Server):
    """What a scheduler sees of a worker."""

    def __init__(self, number: int, chunk: tuple[dict[str, bytes], dict[str, int], np.ndarray] | None) -> None:
        super().__init__(handlers={"get_data": self.get_data})
        self.number = number
        self.chunk = chunk
        self.results: dict[str, Any] = {}

    async def get_data(self, comm: Any, keys: list[str], **rest: Any) -> Any:
        """Hand over results, as Dask's workers do: with an answer to the answer."""
        await comm.write({"status": "OK", "data": {k: to_serialize(self.results[k]) for k in keys}})
        await comm.read()
        return Status.dont_reply

    def result(self, indices: range) -> Files | None:
        """The chunk that ships, as if it were the one asked for."""
        if self.chunk is None:
            return None
        contents, slashes, rejected = self.chunk
        number = indices.start // CHUNK
        places = {n: f"{n}/c/{number}" + "/0" * (slashes[n] - 2) for n in contents}
        return Files({places[n]: contents[n] or None for n in contents}, rejected)

    async def register(self, scheduler: str) -> None:
        """Join the scheduler."""
        await self.listen("tcp://127.0.0.1:0")
        self.stream = await connect(scheduler)
        about = {
            "op": "register-worker", "reply": False, "address": self.address, "status": "running", "nthreads": 1,
            "name": f"light-{self.number}", "now": time.time(), "resources": {}, "memory_limit": 1 << 30,
            "local_directory": "", "services": {}, "nanny": None, "pid": os.getpid(), "versions": {}, "extra": {},
            "metrics": METRICS, "stimulus_id": f"light-{self.number}", "server_id": self.id,
        }  # fmt: skip
        await self.stream.write(about, serializers=["msgpack"])
        await self.stream.read()

    async def work(self) -> None:
        """Answer tasks until the scheduler closes."""
        while True:
            try:
                messages = await self.stream.read()
            except OSError:
                return
            answers = []
            for message in messages:
                if message["op"] == "compute-task":
                    answers.append(self.answer(message))
                elif message["op"] == "free-keys":
                    for key in message["keys"]:
                        self.results.pop(key, None)
                elif message["op"] == "close":
                    return
            if answers:
                await self.stream.write(answers)

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        """The task is done."""
        key, task = message["key"], message["run_spec"]
        self.results[key] = self.result(task.args[2])
        return {
            "op": "task-finished", "status": "OK", "key": key, "run_id": message["run_id"], "nbytes": 1 << 20,
            "type": dumps(Files), "typename": "Files", "metadata": {}, "thread": 0,
            "startstops": [{"action": "compute", "start": time.time() - 3, "stop": time.time()}],
            "stimulus_id": f"done-{time.time()}",
        }  # fmt: skip


async def main(scheduler: str, number: int, path: str) -> None:
    chunk = None if path == "-" else kept(path)
    workers = [LightWorker(n, chunk) for n in range(number)]
    running = []
    for start in range(0, number, AT_ONCE):
        some = workers[start : start + AT_ONCE]
        await asyncio.gather(*(worker.register(scheduler) for worker in some))
        running += [asyncio.ensure_future(worker.work()) for worker in some]
    await asyncio.gather(*running)


@contextmanager
def light_workers(scheduler: str, number: int, path: Path | None) -> Iterator[None]:
    """Light workers in a process of their own."""
    words = [sys.executable, __file__, scheduler, str(number), str(path or "-")]
    process = subprocess.Popen(words)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
