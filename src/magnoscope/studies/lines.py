"""Finding the line of a key in a TOML file, so that a mistake can be pointed at."""

import re
import tomllib
from bisect import bisect_left

Path = tuple[str | int, ...]

BLANK = re.compile(r"[ \t]*")
NOTHING = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
SCALAR = re.compile(r"[^,\]}\n#]*")
STRINGS = [
    re.compile(pattern, re.DOTALL)
    for pattern in (r'"""(?:\\.|[^\\])*?"{3,5}', r"'''.*?'{3,5}", r'"(?:\\.|[^"\\])*"', r"'[^']*'")
]


def line_of(text: str, path: Path) -> int | None:
    """Line number (from 1) of the deepest part of a path such as ``("sites", 2, "spin")``; None if nothing is there.

    Parameters
    ----------
    text : str
        A TOML document that :mod:`tomllib` can read.
    path : tuple of str and int
        Keys, and indices (from 0) of arrays and arrays of tables.
    """
    lines = _Scanner(text).lines
    return next((lines[path[:depth]] for depth in range(len(path), 0, -1) if path[:depth] in lines), None)


class _Scanner:
    """Goes through a TOML document and notes the line of every key, table and element of an array.

    It relies on the document being right: :mod:`tomllib` has read it, but tells no positions.
    """

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.breaks = [found.start() for found in re.finditer("\n", text)]
        self.lines: dict[Path, int] = {}
        self.counts: dict[Path, int] = {}
        here: Path = ()
        self._take(NOTHING)
        while self.at < len(text):
            if text[self.at] == "[":
                here = self._header()
            else:
                self._pair(here)
            self._take(NOTHING)

    def _take(self, pattern: re.Pattern[str]) -> str:
        """What a pattern matches here, and go behind it."""
        found = pattern.match(self.text, self.at)
        if found is None:
            return ""
        self.at = found.end()
        return found[0]

    def _note(self, path: Path) -> None:
        self.lines.setdefault(path, bisect_left(self.breaks, self.at) + 1)

    def _key(self) -> list[str]:
        """A key with dots as its parts."""
        parts = []
        while True:
            self._take(BLANK)
            part = self._take(BARE_KEY)
            parts.append(part or tomllib.loads("key = " + self._string())["key"])
            self._take(BLANK)
            if self.text[self.at] != ".":
                return parts
            self.at += 1

    def _string(self) -> str:
        return next(found for found in map(self._take, STRINGS) if found)

    def _header(self) -> Path:
        """``[table]`` or ``[[array.of.tables]]``: the path of what follows it."""
        start, array = self.at, self.text.startswith("[[", self.at)
        self.at += 2 if array else 1
        parts = self._key()
        end, self.at = self.at + (2 if array else 1), start
        path: Path = ()
        for number, part in enumerate(parts):
            path += (part,)
            self._note(path)
            if array and number == len(parts) - 1:
                self.counts[path] = self.counts.get(path, -1) + 1
            if path in self.counts:
                path += (self.counts[path],)
                self._note(path)
        self.at = end
        return path

    def _pair(self, here: Path) -> None:
        """``key = value`` in a table."""
        start = self.at
        parts = self._key()
        behind, self.at = self.at + 1, start
        for part in parts:
            here += (part,)
            self._note(here)
        self.at = behind
        self._take(BLANK)
        self._value(here)

    def _value(self, path: Path) -> None:
        opening = self.text[self.at]
        if opening in "\"'":
            self._string()
        elif opening not in "[{":
            self._take(SCALAR)
        else:
            self.at += 1
            number = 0
            while self._take(NOTHING) is not None and self.text[self.at] not in "]}":
                if opening == "[":
                    self._note((*path, number))
                    self._value((*path, number))
                else:
                    self._pair(path)
                number += 1
                self._take(NOTHING)
                if self.text[self.at] == ",":
                    self.at += 1
            self.at += 1
