"""Horace's files of version 4: a table of blocks, each an object of Horace's own serialisation."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..crystal import Lattice
from ..errors import DataError
from .binary import Cursor
from .histogram import MOST_BINS, Histogram, HistogramAxis, make_histogram
from .sqw import DIRECT, MOST_RUNS, PIXEL, Sqw, SqwRun, make_lattice, vector

NUMBERS = {3: "<f8", 4: "<f4", 5: "<i1", 6: "<u1", 9: "<i4", 10: "<u4", 11: "<i8", 12: "<u8"}
"""Tags of types, and what they are."""
LOGICAL, TEXT, CELL, STRUCT, SELF = 0, 1, 23, 24, 32
DEEPEST = 30
MOST_DIMENSIONS = 8
MOST_FIELDS = 1000


def read_version_4(cursor: Cursor, with_pixels: bool) -> Sqw:
    """The rest of a file of version 4, from its table of blocks on.

    Raises
    ------
    DataError
        If it is damaged or of indirect geometry.
    """
    blocks = _blocks(cursor)
    metadata = _block(cursor, blocks, "data", "metadata")
    axes_table, projection = _table(cursor, metadata, "axes"), _table(cursor, metadata, "proj")
    lattice = make_lattice(cursor, np.concatenate([_numbers(cursor, projection, k, 3) for k in ("alatt", "angdeg")]))
    runs = _runs(cursor, blocks, lattice) if with_pixels else ()
    histogram = _histogram(cursor, blocks, axes_table, projection, lattice, runs)
    start = pixels = 0
    if with_pixels and ("pix", "data_wrap") in blocks:
        position, size = blocks["pix", "data_wrap"]
        cursor.seek(position)
        rows, pixels = cursor.integer("<u4"), cursor.integer("<u8")
        start = cursor.at
        if rows != 9 or pixels * PIXEL > min(cursor.left, size):
            raise cursor.damaged(f"announces {pixels} pixels of {rows} numbers, {cursor.left} bytes are left")
    return Sqw(cursor.path, 4.0, str(axes_table.get("title") or ""), runs, histogram, start, pixels)


def _blocks(cursor: Cursor) -> dict[tuple[str, str], tuple[int, int]]:
    """Position and size of every block by its two names."""
    cursor.integer("<u4")
    count = cursor.integer("<u4")
    if count > MOST_FIELDS:
        raise cursor.damaged(f"announces {count} blocks")
    out = {}
    for _ in range(count):
        cursor.text()
        name = cursor.text(), cursor.text()
        position, size, _ = cursor.unpack("<QII")
        out[name] = position, size
    return out


def _block(cursor: Cursor, blocks: dict[tuple[str, str], tuple[int, int]], *name: str) -> Any:
    """The object of a block."""
    if (name[0], name[1]) not in blocks:
        raise cursor.damaged(f"has no block {' '.join(name)}")
    cursor.seek(blocks[name[0], name[1]][0])
    return read_object(cursor)


def read_object(cursor: Cursor, depth: int = 0) -> Any:
    """One object: arrays of numbers, text, lists (cells), dictionaries (structs) or lists of them."""
    if depth > DEEPEST:
        raise cursor.damaged("nests its objects too deeply")
    tag = cursor.integer("<u1")
    if tag == SELF:
        return read_object(cursor, depth + 1)
    dimensions = cursor.integer("<u1")
    if dimensions > MOST_DIMENSIONS:
        raise cursor.damaged(f"announces an array of {dimensions} dimensions at byte {cursor.at}")
    shape = [cursor.integer("<u4") for _ in range(dimensions)]
    count = int(np.prod(shape, dtype=object)) if shape else 0
    # the smallest object takes two bytes: a declared number can never need more than the file has
    if count > cursor.left:
        raise cursor.damaged(f"announces {count} objects at byte {cursor.at}, {cursor.left} bytes are left")
    if tag in NUMBERS or tag == LOGICAL:
        values = np.array(cursor.array(NUMBERS.get(tag, "?"), count))
        return values.reshape(shape, order="F") if count else values
    if tag == TEXT:
        return cursor.text(count) if count else ""
    if tag == CELL:
        return [read_object(cursor, depth + 1) for _ in range(count)]
    if tag == STRUCT:
        return _structs(cursor, count, depth) if count else {}
    raise cursor.damaged(f"holds an object of unknown type {tag} at byte {cursor.at}")


def _structs(cursor: Cursor, count: int, depth: int) -> Any:
    """``count`` structs with the same fields; a single one comes bare."""
    fields = cursor.integer("<u4")
    if fields > MOST_FIELDS:
        raise cursor.damaged(f"announces an object of {fields} fields")
    lengths = [cursor.integer("<u4") for _ in range(fields)]
    names = [cursor.text(length) for length in lengths]
    values = read_object(cursor, depth + 1)
    if not isinstance(values, list) or len(values) != fields * count:
        raise cursor.damaged(f"does not hold {fields * count} values of the fields of an object")
    found = [dict(zip(names, values[i * fields : (i + 1) * fields], strict=True)) for i in range(count)]
    return found[0] if count == 1 else found


def _table(cursor: Cursor, parent: Any, name: str) -> dict[str, Any]:
    value = parent.get(name) if isinstance(parent, dict) else None
    if not isinstance(value, dict):
        raise cursor.damaged(f"has no object {name}")
    return value


def _numbers(cursor: Cursor, table: dict[str, Any], name: str, count: int) -> NDArray[np.float64]:
    """Numbers of a field in the order of the file (column by column)."""
    value = table.get(name)
    if not isinstance(value, np.ndarray) or value.size != count or value.dtype.kind not in "fiub":
        raise cursor.damaged(f"does not hold {count} numbers {name}")
    return value.astype(float).ravel(order="F")


def _runs(cursor: Cursor, blocks: dict, lattice: Lattice) -> tuple[SqwRun, ...]:
    """The contributing runs."""
    table = _block(cursor, blocks, "experiment_info", "expdata")
    found = table.get("array_dat") if isinstance(table, dict) else None
    found = [found] if isinstance(found, dict) else found
    if not isinstance(found, list) or not 0 < len(found) <= MOST_RUNS or not all(isinstance(f, dict) for f in found):
        raise cursor.damaged("names no runs")
    return tuple(_run(cursor, run, lattice) for run in found)


def _run(cursor: Cursor, run: dict[str, Any], lattice: Lattice) -> SqwRun:
    if _numbers(cursor, run, "emode", 1)[0] != DIRECT:
        raise DataError(f"{cursor.path} is of indirect or no geometry; direct geometry (emode 1) is needed")
    ei, psi = _numbers(cursor, run, "efix", 1)[0], _numbers(cursor, run, "psi", 1)[0]
    in_degrees = isinstance(run.get("angular_is_degree"), np.ndarray) and bool(np.all(run["angular_is_degree"]))
    u = _numbers(cursor, run, "cu" if "cu" in run else "u", 3)
    v = _numbers(cursor, run, "cv" if "cv" in run else "v", 3)
    if "u_to_rlu" in run:
        to_hkl = _numbers(cursor, run, "u_to_rlu", 16).reshape(4, 4, order="F")[:3, :3]
    else:
        to_hkl = np.asarray(np.linalg.inv(crystal_frame(lattice)), float)
    if not (np.isfinite(ei) and ei > 0 and np.isfinite(to_hkl).all()):
        raise cursor.damaged("holds a run without a finite energy or projection")
    return SqwRun(float(ei), float(psi if in_degrees else np.degrees(psi)), to_hkl, vector(u), vector(v), lattice)


def crystal_frame(lattice: Lattice) -> NDArray[np.float64]:
    """Takes columns of r.l.u. to 1/Å in the frame of Busing and Levy: x along a*, y in the plane of a* and b*."""
    reciprocal = lattice.reciprocal
    x = reciprocal[0] / np.linalg.norm(reciprocal[0])
    z = np.cross(reciprocal[0], reciprocal[1])
    z /= np.linalg.norm(z)
    return np.asarray(np.stack([x, np.cross(z, x), z]) @ reciprocal.T, float)


def _directions(cursor: Cursor, axes: dict, projection: dict, lattice: Lattice) -> NDArray[np.float64]:
    """What one unit of each axis of Q is, rows in r.l.u."""
    lengths = _numbers(cursor, axes, "img_scales" if "img_scales" in axes else "ulen", 4)[:3]
    to_cartesian = crystal_frame(lattice)
    u, v = (np.asarray(to_cartesian @ _numbers(cursor, projection, n, 3), float) for n in ("u", "v"))
    w = projection.get("w")
    if not (np.isfinite(u).all() and np.isfinite(v).all() and np.linalg.norm(np.cross(u, v)) > 1e-9):
        raise cursor.damaged("holds a projection whose u and v span no plane")
    skewed = projection.get("nonorthogonal")
    if isinstance(skewed, np.ndarray) and skewed.any():
        third = to_cartesian @ w.astype(float) if isinstance(w, np.ndarray) and w.size == 3 else np.cross(u, v)
        rows = [u, v, third]
    else:
        up = np.cross(u, v)
        rows = [u, np.cross(up, u), up]
    cartesian = np.asarray(np.stack(rows), float)
    scaled = cartesian * (lengths / np.linalg.norm(cartesian, axis=1))[:, None]
    return np.asarray(scaled @ np.linalg.inv(to_cartesian).T, float)


def _histogram(
    cursor: Cursor, blocks: dict, axes: dict, projection: dict, lattice: Lattice, runs: tuple[SqwRun, ...]
) -> Histogram:
    serial = str(projection.get("serial_name", "line_proj"))
    if serial not in ("line_proj", "ortho_proj", "projaxes"):
        raise DataError(f"{cursor.path} is binned in a projection {serial}; one along straight lines is needed")
    limits = np.asarray(_numbers(cursor, axes, "img_range", 8)).reshape(4, 2)
    bins = _numbers(cursor, axes, "nbins_all_dims", 4)
    if not (np.isfinite(bins).all() and (bins >= 1).all() and np.prod(bins) <= MOST_BINS):
        raise cursor.damaged(f"announces {bins.tolist()} bins; at most {MOST_BINS} are read")
    offset = _numbers(cursor, projection, "offset", 4)
    directions = _directions(cursor, axes, projection, lattice)
    labels = projection.get("label") or axes.get("label")
    names = [str(n) for n in labels] if isinstance(labels, list) and len(labels) == 4 else ["u1", "u2", "u3", "E"]
    made = tuple(
        HistogramAxis(
            names[i],
            None if i == 3 else directions[i],
            np.linspace(limits[i, 0], limits[i, 1], int(bins[i]) + 1) + (offset[3] if i == 3 else 0.0),
        )
        for i in range(4)
    )
    if ("data", "nd_data") not in blocks:
        raise cursor.damaged("has no block data nd_data")
    cursor.seek(blocks["data", "nd_data"][0])
    shape = tuple(axis.bins for axis in made)
    stored = [cursor.integer("<u4") for _ in range(cursor.integer("<u4") & 0xFF)]
    count = int(np.prod(shape, dtype=object))
    if int(np.prod(stored, dtype=object)) != count:
        raise cursor.damaged(f"holds an image of {stored} where its axes have {shape} bins")
    signal, variance = (cursor.numbers("<f8", count).reshape(shape, order="F") for _ in range(2))
    npix = cursor.numbers("<u8", count).reshape(shape, order="F")
    return make_histogram(
        cursor.path,
        "Horace histogram, version 4",
        made,
        signal,
        variance,
        npix,
        offset=offset[:3],
        lattice=lattice,
        ei=tuple(sorted({run.ei for run in runs})),
        psi=tuple(sorted({run.psi for run in runs})),
        lacks=() if runs else ("Ei and psi: a histogram alone does not name them",),
    )
