"""A chunk of a training set: its images, the files that Zarr makes of them, and putting these into a store.

Encoding takes more time than anything else that is done with a finished image. So the workers do it, and the process
that builds writes bytes. Zarr itself encodes, into memory: what comes out is what it would have written.
"""

import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import MemoryStore

from .store import CHUNK, Precision, add_arrays

_ONE_AT_A_TIME = threading.Lock()
"""A worker of a cluster that runs already may have several threads; they share the arrays in memory."""


@dataclass(frozen=True)
class Chunk:
    """Consecutive images of one class, as they are stored."""

    images: NDArray
    parameters: NDArray[np.float64]
    rejected: NDArray[np.int32]
    checksums: NDArray[np.uint64]


@dataclass(frozen=True)
class Files:
    """The files of a chunk.

    Attributes
    ----------
    contents : dict of str to bytes or None
        By their place in the folder of the class, in the order of writing: what says that the images are there comes
        last. None where Zarr leaves a file out, because all is zero.
    rejected : (n,)
        Draws thrown away before each of the images.
    """

    contents: dict[str, bytes | None]
    rejected: NDArray[np.int32]


@lru_cache(maxsize=4)
def _in_memory(shape: tuple[int, ...], precision: Precision, parameters: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a store in memory holds by key, and its arrays, with room for one chunk."""
    held: dict[str, Any] = {}
    group = zarr.create_group(MemoryStore(held))
    add_arrays(group, CHUNK, shape, precision, parameters)
    return held, dict(group.arrays())


def encode(seed: int, class_index: int, indices: range, chunk: Chunk) -> Files:
    """The files of a chunk, of which ``indices`` are the first ones or all."""
    images = chunk.images
    values: dict[str, Any] = {
        "images": images,
        "parameters": chunk.parameters,
        "rejected": chunk.rejected,
        "seeds": np.array([(seed, class_index, i) for i in indices], np.int64),
        "checksums": chunk.checksums,
        "done": np.ones(len(indices), bool),
    }
    contents: dict[str, bytes | None] = {}
    with _ONE_AT_A_TIME:
        held, arrays = _in_memory(images.shape[1:], str(images.dtype), chunk.parameters.shape[1])
        for name, value in values.items():
            key = f"{name}/c/" + "/".join("0" * value.ndim)
            held.pop(key, None)
            arrays[name][: len(indices)] = value
            place = f"{name}/c/" + "/".join([str(indices.start // CHUNK), *"0" * (value.ndim - 1)])
            contents[place] = held[key].to_bytes() if key in held else None
    return Files(contents, chunk.rejected)


def write(folder: Path, files: Files) -> None:
    """Write the files of a chunk into the folder of its class, each beside its place and then renamed.

    Raises
    ------
    OSError
        If they cannot be written, for lack of room for instance.
    """
    for place, content in files.contents.items():
        file = folder / place
        if content is None:
            file.unlink(missing_ok=True)
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(file.name + ".partial")
        try:
            partial.write_bytes(content)
            partial.replace(file)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
