"""The Zarr store of a training set.

Groups ``<class>/``: ``images`` (n, runs, slices, x, y) float16 or float32, ``parameters`` (n, n_parameters) meV,
``rejected`` (n,) draws thrown away before this one, ``seeds`` (n, 3) what the draws of each image were seeded with,
``checksums`` (n,) of all these, ``done`` (n,) bool. Chunks hold eight images; each is stored with a CRC-32C, so that
what is damaged is not read. Attributes of the root say what the set is; docs/training-sets.md lists them.
"""

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec

from .. import __version__
from ..errors import DataError
from ..resolution.spread import Method
from ..study import Study
from .draws import Law, drawn_classes, recorded

CHUNK = 8
"""Images in a chunk, and in one task of a build."""
FORMAT = 2
"""Of the store; sets of format 1 have no seeds and checksums and can be read, but not gone on with or verified."""

Precision = Literal["float16", "float32"]
ROUNDING: dict[str, dict[str, float]] = {
    "float16": {"relative": 2.0**-11, "absolute": 2.0**-25},
    "float32": {"relative": 2.0**-24, "absolute": 2.0**-150},
}
"""What an image can be off through being stored: the larger of the two, of normal and of subnormal numbers."""

ATTRIBUTES = ("study", "layout_hash", "physics_hash", "classes", "per_class", "seed", "resolution")
ARRAYS = ("images", "parameters", "rejected", "done")
LATER_ARRAYS = ("seeds", "checksums")
"""Arrays that sets of format 1 lack."""
OWN = ("magnoscope", "study_text", "format")
"""Attributes in which two builds of the same set may differ."""


@dataclass(frozen=True)
class Settings:
    """What fixes the images of a training set, beside the study."""

    per_class: int
    seed: int = 0
    resolution: Method = "gaussian"
    law: Law = Law()
    precision: Precision = "float16"


def checksum(image: NDArray, parameters: NDArray[np.float64], rejected: int) -> int:
    """First eight bytes of the SHA-256 of what is stored of one image, little-endian."""
    digest = hashlib.sha256(np.ascontiguousarray(image, image.dtype.newbyteorder("<")).data)
    digest.update(np.ascontiguousarray(parameters, "<f8").data)
    digest.update(int(rejected).to_bytes(4, "little"))
    return int.from_bytes(digest.digest()[:8], "little")


def _attributes(study: Study, text: str, settings: Settings) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "study": study.name,
        "study_text": text,
        "layout_hash": study.layout_hash,
        "physics_hash": study.physics_hash,
        "classes": list(study.classes),
        "per_class": settings.per_class,
        "seed": settings.seed,
        "resolution": settings.resolution,
        "draws": settings.law.settings(),
        "precision": settings.precision,
        "rounding": ROUNDING[settings.precision],
        "magnoscope": __version__,
    }


def create(path: Path, study: Study, text: str, settings: Settings) -> zarr.Group:
    """Make an empty store, or open one that was begun with the same settings; it grows if more images are asked for.

    Raises
    ------
    DataError
        If the folder holds something else, or a training set of format 1.
    """
    attributes = _attributes(study, text, settings)
    if path.exists():
        root = open_store(path, write=True)
        found = root.attrs.asdict()
        if found.get("format") != FORMAT:
            raise DataError(
                f"{path} was begun by an older version; bring it over with: magnoscope dataset adopt {path}"
            )
        for key, value in attributes.items():
            if key not in (*OWN, "per_class") and found.get(key) != value:
                raise DataError(
                    f"{path} was begun with {key} = {_short(found.get(key))}, not {_short(value)}; give another folder "
                    "or the same settings"
                )
        _grow(path, root, study, settings)
        return root
    partial = path.with_name(path.name + ".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        _create_empty(partial, study, settings, attributes)
        os.replace(partial, path)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise DataError(f"{path} cannot be written: {error.strerror or error}") from None
    return open_store(path, write=True)


def _short(value: Any) -> Any:
    """A setting as a message shows it."""
    return value["kind"] if isinstance(value, dict) and set(value) == {"kind"} else value


def _grow(path: Path, root: zarr.Group, study: Study, settings: Settings) -> None:
    """Make room for more images; the number itself is changed last, so that this can be interrupted and done again."""
    before, wanted = int(root.attrs["per_class"]), settings.per_class  # type: ignore[arg-type]
    if wanted < before:
        raise DataError(
            f"{path} was begun with per_class = {before}, not {wanted}; give another folder, or as many or more"
        )
    for number in drawn_classes(study, settings.law):
        for name in (*ARRAYS, *LATER_ARRAYS):
            array: Any = root[f"{study.classes[number]}/{name}"]
            if array.shape[0] < wanted:
                array.resize((wanted, *array.shape[1:]))
    if wanted > before:
        root.attrs["per_class"] = wanted


def _create_empty(path: Path, study: Study, settings: Settings, attributes: dict[str, Any]) -> None:
    root = zarr.create_group(str(path))
    root.attrs.update(attributes)
    drawn = drawn_classes(study, settings.law)
    for number, name in enumerate(study.classes):
        group, names = root.create_group(name), recorded(study, name, settings.law)
        group.attrs["parameters"] = list(names)
        n = settings.per_class if number in drawn else 0
        add_arrays(group, n, study.shape, settings.precision, len(names))


def add_arrays(group: zarr.Group, n: int, shape: tuple[int, ...], precision: Precision, parameters: int) -> None:
    """The empty arrays of a class, with room for ``n`` images of a shape."""
    add_array(group, "images", (n, *shape), precision)
    add_array(group, "parameters", (n, parameters), "float64")
    add_array(group, "rejected", (n,), "int32")
    add_array(group, "seeds", (n, 3), "int64")
    add_array(group, "checksums", (n,), "uint64")
    add_array(group, "done", (n,), "bool")


def add_array(group: zarr.Group, name: str, shape: tuple[int, ...], dtype: str) -> Any:
    """An array whose chunks hold :data:`CHUNK` images and carry a CRC-32C."""
    codecs = (ZstdCodec(level=0), Crc32cCodec())
    return group.create_array(name, shape=shape, chunks=(CHUNK, *shape[1:]), dtype=dtype, compressors=codecs)


def chunk_path(path: Path, name: str, array: str, start: int) -> Path:
    """File or folder of the chunk that begins with image ``start``."""
    return path / name / array / "c" / str(start // CHUNK)


def forget_chunk(path: Path, name: str, start: int) -> None:
    """Drop a chunk, so that a build makes its images again."""
    for array in ("done", *ARRAYS[:3], *LATER_ARRAYS):
        found = chunk_path(path, name, array, start)
        if found.is_dir():
            shutil.rmtree(found)
        else:
            found.unlink(missing_ok=True)


def sweep(path: Path) -> None:
    """Remove what a killed build left half-written: files are written beside their places and renamed."""
    for leftover in path.rglob("*.partial"):
        leftover.unlink(missing_ok=True)


def open_store(path: Path, write: bool = False) -> zarr.Group:
    """Open a store.

    Raises
    ------
    DataError
        If there is none, or it lacks something.
    """
    try:
        root = zarr.open_group(str(path), mode="r+" if write else "r")
        attributes: dict[str, Any] = root.attrs.asdict()
    except (OSError, KeyError, ValueError, TypeError):
        attributes = {}
    if not set(ATTRIBUTES) <= attributes.keys():
        raise DataError(f"{path} is no training set; build one with: magnoscope dataset build STUDY -n 1000 -o {path}")
    for name in attributes["classes"]:
        for array in ARRAYS + (LATER_ARRAYS if attributes.get("format") == FORMAT else ()):
            if not isinstance(root.get(f"{name}/{array}"), zarr.Array):
                raise DataError(f"{path} is damaged: it has no array {name}/{array}; build it again in a new folder")
    return root
