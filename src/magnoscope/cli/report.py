"""One self-contained file about a spectrum."""

import re
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import StudyError
from ..estimate import Comparison, compare
from ..io.images import read_spectrum
from ..report import Source, make_report, write_report
from ..spectrum import Spectrum
from ..studies import default_study, parse_study, study_text
from ..trust.weights import load_weights, shipped_weights
from .common import ImageArgument, Json, MaskOption, SeedOption, StudyOption, WeightsOption, app, print_json, writable
from .estimate import DrawsOption, FitOptions, fits_of


@app.command()
def report(
    image: ImageArgument,
    output: Annotated[Path, typer.Option("-o", "--output", help="HTML file to write.")],
    study: StudyOption = None,
    mask: MaskOption = None,
    weights: WeightsOption = None,
    fitted: Annotated[bool, typer.Option("--compare", help="Fit every candidate too; takes minutes.")] = False,
    draws: DrawsOption = None,
    seed: SeedOption = 0,
    as_json: Json = False,
) -> None:
    """Write one HTML file with verdict, trust, figures, explanation, cuts, settings and citations; prints to PDF."""
    text, where = study_text(study or default_study())
    found = parse_study(text, where)
    writable(output, ".html", ".htm")
    if fitted and len(found.classes) < 2:
        raise StudyError(f"study {found.name} has one candidate alone; there is nothing to compare")
    path = weights or shipped_weights(found)
    loaded, warning = load_weights(path, found)
    spectrum = read_spectrum(image, found, mask)
    files = {"image": image, "mask": mask, "weights": path}
    result = make_report(
        spectrum,
        loaded,
        warning,
        tuple(Source.of(role, file) for role, file in files.items() if file is not None),
        text,
        command_line(),
        _compared(spectrum, path, seed, draws) if fitted else None,
        seed,
        _say,
    )
    write_report(result, output)
    if as_json:
        print_json(result.verdict.as_dict() | {"report": str(output), "bytes": output.stat().st_size})
        return
    verdict = result.verdict
    print("in distribution" if verdict.in_distribution else "OUT OF DISTRIBUTION")
    print(verdict.sentence)
    print(f"report: {output}")


def command_line() -> str:
    """What was typed, without the folders of files, which say nothing to others."""
    return shlex.join(["magnoscope", *(re.sub(r"[^=]*/", "", word) for word in sys.argv[1:])])


def _compared(spectrum: Spectrum, weights: Path, seed: int, draws: int | None) -> Comparison:
    options = FitOptions(weights, seed=seed, draws=draws, samples=0)
    return compare(fits_of(spectrum, list(spectrum.study.classes), options))


def _say(line: str) -> None:
    typer.echo(line, err=True)
