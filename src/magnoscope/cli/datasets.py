"""Training sets: build, look at, verify, export."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
import zarr

from ..dataset.draws import Law, drawn_classes
from ..dataset.export import export as export_set
from ..dataset.parts import attributes_of, open_set
from ..dataset.rejections import Rejections
from ..dataset.rejections import rejections as count_rejections
from ..dataset.store import FORMAT, Settings, open_store
from ..dataset.verify import Verification, check_sums, job_of, mend, simulate_again
from ..dataset.verify import adopt as adopt_set
from ..errors import DataError, StudyError
from ..studies import load_study, parse_study, shipped, study_text
from ..study import Study
from .common import (
    DatasetArgument,
    Json,
    SeedOption,
    StudyArgument,
    StudyOption,
    app,
    help_without_command,
    print_json,
    writable,
)
from .physics import Resolution

commands = typer.Typer(help="Build and look at training sets.", invoke_without_command=True)
app.add_typer(commands, name="dataset")
commands.callback()(help_without_command)


class Draws(StrEnum):
    """How parameter sets are drawn."""

    uniform = "uniform"
    sobol = "sobol"
    around = "around"
    overlap = "overlap"
    beyond = "beyond"
    foreign = "foreign"
    instrument = "instrument"


class Stored(StrEnum):
    """Numbers that images are stored in."""

    float16 = "float16"
    float32 = "float32"


def say(line: str) -> None:
    """A line of progress."""
    typer.echo(line, err=True)


@commands.command()
def build(
    study: StudyArgument,
    per_class: Annotated[int, typer.Option("-n", "--per-class", min=1, max=1_000_000, help="Spectra of each model.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write, ending in .zarr.")],
    method: Annotated[Resolution, typer.Option("--resolution", help="Resolution method.")] = Resolution.gaussian,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes of a local cluster.")] = os.cpu_count()
    or 1,
    scheduler: Annotated[str | None, typer.Option("--scheduler", help="Address of a running Dask scheduler.")] = None,
    seed: SeedOption = 0,
    draws: Annotated[
        Draws,
        typer.Option(
            "--draws",
            help="Uniform over the priors, evenly spread over them (sobol), around a point, where models coincide, "
            "beyond the priors by up to half, other magnets on the models' bonds (foreign), or uniform with errors of "
            "the instrument (instrument).",
        ),
    ] = Draws.uniform,
    width: Annotated[float, typer.Option("--width", help="Of draws around a point, as a share of each prior.")] = 0.1,
    centre: Annotated[
        list[str] | None,
        typer.Option("--centre", metavar="MODEL.NAME=VALUE", help="Of draws around a point; else the reference."),
    ] = None,
    precision: Annotated[Stored, typer.Option("--precision", help="What images are stored in.")] = Stored.float16,
    as_json: Json = False,
) -> None:
    """Simulate a training set from the priors; go on with it if it was interrupted, or make it larger.

    Image i of class c depends on (seed, c, i) alone, whatever the number of workers.
    """
    found = load_study(study)
    if not output.is_dir():
        writable(output, ".zarr")
    if centre and draws is not Draws.around:
        raise StudyError("--centre is for draws around a point; add --draws around")
    law = Law(draws.value, width, tuple(_centre(text) for text in centre or []))
    settings = Settings(per_class, seed, method.value, law, precision.value)
    text, where = study_text(study)
    where = str(Path(where).absolute()) if where.endswith(".toml") else where
    from ..dataset.build import build as build_set  # Dask takes its time to import, and no other command needs it

    build_set(found, text, output, settings, workers, scheduler, say, where)
    info(output, as_json=as_json)


def _centre(text: str) -> tuple[str, str, float]:
    """One ``MODEL.NAME=VALUE``."""
    name, _, value = text.partition("=")
    model, dot, parameter = name.strip().partition(".")
    try:
        number = float(value)
    except ValueError:
        dot = ""
        number = 0.0
    if not dot:
        raise StudyError(f'--centre "{text}" is not understood; give MODEL.NAME=VALUE with a number in meV')
    return model, parameter, number


@commands.command()
def info(
    dataset: DatasetArgument,
    rejections: Annotated[
        bool, typer.Option("--rejections", help="Show where in the priors draws were rejected as unstable.")
    ] = False,
    study: StudyOption = None,
    as_json: Json = False,
) -> None:
    """Say what a training set holds."""
    source = open_set(dataset)
    summary: dict[str, Any] = dict(attributes_of(source))
    summary.pop("study_text", None)
    if isinstance(source, zarr.Group):
        counts = {name: _counts(dataset, source, name) for name in summary["classes"]}
        summary["done"] = {name: int(done.sum()) for name, (done, _) in counts.items()}
        summary["rejected"] = {name: int(thrown[done].sum()) for name, (done, thrown) in counts.items()}
        summary["rejected_share"] = {
            name: summary["rejected"][name] / max(1, summary["rejected"][name] + summary["done"][name])
            for name in counts
        }
    tables = []
    if rejections:
        tables = _rejections(dataset, study)
        summary["rejections"] = [_as_json(table) for table in tables]
    if as_json:
        print_json(summary)
        return
    summary.pop("rejections", None)
    for key, value in summary.items():
        print(f"{key}: {value}")
    for table in tables:
        _print_table(table)


def _counts(dataset: Path, root: zarr.Group, name: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        return np.asarray(root[f"{name}/done"]), np.asarray(root[f"{name}/rejected"])
    except (OSError, ValueError, RuntimeError):
        raise DataError(
            f"{dataset} is damaged in class {name}; `magnoscope dataset verify --mend` drops what is"
        ) from None


def _rejections(dataset: Path, study: str | None) -> list[Rejections]:
    found, root = study_of(dataset, study), open_store(dataset)
    attributes: dict[str, Any] = root.attrs.asdict()
    law, seed = Law.from_settings(attributes.get("draws")), int(attributes["seed"])
    if law.kind == "foreign":
        raise DataError(f"{dataset} holds magnets that are no candidate: none is drawn from priors of exchange")
    tables = []
    for number in drawn_classes(found, law):
        done, thrown = _counts(dataset, root, found.classes[number])
        tables.append(count_rejections(found, number, seed, thrown, done, law))
    return tables


def _as_json(table: Rejections) -> dict[str, Any]:
    return {
        "model": table.model,
        "share": table.share,
        "parameters": {
            name: {"edges_meV": e.tolist(), "drawn": d.tolist(), "rejected": r.tolist()}
            for name, e, d, r in zip(table.parameters, table.edges, table.drawn, table.rejected, strict=True)
        },
    }


def _print_table(table: Rejections) -> None:
    """Share of rejected draws in ten bins over the prior of each parameter."""
    print(f"\n{table.model}: {table.share:.0%} of draws rejected as unstable; per cent in tenths of each prior (meV)")
    for name, edges, shares in zip(table.parameters, table.edges, table.shares, strict=True):
        cells = "".join("   -" if np.isnan(s) else f"{100 * s:4.0f}" for s in shares)
        print(f"{name:>10} {edges[0]:7.4g} to {edges[-1]:<7.4g}{cells}")


def study_of(dataset: Path, study: str | None) -> Study:
    """The study of a training set: the one named, the one that ships, or the text that the set carries.

    Raises
    ------
    DataError
        If the set carries no text, as old ones, and its study does not ship.
    """
    attributes = attributes_of(open_set(dataset))
    name = str(attributes["study"])
    if study is not None or name in shipped():
        return load_study(study or name)
    if "study_text" not in attributes:
        raise DataError(f"{dataset} was built for study {name}, which does not ship; name its file with --study")
    try:
        return parse_study(str(attributes["study_text"]), str(Path.cwd() / f"{name}.toml"))
    except StudyError as error:
        raise DataError(
            f"{dataset} was built for study {name}, which cannot be read ({error}); name its file with --study"
        ) from None


def _job_source(dataset: Path, study: str | None) -> tuple[Study, str, str]:
    """The study a set is simulated again with, its text and its path: as it was built, if the set carries that."""
    text = attributes_of(open_set(dataset)).get("study_text")
    if study is None and text is not None:
        name = str(Path.cwd() / f"{attributes_of(open_set(dataset))['study']}.toml")
        return parse_study(str(text), name), str(text), name
    found = study_of(dataset, study)
    text, where = study_text(study or found.name)
    return found, text, str(Path(where).absolute()) if where.endswith(".toml") else where


SampleOption = Annotated[int, typer.Option("--sample", min=0, help="Images to simulate again.")]


@commands.command()
def verify(
    dataset: DatasetArgument,
    sample: SampleOption = 4,
    repair: Annotated[
        bool, typer.Option("--mend", help="Drop damaged chunks, so that `dataset build` makes them again.")
    ] = False,
    study: StudyOption = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Of the sample; another one each time.")] = None,
    as_json: Json = False,
) -> None:
    """Work out all checksums again, and simulate a random sample again; exit status 2 if anything is not as stored."""
    root = open_store(dataset, write=repair)
    if root.attrs.get("format") != FORMAT:
        raise DataError(f"{dataset} has no checksums; bring it over with: magnoscope dataset adopt {dataset}")
    found = Verification()
    check_sums(root, found, say)
    if sample:
        job = job_of(root.attrs.asdict(), *_job_source(dataset, study))
        simulate_again(root, job, sample, np.random.default_rng(seed), found, say)
    dropped = mend(dataset, found) if repair else 0
    if dropped and not found.different:
        say(f"{dropped} damaged chunks dropped; run the same `magnoscope dataset build` again to make them")
    elif not found.sound:
        raise DataError(_what_is_wrong(dataset, found))
    result = {
        "checked": found.checked,
        "dropped": dropped,
        "damaged": found.damaged,
        "identical": len(found.identical),
        "close": len(found.close),
        "different": found.different,
    }
    if as_json:
        print_json(result)
        return
    print(
        f"{dataset}: {found.checked} images have their checksums; of {len(found.identical) + len(found.close)} "
        f"simulated again {len(found.identical)} came out the same to the last bit, {len(found.close)} but for rounding"
    )


def _what_is_wrong(dataset: Path, found: Verification) -> str:
    if found.damaged:
        where = ", ".join(f"{c} from image {starts[0]}" for c, starts in found.damaged.items())
        number = sum(map(len, found.damaged.values()))
        return (
            f"{dataset} is damaged in {number} chunk{'s' * (number > 1)} ({where}); `magnoscope dataset verify --mend` "
            "drops what is, `dataset build` then makes it again"
        )
    name, index = found.different[0]
    return (
        f"image {index} of {name} in {dataset} comes out differently today ({len(found.different)} of the sample do): "
        "it was made by another version of the simulation; build the set again"
    )


@commands.command()
def adopt(
    dataset: DatasetArgument,
    sample: SampleOption = 8,
    study: StudyOption = None,
    as_json: Json = False,
) -> None:
    """Bring a set of an older version over, in place: checks every image and adds what today's sets carry."""
    found = adopt_set(dataset, *_job_source(dataset, study), sample, say)
    result = {"images": found.done, "identical": len(found.identical), "close": len(found.close)}
    if as_json:
        print_json(result)
        return
    print(
        f"{dataset}: {found.done} images adopted; of {len(found.identical) + len(found.close)} simulated again "
        f"{len(found.identical)} came out the same to the last bit"
    )


@commands.command("export")
def export_command(
    dataset: DatasetArgument,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="An .h5 file, or a folder of .npy files that `train` maps.")
    ],
    per_class: Annotated[
        int | None, typer.Option("-n", "--per-class", min=1, help="The first so many of each class; else all.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a finished training set as HDF5, or as .npy files that are read by memory map."""
    root = open_store(dataset)
    if output.exists():
        raise DataError(f"{output} is there already; remove it or name another")
    if output.suffix not in ("", ".h5", ".hdf5"):
        raise DataError(f"{output} must end in .h5 or .hdf5, or in nothing for a folder of .npy files")
    writable(output)
    export_set(root, output, say, per_class)
    if as_json:
        held = {name: root[f"{name}/images"].shape[0] for name in root.attrs["classes"]}  # type: ignore[union-attr]
        print_json({"file": str(output), "images": {c: min(n, per_class or n) for c, n in held.items()}})
        return
    print(output)
