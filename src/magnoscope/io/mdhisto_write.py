"""A spectrum of maps as MDHistoWorkspace files, one for each run, that Mantid's LoadMD opens."""

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..spectrum import Spectrum
from ..study import Study
from ..units import wavevector
from ..views import MapView
from .hdf5_write import complete_hdf5, nexus_group

HKL = 3
"""Mantid's number for the special coordinate system HKL."""
NOT_NORMALISED = 0
"""Mantid's number for a signal that is shown as it stands."""
LETTERS = "HKL"


def axis_name(direction: tuple[float, float, float], letter: str) -> str:
    """The name that Mantid gives an axis along a direction, such as ``[H,-H,0]``."""

    def part(value: float) -> str:
        if value == 0:
            return "0"
        return {1.0: letter, -1.0: f"-{letter}"}.get(value, f"{value:g}{letter}")

    return "[" + ",".join(part(float(v)) for v in direction) + "]"


def write_mdhisto(spectrum: Spectrum, number: int, path: str | Path, instrument: str = "") -> None:
    """Write one run of a spectrum of maps as an MDHistoWorkspace of two axes shown, one integrated, and energy.

    Parameters
    ----------
    number : int
        Of the run.
    instrument : str
        A name that Mantid knows, such as MAPS; unless given, the first word of the name of the study's instrument.

    Raises
    ------
    DataError
        If the study's view is none of maps, or the file cannot be written.
    """
    study, path = spectrum.study, Path(path)
    view = study.view
    if not isinstance(view, MapView):
        raise DataError(f"{path}: only maps are written as MDHistoWorkspace; study {study.name} has another view")
    run = study.runs[number]
    edges = [a.start - a.width / 2 + a.width * np.arange(a.points + 1) for a in view.axes]
    limits = _hidden_limits(study)
    directions = [*(a.direction for a in view.axes), view.hidden_direction]
    axes = [(axis_name(d, LETTERS[n]), "r.l.u.", "HKL") for n, d in enumerate(directions)]
    axes.append(("DeltaE", "DeltaE", "General Frame"))
    values = [*edges, limits, study.energy_edges[number]]
    with complete_hdf5(path) as file:
        entry = nexus_group(file, "MDHistoWorkspace", "NXentry")
        entry.attrs["SaveMDVersion"] = np.int32(2)
        entry.attrs["QConvention"] = np.bytes_("Inelastic")
        entry["coordinate_system"] = np.array([HKL], np.uint32)
        entry["visual_normalization"] = np.array([NOT_NORMALISED], np.uint32)
        _experiment(entry, study, number, run.psi, instrument or study.spectrometer.name.split()[0].upper())
        data = nexus_group(entry, "data", "NXdata")
        for place, ((name, unit, frame), axis) in enumerate(zip(axes, values, strict=True)):
            data[f"D{place}"] = np.asarray(axis, float)
            attributes = {"long_name": name, "units": unit, "frame": frame}
            data[f"D{place}"].attrs.update({k: np.bytes_(v) for k, v in attributes.items()})
        for name, array in _arrays(spectrum, number).items():
            # Mantid stores the last axis first: energy, hidden, axis 1, axis 0
            turned = array.transpose(0, 2, 1)[:, None]
            data.create_dataset(name, data=turned, compression="gzip", chunks=(1, *turned.shape[1:]))
        data["signal"].attrs.update({"signal": np.int32(1), "axes": np.bytes_("D3:D2:D1:D0")})


def _arrays(spectrum: Spectrum, number: int) -> dict[str, NDArray]:
    """The four arrays of the file, each (slices, axis 0, axis 1)."""
    valid = spectrum.valid[number]
    signal = np.where(valid, spectrum.signal[number], np.nan)
    # an error that is not known is NaN in Mantid's arrays too; our reader asks for finite ones
    error = np.sqrt(np.abs(signal)) if spectrum.error is None else np.where(valid, spectrum.error[number], np.nan)
    events = valid.astype(float) if spectrum.npix is None else np.where(valid, spectrum.npix[number], 0.0)
    return {
        "signal": signal,
        "errors_squared": error**2,
        "num_events": events,
        "mask": (~valid).astype(np.int8),
    }


def _hidden_limits(study: Study) -> tuple[float, float]:
    """Limits of the integrated axis: as far as the largest wave vector of the study reaches."""
    view = study.view
    assert isinstance(view, MapView)
    length = float(np.linalg.norm(study.lattice.to_cartesian(view.hidden_direction)))
    reach = float(np.ceil(2 * max(wavevector(run.ei) for run in study.runs) / length))
    return -reach, reach


def _experiment(entry: h5py.Group, study: Study, number: int, psi: float, instrument: str) -> None:
    """What Mantid wants to know of the run: the instrument's name, lattice and orientation, Ei and psi."""
    group = nexus_group(entry, "experiment0", "NXgroup")
    group.attrs["version"] = np.int32(1)
    # texts as NeXus writes them: one string of fixed length in an array of one
    nexus_group(group, "instrument", "NXinstrument")["name"] = np.array([instrument.encode()])
    sample = nexus_group(group, "sample", "NXsample")
    sample.attrs.update({"name": np.bytes_(study.name), "version": np.int32(1), "shape_xml": np.bytes_(" ")})
    material = nexus_group(sample, "material", "NXdata")
    material.attrs.update({"name": np.bytes_(" "), "version": np.int32(2), "formulaStyle": np.bytes_("empty")})
    for name, value in (("number_density", 0.0), ("packing_fraction", 1.0), ("temperature", 0.0), ("pressure", 0.0)):
        material[name] = np.array([value])
    sample["num_other_samples"] = np.array([0], np.int32)
    sample["num_oriented_lattice"] = np.array([1], np.int32)
    lattice = nexus_group(sample, "oriented_lattice", "NXcrystal")
    for name in ("a", "b", "c", "alpha", "beta", "gamma"):
        lattice[f"unit_cell_{name}"] = np.array([float(getattr(study.lattice, name))])
    # Mantid's frame at psi = 0: z along the beam, y up, without the factor 2 pi
    frame = study.orientation.spectrometer_frame(study.lattice).T / (2 * np.pi)
    lattice["orientation_matrix"] = frame[[1, 2, 0]]
    sample["geom_id"] = np.array([0], np.int32)
    for name in ("geom_thickness", "geom_height", "geom_width"):
        sample[name] = np.array([0.0])
    logs = nexus_group(group, "logs", "NXgroup")
    logs.attrs["version"] = np.int32(1)
    for name, value, unit in (("Ei", study.runs[number].ei, "meV"), ("psi", psi, "degree")):
        log = nexus_group(logs, name, "NXlog")
        log["value"] = np.array([float(value)])
        log["value"].attrs["units"] = np.bytes_(unit)
