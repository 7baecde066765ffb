"""One-dimensional cuts: data against every candidate."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ..cuts import Cut, check_cut, cut
from ..errors import StudyError, WeightsError
from ..io.images import read_spectrum
from ..plot import save_figure
from ..plot_cuts import plot_cuts
from ..simulate import Simulator
from ..spectrum import Spectrum
from ..studies import default_study, load_study
from ..study import Study
from ..trust.best_match import BestMatch, best_match, match_at
from ..verdict import classify as classify_spectrum
from .common import (
    FIGURES,
    ImageArgument,
    Json,
    MaskOption,
    StudyOption,
    WeightsOption,
    app,
    parse_settings,
    print_json,
    writable,
)

AtOption = Annotated[
    list[str] | None,
    typer.Option("--at", metavar="NAME=LOW..HIGH", help="What to average over: r.l.u., meV, or 1/Å along a path."),
]
CutSetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="MODEL.NAME=VALUE", help="A candidate's parameter, meV.")
]


def parse_regions(texts: Sequence[str] | None) -> dict[str, tuple[float, float]]:
    """``NAME=LOW..HIGH`` options as a dictionary."""
    out = {}
    for text in texts or []:
        name, _, region = text.partition("=")
        low, _, high = region.partition("..")
        try:
            ends = float(low), float(high)
        except ValueError:
            ends = math.nan, math.nan
        if not name.strip() or not ends[0] < ends[1] or not all(map(math.isfinite, ends)):
            raise StudyError(f'--at "{text}" is not understood; give NAME=LOW..HIGH, such as energy=20..25')
        out[name.strip()] = ends
    return out


def parse_models(texts: Sequence[str] | None, study: Study) -> dict[str, dict[str, float]]:
    """``MODEL.NAME=VALUE`` options as the changed parameters of each model."""
    out: dict[str, dict[str, float]] = {}
    for key, value in parse_settings(texts).items():
        model, dot, name = key.partition(".")
        if not dot:
            raise StudyError(f'--set "{key}" names no model; give MODEL.NAME=VALUE, such as {study.classes[0]}.{key}=1')
        out.setdefault(model, {})[name] = value
        study.model(model).values(out[model])
    return out


def shown_matches(
    spectrum: Spectrum, weights: Path | None, changes: dict[str, dict[str, float]]
) -> tuple[dict[str, BestMatch], str | None]:
    """The simulation of each candidate that is shown, and what must be said of them.

    Candidates whose parameters are given are simulated at those (others at the reference values); the rest are the best
    matches of the verdict, or are at the reference values where no weights ship for the study.
    """
    study, simulator, said = spectrum.study, Simulator(spectrum.study), None
    found = {name: match_at(simulator, spectrum, name, own) for name, own in changes.items()}
    if len(found) < len(study.classes):
        try:
            verdict = classify_spectrum(spectrum, weights, simulator)
            said = verdict.warning
            if not verdict.in_distribution:
                said = f"OUT OF DISTRIBUTION (p = {verdict.p_value:.3g}): the best matches mean little"
            rest = verdict.matches
        except WeightsError:
            if weights is not None:
                raise
            said = f"no weights ship for study {study.name}: candidates are at the reference values"
            rest = {name: best_match(simulator, spectrum, name, None) for name in study.classes if name not in found}
        found = rest | found
    return {name: found[name] for name in study.classes}, said


@app.command("cut")
def cut_command(
    image: ImageArgument,
    along: Annotated[
        list[str],
        typer.Option("--along", metavar="AXIS", help="An axis of the view, diagonal, antidiagonal or energy."),
    ],
    ei: Annotated[float | None, typer.Option("--ei", help="Incident energy of the run, meV.")] = None,
    at: AtOption = None,
    settings: CutSetOption = None,
    study: StudyOption = None,
    mask: MaskOption = None,
    weights: WeightsOption = None,
    figure: Annotated[Path | None, typer.Option("-o", "--figure", help="Figure to write.")] = None,
    as_json: Json = False,
) -> None:
    """Cut a spectrum along an axis: data with errors against every candidate, with chi-square."""
    found = load_study(study or default_study())
    if figure is not None:
        writable(figure, *FIGURES)
    regions, changes = parse_regions(at), parse_models(settings, found)
    spectrum = read_spectrum(image, found, mask)
    for name in along:
        check_cut(found, name, ei, regions)
    matches, said = shown_matches(spectrum, weights, changes)
    cuts = [cut(spectrum, matches, name, ei, regions) for name in along]
    if figure is not None:
        save_figure(plot_cuts(cuts, found.title), figure)
    if as_json:
        print_json(
            {
                "cuts": [one.as_dict() for one in cuts],
                "parameters": {name: m.parameters for name, m in matches.items()},
                "warning": said,
            }
        )
        return
    if said:
        print(f"warning: {said}")
    for one in cuts:
        print_cut(one)


def print_cut(one: Cut) -> None:
    """A cut as text: where it is and how well each candidate describes it."""
    chosen = f"; {' and '.join(one.chosen)} chosen where the candidates differ most" if one.chosen else ""
    print(f"along {one.axis.label}: {one.where}{chosen}")
    number = int((one.pixels > 0).sum())
    values = ", ".join(f"{name} {value:.2f}" for name, value in one.chi_square.items())
    print(f"  chi-square over {number} points: {values} (errors: {one.error_source})")
