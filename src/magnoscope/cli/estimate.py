"""Exchange parameters, and candidates compared once each is fitted."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from ..errors import StudyError, WeightsError
from ..estimate import DRAWS, DRAWS_GUIDED, Extras, Fit, Simulators, compare, crew_of, fit, workers_of
from ..io.images import read_spectrum, write_spectrum
from ..machine import keep_memory, one_thread
from ..plot import plot_fits, save_figure
from ..spectrum import Spectrum
from ..studies import default_study, load_study
from ..trust.posterior import Guide, load_posterior, shipped_posterior
from ..trust.signals import run_network
from ..trust.weights import load_weights, shipped_weights
from ..verdict import Verdict
from ..verdict import classify as classify_spectrum
from .common import (
    FIGURES,
    ImageArgument,
    Json,
    MaskOption,
    SeedOption,
    StudyOption,
    WeightsOption,
    app,
    print_json,
    writable,
)

SAMPLES = 200
"""Draws of the posterior about a fit unless told otherwise."""

DrawsOption = Annotated[
    int | None,
    typer.Option(
        "--draws", min=1, help=f"Draws of the prior that are looked at; {DRAWS}, with a posterior {DRAWS_GUIDED}."
    ),
]
AsStatedOption = Annotated[
    bool, typer.Option("--as-stated", help="Take the instrument as the study states it; else fit its errors too.")
]
SamplesOption = Annotated[
    int, typer.Option("--samples", min=0, help="Draws of the posterior about the fit; 0 for its curvature alone.")
]
PosteriorOption = Annotated[
    Path | None, typer.Option("--posterior", help="Weights of `train posterior`; else those that ship, if any.")
]
NoPosteriorOption = Annotated[
    bool, typer.Option("--no-posterior", help="Start from draws of the prior alone, whatever weights ship.")
]
ClippedOption = Annotated[
    bool | None,
    typer.Option("--clipped/--not-clipped", help="Whether negative values were set to zero; else found from the data."),
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, help="Simulations side by side; one for each core, up to four.")
]
HalvesOption = Annotated[bool, typer.Option("--halves", help="Fit halves of the data too, to test the errors.")]
FigureOption = Annotated[Path | None, typer.Option("-o", "--figure", help="Figure to write.")]


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _estimates(spectrum: Spectrum, weights: Path | None) -> dict[str, np.ndarray]:
    """What an emulator and the network take the parameters for, as further starts; none where there are no weights."""
    study = spectrum.study
    try:
        loaded, warning = load_weights(weights or shipped_weights(study), study)
    except WeightsError:
        if weights is not None:
            raise
        return {}
    if warning:
        _say(f"warning: {warning}")
    scaled = []
    if loaded.calibration.emulator is not None:
        measured = np.where(spectrum.valid, spectrum.signal, 0.0)
        compared = loaded.calibration.emulator.compare(measured, spectrum.valid)
        scaled += [compared.scaled] if compared.tiles else []
    read_off = run_network(loaded, spectrum).parameters
    if read_off is not None:
        scaled.append(read_off[0].numpy().astype(float))
    out = {}
    for number, (name, model) in enumerate(study.models.items()) if scaled else ():
        low, high = model.prior.T
        out[name] = np.stack([low + one[number, : len(low)] * (high - low) for one in scaled])
    return out


@dataclass(frozen=True)
class FitOptions:
    """What ``fit`` and ``compare`` share."""

    weights: Path | None = None
    posterior: Path | None = None
    no_posterior: bool = False
    seed: int = 0
    draws: int | None = None
    samples: int = SAMPLES
    as_stated: bool = False
    halves: bool = False
    clipped: bool | None = None
    workers: int | None = None


def fits_of(
    spectrum: Spectrum, models: list[str], options: FitOptions, report: Callable[[str], None] = _say
) -> list[Fit]:
    """Fits of candidates, started from a trained posterior and, where there are weights, from what those estimate."""
    keep_memory()
    with one_thread(), crew_of(workers_of(options.workers)) as crew:
        starts, simulators = _estimates(spectrum, options.weights), Simulators(spectrum.study)
        guides = {} if options.no_posterior else _guides(spectrum, models, options.posterior)
        return [
            fit(
                spectrum, model, starts.get(model), simulators, options.seed, report, options.draws, options.as_stated,
                Extras(options.samples, options.halves, guides.get(model)), options.clipped, crew,
            )
            for model in models
        ]  # fmt: skip


def _guides(spectrum: Spectrum, models: list[str], path: Path | None) -> dict[str, Guide]:
    """What a trained posterior says of each model; nothing where there is none."""
    study = spectrum.study
    found = path or shipped_posterior(study)
    if found is None:
        return {}
    posterior, warning = load_posterior(found, study)
    if warning:
        _say(f"warning: {warning}")
    return {model: Guide(posterior, spectrum, model) for model in models}


def _verdict(spectrum: Spectrum, weights: Path | None) -> Verdict | None:
    """What the network says of the spectrum; nothing where no weights ship and none were given."""
    if weights is None:
        try:
            weights = shipped_weights(spectrum.study)
        except WeightsError:
            return None
    return classify_spectrum(spectrum, weights)


def print_fit(found: Fit) -> None:
    """A fit as text: what it does not describe first, then parameters."""
    if found.warning:
        print(f"warning: {found.warning}")
    print(f"{found.model}: chi-square {found.match.chi_square:.3f}, {found.match.unexplained:.0%} left unexplained")
    if found.clipped:
        print("  zeros are taken for values that were negative before they were set to zero")
    for e in found.estimates:
        low, high = e.interval_90
        said = f"90 % within {low:.4g} .. {high:.4g}" if e.constrained else "not constrained by these data"
        print(f"  {e.name:>8} = {e.value:.4g} +- {e.error:.2g} meV (statistical {e.statistical:.2g}); {said}")
    if found.sample is not None:
        drawn = len(found.sample.weights)
        print(f"  {drawn} draws of the posterior, worth {found.sample.effective:.0f} independent ones")
    for each in found.halves:
        wrong = ", ".join(f"{e.name} {d:+.1f}" for e, d in zip(found.estimates, each.differences, strict=True))
        print(f"  halves by {each.name} differ, in errors: {wrong}")
    for error in found.instrument:
        where = "" if error.ei is None else f", Ei {error.ei:g}"
        low, high = error.interval_68
        print(f"  {error.name}{where}: {error.value:.3g} {error.unit} (68 % within {low:.3g} .. {high:.3g})")


@app.command("fit")
def fit_command(
    image: ImageArgument,
    model: Annotated[str, typer.Option("--model", metavar="MODEL", help="The candidate to fit.")],
    study: StudyOption = None,
    mask: MaskOption = None,
    weights: WeightsOption = None,
    figure: FigureOption = None,
    draws: DrawsOption = None,
    samples: SamplesOption = SAMPLES,
    posterior: PosteriorOption = None,
    no_posterior: NoPosteriorOption = False,
    as_stated: AsStatedOption = False,
    clipped: ClippedOption = None,
    best_fit: Annotated[
        Path | None, typer.Option("--best-fit", help="Image of the best fit to write, .h5 or .npy, scaled to the data.")
    ] = None,
    halves: HalvesOption = False,
    workers: WorkersOption = None,
    seed: SeedOption = 0,
    as_json: Json = False,
) -> None:
    """Fit a candidate's exchange parameters to a spectrum, from the study's priors; takes minutes."""
    found = load_study(study or default_study())
    found.model(model)
    if figure is not None:
        writable(figure, *FIGURES)
    if best_fit is not None:
        writable(best_fit, ".npy", ".h5")
    options = FitOptions(weights, posterior, no_posterior, seed, draws, samples, as_stated, halves, clipped, workers)
    (result,) = fits_of(read_spectrum(image, found, mask), [model], options)
    if figure is not None:
        save_figure(plot_fits([result]), figure)
    if best_fit is not None:
        about = {"model": model, **{f"parameter_{name}": value for name, value in result.parameters.items()}}
        write_spectrum(result.best, best_fit, about)
    if as_json:
        print_json(result.as_dict())
    else:
        print_fit(result)


@app.command("compare")
def compare_command(
    image: ImageArgument,
    study: StudyOption = None,
    mask: MaskOption = None,
    weights: WeightsOption = None,
    figure: FigureOption = None,
    draws: DrawsOption = None,
    samples: SamplesOption = SAMPLES,
    posterior: PosteriorOption = None,
    no_posterior: NoPosteriorOption = False,
    as_stated: AsStatedOption = False,
    clipped: ClippedOption = None,
    halves: HalvesOption = False,
    workers: WorkersOption = None,
    seed: SeedOption = 0,
    as_json: Json = False,
) -> None:
    """Fit every candidate to a spectrum and say which describes it better, and in which slices; takes minutes."""
    found = load_study(study or default_study())
    if len(found.classes) < 2:
        raise StudyError(f"study {found.name} has one candidate alone; there is nothing to compare, use `fit`")
    if figure is not None:
        writable(figure, *FIGURES)
    options = FitOptions(weights, posterior, no_posterior, seed, draws, samples, as_stated, halves, clipped, workers)
    spectrum = read_spectrum(image, found, mask)
    verdict = _verdict(spectrum, weights)
    result = compare(fits_of(spectrum, list(found.classes), options))
    otherwise = None if verdict is None else result.disagreement(verdict.label, verdict.label_set)
    if figure is not None:
        save_figure(plot_fits(list(result.fits.values()), result.difference), figure)
    if as_json:
        network = None if verdict is None else verdict.as_dict()
        print_json(result.as_dict() | {"verdict": network, "disagreement": otherwise})
        return
    for each in result.fits.values():
        print_fit(each)
    print(result.sentence)
    if verdict is not None:
        print(f"network: {verdict.sentence}")
    if otherwise is not None:
        print(f"DISAGREEMENT: {otherwise}")
    for half in result.halves:
        print(f"  halves by {half.name}: log-likelihood ratios {half.ratios[0]:+.1f} and {half.ratios[1]:+.1f}")
    for row in result.as_dict()["slices"][:6]:
        low, high = row["energy_meV"]
        print(f"  Ei {row['ei_meV']:g} meV, {low:g} to {high:g} meV: {row['log_likelihood_ratio']:+.1f}")
