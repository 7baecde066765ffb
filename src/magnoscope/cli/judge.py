"""The main job: fetch, classify, demo."""

import time
from pathlib import Path
from typing import Annotated

import typer

from ..cleaning import load_cleaner, shipped_cleaner
from ..errors import DataError
from ..fetch import fetch as fetch_files
from ..fetch import find_measurement, shipped_example
from ..io.images import read_spectrum
from ..plot import plot_verdict, save_figure
from ..studies import default_study, load_study
from ..verdict import Verdict
from ..verdict import classify as classify_spectrum
from .common import (
    FIGURES,
    ImageArgument,
    Json,
    MaskOption,
    StudyArgument,
    StudyOption,
    WeightsOption,
    app,
    print_json,
    writable,
)


@app.command()
def fetch(study: StudyArgument, as_json: Json = False) -> None:
    """Download a study's public measurement, check it by sha256 and bring it into the study's layout."""
    found = load_study(study)
    if found.downloads is None:
        raise DataError(f"study {found.name} names no public files; add [downloads] to its file")
    files = fetch_files(found.name, found.downloads, found.shape, progress=lambda line: typer.echo(line, err=True))
    if as_json:
        print_json({name: str(path) for name, path in files.items()})
        return
    for name, path in files.items():
        print(f"{name}: {path}")


@app.command()
def classify(
    image: ImageArgument,
    study: StudyOption = None,
    mask: MaskOption = None,
    weights: WeightsOption = None,
    clean: Annotated[bool, typer.Option("--clean", help="Clean the spectrum first.")] = False,
    cleaner: Annotated[
        Path | None, typer.Option("--cleaner", help="What --clean uses; else the cleaner that ships.")
    ] = None,
    figure: Annotated[Path | None, typer.Option("-o", "--figure", help="Figure to write.")] = None,
    as_json: Json = False,
) -> None:
    """Say which model made a spectrum, how sure that is, and whether it is like the training data at all."""
    found = load_study(study or default_study())
    if figure is not None:
        writable(figure, *FIGURES)
    spectrum = read_spectrum(image, found, mask)
    if clean or cleaner is not None:
        spectrum = load_cleaner(cleaner or shipped_cleaner(found), found)[0](spectrum)
    verdict = classify_spectrum(spectrum, weights)
    if figure is not None:
        save_figure(plot_verdict(verdict), figure)
    if as_json:
        print_json(verdict.as_dict())
    else:
        print_verdict(verdict)


def print_verdict(verdict: Verdict) -> None:
    """The verdict as text: trust first, then classes."""
    where = "in distribution" if verdict.in_distribution else "OUT OF DISTRIBUTION"
    print(f"{where} (p = {verdict.p_value:.3g} against held-back simulations)")
    print(f"label: {verdict.label or 'none'}; label set: {', '.join(verdict.label_set)}")
    for name, score in sorted(verdict.scores.items(), key=lambda entry: -entry[1]):
        found = verdict.matches[name]
        values = ", ".join(f"{k} {v:.3g}" for k, v in found.parameters.items())
        print(
            f"  {name:>12}: K = {score:.3f}, probability {verdict.probabilities[name]:.3f}, best match chi-square "
            f"{found.match.chi_square:.3f} ({values})"
        )
    print(verdict.sentence)
    if verdict.warning:
        print(f"warning: {verdict.warning}")


@app.command()
def demo(
    study: StudyOption = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Figure to write.")] = Path("magnoscope-demo.png"),
    as_json: Json = False,
) -> None:
    """Classify the real measurement where it is found, otherwise a simulated one that ships; offline."""
    started = time.monotonic()
    found = load_study(study or default_study())
    writable(output, *FIGURES)
    real = find_measurement(found.name, found.downloads)
    path = real or shipped_example(found.name)
    if path is None:
        raise DataError(f"there is no measurement of {found.name}; `magnoscope fetch {found.name}` downloads one")
    source = (
        f"the real measurement, {path}"
        if real
        else "a SIMULATED example that ships (no measurement found; "
        f"`magnoscope fetch {found.name}` downloads the real one)"
    )
    if not as_json:
        print(f"{found.title}\ninput: {source}")
    verdict = classify_spectrum(read_spectrum(path, found))
    save_figure(plot_verdict(verdict), output)
    seconds = time.monotonic() - started
    if as_json:
        print_json(
            verdict.as_dict()
            | {"input": str(path), "real": real is not None, "figure": str(output), "seconds": seconds}
        )
        return
    print_verdict(verdict)
    print(f"figure: {output}; {seconds:.0f} s")
