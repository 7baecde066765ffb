"""The public data files that a study names: where they are, what they are and how they are oriented.

Images are in tiles: one row of tiles per run, one column per energy slice; within a tile axis 0 is x and
axis 1 is y.
"""

from dataclasses import dataclass
from urllib.parse import quote

from magnoscope.errors import StudyError

ROLES = ("measured", "mask", "simulated")
"""What a file can hold: a measured image, a mask (not zero = no detector), or a simulated image."""

IMAGE_AXES = ("runs", "slices", "x", "y")
"""The axes of an image that a download can have reversed."""

FORMATS = (".npy", ".mat")
"""Formats by file name ending: NumPy array without pickled objects, MATLAB file up to version 7."""


@dataclass(frozen=True)
class Download:
    """One public file.

    Parameters
    ----------
    name
        Short name, also the name of the local file (`<name>.npy`).
    path
        Path of the file below the base URL; ends in .npy or .mat.
    sha256
        Checksum of the file as published, 64 hexadecimal digits.
    role
        One of `ROLES`.
    flip
        Those of `IMAGE_AXES` to reverse to bring the published file to the study's layout.
    variable
        Name of the variable in a MATLAB file; None for other formats.
    """

    name: str
    path: str
    sha256: str
    role: str
    flip: tuple[str, ...] = ()
    variable: str | None = None

    def __post_init__(self) -> None:
        where = f"downloads.files, file {self.name!r}"
        # The name becomes a file name, and a study file must not be able to write outside the data folder.
        if not self.name or not self.name.replace("_", "").replace("-", "").isalnum():
            raise StudyError(f"{where}: name must consist of letters, digits, '_' and '-'")
        if self.role not in ROLES:
            raise StudyError(f"{where}: role is {self.role!r}, must be one of {', '.join(ROLES)}")
        unknown = [axis for axis in self.flip if axis not in IMAGE_AXES]
        if unknown or len(set(self.flip)) != len(self.flip):
            raise StudyError(
                f"{where}: flip is {list(self.flip)}, must name each axis at most once out of {', '.join(IMAGE_AXES)}"
            )
        if len(self.sha256) != 64 or set(self.sha256.lower()) - set("0123456789abcdef"):
            raise StudyError(f"{where}: sha256 must be 64 hexadecimal digits, not {self.sha256!r}")
        if self.suffix not in FORMATS:
            raise StudyError(f"{where}: path {self.path!r} must end in {' or '.join(FORMATS)}")
        if (self.suffix == ".mat") != (self.variable is not None):
            raise StudyError(f"{where}: variable must be given for a .mat file and for no other, path is {self.path!r}")

    @property
    def suffix(self) -> str:
        """Ending of the published file's name, in lower case, with its dot."""
        return "." + self.path.rpartition(".")[2].lower()


@dataclass(frozen=True)
class Downloads:
    """All public files of one study.

    Parameters
    ----------
    base_url
        Web address (http or https) that each file's path is relative to.
    files
        The files; names are unique.
    citation
        Whom to cite for the data.
    """

    base_url: str
    files: tuple[Download, ...]
    citation: str = ""

    def __post_init__(self) -> None:
        if not self.base_url.startswith(("https://", "http://")):
            raise StudyError(f"downloads: base_url must start with https:// or http://, not {self.base_url!r}")
        names = [file.name for file in self.files]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise StudyError(f"downloads.files: name {twice[0]!r} is given twice, names must be unique")

    def url(self, file: Download) -> str:
        """Return the web address of a file."""
        return f"{self.base_url.rstrip('/')}/{quote(file.path.lstrip('/'))}"

    def with_role(self, role: str) -> tuple[Download, ...]:
        """Return the files of a role."""
        return tuple(file for file in self.files if file.role == role)
