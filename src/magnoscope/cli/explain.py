"""Where the evidence for a verdict lies."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..errors import DataError, StudyError
from ..explain import METHODS, OF_MATCHES, Checks, Explanation, check
from ..explain import explain as explain_verdict
from ..explain.checks import at_parameters
from ..io.images import read_spectrum
from ..plot import plot_explanation, save_figure
from ..studies import default_study, load_study
from ..trust.weights import Weights, load_weights, shipped_weights
from ..verdict import Verdict
from ..verdict import classify as classify_spectrum
from .common import FIGURES, ImageArgument, Json, MaskOption, SeedOption, StudyOption, app, print_json, writable

Method = StrEnum("Method", {name: name for name in METHODS})  # type: ignore[misc]


@app.command()
def explain(
    image: ImageArgument,
    study: StudyOption = None,
    mask: MaskOption = None,
    weights: Annotated[
        str | None,
        typer.Option("--weights", help="Weights that `train` wrote; with --check more of other seeds, with commas."),
    ] = None,
    name: Annotated[str | None, typer.Option("--for", metavar="MODEL", help="The candidate; else the nearest.")] = None,
    method: Annotated[Method, typer.Option("--method", help="How shares are worked out.")] = Method.shapley,  # type: ignore[attr-defined]
    checks: Annotated[bool, typer.Option("--check", help="Say whether the explanation deserves its name.")] = False,
    refit: Annotated[
        bool, typer.Option("--refit", help="With --check: fit the rival to the best match for the physics as well.")
    ] = False,
    fits: Annotated[
        Path | None,
        typer.Option("--fits", help="What `compare --json` printed: take the best matches at its parameters."),
    ] = None,
    figure: Annotated[Path | None, typer.Option("-o", "--figure", help="Figure to write.")] = None,
    seed: SeedOption = 0,
    as_json: Json = False,
) -> None:
    """Say which slices of a spectrum speak for a candidate, and which against it."""
    found = load_study(study or default_study())
    if figure is not None:
        writable(figure, *FIGURES)
    if name is not None:
        found.model(name)
    paths = weights.split(",") if weights else [str(shipped_weights(found))]
    if len(paths) > 1 and not checks:
        raise StudyError("several weights are compared by --check alone; add it, or name one file")
    loaded, warning = load_weights(paths[0], found)
    others = [load_weights(path, found)[0] for path in paths[1:]]
    parameters = {} if fits is None else fitted_parameters(fits)
    verdict = at_parameters(classify_spectrum(read_spectrum(image, found, mask), loaded), parameters)
    result = explain_verdict(verdict, loaded, name, str(method), seed)
    tested = (
        check(result, verdict, loaded, seed, opinions(verdict, others, method, parameters), refit) if checks else None
    )
    if figure is not None:
        save_figure(plot_explanation(result), figure)
    if as_json:
        more = {"in_distribution": verdict.in_distribution, "label": verdict.label, "warning": warning}
        print_json(result.as_dict() | more | ({} if tested is None else {"checks": tested.as_dict()}))
        return
    if warning:
        print(f"warning: {warning}")
    print_explanation(result, verdict.in_distribution)
    if tested is not None:
        print_checks(tested)


def opinions(
    verdict: Verdict, others: list[Weights], method: str, parameters: dict[str, dict[str, float]]
) -> list[tuple[Verdict, Weights]]:
    """What weights of other seeds explain: the same verdict, or what they themselves find the best matches.

    Where matches are what explains and their parameters are given, weights have no say.
    """
    if method != OF_MATCHES:
        return [(verdict, weights) for weights in others]
    return [] if parameters else [(classify_spectrum(verdict.spectrum, weights), weights) for weights in others]


def fitted_parameters(path: Path) -> dict[str, dict[str, float]]:
    """Parameters of each model by name, meV, from what `compare --json` printed.

    Raises
    ------
    DataError
        If the file is something else.
    """
    try:
        fits = json.loads(path.read_text("utf-8"))["fits"]
        return {
            model: {name: float(entry["mean"]) for name, entry in fit["parameters"].items()}
            for model, fit in fits.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise DataError(f"{path} holds no fits; give what `magnoscope compare IMAGE --json` prints") from None


def print_explanation(found: Explanation, in_distribution: bool) -> None:
    """An explanation as text."""
    if not in_distribution:
        print("OUT OF DISTRIBUTION: no model is named for this spectrum; what follows means little")
    print(f"log-odds of {found.name} {found.margin:.2f}, with every slice neutral {found.neutral:.2f} ({found.method})")
    for row in found.as_dict()["slices"][:10]:
        low, high = row["energy_meV"]
        print(f"  Ei {row['ei_meV']:g} meV, {low:g} to {high:g} meV: {row['share']:+.3f}")


def print_checks(found: Checks) -> None:
    """Checks as text."""
    print(
        f"deletion {found.deletion:.2f} (random {found.deletion_random:.2f}, from the middle "
        f"{found.deletion_central:.2f}; lower is better), insertion {found.insertion:.2f} (random "
        f"{found.insertion_random:.2f}, from the middle {found.insertion_central:.2f}; higher is better)"
    )
    others = ", ".join(f"{name} {value:+.2f}" for name, value in found.other_methods.items())
    chance = "" if found.random_weights is None else f"; with a network of random weights {found.random_weights:+.2f}"
    print(f"rank correlation with {others}{chance}")
    print(f"rank correlation with what the simulator says tells the best matches apart: {found.physics:+.2f}")
    if found.physics_refitted is not None:
        print(f"the same once the rival is fitted to the best match: {found.physics_refitted:+.2f}")
    if found.seeds is not None:
        print(f"rank correlation between different seeds: {found.seeds:+.2f}")
