"""Mantid's MDHistoWorkspace, as SaveMD writes it (version 2)."""

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..crystal import Lattice
from ..errors import DataError
from .hdf5 import Hdf5Reader
from .histogram import MOST_BINS, Histogram, HistogramAxis, make_histogram

ENTRY = "/MDHistoWorkspace"
MOST_EXPERIMENTS = 400
"""Contributing runs that are asked for their Ei and psi."""
BY_EVENTS = 2
"""Value of ``visual_normalization`` with which an intensity is the signal divided by the number of events."""
ENERGY_NAMES = ("deltae", "energy", "e", "en", "energy transfer")
_TERM = re.compile(r"^([+-]?\d*\.?\d*)\*?([A-Za-z])$")


def direction(name: str) -> NDArray[np.float64] | None:
    """The wave vector (3,) r.l.u. that a name such as ``[-0.5K,K,0]`` stands for; None if it is no such name."""
    inner = name.strip()
    if not (inner.startswith("[") and inner.endswith("]")):
        return None
    parts = [part.strip() for part in inner[1:-1].split(",")]
    out, letters = np.zeros(3), set()
    for place, part in enumerate(parts[:3]):
        term = _TERM.match(part)
        if term:
            sign = term[1]
            out[place] = {"": 1.0, "+": 1.0, "-": -1.0}.get(sign) or float(sign or 1)
            letters.add(term[2])
        elif not re.fullmatch(r"[+-]?0*\.?0*", part) or not part:
            return None
    return out if len(parts) == 3 and len(letters) == 1 and out.any() else None


def is_mdhisto(file: Hdf5Reader) -> bool:
    """Whether an HDF5 file is a saved MDHistoWorkspace."""
    return ENTRY[1:] in file.item("/").members


def read_mdhisto(path: str | Path) -> Histogram:
    """A saved MDHistoWorkspace.

    The file stores variances; errors are their roots. Where it asks for normalisation by events, the intensity is the
    signal divided by the number of events; otherwise the signal as it stands (as MDNorm leaves it).

    Raises
    ------
    DataError
        If it is damaged, or is not in r.l.u. with three axes of wave vector and one of energy transfer.
    """
    path = Path(path)
    with Hdf5Reader(path) as file:
        entry = file.item(ENTRY)
        if "data" not in entry.members or "signal" not in (held := file.item(f"{ENTRY}/data")).members:
            raise DataError(
                f"{path} holds no MDHistoWorkspace of SaveMD version 2; load it in Mantid and save it again"
            )
        names = file.item(f"{ENTRY}/data/signal").text("axes").split(":")
        axes = tuple(_axis(file, held.members, name) for name in names)
        shape = tuple(axis.bins for axis in axes)
        arrays = {name: _array(file, held.members, name, shape) for name in ("signal", "errors_squared")}
        events = _array(file, held.members, "num_events", shape) if "num_events" in held.members else None
        mask = _array(file, held.members, "mask", shape) != 0 if "mask" in held.members else None
        normalised = "visual_normalization" in entry.members and (
            file.number(f"{ENTRY}/visual_normalization") == BY_EVENTS
        )
        lattice, ei, psi = _experiments(file, entry.members)
    if events is not None and not (np.nan_to_num(events) > 0).any():
        events = None
    signal, variance = (np.asarray(a, float) for a in arrays.values())
    if normalised and events is not None:
        counts = np.where(events > 0, events, np.nan)
        signal, variance = signal / counts, variance / counts**2
    lacks = [
        text
        for missing, text in (
            (lattice is None, "lattice: the study gives it"),
            (not ei, "Ei: found by the energy bins among the study's runs"),
            (events is None, "number of events of a bin: bins without signal and error count as not measured"),
        )
        if missing
    ]
    order = range(len(axes) - 1, -1, -1)
    turned = [None if a is None else np.transpose(a, order) for a in (signal, variance, events, mask)]
    assert turned[0] is not None and turned[1] is not None
    return make_histogram(
        path,
        "Mantid MDHistoWorkspace",
        axes[::-1],
        turned[0],
        turned[1],
        turned[2],
        turned[3],
        lattice=lattice,
        ei=ei,
        psi=psi,
        lacks=tuple(lacks),
    )


def _axis(file: Hdf5Reader, members: tuple[str, ...], name: str) -> HistogramAxis:
    if name not in members:
        raise DataError(f"{file.path}: the axes of its signal name {name or 'nothing'}, which the file lacks")
    item = file.item(f"{ENTRY}/data/{name}")
    label, frame = item.text("long_name"), item.text("frame")
    edges = np.asarray(file.array(f"{ENTRY}/data/{name}", most=MOST_BINS), float)
    if edges.ndim != 1 or len(edges) < 2:
        raise DataError(f"{file.path}: axis {label or name} must hold two bin edges or more")
    found = direction(label)
    if found is None and label.lower() not in ENERGY_NAMES:
        raise DataError(
            f"{file.path}: axis {label or name} (frame {frame or 'unknown'}) is neither energy transfer nor a "
            "direction such as [H,0,0]; bin the data in r.l.u. (frame HKL) and DeltaE"
        )
    return HistogramAxis(label or name, found, edges)


def _array(file: Hdf5Reader, members: tuple[str, ...], name: str, shape: tuple[int, ...]) -> NDArray:
    if name not in members:
        raise DataError(f"{file.path} lacks {name}; save the workspace again in Mantid")
    array = file.array(f"{ENTRY}/data/{name}", most=MOST_BINS)
    if array.shape != shape:
        raise DataError(f"{file.path}: {name} has the shape {array.shape}, its axes have {shape} bins")
    return array


def _experiments(
    file: Hdf5Reader, members: tuple[str, ...]
) -> tuple[Lattice | None, tuple[float, ...], tuple[float, ...]]:
    """Lattice, incident energies and angles of the contributing runs, where they were saved."""
    lattice: Lattice | None = None
    ei: set[float] = set()
    psi: set[float] = set()
    for number in range(MOST_EXPERIMENTS):
        group = f"{ENTRY}/experiment{number}"
        if f"experiment{number}" not in members:
            break
        held = file.item(group).members
        if lattice is None and "sample" in held and "oriented_lattice" in file.item(f"{group}/sample").members:
            names = ("a", "b", "c", "alpha", "beta", "gamma")
            values = [file.number(f"{group}/sample/oriented_lattice/unit_cell_{name}") for name in names]
            if np.isfinite(values).all() and min(values) > 0 and max(values[3:]) < 180:
                lattice = Lattice(*values)
        logs = file.item(f"{group}/logs").members if "logs" in held else ()
        for name, into in (("Ei", ei), ("psi", psi)):
            if name in logs and "value" in file.item(f"{group}/logs/{name}").members:
                value = file.value(f"{group}/logs/{name}/value")
                first = value[0] if isinstance(value, list) and value else value
                if isinstance(first, (int, float)) and np.isfinite(first):
                    into.add(float(first))
    return lattice, tuple(sorted(ei)), tuple(sorted(psi))
