"""What a study file may say of crystal and models: the border at which its text is checked."""

import keyword
import re
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from .tables import Direction, Finite, Table, Vector

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
Numbers = Annotated[list[Number], Field(min_length=3, max_length=3)]
Plain = Annotated[float | str | list[list[float | str]], BeforeValidator(_exchange)]
Matrix = Annotated[list[list[float | str]], BeforeValidator(_matrix)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_\-]+$", max_length=80)]
Length = Annotated[float, Field(ge=0.1, le=1e4)]
Angle = Annotated[float, Field(gt=0, lt=180)]
Operation = Annotated[str, Field(max_length=300)]
Moments = Annotated[list[Direction], Field(max_length=25_600)]
GTensor = Annotated[
    Annotated[Finite, Tag("number")]
    | Annotated[Annotated[list[Vector], Field(min_length=3, max_length=3)], Tag("rows")],
    Discriminator(lambda value: "rows" if isinstance(value, list) else "number"),
]
Cell = Annotated[list[Annotated[int, Field(ge=-100, le=100)]], Field(min_length=3, max_length=3)]


class LatticeTable(Table):
    """Cell lengths (Å) and angles (degrees)."""

    a: Length
    b: Length
    c: Length
    alpha: Angle = 90.0
    beta: Angle = 90.0
    gamma: Angle = 90.0


class MagneticCellTable(Table):
    """Multiples of the lattice, operations that make further sites and bonds, and how spins turn from cell to cell."""

    supercell: Annotated[list[Annotated[int, Field(ge=1, le=100)]], Field(min_length=3, max_length=3)] = [1, 1, 1]
    generators: Annotated[list[Operation], Field(max_length=192)] = []
    propagation: Vector | None = None
    rotation_axis: Direction | None = None


class SiteTable(Table):
    """Sites that share an ion, a spin, a g-tensor, and a moment or a list of moments, one for each.

    ``orbital`` is the share c of the orbital moment in the form factor <j0> + c <j2>.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")]
    ion: str
    spin: Annotated[float, Field(gt=0, le=100)]
    moment: Direction | None = None
    moments: Moments = []
    positions: list[Vector] = []
    label: str | None = None
    full: bool = False
    g: GTensor | None = None
    orbital: Annotated[float, Field(ge=-2, le=2)] = 0.0

    @model_validator(mode="after")
    def _one_way(self) -> "SiteTable":
        if (self.moment is None) == (not self.moments):
            raise ValueError("give either `moment`, or `moments`, one for each of its sites")
        if bool(self.positions) == (self.label is not None):
            raise ValueError("give either `positions`, or the `label` of an atom of the CIF")
        return self


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


class ExchangeTable(Table):
    """An exchange as the sum of short forms, all in the frame of ``axes`` where these are given."""

    heisenberg: Number | None = None
    xxz: Annotated[list[Number], Field(min_length=2, max_length=2)] | None = None
    dm: Numbers | None = None
    kitaev: Number | None = None
    gamma: Number | None = None
    gamma_prime: Number | None = None
    symmetric: Annotated[list[Number], Field(min_length=6, max_length=6)] | None = None
    matrix: Matrix | None = None
    axis: (
        Annotated[
            Annotated[Literal["x", "y", "z"], Tag("letter")] | Annotated[Direction, Tag("vector")],
            Discriminator(lambda value: "vector" if isinstance(value, list) else "letter"),
        ]
        | None
    ) = None
    axes: Annotated[list[Direction], Field(min_length=3, max_length=3)] | None = None

    @model_validator(mode="after")
    def _complete(self) -> "ExchangeTable":
        forms = ("heisenberg", "xxz", "dm", "kitaev", "gamma", "gamma_prime", "symmetric", "matrix")
        if all(getattr(self, form) is None for form in forms):
            raise ValueError(f"holds no exchange; give one or more of {', '.join(forms)}")
        turned = self.gamma is not None or self.gamma_prime is not None
        if turned and isinstance(self.axis, list):
            raise ValueError('gamma needs all three axes: give `axes`, and as `axis` one of "x", "y" and "z" or none')
        if self.axis is not None and self.xxz is None and self.kitaev is None and not turned:
            raise ValueError("`axis` belongs to xxz, kitaev and gamma; there is none here")
        return self


Exchange = Annotated[
    Annotated[Plain, Tag("plain")] | Annotated[ExchangeTable, Tag("table")],
    Discriminator(lambda value: "table" if isinstance(value, (dict, ExchangeTable)) else "plain"),
]


class PairTable(Table):
    """One bond between two single sites: by its displacement, or by the cell its end is in."""

    from_: Annotated[str, Field(alias="from")]
    to: str
    vector: Direction | None = None
    cell: Cell | None = None

    @model_validator(mode="after")
    def _one_way(self) -> "PairTable":
        if (self.vector is None) == (self.cell is None):
            raise ValueError("give either `vector`, or `cell`, the cell that the bond ends in")
        return self


class CellPairTable(Table):
    """The bond that symmetry makes the others of."""

    from_: Annotated[str, Field(alias="from")]
    to: str
    cell: Cell = [0, 0, 0]


class BondTable(Table):
    """Bonds that share an exchange.

    By shell, by distance, by pairs of kinds of site and displacement, by one bond that symmetry makes others of, or one
    by one.
    """

    exchange: Exchange
    between: list[Annotated[list[str], Field(min_length=2, max_length=2)]] = []
    vectors: list[Direction] = []
    distance: Annotated[float, Field(gt=0, le=50)] | None = None
    shell: (
        Annotated[
            Annotated[Annotated[int, Field(ge=1, le=200)], Tag("number")]
            | Annotated[Annotated[str, Field(pattern=r"^[1-9][0-9]?[a-z]{1,2}$")], Tag("text")],
            Discriminator(lambda value: "text" if isinstance(value, str) else "number"),
        ]
        | None
    ) = None
    bond: CellPairTable | None = None
    over: str | None = None
    pairs: list[PairTable] = []

    @model_validator(mode="after")
    def _one_way(self) -> "BondTable":
        ways = [bool(self.pairs), self.bond is not None, self.shell is not None, self.distance is not None]
        if sum(ways) + bool(self.vectors) != 1 or bool(self.vectors) > bool(self.between):
            raise ValueError("give either `pairs`, `bond`, `shell` or `distance`, or `between` with `vectors`")
        if (self.pairs or self.bond) and self.between:
            raise ValueError("give either `between`, or the sites in `pairs` or `bond`")
        if self.over is not None and (self.pairs or self.bond or self.shell is not None):
            raise ValueError("`over` goes with `between`; give either it, or the bonds otherwise")
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


class StructureTable(Table):
    """A magnetic structure of a model's own: moments by kind of site, and how they turn from cell to cell."""

    moments: dict[str, Annotated[Moments, Field(min_length=1)]] = {}
    propagation: Vector | None = None
    rotation_axis: Direction | None = None


class ModelTable(Table):
    """One candidate Hamiltonian."""

    title: str = ""
    parameters: Annotated[dict[Annotated[str, AfterValidator(_parameter)], ParameterTable], Field(min_length=1)]
    bonds: Annotated[list[BondTable], Field(min_length=1)]
    anisotropy: list[AnisotropyTable] = []
    field: Numbers | None = None
    structure: StructureTable | None = None


class MagnetFile(Table):
    """What a file says of the crystal and of the candidate models; enough for spin waves."""

    name: Name
    title: str = ""
    citation: str = ""
    cif: str | None = None
    space_group: str | int | None = None
    frame: Literal["cartesian", "crystal"] = "cartesian"
    lattice: LatticeTable | None = None
    magnetic_cell: MagneticCellTable = MagneticCellTable()
    sites: Annotated[list[SiteTable], Field(min_length=1)]
    twins: Annotated[list[TwinTable], Field(min_length=1)] = [TwinTable(fraction=1.0)]
    models: Annotated[dict[Name, ModelTable], Field(min_length=1, max_length=100)]
