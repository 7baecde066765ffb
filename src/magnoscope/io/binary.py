"""A cursor over a binary file that never reads, or makes room for, more than the file holds."""

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

LONGEST_TEXT = 1 << 16


class Cursor:
    """Little-endian numbers, texts and arrays from a file, each checked against what the file has left.

    Raises
    ------
    DataError
        From every method, where the file ends before what it announces.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.data: NDArray[np.uint8] = np.memmap(path, np.uint8, "r")
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read: {error}") from None
        self.at = 0

    @property
    def left(self) -> int:
        """Bytes from here to the end."""
        return len(self.data) - self.at

    def seek(self, position: int) -> None:
        """Go to a position."""
        if not 0 <= position <= len(self.data):
            raise self.damaged(f"points to byte {position}, it has {len(self.data)}")
        self.at = position

    def damaged(self, what: str) -> DataError:
        """The error to raise where the file contradicts itself."""
        return DataError(f"{self.path} is damaged or cut short: it {what}; write it again")

    def array(self, dtype: str, count: int) -> NDArray:
        """The next ``count`` values, on disk until they are used."""
        size = np.dtype(dtype).itemsize * count
        if count < 0 or size > self.left:
            raise self.damaged(f"announces {count} values at byte {self.at}, {self.left} bytes are left")
        part = self.data[self.at : self.at + size].view(dtype)
        self.at += size
        return part

    def numbers(self, dtype: str, count: int) -> NDArray[np.float64]:
        """The next ``count`` values as double precision."""
        with np.errstate(all="ignore"):  # anything may stand in a damaged file
            return np.array(self.array(dtype, count), np.float64)

    def integer(self, kind: str = "<i4") -> int:
        """The next integer."""
        return int(self.array(kind, 1)[0])

    def double(self) -> float:
        """The next number of double precision."""
        return float(self.array("<f8", 1)[0])

    def text(self, length: int | None = None) -> str:
        """The next text; its length comes first unless it is known."""
        count = self.integer("<u4") if length is None else length
        if count > LONGEST_TEXT:
            raise self.damaged(f"announces a text of {count} characters at byte {self.at}")
        return bytes(self.array("u1", count)).decode("utf-8", "replace")

    def unpack(self, form: str) -> tuple:
        """The next values of a ``struct`` format."""
        return struct.unpack(form, bytes(self.array("u1", struct.calcsize(form))))
