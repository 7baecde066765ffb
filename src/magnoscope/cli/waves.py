"""Spin waves: at wave vectors, and along paths."""

import math
from fractions import Fraction
from pathlib import Path as FilePath
from typing import Annotated

import numpy as np
import typer

from ..dispersion import Dispersion, Path, dispersion
from ..errors import StudyError
from ..plot import save_figure
from ..plot_dispersion import plot_dispersion
from ..studies import load_magnet
from .common import (
    FIGURES,
    LARGEST_Q,
    Json,
    SetOption,
    StudyArgument,
    TemperatureOption,
    app,
    parse_numbers,
    parse_settings,
    print_json,
    writable,
)

ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="A candidate model of the study.")]
PATH_FORM = "corners h,k,l separated by spaces, each with a name if you like, such as 'G=0,0,0 X=1/2,0,0 1/2,1/2,0'"


@app.command()
def spinwaves(
    study: StudyArgument,
    model: ModelArgument,
    q: Annotated[
        list[str] | None, typer.Option("--q", metavar="H,K,L", help="Wave vector, r.l.u.; may be given often.")
    ] = None,
    path: Annotated[
        str | None, typer.Option("--path", metavar="CORNERS", help=f"A path instead: {PATH_FORM}; r.l.u.")
    ] = None,
    points: Annotated[int, typer.Option("--points", min=2, max=20_000, help="About so many on the path.")] = 200,
    output: Annotated[
        FilePath | None, typer.Option("-o", "--output", metavar="FIGURE", help="Plot the path: .png, .pdf or .svg.")
    ] = None,
    width: Annotated[float | None, typer.Option("--width", help="Full width at half maximum of the plot, meV.")] = None,
    settings: SetOption = None,
    form_factor: Annotated[bool, typer.Option("--form-factor/--no-form-factor", help="With form factors.")] = True,
    twins: Annotated[bool, typer.Option("--twins/--no-twins", help="With all domains.")] = True,
    temperature: TemperatureOption = 0.0,
    as_json: Json = False,
) -> None:
    """Energies and S_perp of the spin waves, per magnetic cell, sorted by falling energy.

    With twins each twin's modes follow, intensities times its volume fraction; at a temperature they hold the factor
    n + 1 of a neutron that loses energy. The file may be a study, or one that holds crystal and models only.
    """
    if (path is None) == (not q):
        raise StudyError("Missing option '--q', or '--path' for a whole path; give one of the two")
    if output is not None:
        if path is None:
            raise StudyError("a figure is drawn of a path; give one by --path")
        writable(output, *FIGURES)
    if width is not None and not (math.isfinite(width) and width > 0):
        raise StudyError(f"--width {width:g} is no width; give a positive number of meV")
    found = load_magnet(study)
    spin_model = found.model(model)
    values = spin_model.values(parse_settings(settings))
    line = None
    if path is not None:
        labels, corners = parse_path(path)
        line = Path.through(found.lattice, corners, labels, points)
    at = line.q if line else np.array([parse_numbers(text, 3, "--q", "h,k,l") for text in q or []])
    modes = dispersion(spin_model, values, at, found.twins if twins else (), form_factor, temperature)
    if line is not None and output is not None:
        save_figure(plot_dispersion(line, modes, width, f"{found.title}: {model}"), output)
    if as_json:
        print_json(_summary(modes, line, output))
    elif line is not None:
        _print_corners(line, modes, output)
    else:
        _print_modes(modes)


def parse_path(text: str) -> tuple[list[str], list[list[float]]]:
    """Names and corners of a path such as ``"G=0,0,0 X=1/2,0,0"``; a corner without a name is called by its place."""
    labels, corners = [], []
    for word in text.split():
        name, sign, place = word.rpartition("=")
        try:
            corner = [float(Fraction(part)) for part in place.split(",")]
        except (ValueError, ZeroDivisionError, OverflowError):
            corner = []
        if len(corner) != 3 or (sign and not name) or max(map(abs, corner)) > LARGEST_Q:
            raise StudyError(f'--path: "{word}" is not understood; give {PATH_FORM}')
        labels.append(name or f"({place})")
        corners.append(corner)
    if len(corners) < 2:
        raise StudyError(f'--path "{text}" has no two corners; give {PATH_FORM}')
    return labels, corners


def _summary(modes: Dispersion, line: Path | None, output: FilePath | None) -> dict[str, object]:
    out: dict[str, object] = {
        "q": modes.q.tolist(),
        "energies_meV": modes.energies.tolist(),
        "intensities": modes.intensities.tolist(),
    }
    if line is not None:
        out["path"] = {
            "labels": list(line.labels),
            "ticks_inverse_angstrom": line.ticks.tolist(),
            "distance_inverse_angstrom": line.distance.tolist(),
        }
    if output is not None:
        out["file"] = str(output)
    return out


def _print_modes(modes: Dispersion) -> None:
    for point, row, strengths in zip(modes.q, modes.energies, modes.intensities, strict=True):
        print("q = (" + ", ".join(f"{x:g}" for x in point) + ")    energy (meV)    S_perp")
        for e, s in zip(row, strengths, strict=True):
            print(f"{e:38.5f} {s:12.6f}")


def _print_corners(line: Path, modes: Dispersion, output: FilePath | None) -> None:
    for label, tick in zip(line.labels, line.ticks, strict=True):
        here = int(np.argmin(np.abs(line.distance - tick)))
        energies = ", ".join(f"{e:.4f}" for e in modes.energies[here])
        print(f"{label}: {energies} meV")
    print(f"{len(modes.q)} points, {modes.energies.min():.4f} to {modes.energies.max():.4f} meV")
    if output is not None:
        print(output)
