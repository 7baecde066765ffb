"""Training sets for other programs and for training: HDF5, or .npy files that are read by memory map."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import zarr

from ..errors import DataError
from .parts import ABOUT
from .store import CHUNK, LATER_ARRAYS

EXPORTED = ("images", "parameters", "rejected", *LATER_ARRAYS)


def export(root: zarr.Group, path: Path, report: Callable[[str], None] = print) -> None:
    """Write a finished training set to an .h5 file, or to a folder of .npy files.

    The folder holds ``<class>.images.npy`` and so on, one file for each array of each class, and ``about.json`` with
    the attributes; ``magnoscope train`` takes it in place of the store and reads the images by memory map.

    Raises
    ------
    DataError
        If the set is not finished or damaged, or the file cannot be written; nothing is left half-written.
    """
    for name in _classes(root):
        if not np.asarray(root[f"{name}/done"]).all():
            raise DataError("this training set is not finished; run the same `magnoscope dataset build` again to go on")
    partial = path.with_name(path.name + ".partial")
    try:
        if path.suffix in (".h5", ".hdf5"):
            _hdf5(root, partial, report)
        else:
            shutil.rmtree(partial, ignore_errors=True)
            _npy(root, partial, report)
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


def _copy(source: Any, target: Any) -> None:
    for start in range(0, source.shape[0], CHUNK):
        where = slice(start, start + CHUNK)
        target[where] = np.asarray(source[where])


def _hdf5(root: zarr.Group, path: Path, report: Callable[[str], None]) -> None:
    with h5py.File(path, "w") as file:
        for key, value in root.attrs.asdict().items():
            file.attrs[key] = json.dumps(value) if isinstance(value, dict) else value
        for name in _classes(root):
            source: Any = root[name]
            group = file.create_group(name)
            group.attrs["parameters"] = source.attrs["parameters"]
            for array in (a for a in EXPORTED if a in source):
                held = source[array]
                chunks = (min(CHUNK, max(1, held.shape[0])), *held.shape[1:])
                packed = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if array == "images" else {}
                _copy(held, group.create_dataset(array, held.shape, held.dtype, chunks=chunks, **packed))
            report(f"{name}: {source['images'].shape[0]} images")


def _npy(root: zarr.Group, path: Path, report: Callable[[str], None]) -> None:
    path.mkdir()
    for name in _classes(root):
        source: Any = root[name]
        for array in (a for a in EXPORTED if a in source):
            held = source[array]
            # written, not mapped: on a full disk a memory map ends the program instead of raising
            with open(path / f"{name}.{array}.npy", "wb") as file:
                header = {
                    "descr": np.lib.format.dtype_to_descr(held.dtype),
                    "fortran_order": False,
                    "shape": held.shape,
                }
                np.lib.format.write_array_header_1_0(file, header)
                for start in range(0, held.shape[0], CHUNK):
                    file.write(np.ascontiguousarray(held[start : start + CHUNK]).tobytes())
        report(f"{name}: {source['images'].shape[0]} images")
    names = {name: dict(root[name].attrs)["parameters"] for name in _classes(root)}
    about = root.attrs.asdict() | {"parameters": names}
    (path / ABOUT).write_text(json.dumps(about, indent=2) + "\n", "utf-8")
