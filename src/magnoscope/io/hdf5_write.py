"""HDF5 files that are written beside their name and renamed once complete, and NeXus groups in them."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from ..errors import DataError


@contextmanager
def complete_hdf5(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file that appears under its name only once it is complete.

    Raises
    ------
    DataError
        If it cannot be written.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}") from None
    os.close(handle)
    partial = Path(name)
    try:
        with h5py.File(partial, "w") as file:
            yield file
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        partial.unlink(missing_ok=True)


def nexus_group(parent: h5py.Group, name: str, kind: str) -> h5py.Group:
    """A group of a NeXus class."""
    group = parent.create_group(name)
    group.attrs["NX_class"] = np.bytes_(kind)
    return group
