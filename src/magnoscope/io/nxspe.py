"""NXSPE, versions 1.0 to 1.3: intensity of every detector against energy transfer, as facilities reduce a run."""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import DataError
from .hdf5 import Hdf5Reader, as_text
from .hdf5_write import complete_hdf5, nexus_group

MASKED = -1e10
"""Intensities below are Mantid's and Horace's way to mark a masked detector."""
MOST_DETECTORS = 10_000_000
MOST_ENERGIES = 1_000_000


@dataclass(frozen=True)
class Nxspe:
    """A reduced run; its intensities stay in the file until :meth:`rows` asks for them.

    Attributes
    ----------
    version : str
    ei : float
        Incident energy, meV.
    psi : float or None
        Angle of the crystal, degrees; None where the file does not say.
    scaled : bool or None
        Whether the intensities have been multiplied by k_i/k_f; None where the file does not say.
    polar, azimuthal : (n_detectors,)
        Scattering angle and azimuth of each detector, degrees.
    distance : (n_detectors,) m or None
    energies : (n_bins + 1,)
        Edges of energy transfer, meV.
    instrument : str
    lacks : tuple of str
        What the file does not say, and how to give it.
    """

    path: Path
    entry: str
    version: str
    ei: float
    psi: float | None
    scaled: bool | None
    polar: NDArray[np.float64]
    azimuthal: NDArray[np.float64]
    distance: NDArray[np.float64] | None
    energies: NDArray[np.float64]
    instrument: str
    lacks: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """(detectors, energy bins)."""
        return len(self.polar), len(self.energies) - 1

    def rows(self, first: int, last: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """Signal, error and valid mask of detectors ``first`` to ``last``, each (detectors, energy bins).

        A detector that is masked (NaN or -1e30), or whose signal and error are zero in every bin, is not valid. In a
        detector that counts, a bin with both zero is a measurement: that no neutron came.
        """
        with Hdf5Reader(self.path) as file:
            signal = file.array(f"{self.entry}/data/data", first, last).astype(float, copy=False)
            error = file.array(f"{self.entry}/data/error", first, last).astype(float, copy=False)
        with np.errstate(invalid="ignore"):
            valid = np.isfinite(signal) & np.isfinite(error) & (signal > MASKED) & (error >= 0)
        valid &= ((signal != 0) | (error != 0)).any(1, keepdims=True)
        return signal, error, valid


def read_nxspe(path: str | Path) -> Nxspe:
    """A reduced run.

    Raises
    ------
    DataError
        If the file is damaged, is no NXSPE, or its arrays do not fit each other.
    """
    path = Path(path)
    with Hdf5Reader(path) as file:
        entry, version = _entry(file)
        if entry is None:
            raise DataError(f"{path} is no NXSPE file: no entry says that it is defined as NXSPE")
        ei = file.number(f"{entry}/NXSPE_info/fixed_energy")
        if not (np.isfinite(ei) and ei > 0):
            raise DataError(f"{path} gives the incident energy {ei:g}; it must be positive, in meV")
        known = file.item(f"{entry}/NXSPE_info").members
        psi = file.number(f"{entry}/NXSPE_info/psi") if "psi" in known else np.nan
        scaling = "ki_over_kf_scaling"
        scaled = bool(file.number(f"{entry}/NXSPE_info/{scaling}")) if scaling in known else None
        held = file.item(f"{entry}/data").members
        shape = file.item(f"{entry}/data/data").shape
        if len(shape) != 2 or 0 in shape or shape[0] > MOST_DETECTORS or shape[1] > MOST_ENERGIES:
            raise DataError(f"{path} holds intensities of shape {shape}; detectors x energies are needed, neither zero")
        if file.item(f"{entry}/data/error").shape != shape:
            raise DataError(f"{path}: data/error must have the shape {shape} of data/data")
        polar, azimuthal = (_angles(file, entry, name, shape[0]) for name in ("polar", "azimuthal"))
        distance = file.array(f"{entry}/data/distance", most=shape[0]) if "distance" in held else None
        energies = _edges(file, f"{entry}/data/energy", shape[1], ei)
        name = as_text(file.value(f"{entry}/instrument/name")) if file.has(f"{entry}/instrument/name") else ""
    psi_known = bool(np.isfinite(psi))
    lacks: tuple[str, ...] = ("lattice and orientation: the study gives them",)
    lacks += () if psi_known else ("psi: give it with --psi",)
    lacks += () if scaled is not None else ("whether k_i/k_f is applied: taken as applied",)
    usable = distance is not None and distance.shape == polar.shape and np.isfinite(distance).all()
    return Nxspe(
        path,
        entry,
        version,
        ei,
        float(psi) if psi_known else None,
        scaled,
        polar,
        azimuthal,
        np.asarray(distance, float) if usable else None,
        energies,
        name,
        lacks,
    )


def is_nxspe(file: Hdf5Reader) -> bool:
    """Whether an HDF5 file has an entry that is defined as NXSPE."""
    return _entry(file)[0] is not None


def _entry(file: Hdf5Reader) -> tuple[str | None, str]:
    """The first entry that is defined as NXSPE, and the version of its definition."""
    for name in file.item("/").members[:20]:
        found = file.item(f"/{name}")
        if "definition" not in found.members:
            continue
        definition = file.item(f"/{name}/definition")
        if definition.kind == "dataset" and as_text(file.value(f"/{name}/definition")).upper().startswith("NXSP"):
            return f"/{name}", definition.text("version") or "unknown"
    return None, ""


def _angles(file: Hdf5Reader, entry: str, name: str, count: int) -> NDArray[np.float64]:
    angles = np.asarray(file.array(f"{entry}/data/{name}", most=count), float)
    if angles.shape != (count,) or not np.isfinite(angles).all():
        raise DataError(f"{file.path}: data/{name} must hold a finite angle for each of the {count} detectors")
    return angles


def _edges(file: Hdf5Reader, name: str, bins: int, ei: float) -> NDArray[np.float64]:
    """Edges of the energy bins; where a file has centres instead, the middles between them."""
    energies = np.asarray(file.array(name, most=bins + 1), float)
    if energies.shape not in ((bins,), (bins + 1,)) or not np.isfinite(energies).all():
        raise DataError(f"{file.path}: data/energy must hold {bins + 1} finite bin edges, meV")
    if len(energies) == bins:
        if bins < 2:
            raise DataError(f"{file.path}: data/energy holds one bin centre; its two edges are needed")
        inner = (energies[1:] + energies[:-1]) / 2
        energies = np.concatenate([[2 * energies[0] - inner[0]], inner, [2 * energies[-1] - inner[-1]]])
    if not (np.diff(energies) > 0).all():
        raise DataError(f"{file.path}: the bin edges of data/energy must rise")
    return energies


def write_nxspe(
    path: str | Path,
    signal: ArrayLike,
    error: ArrayLike,
    energies: ArrayLike,
    polar: ArrayLike,
    azimuthal: ArrayLike,
    ei: float,
    psi: float | None = None,
    distance: ArrayLike | None = None,
    instrument: str = "",
    scaled: bool = True,
) -> None:
    """Write a reduced run as NXSPE 1.2; as 1.0 where no distance is known, which that version does not ask for.

    Parameters
    ----------
    signal, error : (n_detectors, n_bins)
        NaN where a detector is masked.
    energies : (n_bins + 1,)
        Edges, meV.
    polar, azimuthal : (n_detectors,) degrees
    psi : float or None
        Degrees; NaN is written where it is not known.
    distance : float or (n_detectors,), optional
        From the sample, m.

    Raises
    ------
    DataError
        If the arrays do not fit each other, or the file cannot be written.
    """
    path = Path(path)
    signal, error, energies = (np.asarray(a, float) for a in (signal, error, energies))
    polar, azimuthal = np.asarray(polar, float), np.asarray(azimuthal, float)
    count = len(polar)
    if signal.shape != (count, len(energies) - 1) or error.shape != signal.shape or azimuthal.shape != (count,):
        raise DataError(
            f"{path}: {count} detectors and {len(energies) - 1} energy bins need intensities of that shape, "
            f"not {signal.shape}"
        )
    angles = {"polar": polar, "azimuthal": azimuthal}
    # widths are asked for but not known
    angles |= {f"{name}_width": np.full(count, np.nan) for name in angles}
    if distance is not None:
        angles["distance"] = np.broadcast_to(np.asarray(distance, float), (count,))
    with complete_hdf5(path) as file:
        entry = nexus_group(file, "run", "NXentry")
        entry["definition"] = np.array([b"NXSPE"])
        entry["definition"].attrs["version"] = np.bytes_("1.0" if distance is None else "1.2")
        entry["program_name"] = np.array([b"magnoscope"])
        _write_setting(entry, ei, psi, scaled, instrument or "unknown")
        data = nexus_group(entry, "data", "NXdata")
        for name, values in (*angles.items(), ("energy", energies)):
            data[name] = values
        data["energy"].attrs["units"] = np.bytes_("meV")
        for name, array in (("data", signal), ("error", error)):
            data.create_dataset(name, data=array, compression="gzip", compression_opts=1)


def _write_setting(entry: h5py.Group, ei: float, psi: float | None, scaled: bool, instrument: str) -> None:
    """What is the same for all detectors: incident energy (meV), crystal angle (degrees), instrument."""
    info = nexus_group(entry, "NXSPE_info", "NXcollection")
    for name, value, unit in (("fixed_energy", ei, "meV"), ("psi", np.nan if psi is None else psi, "degrees")):
        info[name] = np.array([float(value)])
        info[name].attrs["units"] = np.bytes_(unit)
    info["ki_over_kf_scaling"] = np.array([int(scaled)], np.int32)
    machine = nexus_group(entry, "instrument", "NXinstrument")
    machine["name"] = np.array([instrument.encode()])
    machine["name"].attrs["short_name"] = np.bytes_(instrument)
    nexus_group(machine, "fermi", "NXfermi_chopper")["energy"] = np.array([float(ei)])
    nexus_group(entry, "sample", "NXsample")
