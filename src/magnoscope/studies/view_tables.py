"""What a study file may say of its view: maps, or a path."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from .tables import Direction, Finite, Table, Vector

HELD = ("signal", "valid", "error", "ei_meV", "energy_edges_meV", "energy")
"""What a file of a spectrum holds beside its axes."""

AxisName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=40)]


class AxisTable(Table):
    """An axis of a map: direction (r.l.u.) and pixel centres."""

    name: AxisName
    direction: Direction
    from_: Annotated[Finite, Field(alias="from")]
    to: Finite
    points: Annotated[int, Field(ge=2, le=2000)]

    @model_validator(mode="after")
    def _rising(self) -> "AxisTable":
        if not self.from_ < self.to:
            raise ValueError("`from` must be below `to`")
        return self


class HiddenTable(Table):
    """The direction of Q that a map does not show."""

    name: AxisName
    direction: Direction


class SlicesTable(Table):
    """Equal slices of energy transfer in units of Ei."""

    from_: Annotated[float, Field(alias="from", ge=0)]
    to: Annotated[float, Field(le=0.97)]
    slices: Annotated[int, Field(ge=1, le=1000)]

    @model_validator(mode="after")
    def _rising(self) -> "SlicesTable":
        if not self.from_ < self.to:
            raise ValueError("`from` must be below `to`")
        if (self.to - self.from_) / self.slices < 1e-3:
            raise ValueError("the slices are too narrow; each must be at least 0.001 of Ei")
        return self


class MapsTable(Table):
    """Constant-energy maps on two axes of Q."""

    kind: Literal["maps"]
    energy_fractions: SlicesTable
    axes: Annotated[list[AxisTable], Field(min_length=2, max_length=2)]
    hidden: HiddenTable

    @model_validator(mode="after")
    def _told_apart(self) -> "MapsTable":
        names = [self.axes[0].name, self.axes[1].name, self.hidden.name]
        if len(set(names)) < 3 or set(names) & set(HELD):
            called = ", ".join(names)
            raise ValueError(f"the axes are called {called}; give them three names, none of {', '.join(HELD)}")
        directions = np.array([*(a.direction for a in self.axes), self.hidden.direction])
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        if abs(np.linalg.det(directions)) < 1e-6:
            raise ValueError("the directions of the two axes and the hidden one must be independent")
        return self


class WaypointTable(Table):
    """A named point of a path, r.l.u.; ``begins`` where another path begins there."""

    q: Vector
    label: Annotated[str, Field(max_length=20)] = ""
    begins: bool = False


class NormalTable(Table):
    """The direction (r.l.u.) at right angles to which the path is surrounded, and the box's full width along it."""

    direction: Direction
    width: Annotated[float, Field(ge=0, le=1000)]


class BinsTable(Table):
    """Equal bins of energy transfer, meV."""

    from_: Annotated[float, Field(alias="from", ge=0)]
    to: Annotated[float, Field(le=1e5)]
    bins: Annotated[int, Field(ge=2, le=2000)]

    @model_validator(mode="after")
    def _rising(self) -> "BinsTable":
        if not self.from_ < self.to:
            raise ValueError("`from` must be below `to`")
        return self


Limits = Annotated[list[Annotated[float, Field(ge=-180, le=180)]], Field(min_length=2, max_length=2)]


class DetectorLimitsTable(Table):
    """Angles of scattering (degrees) that the detectors cover; horizontal ones are positive towards +y."""

    horizontal: Limits
    vertical: Limits

    @model_validator(mode="after")
    def _rising(self) -> "DetectorLimitsTable":
        if not (self.horizontal[0] < self.horizontal[1] and self.vertical[0] < self.vertical[1]):
            raise ValueError("each range of angles must rise")
        return self


class PathTable(Table):
    """Cuts along a path in Q against energy transfer."""

    kind: Literal["path"]
    waypoints: Annotated[list[WaypointTable], Field(min_length=2, max_length=100)]
    step: Annotated[float, Field(gt=1e-4, le=10)] | None = None
    points: list[Annotated[int, Field(ge=1, le=2000)]] | None = None
    energies: BinsTable
    across: Annotated[float, Field(ge=0, le=10)]
    normal: NormalTable
    detectors: DetectorLimitsTable | None = None

    @model_validator(mode="after")
    def _one_way(self) -> "PathTable":
        if (self.step is None) == (self.points is None):
            raise ValueError("give either `step` (1/Å, about) or `points`, one number for each segment")
        begins = [False, *(w.begins for w in self.waypoints[1:]), True]
        if any(a and b for a, b in zip(begins[1:-1], begins[2:], strict=True)) or begins[1]:
            raise ValueError("each path needs two waypoints; check `begins`")
        segments = sum(not b for b in begins[1:-1])
        if self.points is not None and len(self.points) != segments:
            raise ValueError(f"`points` has {len(self.points)} numbers; the path has {segments} segments")
        return self
