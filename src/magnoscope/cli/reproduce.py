"""The published study's numbers and figures beside ours."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
import typer
from matplotlib.figure import Figure

from ..errors import DataError, MagnoscopeError
from ..fetch import find_measurement
from ..io.images import read_spectrum
from ..plot import save_figure
from ..reproduce.cleaning import cleaned_by, cleaners_of, cleaning_rows
from ..reproduce.figures import parameter_table, plot_curves, plot_edges, plot_histogram, plot_images, plot_models
from ..reproduce.published import Published, published
from ..reproduce.rows import (
    Row,
    Trained,
    coarse_rows,
    cost_rows,
    curves_of,
    franken_images,
    franken_rows,
    histogram_of,
    network_rows,
    timed,
    trained,
)
from ..simulate import Simulator
from ..spectrum import Spectrum
from ..studies import default_study, load_study
from ..study import Study
from .common import Json, StudyOption, app, print_json


@app.command()
def reproduce(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the table and the figures.")],
    folder: Annotated[
        Path | None, typer.Option("--weights-folder", help="Folder of weights that `train` wrote, of any kinds.")
    ] = None,
    dataset: Annotated[
        list[Path] | None,
        typer.Option("--dataset", help="Training set of DUQ weights, for the histogram of K; may be given again."),
    ] = None,
    points: Annotated[str, typer.Option("--points", help="Grids of the coarse Gaussian, with commas.")] = "60,80,100",
    study: StudyOption = None,
    as_json: Json = False,
) -> None:
    """Put the published numbers and figures beside ours; what needs weights that are missing says how to make them."""
    found = load_study(study or default_study())
    numbers, grids = published(found), _grids(points)
    if folder is not None and not folder.is_dir():
        raise DataError(f"there is no folder {folder}; name the one that holds the weights")
    if output.exists() and not output.is_dir():
        raise DataError(f"{output} is a file; name a folder")
    nets = trained(found, numbers, folder)
    path = find_measurement(found.name, found.downloads)
    measured = None if path is None else read_spectrum(path, found)
    output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    cleaners = cleaners_of(found, folder)
    cleaned = cleaned_by(cleaners, measured)
    rows, figures = _stages(found, numbers, nets, measured, cleaned, grids, dataset or [])
    _say("cleaning and evidence")
    more, figure = cleaning_rows(found, nets, cleaners, measured, cleaned, numbers)
    rows += more
    if figure is not None:
        figures["figure-7"] = figure
    for name, figure in figures.items():
        save_figure(figure, output / f"{name}.png")
    (output / "table.json").write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    (output / "table.md").write_text(_markdown(found, numbers, rows))
    if as_json:
        print_json({"rows": [asdict(row) for row in rows], "figures": [f"{name}.png" for name in figures]})
        return
    for row in rows:
        print(f"{row.what}\n    published: {row.published or '-'}\n    ours: {row.ours or 'MISSING'}\n    {row.how}")
    print(f"table and figures: {output}")


def _grids(text: str) -> list[int]:
    try:
        grids = [int(part) for part in text.split(",")]
    except ValueError:
        grids = []
    if not grids or not all(10 <= n <= 400 for n in grids):
        raise MagnoscopeError(
            f'--points "{text}" is not understood; give whole numbers from 10 to 400, such as 60,80,100'
        )
    return grids


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _stages(
    study: Study,
    numbers: Published,
    nets: list[Trained],
    measured: Spectrum | None,
    cleaned: dict[str, Spectrum],
    grids: list[int],
    datasets: list[Path],
) -> tuple[list[Row], dict[str, Figure]]:
    """All rows and figures, in the order of the publication."""
    model = study.classes[0]
    _say("simulating")
    times: dict[str, float] = {}
    _, times["montecarlo"] = timed(study, model, "montecarlo")
    fine, times["gaussian"] = timed(study, model, "gaussian")
    simulator = Simulator(study, numbers.accurate)
    shown = {name: simulator.reference(name) for name in study.classes}
    figures = {"figure-1": plot_models(study), "figure-2": plot_images(study, measured, shown)}
    _say("coarse Gaussian")
    coarse, shifts, times["gaussian-coarse"] = coarse_rows(study, numbers, model, fine, grids)
    rows = cost_rows(numbers, times) + coarse
    figures["band-edges"] = plot_edges(shifts)
    _say("networks")
    rows += network_rows(study, numbers, nets, measured, cleaned)
    some = any(net.weights is not None for net in nets)
    rows += franken_rows(study, numbers, nets, franken_images(study, numbers.accurate) if some else None)
    curves = curves_of(nets)
    if curves:
        figures["training"] = plot_curves(curves)
    for net in nets:
        found = histogram_of(net, study, datasets)
        if found:
            figures[f"figure-5-{net.kind}-{net.resolution}"] = plot_histogram(found, f"{net.kind} on {net.resolution}")
    return rows, figures


def _markdown(study: Study, numbers: Published, rows: list[Row]) -> str:
    """Table 1 and all rows."""
    lines = [f"# {study.title}", "", f"Published: {numbers.citation}", "", "## Table 1, from the study file", ""]
    lines += [
        parameter_table(study),
        "",
        "## Published and ours",
        "",
        "| what | published | ours | how |",
        "|---|---|---|---|",
    ]
    lines += [f"| {row.what} | {row.published} | {row.ours or '**missing**'} | {row.how} |" for row in rows]
    return "\n".join(lines) + "\n"
