"""One build at a time in a folder: a lock that the operating system lifts when its holder ends, however it ends."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import DataError

try:
    import fcntl
except ImportError:  # not on Windows: there nothing stops a second build
    fcntl = None  # type: ignore[assignment]


@contextmanager
def only_builder(path: Path) -> Iterator[None]:
    """Hold the lock of a training set, a file beside it that is gone afterwards.

    Raises
    ------
    DataError
        If another build, on this or another machine of the same file system, holds it, or it cannot be written.
    """
    beside = path.with_name(path.name + ".lock")
    handle = _lock(beside, path)
    try:
        os.ftruncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {platform.node() or 'this machine'}".encode())
        yield
    finally:
        beside.unlink(missing_ok=True)
        os.close(handle)


def _lock(beside: Path, path: Path) -> int:
    """Open and lock the file; again if the one that was opened has been removed by its last holder meanwhile."""
    while True:
        try:
            handle = os.open(beside, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise DataError(f"{path} cannot be written: {error.strerror}") from None
        try:
            if fcntl is not None:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(handle).st_ino == os.stat(beside).st_ino:
                return handle
        except FileNotFoundError:
            pass
        except OSError:
            holder = os.pread(handle, 200, 0).decode(errors="replace") or "another process"
            os.close(handle)
            raise DataError(f"{path} is being built by {holder}; wait until that ends, or stop it") from None
        os.close(handle)
