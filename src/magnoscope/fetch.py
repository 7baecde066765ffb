"""Public data of a study: download, check by sha256, bring to the study's image layout.

Everything specific to a study (addresses, checksums, roles, orientation) comes from its study file. Files as
published are kept in `<folder>/original`, converted ones beside it as `<folder>/<name>.npy`.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import numpy as np
import pooch
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from magnoscope.downloads import IMAGE_AXES, Download, Downloads
from magnoscope.errors import DataError

DATA_VARIABLE = "MAGNOSCOPE_DATA"
"""Environment variable that can name a folder with measurements already on disk."""

TIMEOUT_S = (10.0, 60.0)
"""Longest wait in s: for a connection, and between two pieces of an answer."""

Layout = tuple[int, int, int, int]
"""Sizes of an image: (n_runs, n_slices, n_x, n_y)."""


def cache_folder(name: str) -> Path:
    """Return the folder that downloads of the study `name` are kept in (it need not exist)."""
    return Path(pooch.os_cache("magnoscope")) / name


def fetch(
    name: str,
    downloads: Downloads,
    layout: Layout,
    folder: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Path]:
    """Download the public files of a study and convert them to its image layout.

    Files that are on disk with the right checksum are not downloaded again; files placed by hand do as well.
    Nothing is converted unless every file is there and right.

    Parameters
    ----------
    name
        Name of the study.
    downloads
        What the study file says about its public files.
    layout
        (n_runs, n_slices, n_x, n_y) of the study's image.
    folder
        Where to keep the files; `cache_folder(name)` if not given.
    progress
        Called with one line of text before each step.

    Returns
    -------
    dict
        Path of the converted file by its name, each of shape (n_runs * n_x, n_slices * n_y). A mask is bool,
        True where there is no detector; any other file is float32, NaN where there is no detector.

    Raises
    ------
    DataError
        If a file cannot be had, has another checksum, cannot be read or has another shape.
    """
    folder = cache_folder(name) if folder is None else Path(folder)
    report = progress or (lambda line: None)
    for file in downloads.files:
        original = _original(folder, file)
        report(f"{'checking' if original.exists() else 'downloading'} {file.name}: {downloads.url(file)}")
        _retrieve(file, downloads, folder)

    images = {}
    for file in downloads.files:
        images[file.name] = reorient(_load(_original(folder, file), file), file, layout)
    # Any value but 0 marks a pixel without detector, NaN as well.
    masks = {file.name: images[file.name] != 0 for file in downloads.with_role("mask")}
    masked = np.any(list(masks.values()), axis=0) if masks else False
    arrays = {
        key: masks[key] if key in masks else np.where(masked, np.nan, image).astype(np.float32)
        for key, image in images.items()
    }
    paths = {}
    for key, array in arrays.items():
        paths[key] = folder / f"{key}.npy"
        report(f"writing {paths[key]}")
        _save(array, paths[key])
    return paths


def shipped_example(name: str) -> Path | None:
    """The simulated image that ships with a study, None if there is none."""
    path = Path(str(resources.files("magnoscope.studies") / f"{name}-example.npy"))
    return path if path.exists() else None


def find_measurement(name: str, downloads: Downloads | None = None, folder: Path | None = None) -> Path | None:
    """Find the measured image of a study on disk, without any download.

    Looks in `$MAGNOSCOPE_DATA/<study>/`, in `$MAGNOSCOPE_DATA/`, then where `fetch` puts its files.

    Parameters
    ----------
    name
        Name of the study.
    downloads
        What the study file says about its public files, if anything; names the file of role 'measured'
        ('measured.npy' if it does not).
    folder
        The folder that was given to `fetch`, if any.

    Returns
    -------
    Path or None
        The first file found, None if there is none.
    """
    files = downloads.with_role("measured") if downloads else ()
    file_name = f"{files[0].name}.npy" if files else "measured.npy"
    folders = [cache_folder(name) if folder is None else Path(folder)]
    given = os.environ.get(DATA_VARIABLE)
    if given:
        folders = [Path(given) / name, Path(given), *folders]
    return next((place / file_name for place in folders if (place / file_name).is_file()), None)


def reorient(image: np.ndarray, file: Download, layout: Layout) -> np.ndarray:
    """Bring an image as published to the study's layout by reversing the axes that `file.flip` names.

    Parameters
    ----------
    image
        (n_runs * n_x, n_slices * n_y), the image as published; further axes of length one are dropped.
    file
        The file it came from.
    layout
        (n_runs, n_slices, n_x, n_y) of the study's image.

    Returns
    -------
    numpy.ndarray
        (n_runs * n_x, n_slices * n_y), the image in the study's layout.
    """
    n_runs, n_slices, n_x, n_y = layout
    shape = (n_runs * n_x, n_slices * n_y)
    if tuple(n for n in image.shape if n != 1) != tuple(n for n in shape if n != 1):
        found = " x ".join(map(str, image.shape)) or "a single number"
        raise DataError(
            f"{file.path} holds {found} values where the study's layout has {shape[0]} x {shape[1]} "
            f"({n_runs} runs x {n_slices} slices of {n_x} x {n_y}), so name another file in [downloads] "
            f"or correct the layout in the study file"
        )
    tiles = image.reshape(n_runs, n_x, n_slices, n_y).transpose(0, 2, 1, 3)
    tiles = np.flip(tiles, axis=tuple(IMAGE_AXES.index(axis) for axis in file.flip))
    return tiles.transpose(0, 2, 1, 3).reshape(shape)


def _original(folder: Path, file: Download) -> Path:
    """Return where the file as published is kept."""
    return folder / "original" / f"{file.name}{file.suffix}"


def _retrieve(file: Download, downloads: Downloads, folder: Path) -> None:
    """Make sure that the file as published is on disk with the right checksum."""
    path, url = _original(folder, file), downloads.url(file)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"cannot make the folder {path.parent} ({error.strerror}), so choose a folder you may write to"
        ) from error
    try:
        with _quiet_pooch():
            pooch.retrieve(
                url,
                known_hash=f"sha256:{file.sha256.lower()}",
                fname=path.name,
                path=path.parent,
                downloader=pooch.HTTPDownloader(timeout=TIMEOUT_S),
            )
    except ValueError as error:
        raise DataError(
            f"what {url} sent does not have the sha256 {file.sha256} of the study file and was discarded, "
            f"so correct [downloads] in the study file or place the right file at {path}"
        ) from error
    except OSError as error:  # every exception of requests is one as well
        damaged = "; a file is there already, but its sha256 is wrong" if path.exists() else ""
        # Files that are on disk but wrong are listed when their turn comes.
        files = [other for other in downloads.files if other is file or not _original(folder, other).exists()]
        by_hand = ", ".join(f"{downloads.url(other)} as {_original(folder, other)}" for other in files)
        raise DataError(
            f"cannot download {url} to {path} ({_reason(error)}{damaged}), so try again with a network, "
            f"or place by hand {by_hand} and run this again, "
            f"or let the environment variable {DATA_VARIABLE} name a folder "
            f"with the measurement in the study's layout"
        ) from error


def _reason(error: OSError) -> str:
    """Say in a few words why a download failed; messages of requests are long and show their internals."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"the server answered {response.status_code} {response.reason}"
    return error.strerror or "no connection to the server"


@contextmanager
def _quiet_pooch() -> Iterator[None]:
    """Keep pooch from writing to standard error, where a caller may expect nothing but its own messages."""
    logger = pooch.get_logger()
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _load(path: Path, file: Download) -> np.ndarray:
    """Read the array in a file as published; neither format is allowed to run code."""
    try:
        if file.suffix == ".npy":
            array = np.load(path, allow_pickle=False)
        else:
            array = loadmat(path, variable_names=[file.variable])[file.variable]
    except KeyError as error:
        raise DataError(
            f"{path} has no variable {file.variable!r}, "
            f"so correct 'variable' of the file {file.name!r} in [downloads] of the study file"
        ) from error
    # NotImplementedError: MATLAB 7.3, which is HDF5.
    except (ValueError, TypeError, EOFError, OSError, NotImplementedError, MatReadError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(
            f"{path} cannot be read as an array ({reason}), so name another file in [downloads] of the study file"
        ) from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        raise DataError(f"{path} does not hold an array of real numbers, so name another file in [downloads]")
    return array


def _save(array: np.ndarray, path: Path) -> None:
    """Write an array so that the file is either complete or not there."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as stream:
            np.save(stream, array)
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(f"cannot write {path} ({error.strerror}), so choose a folder you may write to") from error
    finally:
        temporary.unlink(missing_ok=True)
