"""Powder averages as HDF5 files."""

import os
import tempfile
from pathlib import Path

import h5py

from ..errors import SpectrumError
from ..spinwave import PowderSpectrum


def write_powder(spectrum: PowderSpectrum, path: str | Path, about: dict[str, object] | None = None) -> None:
    """Write a powder average to an .h5 file: intensity, its axes, and how far it has settled.

    Raises
    ------
    SpectrumError
        If the file's ending is another, or it cannot be written.
    """
    path = Path(path)
    if path.suffix != ".h5":
        raise SpectrumError(f"{path} must end in .h5")
    try:
        handle, partial = tempfile.mkstemp(dir=path.parent, suffix=path.suffix)
    except OSError as error:
        raise SpectrumError(f"{path} cannot be written: {error.strerror}") from None
    os.close(handle)
    try:
        with h5py.File(partial, "w") as file:
            file.attrs.update({"model": spectrum.model, "temperature_K": spectrum.temperature, **(about or {})})
            file["intensity_per_meV"] = spectrum.intensity
            file["q_per_angstrom"] = spectrum.q
            file["energy_edges_meV"] = spectrum.energy_edges
            file["change"] = spectrum.change
            file["directions"] = spectrum.directions
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    except OSError as error:
        raise SpectrumError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        Path(partial).unlink(missing_ok=True)
