"""Spectra on a study's tiles: our HDF5, and bare .npy images in the study's layout (NaN: no detector)."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import SpectrumError
from ..spectrum import Spectrum, to_tiles
from ..study import Study


def read_array(path: Path) -> NDArray:
    """A numeric array from a .npy file.

    Raises
    ------
    SpectrumError
        If the file is missing, no NumPy file, or holds no plain numbers.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise SpectrumError(f"there is no file {path}") from None
    except IsADirectoryError:
        raise SpectrumError(f"{path} is a folder; give a .npy image or an .h5 spectrum") from None
    except (OSError, ValueError, EOFError, SyntaxError):
        raise SpectrumError(
            f"{path} is no NumPy array file of numbers; save one with numpy.save(path, image)"
        ) from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
        kind = array.dtype if isinstance(array, np.ndarray) else "an archive of several arrays"
        raise SpectrumError(f"{path} holds {kind} instead of one array of real numbers")
    return array


def read_mask(path: Path, study: Study) -> NDArray[np.bool_]:
    """Pixels without a detector (True there), in the study's tiles, from a .npy image."""
    array = read_array(path)
    if array.dtype.kind not in "bui":
        raise SpectrumError(f"mask {path} holds {array.dtype}; it must be boolean, True where there is no detector")
    return to_tiles(array.astype(bool).squeeze(), study)


def read_spectrum(path: str | Path, study: Study, mask: str | Path | None = None) -> Spectrum:
    """A spectrum in the study's layout.

    Parameters
    ----------
    path : str or Path
        A file that ``simulate`` wrote, or a bare .npy image with NaN where there is no detector.
    study : Study
    mask : str or Path, optional
        A boolean .npy image, True where there is no detector.

    Raises
    ------
    SpectrumError
        If it cannot be read, has another shape, or holds nothing.
    """
    path = Path(path)
    if path.is_file() and h5py.is_hdf5(path):
        spectrum = _read_hdf5(path, study)
    else:
        tiles = to_tiles(read_array(path).astype(float).squeeze(), study)
        spectrum = Spectrum(study, tiles, np.isfinite(tiles))
    if mask is not None:
        spectrum = spectrum.masked(read_mask(Path(mask), study))
    if not spectrum.valid.any():
        raise SpectrumError(f"{path} has no pixel with a detector: every one is NaN or masked")
    if not np.any(spectrum.signal[spectrum.valid]):
        raise SpectrumError(f"{path} is zero in every pixel; a measurement holds intensities (NaN marks no detector)")
    if np.mean(spectrum.valid) < 0.05:
        raise SpectrumError(
            f"{path} has a detector in only {np.mean(spectrum.valid):.1%} of the pixels; 5 % are needed"
        )
    return spectrum


def _read_hdf5(path: Path, study: Study) -> Spectrum:
    try:
        with h5py.File(path, "r") as file:
            if "signal" not in file or "valid" not in file:
                raise SpectrumError(f"{path} is HDF5 but no magnoscope spectrum: it has no `signal` and `valid`")
            layout = str(file.attrs.get("layout_hash", ""))
            shapes = {name: file[name].shape for name in ("signal", "valid")}
            if layout != study.layout_hash or any(shape != study.shape for shape in shapes.values()):
                raise SpectrumError(
                    f"{path} was written for study {file.attrs.get('study', 'unknown')}; its tiles are not those of "
                    f"{study.name}, name the right study with --study"
                )
            signal, valid = np.asarray(file["signal"], float), np.asarray(file["valid"], bool)
            error = np.asarray(file["error"], float) if "error" in file else None
    except OSError as error_:
        raise SpectrumError(f"{path} cannot be read as HDF5: {error_}") from None
    valid &= np.isfinite(signal)
    return Spectrum(study, np.where(valid, signal, np.nan), valid, error)


def write_spectrum(
    spectrum: Spectrum, path: str | Path, extra: Mapping[str, object] | None = None, hidden: NDArray | None = None
) -> None:
    """Write a spectrum: .npy (the bare image) or .h5 (signal, valid mask and axes).

    Raises
    ------
    SpectrumError
        If the file's ending is neither, or it cannot be written.
    """
    path = Path(path)
    if path.suffix not in (".npy", ".h5"):
        raise SpectrumError(f"{path} must end in .npy (bare image) or .h5 (with mask and axes)")
    try:
        handle, partial = tempfile.mkstemp(dir=path.parent, suffix=path.suffix)
    except OSError as error:
        raise SpectrumError(f"{path} cannot be written: {error.strerror}") from None
    os.close(handle)
    try:
        if path.suffix == ".npy":
            np.save(partial, spectrum.image)
        else:
            _write_hdf5(spectrum, Path(partial), extra or {}, hidden)
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    finally:
        Path(partial).unlink(missing_ok=True)


def _write_hdf5(spectrum: Spectrum, path: Path, extra: Mapping[str, object], hidden: NDArray | None) -> None:
    study = spectrum.study
    with h5py.File(path, "w") as file:
        file.attrs.update({"study": study.name, "layout_hash": study.layout_hash, "physics_hash": study.physics_hash})
        file.attrs.update(extra)
        file.create_dataset("signal", data=spectrum.signal, compression="gzip")
        file.create_dataset("valid", data=spectrum.valid, compression="gzip")
        if spectrum.error is not None:
            file.create_dataset("error", data=spectrum.error, compression="gzip")
        file["ei_meV"] = [run.ei for run in study.runs]
        file["energy_edges_meV"] = study.energy_edges
        for axis in study.view.axes:
            file[axis.name] = axis.centres
        if hidden is not None:
            file.create_dataset(study.view.hidden_name, data=hidden, compression="gzip")
