"""Studies that ship, and reading of study files."""

import hashlib
import json
import tomllib
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import ValidationError

from ..downloads import Download, Downloads
from ..errors import InstrumentError, StudyError
from ..instrument import content, load_spectrometer
from ..intensity import Intensity
from ..study import Magnet, Run, Study, Twin
from .lines import line_of
from .magnet_schema import MagnetFile
from .mounting import build_orientation, build_sample
from .overlaps import build_overlaps
from .schema import DownloadsTable, StudyFile
from .sites import MagneticCell, Mistake, build_cell
from .structure import build_model
from .tables import Table
from .views import build_view

File = TypeVar("File", bound=Table)
Result = TypeVar("Result")

UNKNOWN = "unknown key"
NOT_PHYSICS = ("title", "citation", "downloads", "worked_case", "overlaps")
"""Tables and keys that no simulation depends on."""


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
        content = path.read_bytes()
        return content.decode("utf-8-sig").replace("\r\n", "\n"), name
    except FileNotFoundError:
        raise StudyError(f"there is no study file {name}; the package has {', '.join(shipped())}") from None
    except OSError as error:
        raise StudyError(f"study file {name} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise StudyError(f"{name}, line {line}: this is not UTF-8 text; save the file as UTF-8") from None


def load_study(name_or_path: str | Path) -> Study:
    """A study, by the name of one that ships or the path of a TOML file.

    Raises
    ------
    StudyError
        If it cannot be read or holds a mistake: names the line and the key.
    """
    text, where = study_text(name_or_path)
    return parse_study(text, where)


def load_magnet(name_or_path: str | Path) -> Magnet:
    """Crystal and models of a study, or of a file that holds nothing else.

    Raises
    ------
    StudyError
        As :func:`load_study`; of a whole study all of it is checked.
    """
    text, where = study_text(name_or_path)
    return parse_magnet(text, where)


def parse_study(text: str, where: str = "study") -> Study:
    """A study from the text of its file; ``where`` names the file in messages."""
    return _parse(text, where, StudyFile, _build)


def parse_magnet(text: str, where: str = "study") -> Magnet:
    """Crystal and models from the text of a file; ``where`` names the file in messages."""
    tables = _tables(text, where)
    if tables.keys() & (StudyFile.model_fields.keys() - MagnetFile.model_fields.keys()):
        return parse_study(text, where)
    return _parse(text, where, MagnetFile, _build_magnet)


def _tables(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, or a number of thousands of digits
        raise StudyError(f"{where} is not a TOML file: {error}") from None


def _parse(text: str, where: str, form: type[File], build: Callable[[File, dict[str, Any], Path], Result]) -> Result:
    """What a file comes to, or the first of its mistakes."""
    tables = _tables(text, where)
    try:
        return build(form.model_validate(tables), tables, Path(where).parent)
    except ValidationError as error:
        mistakes = [_mistake(details, tables) for details in error.errors()]
        # a misspelt key is both unknown and missing: the unknown one is where to look
        mistakes.sort(key=lambda m: (str(m) != UNKNOWN, line_of(text, m.path) or len(text)))
        more = f" (and {len(mistakes) - 1} more)" if len(mistakes) > 1 else ""
        raise StudyError(_located(text, where, mistakes[0]) + more) from None
    except Mistake as error:
        raise StudyError(_located(text, where, error)) from None


def _mistake(details: Any, tables: dict[str, Any]) -> Mistake:
    """One of pydantic's errors, with the path of keys as in the file: without the names of types it puts between."""
    kind, path, node = details["type"], [], tables
    for number, part in enumerate(details["loc"]):
        last = number == len(details["loc"]) - 1
        held = isinstance(node, dict) and part in node or isinstance(node, list) and part in range(len(node))
        if held:
            node = node[part]
        if held or (last and kind == "missing"):
            path.append(part)
    if kind == "extra_forbidden":
        return Mistake(tuple(path), UNKNOWN)
    if kind == "missing":
        return Mistake(tuple(path), "this key is missing")
    if kind == "union_tag_not_found":
        return Mistake((*path, details["ctx"]["discriminator"].strip("'")), "this key is missing")
    if kind == "union_tag_invalid":
        key, told = details["ctx"]["discriminator"].strip("'"), details["ctx"]
        return Mistake((*path, key), f"must be {told['expected_tags'].replace(', ', ' or ')}, not {told['tag']!r}")
    given = f", not {node!r}" if isinstance(node, (str, int, float)) and kind != "value_error" else ""
    message = details["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    return Mistake(tuple(path), message + given)


def _located(text: str, where: str, mistake: Mistake) -> str:
    line = line_of(text, mistake.path)
    key = ".".join(str(p + 1) if isinstance(p, int) else p for p in mistake.path)
    return f"{where}{f', line {line}' if line else ''}: {key + ': ' if key else ''}{mistake}"


def _magnet(file: MagnetFile, folder: Path) -> tuple[MagneticCell, dict[str, Any]]:
    """Crystal and models, as what a :class:`Magnet` is made of."""
    cell = build_cell(file, folder)
    total = sum(twin.fraction for twin in file.twins)
    if abs(total - 1) > 1e-6:
        last = len(file.twins) - 1
        raise Mistake(("twins", last, "fraction"), f"the volume fractions of the twins sum to {total:g}, not to 1")
    return cell, {
        "name": file.name,
        "title": file.title or file.name,
        "citation": file.citation,
        "lattice": cell.lattice,
        "models": {name: build_model(name, table, file, cell) for name, table in file.models.items()},
        "twins": tuple(Twin(np.array(t.matrix, float), t.fraction) for t in file.twins),
        "crystal": cell.crystal,
    }


def _build_magnet(file: MagnetFile, tables: dict[str, object], folder: Path) -> Magnet:
    return Magnet(**_magnet(file, folder)[1])


def _build(file: StudyFile, tables: dict[str, object], folder: Path) -> Study:
    cell, magnet = _magnet(file, folder)
    lattice = cell.lattice
    orientation = build_orientation(file.orientation, lattice)
    try:
        spectrometer = load_spectrometer(file.instrument.preset, folder)
    except InstrumentError as error:
        raise Mistake(("instrument", "preset"), str(error)) from None
    if file.instrument.coverage and spectrometer.coverage is None:
        unknown = f"the file of instrument {spectrometer.name} has no [[detectors.banks]]; add them or leave this out"
        raise Mistake(("instrument", "coverage"), unknown)
    try:
        chopper = spectrometer.chopper(file.instrument.package)
    except InstrumentError as error:
        raise Mistake(("instrument", "package"), str(error)) from None
    for number, run in enumerate(file.runs):
        try:
            chopper.timing(run.ei, run.frequency)
        except InstrumentError as error:
            raise Mistake(("runs", number, "frequency"), str(error)) from None
    runs = tuple(Run(r.ei, r.frequency, r.energy_bin, r.psi) for r in file.runs)
    view = build_view(file.view, lattice, cell.supercell, runs)
    physics = {k: v for k, v in tables.items() if k not in NOT_PHYSICS}
    # how many formula units a cell has is known beside the spectrum; the units that it is counted in are not
    physics.pop("intensity", None)
    scale = file.intensity.model_dump(exclude={"formula_units"}, exclude_unset=True)
    if scale:
        physics["intensity"] = scale
    layout = {"classes": list(file.models), "view": tables["view"], "runs": [run.ei for run in file.runs]}
    return Study(
        **magnet,
        orientation=orientation,
        spectrometer=spectrometer,
        sample=build_sample(file.instrument, orientation, lattice),
        package=file.instrument.package,
        intrinsic_width=file.instrument.intrinsic_width,
        runs=runs,
        view=view,
        downloads=_downloads(file.downloads),
        layout_hash=_digest(layout),
        physics_hash=_digest([physics, content(spectrometer), *_cif_content(file, cell)]),
        overlaps=build_overlaps(file.overlaps, magnet["models"]),
        intensity=Intensity(**{k: v for k, v in file.intensity.model_dump().items() if v is not None}),
        coverage=file.instrument.coverage,
        line=file.instrument.line,
    )


def _cif_content(file: StudyFile, cell: MagneticCell) -> list[object]:
    """What a study's physics owes to its CIF, whose text is not in the study's own."""
    if file.cif is None:
        return []
    group, crystal = cell.crystal.group, cell.crystal
    operations = np.concatenate([group.rotations.reshape(-1, 9), group.translations], axis=1)
    return [repr(cell.lattice), operations.round(6).tolist(), crystal.names, crystal.positions.round(6).tolist()]


def _downloads(table: DownloadsTable | None) -> Downloads | None:
    if table is None:
        return None
    entries = []
    for number, d in enumerate(table.files):
        try:
            entries.append(Download(d.name, d.path, d.sha256, d.role, tuple(d.flip), d.variable))
        except StudyError as error:
            raise Mistake(("downloads", "files", number), str(error)) from None
    try:
        return Downloads(table.base_url, tuple(entries), table.citation)
    except StudyError as error:
        raise Mistake(("downloads",), str(error)) from None


def _digest(content: object) -> str:
    """First 16 digits of the sha256 of JSON with sorted keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]
