"""Training sets as networks read them: split by index, from the store into memory or from an export by memory map."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from ..errors import DataError
from ..study import Study
from .store import ATTRIBUTES, open_store

IDENTITY = ("per_class", "seed", "resolution", "physics_hash")
"""What tells training sets of one study apart."""
FOREIGN = -1
"""The label of an image that belongs to no class."""
ABOUT = "about.json"
"""What an exported folder says of itself."""


class Stack:
    """Arrays of images one after the other, read when they are asked for; the arrays may be memory maps."""

    def __init__(self, arrays: list[NDArray]) -> None:
        self.arrays = arrays
        self.starts = np.cumsum([0, *(len(a) for a in arrays)])
        self.shape = (int(self.starts[-1]), *arrays[0].shape[1:])
        self.dtype = arrays[0].dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: NDArray[np.int64] | slice) -> NDArray:
        """Copies of the images at these indices."""
        if isinstance(index, slice):
            index = np.arange(len(self))[index]
        index = np.asarray(index)
        out = np.empty((len(index), *self.shape[1:]), self.dtype)
        for number, array in enumerate(self.arrays):
            here = (index >= self.starts[number]) & (index < self.starts[number + 1])
            out[here] = array[index[here] - self.starts[number]]
        return out

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray:
        return np.concatenate(self.arrays).astype(dtype or self.dtype, copy=False)


@dataclass(frozen=True)
class Part:
    """One part of a training set.

    Attributes
    ----------
    images : (n, runs, slices, x, y) float16 or float32
        In memory, or a :class:`Stack` of memory maps.
    labels : (n,) class indices
    parameters : (n, most parameters) float32
        Scaled to 0..1 over the prior, which some sets lie beyond; classes with fewer are filled up with 0.5.
    mirrors : tuple of int
        Axes of Q along which the study's view may be mirrored.
    targets : (n, classes) float32 or None
        Probability of each class, where that is not the label alone: spectra that several models share.
    """

    images: NDArray
    labels: NDArray[np.int64]
    parameters: NDArray[np.float32]
    mirrors: tuple[int, ...] = (0, 1)
    targets: NDArray[np.float32] | None = None


def joined(parts: list[Part], classes: int) -> Part:
    """Parts of one study one after the other, each with its targets."""

    def targets(part: Part) -> NDArray[np.float32]:
        return np.eye(classes, dtype=np.float32)[part.labels] if part.targets is None else part.targets

    return Part(
        Stack([part.images for part in parts]),  # type: ignore[arg-type]
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.parameters for part in parts]),
        parts[0].mirrors,
        np.concatenate([targets(part) for part in parts]),
    )


def relabelled(part: Part, seed: int) -> Part:
    """The same spectra with the labels and parameters of others, by lot: there is nothing to learn of them.

    What is told of a spectrum by a network trained on these is what the explanation would be of nothing (J. Adebayo et
    al., NeurIPS 2018).
    """
    order = np.random.default_rng([seed, 43]).permutation(len(part.labels))
    targets = None if part.targets is None else part.targets[order]
    return replace(part, labels=part.labels[order], parameters=part.parameters[order], targets=targets)


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


WHOLE = Split(1.0, 0.0, 0.0)
"""All of a set as its training part."""


@dataclass(frozen=True)
class Exported:
    """A folder that ``dataset export`` wrote: one .npy file for each class and kind of array, and what they are."""

    path: Path
    attributes: dict[str, Any]

    def array(self, name: str, array: str) -> NDArray:
        """One array of a class as a memory map.

        Raises
        ------
        OSError, ValueError
            If it is not there or cut off.
        """
        return np.load(self.path / f"{name}.{array}.npy", mmap_mode="r", allow_pickle=False)


def attributes_of(source: zarr.Group | Exported) -> dict[str, Any]:
    """What a training set says of itself."""
    return source.attributes if isinstance(source, Exported) else source.attrs.asdict()


def identity_of(path: Path) -> dict[str, Any]:
    """What tells training sets of one study apart."""
    attributes = attributes_of(open_set(path))
    return {k: attributes[k] for k in IDENTITY}


def holds_out(identity: dict[str, Any], trained: Any) -> bool:
    """Whether what was trained on one set has seen only the training part of another.

    That is so where both are one set, or where the other is what the first has grown to since, by so much that its
    training part holds all that stopped the training.

    Parameters
    ----------
    identity, trained : dict
        As :func:`identity_of` gives them; the second comes from a card, and may be anything.
    """
    if not isinstance(trained, dict) or any(trained.get(k) != identity[k] for k in IDENTITY if k != "per_class"):
        return False
    before, now = trained.get("per_class"), int(identity["per_class"])
    if before == now:
        return True
    split = Split()
    return isinstance(before, int) and split.indices("validation", before).stop <= split.indices("train", now).stop


def check_held_out(path: Path, card: dict[str, Any], whose: str) -> None:
    """Refuse a training set whose held-back parts may have trained what a card is of.

    Raises
    ------
    DataError
        Naming the set, and ``whose`` card it is.
    """
    if not holds_out(identity_of(path), card.get("training_set")):
        raise DataError(f"{path} is not the training set of {whose}: its test part may have been trained on")


def open_set(path: Path) -> zarr.Group | Exported:
    """Open a training set for reading: a store, or the folder that an export of one wrote.

    Raises
    ------
    DataError
        If it is neither.
    """
    try:
        about = json.loads((path / ABOUT).read_text("utf-8"))
        if set(ATTRIBUTES) <= about.keys():
            return Exported(path, about)
    except (OSError, ValueError, AttributeError):
        pass
    return open_store(path)


def shared_targets(study: Study, name: str, indices: range) -> NDArray[np.float32]:
    """Equal probabilities of all models that coincide, for images drawn where they do, (n, classes)."""
    overlaps = [overlap for overlap in study.overlaps if name in overlap.models]
    named = np.array([[c in overlap.models for c in study.classes] for overlap in overlaps], np.float32)
    named /= named.sum(1, keepdims=True)
    return named[np.array(indices) % len(overlaps)]


def _read(source: zarr.Group | Exported, study: Study, indices: range) -> Iterator[tuple[int, NDArray, NDArray]]:
    """Images and parameters of each class that has any."""
    where = slice(indices.start, indices.stop)
    for number, name in enumerate(study.classes):
        try:
            if isinstance(source, Exported):
                images, values = source.array(name, "images")[where], source.array(name, "parameters")[where]
                done = True
            else:
                group: Any = source[name]
                done = bool(np.asarray(group["done"]).all())
                images, values = np.asarray(group["images"][where]), np.asarray(group["parameters"][where])
        except (OSError, ValueError, RuntimeError) as error:
            raise DataError(f"this training set is damaged in class {name} ({error}); build it again") from None
        if not done:
            raise DataError("this training set is not finished; run the same `magnoscope dataset build` again to go on")
        if len(images):
            yield number, images, values


def _refuse(kind: str | None, foreign: bool, beyond: bool) -> None:
    """Refuse a set of draws that are not what is asked for."""
    if (kind == "foreign") != foreign:
        raise DataError(
            "this set holds the candidates' own spectra; build one of magnets that are none: `magnoscope dataset build "
            "STUDY --draws foreign`"
            if foreign
            else "this set holds magnets that are no candidate; name it with --foreign, beside a training set"
        )
    if (kind == "beyond") != beyond:
        raise DataError(
            "this set holds spectra within the priors; build one of those beyond: `magnoscope dataset build STUDY "
            "--draws beyond`"
            if beyond
            else "this set holds spectra of parameters beyond the priors; name it with `calibrate --beyond`"
        )


def load_part(
    source: zarr.Group | Exported,
    study: Study,
    part: str,
    split: Split | None = None,
    foreign: bool = False,
    beyond: bool = False,
) -> Part:
    """One part of a finished training set, classes one after the other.

    The images of an exported set stay where they are, as memory maps, for the part named "train"; all others are read
    into memory. Of a ``foreign`` set, of magnets that are no candidate, every label is -1 and every parameter 0.5; of
    one ``beyond`` the priors parameters lie outside 0..1.

    Raises
    ------
    DataError
        If the set is not finished, too small, damaged, of the other kind, or was made for another study.
    """
    attributes = attributes_of(source)
    kind = attributes.get("draws", {}).get("kind")
    _refuse(kind, foreign, beyond)
    if attributes["layout_hash"] != study.layout_hash:
        raise DataError(f"this training set was made for study {attributes['study']} with other tiles, axes or classes")
    indices = (split or Split()).indices(part, int(attributes["per_class"]))
    if not indices:
        raise DataError(f"this training set is too small: no image is left for {part}; build 10 or more of each class")
    shared = kind == "overlap"
    most = max(len(model.parameters) for model in study.models.values())
    images, labels, parameters, targets = [], [], [], []
    for number, found, values in _read(source, study, indices):
        images.append(found)
        labels.append(np.full(len(indices), FOREIGN if foreign else number))
        scaled = np.full((len(indices), most), 0.5, np.float32)
        if not foreign:
            low, high = study.models[study.classes[number]].prior.T
            scaled[:, : len(low)] = (values - low) / (high - low)
        parameters.append(scaled)
        if shared:
            targets.append(shared_targets(study, study.classes[number], indices))
    mapped = isinstance(source, Exported) and part == "train"
    return Part(
        Stack(images) if mapped else np.concatenate(images),  # type: ignore[arg-type]
        np.concatenate(labels),
        np.concatenate(parameters),
        study.view.mirrors,
        np.concatenate(targets) if shared else None,
    )


def load_misstated(path: Path, study: Study, part: str) -> Part:
    """One part of a set of an instrument that is not as stated.

    Raises
    ------
    DataError
        If it is another set, or as :func:`load_part` says.
    """
    source = open_set(path)
    if attributes_of(source).get("draws", {}).get("kind") != "instrument":
        raise DataError(
            f"{path} holds spectra of the instrument as stated; build a set of others: `magnoscope dataset build STUDY "
            "--draws instrument`"
        )
    return load_part(source, study, part)
