"""What a file is, judged by its content and never by its name, and what is in it, in a few lines."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from ..crystal import Lattice
from ..errors import DataError, SpectrumError
from .hdf5 import Hdf5Reader
from .histogram import Histogram
from .mdhisto import is_mdhisto, read_mdhisto
from .nxspe import is_nxspe, read_nxspe
from .sqw import MAGIC as SQW_MAGIC
from .sqw import Sqw, read_sqw

NPY_MAGIC = b"\x93NUMPY"
ZIP_MAGIC = b"PK"
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


class Kind(StrEnum):
    """Kinds of files that are read."""

    npy = "NumPy array"
    sqw = "Horace file"
    nxspe = "reduced run (NXSPE)"
    mdhisto = "Mantid MDHistoWorkspace"
    spectrum = "magnoscope spectrum"


@dataclass(frozen=True)
class Contents:
    """What a file holds: its kind, facts about it by name, and what it does not say and how to give it."""

    path: Path
    kind: str
    facts: dict[str, Any] = field(default_factory=dict)
    lacks: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"file": str(self.path), "kind": self.kind, **self.facts, "lacks": list(self.lacks)}

    def lines(self) -> list[str]:
        """In words, ten lines at most."""
        out = [f"{self.path}: {self.kind}"]
        out += [
            f"  {name.replace('_', ' ')}: {_words(value)}" for name, value in self.facts.items() if value is not None
        ]
        if self.lacks:
            out.append("  not in the file: " + "; ".join(self.lacks))
        return out


def _words(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        few = [_words(v) for v in value[:6]]
        return ", ".join(few) + (f" and {len(value) - 6} more" if len(value) > 6 else "")
    if isinstance(value, dict):
        return ", ".join(f"{k} {_words(v)}" for k, v in value.items())
    return str(value)


def start_of(path: Path) -> bytes:
    """The first bytes of a file, which say what it is.

    Raises
    ------
    SpectrumError
        If there is no file that can be read.
    """
    try:
        with open(path, "rb") as file:
            return file.read(16)
    except FileNotFoundError:
        raise SpectrumError(f"there is no file {path}") from None
    except IsADirectoryError:
        raise SpectrumError(f"{path} is a folder; give a file") from None
    except OSError as error:
        raise SpectrumError(f"{path} cannot be read: {error.strerror}") from None


def kind_of(path: str | Path) -> Kind | None:
    """What a file is; None if it is nothing that is read.

    Raises
    ------
    DataError, SpectrumError
        If it cannot be read, or is a damaged HDF5 file.
    """
    path = Path(path)
    start = start_of(path)
    if start.startswith(NPY_MAGIC):
        return Kind.npy
    if start.startswith(SQW_MAGIC):
        return Kind.sqw
    if not start.startswith(HDF5_MAGIC):
        return None
    with Hdf5Reader(path) as file:
        root = file.item("/")
        if is_mdhisto(file):
            return Kind.mdhisto
        if "layout_hash" in root.attributes or {"signal", "valid"} <= set(root.members):
            return Kind.spectrum
        return Kind.nxspe if is_nxspe(file) else None


def inspect(path: str | Path) -> Contents:
    """What is in a file.

    Raises
    ------
    DataError, SpectrumError
        If it cannot be read, or is nothing that is read.
    """
    path = Path(path)
    kind = kind_of(path)
    if kind is None:
        raise DataError(_unknown(path))
    reader = {
        Kind.npy: _inspect_npy,
        Kind.sqw: lambda p: _inspect_sqw(read_sqw(p)),
        Kind.nxspe: _inspect_nxspe,
        Kind.mdhisto: lambda p: Contents(p, Kind.mdhisto, _histogram_facts(h := read_mdhisto(p)), h.lacks),
        Kind.spectrum: _inspect_spectrum,
    }[kind]
    return reader(path)


def _unknown(path: Path) -> str:
    start = start_of(path)
    known = "NXSPE, Mantid's MDHistoWorkspace, Horace's .sqw or dnd, magnoscope's .h5 or .npy"
    if not start:
        return f"{path} is empty; give {known}"
    if start.startswith(ZIP_MAGIC):
        return f"{path} is an archive of arrays (.npz); save one array with numpy.save(path, image)"
    if start.startswith(HDF5_MAGIC):
        return f"{path} is HDF5 but none of the files that are read; give {known}"
    return f"{path} is none of the files that are read; give {known}"


def _cell(lattice: Lattice | None) -> dict[str, float] | None:
    if lattice is None:
        return None
    return {name: round(getattr(lattice, name), 5) for name in ("a", "b", "c", "alpha", "beta", "gamma")}


def _histogram_facts(histogram: Histogram) -> dict[str, Any]:
    axes = [
        f"{axis.name} {axis.edges[0]:g} to {axis.edges[-1]:g} in {axis.bins}"
        + ("" if axis.direction is None else f" along ({', '.join(f'{v:.4g}' for v in _clean(axis.direction))})")
        for axis in histogram.axes
    ]
    return {
        "axes": axes,
        "bins": {"all": histogram.valid.size, "measured": int(histogram.valid.sum())},
        "intensity": _range(histogram.signal),
        "lattice": _cell(histogram.lattice),
        "ei_meV": list(histogram.ei) or None,
        "psi_degrees": [round(p, 4) + 0.0 for p in histogram.psi] or None,
    }


def _clean(values: np.ndarray) -> np.ndarray:
    return np.where(np.abs(values) < 1e-9, 0.0, values)


def _range(signal: np.ndarray) -> list[float] | None:
    seen = signal[np.isfinite(signal)]
    return [float(seen.min()), float(seen.max())] if seen.size else None


def _inspect_sqw(sqw: Sqw) -> Contents:
    kind = f"Horace {'pixels and histogram' if sqw.runs else 'histogram'}, version {sqw.version:g}"
    facts = _histogram_facts(sqw.histogram)
    if sqw.runs:
        first = sqw.runs[0]
        facts |= {"runs": len(sqw.runs), "pixels": sqw.pixels, "orientation": {"u": list(first.u), "v": list(first.v)}}
    return Contents(sqw.path, kind, facts, sqw.histogram.lacks)


def _inspect_nxspe(path: Path) -> Contents:
    run = read_nxspe(path)
    facts = {
        "version": run.version,
        "instrument": run.instrument or None,
        "ei_meV": run.ei,
        "psi_degrees": run.psi,
        "ki_over_kf_applied": run.scaled,
        "detectors": run.shape[0],
        "energy_bins": f"{run.shape[1]} from {run.energies[0]:g} to {run.energies[-1]:g} meV",
        "polar_degrees": [float(run.polar.min()), float(run.polar.max())],
    }
    return Contents(path, Kind.nxspe, facts, run.lacks)


def _inspect_spectrum(path: Path) -> Contents:
    with Hdf5Reader(path) as file:
        root = file.item("/")
        facts: dict[str, Any] = {"study": str(root.attributes.get("study", "unknown"))}
        if "signal" in root.members:
            facts["shape"] = list(file.item("/signal").shape)
        facts["holds"] = [m for m in root.members if m in ("signal", "valid", "error", "npix", "background")]
        if "ei_meV" in root.members:
            facts["ei_meV"] = file.value("/ei_meV")
        hashes = ("study", "layout_hash", "physics_hash")
        facts |= {name: v for name, v in list(root.attributes.items())[:5] if name not in hashes and v is not None}
    return Contents(path, Kind.spectrum, facts)


def _inspect_npy(path: Path) -> Contents:
    from .images import read_array

    array = read_array(path)
    facts: dict[str, Any] = {"shape": list(array.shape), "type": str(array.dtype)}
    if array.size and array.dtype.kind in "fiu":
        finite = np.isfinite(array)
        facts |= {"measured": int(finite.sum()), "not_measured": int((~finite).sum())}
        with np.errstate(all="ignore"):  # anything may stand in a damaged file
            facts["intensity"] = _range(np.asarray(array, float))
    return Contents(path, Kind.npy, facts, ("study, errors and energies: name the study with --study",))
