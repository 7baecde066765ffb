"""Training sets for other programs and for training: HDF5, or .npy files that are read by memory map."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import zarr

from ..errors import DataError
from .parts import ABOUT
from .store import CHUNK, LATER_ARRAYS

EXPORTED = ("images", "parameters", "rejected", *LATER_ARRAYS)


def export(root: zarr.Group, path: Path, report: Callable[[str], None] = print, per_class: int | None = None) -> None:
    """Write a finished training set to an .h5 file, or to a folder of .npy files.

    With ``per_class``, only the first images of each class: the set that a build of so many would have made.

    The folder holds ``<class>.images.npy`` and so on, one file for each array of each class, and ``about.json`` with
    the attributes; ``magnoscope train`` takes it in place of the store and reads the images by memory map.

    Raises
    ------
    DataError
        If the set is not finished, too small or damaged, or the file cannot be written; nothing is left half-written.
    """
    held = int(root.attrs["per_class"])  # type: ignore[arg-type]
    number = held if per_class is None else per_class
    if number > held:
        raise DataError(f"this training set has {held} images of each class, not {number}; ask for no more")
    for name in _classes(root):
        if not np.asarray(root[f"{name}/done"]).all():
            raise DataError("this training set is not finished; run the same `magnoscope dataset build` again to go on")
    partial = path.with_name(path.name + ".partial")
    try:
        if path.suffix in (".h5", ".hdf5"):
            _hdf5(root, partial, number, report)
        else:
            shutil.rmtree(partial, ignore_errors=True)
            _npy(root, partial, number, report)
        os.replace(partial, path)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}") from None
    except (ValueError, RuntimeError) as error:
        raise DataError(f"this training set is damaged ({error}); run `magnoscope dataset verify` on it") from None
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


def _classes(root: zarr.Group) -> list[str]:
    return [str(name) for name in root.attrs["classes"]]  # type: ignore[union-attr]


def _pieces(number: int) -> Iterator[slice]:
    """A chunk after the other, so that memory holds one."""
    return (slice(start, min(start + CHUNK, number)) for start in range(0, number, CHUNK))


def _attributes(root: zarr.Group, number: int) -> dict[str, Any]:
    return root.attrs.asdict() | {"per_class": number}


def _hdf5(root: zarr.Group, path: Path, number: int, report: Callable[[str], None]) -> None:
    with h5py.File(path, "w") as file:
        for key, value in _attributes(root, number).items():
            file.attrs[key] = json.dumps(value) if isinstance(value, dict) else value
        for name in _classes(root):
            source: Any = root[name]
            group = file.create_group(name)
            group.attrs["parameters"] = source.attrs["parameters"]
            for array in (a for a in EXPORTED if a in source):
                held = source[array]
                count = min(number, held.shape[0])
                shape, chunks = (count, *held.shape[1:]), (min(CHUNK, max(1, count)), *held.shape[1:])
                packed = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if array == "images" else {}
                target = group.create_dataset(array, shape, held.dtype, chunks=chunks, **packed)
                for where in _pieces(count):
                    target[where] = np.asarray(held[where])
            report(f"{name}: {count} images")


def _npy(root: zarr.Group, path: Path, number: int, report: Callable[[str], None]) -> None:
    path.mkdir()
    for name in _classes(root):
        source: Any = root[name]
        for array in (a for a in EXPORTED if a in source):
            held = source[array]
            count = min(number, held.shape[0])
            # written, not mapped: on a full disk a memory map ends the program instead of raising
            with open(path / f"{name}.{array}.npy", "wb") as file:
                header = {
                    "descr": np.lib.format.dtype_to_descr(held.dtype),
                    "fortran_order": False,
                    "shape": (count, *held.shape[1:]),
                }
                np.lib.format.write_array_header_1_0(file, header)
                for where in _pieces(count):
                    file.write(np.ascontiguousarray(held[where]).tobytes())
        report(f"{name}: {count} images")
    names = {name: dict(root[name].attrs)["parameters"] for name in _classes(root)}
    about = _attributes(root, number) | {"parameters": names}
    (path / ABOUT).write_text(json.dumps(about, indent=2) + "\n", "utf-8")
