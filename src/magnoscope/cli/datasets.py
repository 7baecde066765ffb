"""Building training sets and looking at them."""

import os
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from ..dataset.build import build as build_set
from ..dataset.store import open_store
from ..studies import load_study, study_text
from .common import (
    DatasetArgument,
    Json,
    SeedOption,
    StudyArgument,
    app,
    help_without_command,
    print_json,
    writable,
)
from .physics import Resolution

commands = typer.Typer(help="Build and look at training sets.", invoke_without_command=True)
app.add_typer(commands, name="dataset")
commands.callback()(help_without_command)


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
    as_json: Json = False,
) -> None:
    """Simulate a training set from the priors; go on with it if it was interrupted.

    Image i of class c depends on (seed, c, i) alone, whatever the number of workers.
    """
    found = load_study(study)
    if not output.is_dir():
        writable(output, ".zarr")
    build_set(
        found,
        study_text(study)[0],
        output,
        per_class,
        seed,
        method.value,
        workers,
        scheduler,
        report=lambda line: typer.echo(line, err=True),
    )
    info(output, as_json)


@commands.command()
def info(dataset: DatasetArgument, as_json: Json = False) -> None:
    """Say what a training set holds."""
    root = open_store(dataset)
    summary: dict[str, Any] = root.attrs.asdict()
    summary["done"] = {name: int(np.sum(np.asarray(root[f"{name}/done"]))) for name in summary["classes"]}
    summary["rejected"] = {name: int(np.sum(np.asarray(root[f"{name}/rejected"]))) for name in summary["classes"]}
    if as_json:
        print_json(summary)
        return
    for key, value in summary.items():
        print(f"{key}: {value}")
