"""Finding the line of a key in a TOML file, so that a mistake can be pointed at."""

import re

HEADER = re.compile(r"^\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(#.*)?$")
KEY = re.compile(r"^\s*([A-Za-z0-9_\-\"'.]+)\s*=")


def line_of(text: str, path: tuple[str | int, ...]) -> int | None:
    """Line number (from 1) of the deepest part of a path such as ``("sites", 2, "spin")``; None if not there.

    Follows table headers, arrays of tables and keys; a key inside an inline table is found on the line of the
    array or table that holds it, if not on a line of its own.
    """
    wanted = tuple(str(p) for p in path)
    counts: dict[tuple[str, ...], int] = {}
    here: tuple[str, ...] = ()
    best, best_depth = None, 0
    lines = text.splitlines()
    key_path: tuple[str, ...] = ()
    for number, line in enumerate(lines, 1):
        header = HEADER.match(line)
        key = KEY.match(line)
        if header:
            here = _with_indices(tuple(p.strip().strip("\"'") for p in header[2].split(".")), counts, header[1] == "[[")
            key_path = here
        elif key:
            key_path = here + tuple(p.strip("\"'") for p in key[1].split("."))
        else:
            continue
        depth = _common(key_path, wanted)
        if depth == len(key_path) and depth > best_depth:
            best, best_depth = number, depth
    if best is not None and best_depth < len(wanted):
        inner = re.compile(rf"[{{,\s]{re.escape(wanted[-1])}\s*=")
        for number in range(best, min(best + 40, len(lines) + 1)):
            if number > best and (HEADER.match(lines[number - 1]) or re.match(r"^\w+\s*=", lines[number - 1])):
                break
            if inner.search(lines[number - 1]):
                return number
    return best


def _with_indices(parts: tuple[str, ...], counts: dict[tuple[str, ...], int], array: bool) -> tuple[str, ...]:
    """The path of a header with the current index behind each array of tables."""
    path: tuple[str, ...] = ()
    for i, part in enumerate(parts):
        path += (part,)
        if i == len(parts) - 1 and array:
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path += (str(counts[path]),)
    return path


def _common(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    """How many leading parts two paths share."""
    depth = 0
    while depth < min(len(a), len(b)) and a[depth] == b[depth]:
        depth += 1
    return depth
