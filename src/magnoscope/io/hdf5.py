"""Reading of HDF5 files that may be damaged or hostile: the library runs in a process of its own, with limits."""

import atexit
import json
import os
import select
import struct
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

SECONDS = 0.7
"""Processor time for opening a file or looking at an object."""
BYTES_PER_SECOND = 2e7
"""Slowest unpacking of an array that is waited for."""
LONGEST_WAIT = 30.0
"""Wall time for any one answer beside that for its bytes: the machine may be busy."""
MOST_GAIN = 1100
"""No compression that HDF5 has packs better."""
MOST_ELEMENTS = 1 << 40
READ_AT_ONCE = 1 << 26
"""Bytes of an array that are asked for at a time."""


@dataclass(frozen=True)
class Item:
    """A group or dataset: its shape, type and attributes."""

    kind: str
    members: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    attributes: dict[str, Any]

    def text(self, name: str) -> str:
        """An attribute as text; empty where it is missing or no text."""
        return as_text(self.attributes.get(name))


def as_text(value: Any) -> str:
    """A value as text, the first one of several; empty where it is no text."""
    while isinstance(value, list) and value:
        value = value[0]
    return value.strip("\0 ") if isinstance(value, str) else ""


class _Server:
    """The process that forks a process for every file."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("hdf5_child.py")
        environment = os.environ | {
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "HDF5_USE_FILE_LOCKING": "FALSE",
        }
        self.owner = os.getpid()
        self.process = subprocess.Popen(
            [sys.executable, "-I", str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            bufsize=0,
            start_new_session=True,
        )

    @property
    def usable(self) -> bool:
        return self.owner == os.getpid() and self.process.poll() is None

    def send(self, request: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request).encode() + b"\n")

    def receive(self, seconds: float) -> tuple[dict[str, Any], bytes]:
        deadline = time.monotonic() + LONGEST_WAIT + seconds
        (length,) = struct.unpack("<Q", self._exactly(8, deadline))
        document = json.loads(self._exactly(length, deadline))
        return document, self._exactly(document["bytes"], deadline)

    def _exactly(self, length: int, deadline: float) -> bytes:
        assert self.process.stdout is not None
        number, out = self.process.stdout.fileno(), bytearray()
        while len(out) < length:
            if not select.select([number], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError
            part = os.read(number, min(length - len(out), 1 << 20))
            if not part:
                raise EOFError
            out += part
        return bytes(out)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


_lock = threading.RLock()
_server: _Server | None = None


def _running() -> _Server:
    global _server
    if _server is None or not _server.usable:
        _server = _Server()
    return _server


@atexit.register
def _end() -> None:
    if _server is not None and _server.usable:
        _server.stop()


class Hdf5Reader:
    """One HDF5 file, read in another process; use it in a ``with`` block.

    Raises
    ------
    DataError
        From every method, where the file is damaged, asks for too much or leads out of itself.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._dead = False

    def __enter__(self) -> "Hdf5Reader":
        """Open the file."""
        _lock.acquire()
        try:
            self._server = _running()
            self._server.send({"open": str(self.path)})
        except BaseException:
            _lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file and end its process."""
        try:
            if not self._dead:
                self._server.send({"op": "close"})
                self._server.receive(0)
        except (OSError, EOFError, TimeoutError):
            self._server.stop()
        finally:
            _lock.release()

    def _ask(self, request: dict[str, Any], seconds: float) -> tuple[dict[str, Any], bytes]:
        if self._dead:
            raise DataError(f"{self.path} is damaged; write it again")
        try:
            self._server.send(request | {"seconds": SECONDS + seconds})
            document, payload = self._server.receive(seconds)
        except (OSError, EOFError, TimeoutError, ValueError):
            self._dead = True
            self._server.stop()
            raise DataError(f"{self.path} cannot be read in reasonable time; it is damaged, write it again") from None
        if "ended" in document:
            self._dead = True
            raise DataError(f"{self.path} is damaged: reading it takes too long or too much memory; write it again")
        if "refused" in document:
            raise DataError(f"{self.path}: {document['refused']}")
        if "error" in document:
            raise DataError(f"{self.path} is damaged or cut short ({document['error']}); write it again")
        return document, payload

    def item(self, path: str) -> Item:
        """What there is at a path, with its attributes."""
        found, _ = self._ask({"op": "describe", "path": path}, 0)
        return Item(
            found["kind"],
            tuple(found.get("members", ())),
            tuple(found.get("shape", ())),
            found.get("dtype", ""),
            found["attributes"],
        )

    def has(self, path: str) -> bool:
        """Whether a path leads to something in this file."""
        parent, _, name = path.rpartition("/")
        item = self.item(parent)
        return item.kind == "group" and name in item.members

    def value(self, path: str) -> Any:
        """A small dataset as plain numbers or text, or lists of them."""
        return self._ask({"op": "value", "path": path}, 0)[0]["value"]

    def number(self, path: str) -> float:
        """A dataset that holds one number."""
        value = self.value(path)
        while isinstance(value, list) and len(value) == 1:
            value = value[0]
        if isinstance(value, (bool, int, float)):
            return float(value)
        raise DataError(f"{self.path}: {path} must hold one number, it holds {str(value)[:60]!r}")

    def array(self, path: str, start: int = 0, stop: int | None = None, most: int = MOST_ELEMENTS) -> NDArray:
        """A dataset, or its rows from ``start`` to ``stop``.

        Parameters
        ----------
        most : int
            Elements that it may have.
        """
        found, _ = self._ask({"op": "describe", "path": path}, 0)
        if found["kind"] != "dataset" or found["dtype"] in ("S", "U", "O", "V"):
            raise DataError(f"{self.path}: {path} must be an array of numbers")
        shape, dtype = tuple(found["shape"]), np.dtype(found["dtype"])
        rows = (shape[0] if shape else 1) if stop is None else min(stop, shape[0] if shape else 1)
        row = int(np.prod(shape[1:], dtype=object)) * dtype.itemsize
        size = int(np.prod(shape, dtype=object))
        if size > most:
            raise DataError(f"{self.path}: {path} declares {size} values; at most {most} are expected")
        if size * dtype.itemsize > MOST_GAIN * (found["storage"] + 4096) or (
            found["storage"] > self.path.stat().st_size
        ):
            raise DataError(
                f"{self.path}: {path} declares {size} values but holds only {found['storage']} bytes of them; "
                "the file is damaged, write it again"
            )
        if not shape:
            return np.asarray(self._rows(path, 0, 1, dtype.itemsize)).reshape(())
        out = np.empty((max(0, rows - start), *shape[1:]), dtype)
        step = max(1, READ_AT_ONCE // max(1, row))
        for first in range(start, rows, step):
            last = min(first + step, rows)
            out[first - start : last - start] = self._rows(path, first, last, row * (last - first))
        return out

    def _rows(self, path: str, start: int, stop: int, size: int) -> NDArray:
        document, payload = self._ask(
            {"op": "read", "path": path, "start": start, "stop": stop}, size / BYTES_PER_SECOND
        )
        return np.frombuffer(payload, np.dtype(document["dtype"])).reshape(document["shape"])
