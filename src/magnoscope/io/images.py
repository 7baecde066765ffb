"""Spectra on a study's tiles, from any file that holds one: the one way into the package for measured images.

Our own HDF5 and bare .npy images in the study's layout (NaN: no detector) are read and written here; histograms of
Mantid and Horace are taken where their axes fit the study's view.
"""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, SpectrumError
from ..spectrum import Spectrum, to_tiles
from ..study import Study
from .contents import HDF5_MAGIC, NPY_MAGIC, ZIP_MAGIC, Kind, kind_of, start_of
from .gridding import histogram_spectrum
from .hdf5 import Hdf5Reader
from .mdhisto import read_mdhisto
from .sqw import read_sqw

FEWEST = 0.05
"""Share of the pixels that must have a detector."""
LARGEST = (1e-6, 1e12)
"""Between these must the largest intensity lie: far from where single precision ends."""


def read_array(path: Path) -> NDArray:
    """A numeric array from a .npy file; its values stay on disk until they are used.

    Raises
    ------
    SpectrumError
        If the file is missing, no NumPy file, cut short, or holds no plain numbers. Nothing in it is ever run.
    """
    start = start_of(path)
    if start.startswith(ZIP_MAGIC):
        raise SpectrumError(f"{path} is an archive of arrays (.npz); save one array with numpy.save(path, image)")
    if not start.startswith(NPY_MAGIC):
        raise SpectrumError(f"{path} is no NumPy array file; save one with numpy.save(path, image)")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a damaged header can raise nearly anything
        if _holds_objects(path):
            raise SpectrumError(f"{path} holds Python objects instead of one array of real numbers") from None
        reason = " ".join(str(error).split())
        raise SpectrumError(f"{path} is empty, damaged or cut short ({reason}); save the image again") from None
    if array.dtype.kind not in "fiub":
        raise SpectrumError(f"{path} holds {array.dtype} instead of one array of real numbers")
    return array


def _holds_objects(path: Path) -> bool:
    """Whether a .npy file says that it holds pickled objects, judged from its header alone."""
    with open(path, "rb") as file:
        return b"'descr': '|O'" in file.read(256)


def _tiles(array: NDArray, study: Study, what: str) -> NDArray:
    """An image file's array in the study's tiles; axes of length one are dropped."""
    try:
        return to_tiles(array.squeeze(), study)
    except SpectrumError as error:
        raise SpectrumError(f"{what}: {error}") from None


def read_mask(path: Path, study: Study) -> NDArray[np.bool_]:
    """Pixels without a detector (True there), in the study's tiles, from a .npy image."""
    array = read_array(path)
    if array.dtype.kind not in "bui":
        raise SpectrumError(f"mask {path} holds {array.dtype}; it must be boolean, True where there is no detector")
    tiles = _tiles(array, study, f"mask {path}")
    if tiles.min() < 0 or tiles.max() > 1:
        raise SpectrumError(
            f"mask {path} holds numbers from {tiles.min()} to {tiles.max()}; it must be boolean, True (or 1) where "
            "there is no detector"
        )
    return tiles.astype(bool)


def read_spectrum(path: str | Path, study: Study, mask: str | Path | None = None) -> Spectrum:
    """A spectrum in the study's layout.

    Parameters
    ----------
    path : str or Path
        What ``simulate`` or ``reduce`` wrote, a bare .npy image with NaN where there is no detector, or a histogram of
        Mantid (MDHistoWorkspace) or Horace (.sqw, dnd) with bins that fit the study's view; told by its content.
    study : Study
    mask : str or Path, optional
        A boolean .npy image, True where there is no detector.

    Raises
    ------
    SpectrumError
        If it cannot be read, has another shape, or holds nothing.
    """
    path = Path(path)
    spectrum = read_part(path, study)
    masked = "" if mask is None else f" or masked by {mask}"
    if mask is not None:
        spectrum = spectrum.masked(read_mask(Path(mask), study))
    share = float(np.mean(spectrum.valid))
    if share == 0:
        raise SpectrumError(f"{path} has no pixel with a detector: all are NaN or infinite{masked}")
    if share < FEWEST:
        raise SpectrumError(f"{path} has a detector in only {share:.1%} of the pixels; {FEWEST:.0%} are needed")
    seen = spectrum.signal[spectrum.valid]
    if not np.any(seen):
        raise SpectrumError(f"{path} is zero in every pixel; a measurement holds intensities (NaN marks no detector)")
    if not seen.max() > 0:
        raise SpectrumError(f"{path} has no pixel above zero; a measurement holds intensities, check its sign")
    largest = np.abs(seen).max()
    if not LARGEST[0] <= largest <= LARGEST[1]:
        raise SpectrumError(
            f"the largest intensity in {path} is {largest:g}; scale it to lie between {LARGEST[0]:g} and {LARGEST[1]:g}"
        )
    return spectrum


def read_part(path: Path, study: Study) -> Spectrum:
    """What a file of any kind holds of a study's image, be it one run or slice; see :func:`read_spectrum`."""
    try:
        kind = kind_of(path)
        if kind == Kind.spectrum:
            return _read_hdf5(path, study)
        if kind == Kind.mdhisto:
            return histogram_spectrum(read_mdhisto(path), study, path)
        if kind == Kind.sqw:
            return histogram_spectrum(read_sqw(path).histogram, study, path)
    except DataError as error:
        raise SpectrumError(str(error)) from None
    if kind == Kind.nxspe:
        raise SpectrumError(f"{path} is a reduced run; bin it into an image with `magnoscope reduce` first")
    if start_of(path).startswith(HDF5_MAGIC):
        raise SpectrumError(f"{path} is HDF5 but no magnoscope spectrum: it has no arrays `signal` and `valid`")
    array = read_array(path)
    if array.dtype.kind == "b":
        raise SpectrumError(f"{path} is boolean; an image holds intensities (give a mask with --mask)")
    tiles = _tiles(array, study, str(path)).astype(float)
    return Spectrum(study, np.where(np.isfinite(tiles), tiles, np.nan), np.isfinite(tiles))


def _read_hdf5(path: Path, study: Study) -> Spectrum:
    with Hdf5Reader(path) as file:
        root = file.item("/")
        if not {"signal", "valid"} <= set(root.members):
            raise SpectrumError(f"{path} is HDF5 but no magnoscope spectrum: it has no arrays `signal` and `valid`")
        if str(root.attributes.get("layout_hash", "")) != study.layout_hash:
            raise SpectrumError(
                f"{path} was written for study {root.attributes.get('study', 'unknown')} with other tiles, axes or "
                f"classes than {study.name} has; name the right study with --study"
            )
        arrays = {}
        for name in (n for n in ("signal", "valid", "error", "npix") if n in root.members):
            kinds, right = ("bui", "boolean") if name == "valid" else ("fiu", "real numbers")
            item = file.item(f"/{name}")
            if item.kind != "dataset":
                raise SpectrumError(
                    f"{path} is HDF5 but no magnoscope spectrum: `{name}` is no array; it must be {right} of shape "
                    f"{study.shape}"
                )
            if np.dtype(item.dtype).kind not in kinds or item.shape != study.shape:
                raise SpectrumError(
                    f"{path}: `{name}` holds {np.dtype(item.dtype)} of shape {item.shape}; it must be {right} of "
                    f"shape {study.shape}"
                )
            arrays[name] = file.array(f"/{name}")
    signal, valid = np.asarray(arrays["signal"], float), np.asarray(arrays["valid"], bool)
    error, npix = (np.asarray(arrays[name], float) if name in arrays else None for name in ("error", "npix"))
    valid &= np.isfinite(signal)
    if error is not None:
        valid &= (signal != 0) | (error != 0)
    if npix is not None:
        valid &= npix > 0
    return Spectrum(study, np.where(valid, signal, np.nan), valid, error, npix)


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
    except OSError as error:
        raise SpectrumError(f"{path} cannot be written: {error.strerror or error}") from None
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
        if spectrum.npix is not None:
            file.create_dataset("npix", data=spectrum.npix, compression="gzip")
        file["ei_meV"] = [run.ei for run in study.runs]
        file["energy_edges_meV"] = study.energy_edges
        for name, values in study.view.coordinates().items():
            file[name] = values
        if hidden is not None:
            file.create_dataset(study.view.hidden_name, data=hidden, compression="gzip")
