"""From what a study file says of its view to the view itself, and what no spectrometer or memory could do about it."""

from collections.abc import Iterator

import numpy as np

from ..crystal import Lattice
from ..study import Run
from ..units import wavevector
from ..views import Axis, MapView, PathView, Segment, View
from .sites import Mistake
from .view_tables import MapsTable, PathTable

MOST_PIXELS = 4_000_000
"""Pixels that all tiles of a study may have together; with more, even one spectrum fills the memory."""
MOST_ZONES = 1000
"""Magnetic zones the two axes of a map may span together."""
MOST_POINTS = 2000
"""Points a path may have."""
MOST_SPANNED = 60
"""Magnetic zones the box about a path may span in either direction."""
SHORTEST = 1e-3
"""Length of a segment, 1/Å."""


def build_view(
    table: MapsTable | PathTable, lattice: Lattice, supercell: tuple[int, ...], runs: tuple[Run, ...]
) -> View:
    """The view of a study.

    Raises
    ------
    Mistake
        With the path of keys, where it is too large or out of reach.
    """
    view = (
        _maps(table, lattice, supercell, runs)
        if isinstance(table, MapsTable)
        else _path(table, lattice, supercell, runs)
    )
    pixels = len(runs) * int(np.prod(view.shape))
    if pixels > MOST_PIXELS:
        raise Mistake(("view",), f"the tiles have {pixels} pixels together; at most {MOST_PIXELS} fit into memory")
    return view


def _maps(table: MapsTable, lattice: Lattice, supercell: tuple[int, ...], runs: tuple[Run, ...]) -> MapView:
    slices = table.energy_fractions
    fractions = np.linspace(slices.from_, slices.to, slices.slices + 1)
    x, y = (Axis(a.name, tuple(a.direction), a.from_, a.to, a.points) for a in table.axes)  # type: ignore[arg-type]
    view = MapView((x, y), table.hidden.name, tuple(table.hidden.direction), tuple(fractions))  # type: ignore[arg-type]
    if len(runs) * int(np.prod(view.shape)) <= MOST_PIXELS:
        _check_reach(view.axes, table.hidden.direction, lattice, max(run.ei for run in runs))
        _check_fineness(view.axes, supercell)
    return view


def _path(table: PathTable, lattice: Lattice, supercell: tuple[int, ...], runs: tuple[Run, ...]) -> PathView:
    ei = max(run.ei for run in runs)
    if table.energies.to > 0.97 * ei:
        raise Mistake(("view", "energies", "to"), f"must be at most 0.97 of the largest Ei, {0.97 * ei:.4g} meV")
    for number, waypoint in enumerate(table.waypoints):
        far = float(np.linalg.norm(lattice.to_cartesian(waypoint.q)))
        if far > 2 * wavevector(ei):
            raise Mistake(
                ("view", "waypoints", number, "q"),
                f"is {far:.3g} 1/Å from the origin, out of reach even with Ei = {ei:g} meV; at most "
                f"{2 * wavevector(ei):.3g} could be seen",
            )
    energies = np.linspace(table.energies.from_, table.energies.to, table.energies.bins + 1)
    view = PathView(
        tuple(_segments(table, lattice)),
        table.across,
        tuple(table.normal.direction),  # type: ignore[arg-type]
        table.normal.width,
        tuple(map(float, energies)),
        _limits(table),
    )
    if view.shape[1] > MOST_POINTS:
        raise Mistake(("view",), f"the path has {view.shape[1]} points; at most {MOST_POINTS} can be simulated")
    cell = np.linalg.norm(lattice.direct * np.array(supercell, float)[:, None], axis=1).max() / (2 * np.pi)
    normal = table.normal.width * float(np.linalg.norm(lattice.to_cartesian(table.normal.direction)))
    for path, wide in ((("view", "across"), table.across), (("view", "normal", "width"), normal)):
        if wide * cell > MOST_SPANNED:
            raise Mistake(path, f"spans {wide * cell:.3g} magnetic zones; at most {MOST_SPANNED} can be simulated")
    return view


def _segments(table: PathTable, lattice: Lattice) -> Iterator[Segment]:
    """Straight pieces of a path, each with its number of points."""
    normal = lattice.to_cartesian(table.normal.direction)
    normal = normal / np.linalg.norm(normal)
    counts = iter(table.points or ())
    for number in range(1, len(table.waypoints)):
        start, end = table.waypoints[number - 1 : number + 1]
        if end.begins:
            continue
        step = lattice.to_cartesian(end.q) - lattice.to_cartesian(start.q)
        length = float(np.linalg.norm(step))
        place = ("view", "waypoints", number, "q")
        if length < SHORTEST:
            raise Mistake(place, "is the same point as the one before; leave one out")
        if np.linalg.norm(step / length - (step / length @ normal) * normal) < 1e-3:
            raise Mistake(place, "makes the path run along `normal`; give another direction there")
        points = next(counts, 0) or max(1, round(length / (table.step or length)))
        yield Segment(tuple(start.q), tuple(end.q), (start.label, end.label), points, length)  # type: ignore[arg-type]


def _limits(table: PathTable) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """Angles that the detectors cover, if the file says so."""
    if table.detectors is None:
        return None
    (left, right), (low, high) = table.detectors.horizontal, table.detectors.vertical
    return (left, right), (low, high)


def _check_reach(axes: tuple[Axis, ...], hidden: list[float], lattice: Lattice, ei: float) -> None:
    """Stop on axes that lead to where no neutron of the largest Ei can be scattered."""
    along = lattice.to_cartesian(hidden) / np.linalg.norm(lattice.to_cartesian(hidden))
    reach = 2 * float(wavevector(ei))
    for place, axis in enumerate(axes):
        step = lattice.to_cartesian(axis.direction)
        across = float(np.linalg.norm(step - (step @ along) * along))
        for key, end in (("from", axis.start), ("to", axis.stop)):
            if abs(end) * across > reach:
                raise Mistake(
                    ("view", "axes", place, key),
                    f"{end:g} is out of reach even with Ei = {ei:g} meV; at most {reach / across:.3g} could be seen",
                )


def _check_fineness(axes: tuple[Axis, ...], supercell: tuple[int, ...]) -> None:
    """Stop on axes so long that the fine grid of a simulation would not fit into memory."""
    steps = [max(1.0, *np.abs(np.array(axis.direction) * supercell)) for axis in axes]
    zones = [(axis.stop - axis.start) * step for axis, step in zip(axes, steps, strict=True)]
    if zones[0] * zones[1] > MOST_ZONES:
        place = int(np.argmax(zones))
        raise Mistake(
            ("view", "axes", place, "to"),
            f"the axes span {zones[0]:.3g} x {zones[1]:.3g} magnetic zones; at most {MOST_ZONES} together can be "
            "simulated, choose shorter axes",
        )
