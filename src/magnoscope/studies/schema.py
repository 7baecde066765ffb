"""What a study file may say: the border at which its text is checked. Unknown keys are refused."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, PositiveFloat, PositiveInt, model_validator

Vector = Annotated[list[FiniteFloat], Field(min_length=3, max_length=3)]
Number = FiniteFloat | str
Matrix = Annotated[list[Annotated[list[Number], Field(min_length=3, max_length=3)]], Field(min_length=3, max_length=3)]


class Table(BaseModel):
    """A table of the file."""

    model_config = ConfigDict(extra="forbid", strict=False)


class LatticeTable(Table):
    """Cell lengths (Å) and angles (degrees)."""

    a: PositiveFloat
    b: PositiveFloat
    c: PositiveFloat
    alpha: PositiveFloat = 90.0
    beta: PositiveFloat = 90.0
    gamma: PositiveFloat = 90.0


class OrientationTable(Table):
    """Directions (r.l.u.) along the beam and in the horizontal plane."""

    u: Vector
    v: Vector


class MagneticCellTable(Table):
    """Multiples of the lattice, and operations that make further sites and bonds."""

    supercell: Annotated[list[PositiveInt], Field(min_length=3, max_length=3)] = [1, 1, 1]
    generators: list[str] = []


class SiteTable(Table):
    """Sites that share an ion, a spin and a moment."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")]
    ion: str
    spin: PositiveFloat
    moment: Vector
    positions: Annotated[list[Vector], Field(min_length=1)]


class TwinTable(Table):
    """A domain and its volume fraction."""

    fraction: Annotated[float, Field(gt=0, le=1)]
    matrix: Annotated[list[Vector], Field(min_length=3, max_length=3)] = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


class ParameterTable(Table):
    """A parameter of a model, meV."""

    reference: FiniteFloat
    error: Annotated[float, Field(ge=0)] = 0.0
    prior: Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]

    @model_validator(mode="after")
    def _rising(self) -> "ParameterTable":
        if not self.prior[0] < self.prior[1]:
            raise ValueError(f"prior {self.prior} must rise from its lower to its upper end")
        return self


class PairTable(Table):
    """One bond between two single sites."""

    from_: Annotated[str, Field(alias="from")]
    to: str
    vector: Vector


class BondTable(Table):
    """Bonds that share an exchange: by pairs of kinds of site and displacement or distance, or one by one."""

    exchange: Number | Matrix
    between: list[Annotated[list[str], Field(min_length=2, max_length=2)]] = []
    vectors: list[Vector] = []
    distance: PositiveFloat | None = None
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
    axis: Vector | None = None
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
    parameters: Annotated[dict[str, ParameterTable], Field(min_length=1)]
    bonds: Annotated[list[BondTable], Field(min_length=1)]
    anisotropy: list[AnisotropyTable] = []


class InstrumentTable(Table):
    """The spectrometer, by the name of one that ships, and the sample in it."""

    preset: str
    package: str
    sample_size_mm: Annotated[list[PositiveFloat], Field(min_length=3, max_length=3)]
    intrinsic_width: Annotated[float, Field(ge=0)] = 0.1


class RunTable(Table):
    """One run: Ei and histogram bin (meV), chopper frequency (Hz), psi (degrees)."""

    ei: PositiveFloat
    frequency: PositiveFloat
    energy_bin: Annotated[float, Field(ge=0)]
    psi: FiniteFloat = 0.0


class AxisTable(Table):
    """An axis of a map: direction (r.l.u.) and pixel centres."""

    name: str
    direction: Vector
    from_: Annotated[float, Field(alias="from")]
    to: FiniteFloat
    points: Annotated[int, Field(ge=2)]

    @model_validator(mode="after")
    def _rising(self) -> "AxisTable":
        if not self.from_ < self.to:
            raise ValueError("`from` must be below `to`")
        return self


class HiddenTable(Table):
    """The direction of Q that a map does not show."""

    name: str
    direction: Vector


class SlicesTable(Table):
    """Equal slices of energy transfer in units of Ei."""

    from_: Annotated[float, Field(alias="from")]
    to: Annotated[float, Field(lt=1)]
    slices: PositiveInt

    @model_validator(mode="after")
    def _rising(self) -> "SlicesTable":
        if not self.from_ < self.to:
            raise ValueError("`from` must be below `to`")
        return self


class ViewTable(Table):
    """Constant-energy maps on two axes of Q."""

    kind: Literal["maps"]
    energy_fractions: SlicesTable
    axes: Annotated[list[AxisTable], Field(min_length=2, max_length=2)]
    hidden: HiddenTable


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

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_\-]+$")]
    title: str = ""
    citation: str = ""
    worked_case: bool = False
    lattice: LatticeTable
    orientation: OrientationTable
    magnetic_cell: MagneticCellTable = MagneticCellTable()
    sites: Annotated[list[SiteTable], Field(min_length=1)]
    twins: Annotated[list[TwinTable], Field(min_length=1)] = [TwinTable(fraction=1.0)]
    models: Annotated[dict[str, ModelTable], Field(min_length=1)]
    instrument: InstrumentTable
    runs: Annotated[list[RunTable], Field(min_length=1)]
    view: ViewTable
    downloads: DownloadsTable | None = None

    @model_validator(mode="after")
    def _whole(self) -> "StudyFile":
        total = sum(t.fraction for t in self.twins)
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the volume fractions of the twins sum to {total:g}; they must sum to 1")
        return self
