"""Reads HDF5 files for another process: run as a script, never imported by the package.

A damaged or hostile file can make the HDF5 library loop, crash or ask for all memory. So each file is opened in a
process of its own, with limits on memory and on processor time that the kernel enforces; what it cannot hurt is the
process that asked. This script needs numpy and h5py alone and starts in a fraction of a second; it forks once a file.

Requests are lines of JSON on standard input: first ``{"open": path}``, then operations on that file, then
``{"op": "close"}``. A reply is eight bytes with the length of a JSON document, the document, and the ``bytes`` of raw
array that it announces.
"""

import json
import os
import resource
import signal
import struct
import sys
from itertools import islice
from typing import Any, BinaryIO

import h5py
import numpy as np

MEMORY = 2 << 30
"""Address space of the process that opens a file, bytes."""
MOST_MEMBERS = 1000
LARGEST_ATTRIBUTE = 1 << 16
LARGEST_CHUNK = 1 << 28
"""A compressed block that unpacks to more is not read, bytes."""


class Refused(Exception):
    """The file asks for something that is not done."""


def reply(out: BinaryIO, document: dict[str, Any], payload: bytes = b"") -> None:
    """Send one reply."""
    text = json.dumps(document | {"bytes": len(payload)}).encode()
    out.write(struct.pack("<Q", len(text)) + text + payload)
    out.flush()


def find(file: h5py.File, path: str) -> Any:
    """A group or dataset by its path; links that lead out of the file, or elsewhere in it, are not followed."""
    item: Any = file["/"]
    for part in (p for p in path.split("/") if p):
        if not isinstance(item, h5py.Group):
            raise Refused(f"{path} is missing")
        kind = item.get(part, getlink=True, default=None)
        if kind is None:
            raise Refused(f"{path} is missing")
        if not isinstance(kind, h5py.HardLink):
            raise Refused(f"{path} is a link to another place, which is not followed")
        item = item[part]
    return item


def plain(value: Any) -> Any:
    """An attribute or small dataset as JSON: text, numbers or lists of them; None for anything else."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, np.ndarray):
        return [plain(v) for v in value.ravel().tolist()] if value.dtype.kind in "biufSUO" else None
    if isinstance(value, np.generic):
        return plain(value.item())
    return None


def small(item: Any) -> bool:
    """Whether a dataset or attribute is small enough to be sent as JSON."""
    return item.shape is not None and int(np.prod(item.shape, dtype=float)) * max(1, item.dtype.itemsize) <= (
        LARGEST_ATTRIBUTE
    )


def attributes(item: Any) -> dict[str, Any]:
    """The attributes of an object that are small."""
    out = {}
    for name in islice(item.attrs, MOST_MEMBERS):
        found = item.attrs.get_id(name)
        out[name] = plain(item.attrs[name]) if small(found) else None
    return out


def describe(item: Any) -> dict[str, Any]:
    """What an object is, without its values."""
    if isinstance(item, h5py.Group):
        return {"kind": "group", "members": [str(n) for n in islice(item, MOST_MEMBERS)]}
    if not isinstance(item, h5py.Dataset) or item.shape is None:
        return {"kind": "other"}
    if item.is_virtual or item.external:
        raise Refused(f"{item.name} lies in another file, which is not followed")
    chunk = int(np.prod(item.chunks, dtype=float)) * item.dtype.itemsize if item.chunks else 0
    return {
        "kind": "dataset",
        "shape": [int(n) for n in item.shape],
        "dtype": item.dtype.str if item.dtype.kind in "biuf" else item.dtype.kind,
        "storage": int(item.id.get_storage_size()),
        "chunk": chunk,
    }


def answer(file: h5py.File, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """What one operation gives: a document and raw bytes."""
    item = find(file, request["path"])
    if request["op"] == "describe":
        return describe(item) | {"attributes": attributes(item)}, b""
    about = describe(item)
    if about["kind"] != "dataset":
        raise Refused(f"{request['path']} is no array")
    if request["op"] == "value":
        if not small(item):
            raise Refused(f"{request['path']} is larger than expected")
        return {"value": plain(item[()])}, b""
    if about["chunk"] > LARGEST_CHUNK:
        raise Refused(f"{request['path']} is packed in blocks of {about['chunk']} bytes")
    if item.dtype.kind not in "biuf":
        raise Refused(f"{request['path']} holds no numbers")
    rows = slice(request["start"], request["stop"]) if item.shape else ()
    array = np.ascontiguousarray(item[rows])
    return {"shape": list(array.shape), "dtype": array.dtype.str}, array.tobytes()


def serve(path: str, requests: Any, out: BinaryIO) -> None:
    """Answer operations on one file until it is closed."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    file = None
    while True:
        line = requests.readline()
        request = json.loads(line) if line else {"op": "close"}
        if request["op"] == "close":
            return
        # beyond this much processor time the kernel ends the process
        signal.setitimer(signal.ITIMER_PROF, float(request["seconds"]))
        try:
            if file is None:
                file = h5py.File(path, "r", locking=False)
            document, payload = answer(file, request)
        except Refused as error:
            document, payload = {"refused": str(error)}, b""
        except Exception as error:  # a damaged file can raise nearly anything
            document, payload = {"error": " ".join(str(error).split())[:300] or type(error).__name__}, b""
        signal.setitimer(signal.ITIMER_PROF, 0)
        reply(out, document, payload)


def main() -> None:
    """Fork a process for every file that is asked for."""
    requests, out = open(0, "rb", buffering=0), os.fdopen(os.dup(1), "wb")
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    while True:
        line = requests.readline()
        if not line:
            return
        child = os.fork()
        if child == 0:
            try:
                serve(json.loads(line)["open"], requests, out)
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        reply(out, {"ended": os.waitstatus_to_exitcode(status)})


if __name__ == "__main__":
    sys.path[:] = [p for p in sys.path if p]
    main()
