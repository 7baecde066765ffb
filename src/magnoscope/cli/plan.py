"""Planning a measurement."""

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..errors import StudyError
from ..machine import keep_memory, one_thread
from ..plan import DRAWS, Plan
from ..plan import plan as make_plan
from ..plot import save_figure
from ..plot_plan import plot_plan
from ..studies import load_study
from ..study import Run, Study
from .common import (
    FIGURES,
    Json,
    SeedOption,
    SetOption,
    StudyArgument,
    app,
    parse_settings,
    print_json,
    writable,
)

At = StrEnum("At", {name: name for name in ("prior", "reference")})  # type: ignore[misc]
RunOption = Annotated[
    list[str] | None,
    typer.Option("--run", metavar="EI,HZ", help="A run to plan with instead of the study's: Ei (meV), chopper (Hz)."),
]


@app.command("plan")
def plan_command(
    study: StudyArgument,
    at: Annotated[At, typer.Option("--at", help="Truths: draws of the prior, or the reference values.")] = At.prior,  # type: ignore[attr-defined]
    model: Annotated[str | None, typer.Option("--model", help="The only truth; else every candidate in turn.")] = None,
    settings: SetOption = None,
    draws: Annotated[int, typer.Option("--draws", min=1, max=1000, help="Draws of each prior.")] = DRAWS,
    run: RunOption = None,
    time: Annotated[
        float, typer.Option("--time", help="Of each run; 1 gives it the noise of a typical measurement.")
    ] = 1.0,
    figure: Annotated[Path | None, typer.Option("-o", "--figure", help="Figure to write.")] = None,
    seed: SeedOption = 0,
    as_json: Json = False,
) -> None:
    """Say which Ei and energy transfers tell the candidates apart best; minutes for draws of the prior."""
    found = load_study(study)
    if run:
        found = replace(found, runs=tuple(_run(text, found) for text in run))
    if figure is not None:
        writable(figure, *FIGURES)
    changes = parse_settings(settings)
    where = "reference" if changes else at.value
    keep_memory()
    with one_thread():
        result = make_plan(found, model, where, changes, draws, time, seed, lambda line: typer.echo(line, err=True))
    if figure is not None:
        save_figure(plot_plan(result), figure)
    if as_json:
        print_json(result.as_dict())
    else:
        print_plan(result)


def _run(text: str, study: Study) -> Run:
    """A run of the study's kind at another Ei; its histogram bin is the same share of Ei."""
    try:
        ei, frequency = (float(part) for part in text.split(","))
    except ValueError:
        ei = frequency = 0.0
    first = study.runs[0]
    if not 0.01 <= ei <= 1e5 or not 1 <= frequency <= 1e4:
        raise StudyError(f'--run "{text}" is not understood; give Ei (meV) and frequency (Hz) such as 60,250')
    if study.view.energy_edges(ei)[-1] > 0.97 * ei:
        raise StudyError(f"Ei {ei:g} meV cannot reach {study.view.energy_edges(ei)[-1]:g} meV, where the view ends")
    study.spectrometer.chopper(study.package).timing(ei, frequency)
    return Run(ei, frequency, first.energy_bin * ei / first.ei, first.psi)


def print_plan(found: Plan) -> None:
    """A plan as text: what can be told in all, runs, slices."""
    told = found.as_dict()
    print(
        f"{len(found.pairs)} truths, each against the best match of another candidate; time {found.time:g} a run "
        "(1: noise of a typical measurement)"
    )
    print(
        f"expected log-likelihood ratio, equal times: median {told['median']['equal_times']:.4g}, lowest tenth "
        f"{told['lowest_tenth']['equal_times']:.4g}; times shared out as below: {told['median']['best_times']:.4g}, "
        f"{told['lowest_tenth']['best_times']:.4g}"
    )
    until = told["time_until_sure"]
    print(
        f"time in all until it is {until['log_likelihood_ratio']:g}: {until['half_of_the_truths']:.2g} for half of the "
        f"truths, {until['nine_in_ten']:.2g} for nine in ten"
    )
    print("runs, by what each tells alone in one unit of time (median, lowest tenth):")
    for row in told["runs"]:
        print(
            f"  Ei {row['ei_meV']:g} meV, {row['frequency_Hz']:g} Hz: {row['alone_per_time']:.4g}, "
            f"{row['alone_per_time_lowest_tenth']:.4g}; {row['share_of_evidence']:.0%} of the evidence, best share of "
            f"the time {row['share_of_time']:.0%}"
        )
    print("slices:")
    for row in told["slices"][:12]:
        low, high = row["energy_meV"]
        print(
            f"  Ei {row['ei_meV']:g} meV, {low:g} to {high:g} meV: {row['share']:.1%} "
            f"(log-likelihood ratio {row['log_likelihood_ratio']:.4g})"
        )
