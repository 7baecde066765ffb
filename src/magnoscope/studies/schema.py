"""What a study file may say: the border at which its text is checked. Unknown keys are refused."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from .magnet_schema import MagnetFile, Name, Number
from .tables import Direction, Table
from .view_tables import MapsTable, PathTable

Tilt = Annotated[float, Field(ge=-180, le=180)]


class OrientationTable(Table):
    """Directions (r.l.u.) along the beam and in the horizontal plane, and how far the crystal misses them (degrees)."""

    u: Direction
    v: Direction
    dpsi: Tilt = 0.0
    gl: Tilt = 0.0
    gs: Tilt = 0.0
    omega: Tilt = 0.0


WIDEST_MOSAIC = 20
"""Largest mosaic, degrees: the model is linear in its angle."""


def _mosaic(value: Any) -> Any:
    widths = value if isinstance(value, list) else [value]
    numbers = all(isinstance(w, (int, float)) and not isinstance(w, bool) for w in widths)
    if len(widths) not in (1, 3) or not numbers or not all(0 <= w <= WIDEST_MOSAIC for w in widths):
        raise ValueError(f"must be one width or three, each from 0 to {WIDEST_MOSAIC} degrees")
    return [float(w) for w in widths] * (3 if len(widths) == 1 else 1)


class InstrumentTable(Table):
    """The spectrometer, by the name of one that ships or the path of an instrument file, and the sample in it.

    `sample_axes` are the directions (r.l.u.) of the sample's first axis and one in the plane of its first and second;
    `intrinsic_width` (full width at half maximum, meV) and `line` are those of a mode in energy;
    `mosaic` is a full width at half maximum in degrees, or three, about u, across it in the horizontal, and upwards;
    with `coverage` only those pixels are valid that the instrument's banks see.
    """

    preset: str
    package: str
    sample_size_mm: Annotated[list[Annotated[float, Field(gt=0, le=1e4)]], Field(min_length=3, max_length=3)]
    shape: Literal["cuboid", "plate", "cylinder", "sphere"] = "cuboid"
    sample_axes: Annotated[list[Direction], Field(min_length=2, max_length=2)] | None = None
    mosaic: Annotated[list[float], BeforeValidator(_mosaic)] = [0.0, 0.0, 0.0]
    intrinsic_width: Annotated[float, Field(ge=0, le=100)] = 0.1
    line: Literal["gaussian", "lorentzian", "oscillator"] = "gaussian"
    coverage: bool = False

    @model_validator(mode="after")
    def _damped(self) -> "InstrumentTable":
        if self.line == "oscillator" and self.intrinsic_width == 0:
            raise ValueError('`line = "oscillator"` needs an `intrinsic_width` above 0')
        return self


class IntensityTable(Table):
    """What the numbers of a simulated spectrum mean: see :class:`magnoscope.intensity.Intensity`."""

    units: Literal["arbitrary", "mbarn"] = "arbitrary"
    formula_units: Annotated[float, Field(gt=0, le=1e6)] | None = None
    g: Annotated[float, Field(gt=0, le=10)] = 2.0
    kf_over_ki: bool = False
    temperature: Annotated[float, Field(ge=0, le=1e4)] = 0.0

    @model_validator(mode="after")
    def _counted(self) -> "IntensityTable":
        if self.units == "mbarn" and self.formula_units is None:
            raise ValueError('`units = "mbarn"` needs `formula_units`: how many there are in the magnetic cell')
        return self


class RunTable(Table):
    """One run: Ei and histogram bin (meV), chopper frequency (Hz), psi (degrees)."""

    ei: Annotated[float, Field(ge=0.01, le=1e5)]
    frequency: Annotated[float, Field(ge=1, le=1e4)]
    energy_bin: Annotated[float, Field(ge=0, le=1e4)]
    psi: Annotated[float, Field(ge=-360, le=360)] = 0.0

    @model_validator(mode="after")
    def _bin_below_ei(self) -> "RunTable":
        if not self.energy_bin < self.ei:
            raise ValueError(f"`energy_bin` {self.energy_bin:g} must be below `ei` {self.ei:g}")
        return self


class DownloadTable(Table):
    """One public file, and what brings it into the study's layout."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")]
    role: Literal["measured", "mask", "simulated"]
    path: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    flip: list[Literal["runs", "slices", "x", "y"]] = []
    variable: str | None = None


class DownloadsTable(Table):
    """Public files of the measurement."""

    base_url: str
    citation: str = ""
    files: list[DownloadTable]


class StudyFile(MagnetFile):
    """The whole file."""

    worked_case: bool = False
    orientation: OrientationTable
    instrument: InstrumentTable
    runs: Annotated[list[RunTable], Field(min_length=1, max_length=1000)]
    view: Annotated[MapsTable | PathTable, Field(discriminator="kind")]
    downloads: DownloadsTable | None = None
    intensity: IntensityTable = IntensityTable()
    overlaps: Annotated[list[dict[Name, dict[str, Number]]], Field(max_length=100)] = []
