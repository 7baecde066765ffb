"""Studies that ship, and reading of study files."""

import hashlib
import json
import tomllib
from importlib import resources
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from ..crystal import Lattice, Orientation
from ..downloads import Download, Downloads
from ..errors import InstrumentError, StudyError
from ..instrument import Sample, load_spectrometer
from ..study import Axis, MapView, Run, Study, Twin
from .lines import line_of
from .schema import StudyFile
from .structure import Mistake, build_model, build_sites, operation


def shipped() -> list[str]:
    """Names of the studies that ship."""
    return sorted(
        f.name.removesuffix(".toml") for f in resources.files(__package__).iterdir() if f.name.endswith(".toml")
    )


def default_study() -> str:
    """The worked case among the studies that ship: the one whose file says so."""
    marked = [name for name in shipped() if tomllib.loads(study_text(name)[0]).get("worked_case")]
    return (marked or shipped())[0]


def study_text(name_or_path: str | Path) -> tuple[str, str]:
    """Text of a study and where it came from.

    Raises
    ------
    StudyError
        If there is no such file and no shipped study of that name.
    """
    name = str(name_or_path)
    if name in shipped():
        return (resources.files(__package__) / f"{name}.toml").read_text("utf-8"), name
    path = Path(name)
    if path.suffix != ".toml":
        raise StudyError(f"there is no study {name}; the package has {', '.join(shipped())}, a file must end in .toml")
    try:
        return path.read_text("utf-8"), name
    except FileNotFoundError:
        raise StudyError(f"there is no study file {name}; the package has {', '.join(shipped())}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"study file {name} cannot be read as text: {error}") from None


def load_study(name_or_path: str | Path) -> Study:
    """A study, by the name of one that ships or the path of a TOML file.

    Raises
    ------
    StudyError
        If it cannot be read or holds a mistake: names the line and the key.
    """
    text, where = study_text(name_or_path)
    return parse_study(text, where)


def parse_study(text: str, where: str = "study") -> Study:
    """A study from the text of its file; ``where`` names the file in messages."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise StudyError(f"{where} is not a TOML file: {error}") from None
    try:
        return _build(StudyFile.model_validate(tables), tables)
    except ValidationError as error:
        first = error.errors()[0]
        path = tuple(p for p in first["loc"] if not str(p).startswith(("function-", "list[", "float", "str", "int")))
        message = {"extra_forbidden": "unknown key", "missing": "this key is missing"}.get(
            first["type"], first["msg"].removeprefix("Value error, ")
        )
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise StudyError(_located(text, where, path, message) + more) from None
    except Mistake as error:
        raise StudyError(_located(text, where, error.path, str(error))) from None


def _located(text: str, where: str, path: tuple[str | int, ...], message: str) -> str:
    line = line_of(text, path)
    key = ".".join(str(p + 1) if isinstance(p, int) else p for p in path)
    return f"{where}{f', line {line}' if line else ''}: {key + ': ' if key else ''}{message}"


def _build(file: StudyFile, tables: dict[str, object]) -> Study:
    lattice = Lattice(**file.lattice.model_dump())
    orientation = Orientation(tuple(file.orientation.u), tuple(file.orientation.v))  # type: ignore[arg-type]
    try:
        orientation.spectrometer_frame(lattice)
    except StudyError as error:
        raise Mistake(("orientation",), str(error)) from None
    operations = []
    for number, text in enumerate(file.magnetic_cell.generators):
        try:
            operations.append(operation(text))
        except ValueError as error:
            raise Mistake(("magnetic_cell", "generators", number), str(error)) from None
    sites = build_sites(file.sites, operations)
    supercell = tuple(file.magnetic_cell.supercell)
    models = {
        name: build_model(name, table, sites, operations, lattice, supercell)  # type: ignore[arg-type]
        for name, table in file.models.items()
    }
    try:
        spectrometer = load_spectrometer(file.instrument.preset)
        chopper = spectrometer.chopper(file.instrument.package)
    except InstrumentError as error:
        raise Mistake(("instrument",), str(error)) from None
    for number, run in enumerate(file.runs):
        try:
            chopper.timing(run.ei, run.frequency)
        except InstrumentError as error:
            raise Mistake(("runs", number), str(error)) from None
    view = file.view
    fractions = np.linspace(view.energy_fractions.from_, view.energy_fractions.to, view.energy_fractions.slices + 1)
    axes = tuple(Axis(a.name, tuple(a.direction), a.from_, a.to, a.points) for a in view.axes)  # type: ignore[arg-type]
    directions = np.array([a.direction for a in view.axes] + [view.hidden.direction])
    if abs(np.linalg.det(directions)) < 1e-9:
        raise Mistake(("view",), "the directions of the two axes and the hidden one must be independent")
    downloads = None
    if file.downloads is not None:
        entries = tuple(
            Download(d.name, d.path, d.sha256, d.role, tuple(d.flip), d.variable) for d in file.downloads.files
        )
        downloads = Downloads(file.downloads.base_url, entries, file.downloads.citation)
    physics = {k: v for k, v in tables.items() if k not in ("title", "citation", "downloads", "worked_case")}
    layout = {"classes": list(file.models), "view": tables["view"], "runs": [run.ei for run in file.runs]}
    return Study(
        name=file.name,
        title=file.title or file.name,
        citation=file.citation,
        lattice=lattice,
        orientation=orientation,
        models=models,
        twins=tuple(Twin(np.array(t.matrix, float), t.fraction) for t in file.twins),
        spectrometer=spectrometer,
        sample=Sample(tuple(x / 1000 for x in file.instrument.sample_size_mm)),  # type: ignore[arg-type]
        package=file.instrument.package,
        intrinsic_width=file.instrument.intrinsic_width,
        runs=tuple(Run(r.ei, r.frequency, r.energy_bin, r.psi) for r in file.runs),
        view=MapView(axes, view.hidden.name, tuple(view.hidden.direction), tuple(fractions)),  # type: ignore[arg-type]
        downloads=downloads,
        layout_hash=_digest(layout),
        physics_hash=_digest([physics, repr(spectrometer)]),
    )


def _digest(content: object) -> str:
    """First 16 digits of the sha256 of JSON with sorted keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]
