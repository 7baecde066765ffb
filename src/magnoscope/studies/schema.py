"""What a study file may say: the border at which its text is checked. Unknown keys are refused."""

import keyword
import re
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from .tables import Direction, Finite, Table, Vector
from .view_tables import MapsTable, PathTable

WORDS = ("study", "model", "resolution", "sampling")
"""What `simulate` calls its own arguments, so that parameters cannot have these names."""


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError('must be a number or an expression of parameters such as "2*J1 - J2"')
    if not isinstance(value, str) and not abs(value) <= 1e6:
        raise ValueError("must be a finite number, at most 1e6 in size")
    return value


def _exchange(value: Any) -> Any:
    if not isinstance(value, list):
        return _number(value)
    if len(value) != 3 or any(not isinstance(row, list) or len(row) != 3 for row in value):
        raise ValueError("a matrix must have three rows of three numbers or expressions")
    for row in value:
        for entry in row:
            _number(entry)
    return value


def _matrix(value: Any) -> Any:
    if not isinstance(value, list):
        raise ValueError("must be a matrix: three rows of three numbers or expressions")
    return _exchange(value)


def _parameter(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or keyword.iskeyword(name) or name in WORDS:
        raise ValueError(
            f'"{name}" cannot be a parameter\'s name; use letters, digits and _, and no word of Python or of simulate()'
        )
    return name


Number = Annotated[float | str, BeforeValidator(_number)]
Exchange = Annotated[float | str | list[list[float | str]], BeforeValidator(_exchange)]
Matrix = Annotated[list[list[float | str]], BeforeValidator(_matrix)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_\-]+$", max_length=80)]
Length = Annotated[float, Field(ge=0.1, le=1e4)]
Angle = Annotated[float, Field(gt=0, lt=180)]
Operation = Annotated[str, Field(max_length=300)]


class LatticeTable(Table):
    """Cell lengths (Å) and angles (degrees)."""

    a: Length
    b: Length
    c: Length
    alpha: Angle = 90.0
    beta: Angle = 90.0
    gamma: Angle = 90.0


Tilt = Annotated[float, Field(ge=-180, le=180)]


class OrientationTable(Table):
    """Directions (r.l.u.) along the beam and in the horizontal plane, and how far the crystal misses them (degrees)."""

    u: Direction
    v: Direction
    dpsi: Tilt = 0.0
    gl: Tilt = 0.0
    gs: Tilt = 0.0
    omega: Tilt = 0.0


class MagneticCellTable(Table):
    """Multiples of the lattice, and operations that make further sites and bonds."""

    supercell: Annotated[list[Annotated[int, Field(ge=1, le=100)]], Field(min_length=3, max_length=3)] = [1, 1, 1]
    generators: Annotated[list[Operation], Field(max_length=192)] = []


class SiteTable(Table):
    """Sites that share an ion, a spin and a moment."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")]
    ion: str
    spin: Annotated[float, Field(gt=0, le=100)]
    moment: Direction
    positions: Annotated[list[Vector], Field(min_length=1)]


class TwinTable(Table):
    """A domain and its volume fraction."""

    fraction: Annotated[float, Field(gt=0, le=1)]
    matrix: Annotated[list[Vector], Field(min_length=3, max_length=3)] = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]

    @model_validator(mode="after")
    def _keeps_volumes(self) -> "TwinTable":
        determinant = np.linalg.det(np.array(self.matrix, float))
        if abs(abs(determinant) - 1) > 1e-3:
            raise ValueError(f"`matrix` has the determinant {determinant:g}; that of a twin must be 1 or -1")
        return self


class ParameterTable(Table):
    """A parameter of a model, meV."""

    reference: Finite
    error: Annotated[float, Field(ge=0)] = 0.0
    prior: Annotated[list[Finite], Field(min_length=2, max_length=2)]

    @model_validator(mode="after")
    def _rising(self) -> "ParameterTable":
        if not self.prior[0] < self.prior[1]:
            raise ValueError(f"prior {self.prior} must rise from its lower to its upper end")
        return self


class PairTable(Table):
    """One bond between two single sites."""

    from_: Annotated[str, Field(alias="from")]
    to: str
    vector: Direction


class BondTable(Table):
    """Bonds that share an exchange: by pairs of kinds of site and displacement or distance, or one by one."""

    exchange: Exchange
    between: list[Annotated[list[str], Field(min_length=2, max_length=2)]] = []
    vectors: list[Direction] = []
    distance: Annotated[float, Field(gt=0, le=50)] | None = None
    over: str | None = None
    pairs: list[PairTable] = []

    @model_validator(mode="after")
    def _one_way(self) -> "BondTable":
        rule = bool(self.between) and (bool(self.vectors) != (self.distance is not None))
        if rule == bool(self.pairs):
            raise ValueError("give either `pairs`, or `between` with one of `vectors` and `distance`")
        return self


class AnisotropyTable(Table):
    """Single-ion anisotropy: a matrix, or an axis and a value."""

    sites: list[str] = ["*"]
    axis: Direction | None = None
    value: Number | None = None
    matrix: Matrix | None = None

    @model_validator(mode="after")
    def _one_form(self) -> "AnisotropyTable":
        if (self.matrix is None) == (self.axis is None or self.value is None):
            raise ValueError("give either `matrix`, or `axis` and `value`")
        return self


class ModelTable(Table):
    """One candidate Hamiltonian."""

    title: str = ""
    parameters: Annotated[dict[Annotated[str, AfterValidator(_parameter)], ParameterTable], Field(min_length=1)]
    bonds: Annotated[list[BondTable], Field(min_length=1)]
    anisotropy: list[AnisotropyTable] = []


Mosaic = Annotated[float, Field(ge=0, le=20)]


class InstrumentTable(Table):
    """The spectrometer, by the name of one that ships or the path of an instrument file, and the sample in it.

    `sample_axes` are the directions (r.l.u.) of the sample's first axis and one in the plane of its first and second;
    `mosaic` is a full width at half maximum in degrees, or three, about u, across it in the horizontal, and upwards.
    """

    preset: str
    package: str
    sample_size_mm: Annotated[list[Annotated[float, Field(gt=0, le=1e4)]], Field(min_length=3, max_length=3)]
    shape: Literal["cuboid", "plate", "cylinder", "sphere"] = "cuboid"
    sample_axes: Annotated[list[Direction], Field(min_length=2, max_length=2)] | None = None
    mosaic: Mosaic | Annotated[list[Mosaic], Field(min_length=3, max_length=3)] = 0.0
    intrinsic_width: Annotated[float, Field(ge=0, le=100)] = 0.1


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


class StudyFile(Table):
    """The whole file."""

    name: Name
    title: str = ""
    citation: str = ""
    worked_case: bool = False
    lattice: LatticeTable
    orientation: OrientationTable
    magnetic_cell: MagneticCellTable = MagneticCellTable()
    sites: Annotated[list[SiteTable], Field(min_length=1)]
    twins: Annotated[list[TwinTable], Field(min_length=1)] = [TwinTable(fraction=1.0)]
    models: Annotated[dict[Name, ModelTable], Field(min_length=1, max_length=100)]
    instrument: InstrumentTable
    runs: Annotated[list[RunTable], Field(min_length=1, max_length=1000)]
    view: Annotated[MapsTable | PathTable, Field(discriminator="kind")]
    downloads: DownloadsTable | None = None
    overlaps: Annotated[list[dict[Name, dict[str, Number]]], Field(max_length=100)] = []
