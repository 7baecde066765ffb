"""The Zarr store of a training set.

Groups ``<class>/``: ``images`` (n, runs, slices, x, y) float16 (relative error 2^-11), ``parameters`` (n, n_parameters)
meV, ``rejected`` (n,) draws thrown away before this one, ``done`` (n,) bool. Attributes of the root say what it is.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from .. import __version__
from ..errors import DataError
from ..study import Study

CHUNK = 8
"""Images in a chunk, and in one task of a build."""


ATTRIBUTES = ("study", "layout_hash", "physics_hash", "classes", "per_class", "seed", "resolution")
ARRAYS = ("images", "parameters", "rejected", "done")


@dataclass(frozen=True)
class Part:
    """One part of a training set in memory.

    Attributes
    ----------
    images : (n, runs, slices, x, y) float16
    labels : (n,) class indices
    parameters : (n, most parameters) float32
        Scaled to 0..1 over the prior; classes with fewer parameters are filled up with 0.5.
    mirrors : tuple of int
        Axes of Q along which the study's view may be mirrored.
    """

    images: NDArray[np.float16]
    labels: NDArray[np.int64]
    parameters: NDArray[np.float32]
    mirrors: tuple[int, ...] = (0, 1)


def create(path: Path, study: Study, per_class: int, seed: int, resolution: str) -> zarr.Group:
    """Make an empty store, or open one that was begun with the same settings.

    Raises
    ------
    DataError
        If the folder holds something else.
    """
    attributes = {
        "study": study.name,
        "layout_hash": study.layout_hash,
        "physics_hash": study.physics_hash,
        "classes": list(study.classes),
        "per_class": per_class,
        "seed": seed,
        "resolution": resolution,
        "magnoscope": __version__,
    }
    if path.exists():
        root = open_store(path)
        for key, value in attributes.items():
            if key != "magnoscope" and root.attrs.get(key) != value:
                raise DataError(
                    f"{path} was begun with {key} = {root.attrs.get(key)}, not {value}; give another folder or the "
                    "same settings"
                )
        return root
    partial = path.with_name(path.name + ".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        _create_empty(partial, study, per_class, attributes)
        os.replace(partial, path)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}") from None
    return open_store(path)


def _create_empty(path: Path, study: Study, per_class: int, attributes: dict[str, Any]) -> None:
    root = zarr.create_group(str(path))
    root.attrs.update(attributes)
    for name, model in study.models.items():
        group = root.create_group(name)
        group.attrs["parameters"] = [p.name for p in model.parameters]
        shape = (per_class, *study.shape)
        group.create_array("images", shape=shape, chunks=(CHUNK, *study.shape), dtype="float16")
        n = len(model.parameters)
        group.create_array("parameters", shape=(per_class, n), chunks=(CHUNK, n), dtype="float64")
        group.create_array("rejected", shape=(per_class,), chunks=(CHUNK,), dtype="int32")
        group.create_array("done", shape=(per_class,), chunks=(CHUNK,), dtype="bool")


def open_store(path: Path) -> zarr.Group:
    """Open a store.

    Raises
    ------
    DataError
        If there is none, or it lacks something.
    """
    try:
        root = zarr.open_group(str(path), mode="r+")
        attributes: dict[str, Any] = root.attrs.asdict()
    except (OSError, KeyError, ValueError, TypeError):
        attributes = {}
    if not set(ATTRIBUTES) <= attributes.keys():
        raise DataError(f"{path} is no training set; build one with: magnoscope dataset build STUDY -n 1000 -o {path}")
    for name in attributes["classes"]:
        for array in ARRAYS:
            if not isinstance(root.get(f"{name}/{array}"), zarr.Array):
                raise DataError(f"{path} is damaged: it has no array {name}/{array}; build it again in a new folder")
    return root


@dataclass(frozen=True)
class Split:
    """Shares of the images of each class, by index: for training, stopping it, calibration and the report."""

    train: float = 0.70
    validation: float = 0.08
    calibration: float = 0.08

    def indices(self, part: str, per_class: int) -> range:
        """Indices of one part: "train", "validation", "calibration" or "test" (the rest)."""
        a = round(self.train * per_class)
        b = a + round(self.validation * per_class)
        c = b + round(self.calibration * per_class)
        return {
            "train": range(0, a),
            "validation": range(a, b),
            "calibration": range(b, c),
            "test": range(c, per_class),
        }[part]


def load_part(root: zarr.Group, study: Study, part: str, split: Split | None = None) -> Part:
    """Read one part of a finished store into memory, classes one after the other.

    Raises
    ------
    DataError
        If the store is not finished, too small, damaged, or was made for another study.
    """
    attributes: dict[str, Any] = root.attrs.asdict()
    if attributes["layout_hash"] != study.layout_hash:
        raise DataError(f"this training set was made for study {attributes['study']} with other tiles, axes or classes")
    indices = (split or Split()).indices(part, int(attributes["per_class"]))
    if not indices:
        raise DataError(f"this training set is too small: no image is left for {part}; build 10 or more of each class")
    where = slice(indices.start, indices.stop)
    most = max(len(model.parameters) for model in study.models.values())
    images, labels, parameters = [], [], []
    for number, (name, model) in enumerate(study.models.items()):
        try:
            done = np.asarray(root[f"{name}/done"])
            found = np.asarray(root[f"{name}/images"][where])  # type: ignore[index]
            values = np.asarray(root[f"{name}/parameters"][where])  # type: ignore[index]
        except (OSError, ValueError, RuntimeError) as error:
            raise DataError(f"this training set is damaged in class {name} ({error}); build it again") from None
        if not done.all():
            raise DataError("this training set is not finished; run the same `magnoscope dataset build` again to go on")
        images.append(found)
        labels.append(np.full(len(indices), number))
        low, high = model.prior.T
        scaled = np.full((len(indices), most), 0.5, np.float32)
        scaled[:, : len(low)] = (values - low) / (high - low)
        parameters.append(scaled)
    return Part(np.concatenate(images), np.concatenate(labels), np.concatenate(parameters), study.view.mirrors)
