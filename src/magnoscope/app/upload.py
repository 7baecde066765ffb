"""Files from the browser: a temporary folder, and the readers; nothing in a file is ever run."""

import hashlib
import tempfile
from pathlib import Path, PurePosixPath

from ..errors import MagnoscopeError, SpectrumError
from ..io.contents import inspect
from ..io.images import read_spectrum
from ..spectrum import Spectrum
from ..study import Study
from .state import Origin

LONGEST_NAME = 80
UPLOADED = "uploaded"
"""Where such a spectrum is from, in a word."""


def safe_name(name: str) -> str:
    """The name of a file without folders and without what is no letter, digit, dot, dash or underscore."""
    last = PurePosixPath(name.replace("\\", "/")).name
    kept = "".join(c if c.isalnum() or c in "._-" else "_" for c in last).lstrip(".")
    return kept[-LONGEST_NAME:] or "file"


def read_upload(
    name: str, content: bytes, study: Study, mask: tuple[str, bytes] | None = None
) -> tuple[Spectrum, Origin]:
    """A spectrum from uploaded files, by the readers that the command line has.

    Parameters
    ----------
    name : str
    content : bytes
    study : Study
    mask : (name, content), optional
        A boolean .npy image, True where there is no detector.

    Raises
    ------
    MagnoscopeError
        The reader's own message, with the file's name alone.
    """
    with tempfile.TemporaryDirectory(prefix="magnoscope-") as folder:
        path = Path(folder) / safe_name(name)
        path.write_bytes(content)
        masked = None
        if mask is not None:
            masked = Path(folder) / "mask" / safe_name(mask[0])
            masked.parent.mkdir()
            masked.write_bytes(mask[1])
        try:
            return read_file(path, study, masked, UPLOADED)
        except MagnoscopeError as error:
            raise SpectrumError(str(error).replace(f"{folder}/mask/", "").replace(f"{folder}/", "")) from None


def read_file(path: Path, study: Study, mask: Path | None = None, what: str = "given file") -> tuple[Spectrum, Origin]:
    """A spectrum from a file, and where it is from.

    Raises
    ------
    MagnoscopeError
        If it cannot be read.
    """
    spectrum = read_spectrum(path, study, mask)
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    lines = tuple(line.replace(str(path), path.name) for line in inspect(path).lines())
    return spectrum, Origin(path.name, digest, what, None if mask is None else mask.name, lines[:10])
