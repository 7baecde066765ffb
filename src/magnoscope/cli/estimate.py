"""Exchange parameters, and candidates compared once each is fitted."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from ..errors import StudyError, WeightsError
from ..estimate import DRAWS, Fit, compare, fit
from ..io.images import read_spectrum
from ..machine import keep_memory, one_thread
from ..plot import plot_fits, save_figure
from ..simulate import Simulator
from ..spectrum import Spectrum
from ..studies import default_study, load_study
from ..trust.signals import run_network
from ..trust.weights import load_weights, shipped_weights
from .common import FIGURES, Json, SeedOption, StudyOption, app, print_json, writable
from .judge import ImageArgument, MaskOption, WeightsOption

DrawsOption = Annotated[int, typer.Option("--draws", min=1, help="Draws of the prior that are looked at.")]
FigureOption = Annotated[Path | None, typer.Option("-o", "--figure", help="Figure to write.")]


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _estimates(spectrum: Spectrum, weights: Path | None) -> dict[str, np.ndarray]:
    """What the network takes the parameters for, as further starts; none where there are no weights."""
    study = spectrum.study
    try:
        loaded, warning = load_weights(weights or shipped_weights(study), study)
    except WeightsError:
        if weights is not None:
            raise
        return {}
    if warning:
        _say(f"warning: {warning}")
    found = run_network(loaded, spectrum).parameters
    if found is None:
        return {}
    out = {}
    for number, (name, model) in enumerate(study.models.items()):
        low, high = model.prior.T
        out[name] = low + found[0, number, : len(low)].numpy().astype(float) * (high - low)
    return out


def fits_of(spectrum: Spectrum, models: list[str], weights: Path | None, seed: int, draws: int) -> list[Fit]:
    """Fits of candidates, started from the network's estimates where there are weights."""
    keep_memory()
    with one_thread():
        starts, simulator = _estimates(spectrum, weights), Simulator(spectrum.study)
        return [fit(spectrum, model, starts.get(model), simulator, seed, _say, draws) for model in models]


def print_fit(found: Fit) -> None:
    """A fit as text: what it does not describe first, then parameters."""
    if found.warning:
        print(f"warning: {found.warning}")
    print(f"{found.model}: chi-square {found.match.chi_square:.3f}, {found.match.unexplained:.0%} left unexplained")
    for e in found.estimates:
        low, high = e.interval_90
        said = f"90 % within {low:.4g} .. {high:.4g}" if e.constrained else "not constrained by these data"
        print(f"  {e.name:>8} = {e.value:.4g} +- {e.error:.2g} meV (statistical {e.statistical:.2g}); {said}")


@app.command("fit")
def fit_command(
    image: ImageArgument,
    model: Annotated[str, typer.Option("--model", metavar="MODEL", help="The candidate to fit.")],
    study: StudyOption = None,
    mask: MaskOption = None,
    weights: WeightsOption = None,
    figure: FigureOption = None,
    draws: DrawsOption = DRAWS,
    seed: SeedOption = 0,
    as_json: Json = False,
) -> None:
    """Fit a candidate's exchange parameters to a spectrum, from the study's priors; takes minutes."""
    found = load_study(study or default_study())
    found.model(model)
    if figure is not None:
        writable(figure, *FIGURES)
    (result,) = fits_of(read_spectrum(image, found, mask), [model], weights, seed, draws)
    if figure is not None:
        save_figure(plot_fits([result]), figure)
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
    draws: DrawsOption = DRAWS,
    seed: SeedOption = 0,
    as_json: Json = False,
) -> None:
    """Fit every candidate to a spectrum and say which describes it better, and in which slices; takes minutes."""
    found = load_study(study or default_study())
    if len(found.classes) < 2:
        raise StudyError(f"study {found.name} has one candidate alone; there is nothing to compare, use `fit`")
    if figure is not None:
        writable(figure, *FIGURES)
    result = compare(fits_of(read_spectrum(image, found, mask), list(found.classes), weights, seed, draws))
    if figure is not None:
        save_figure(plot_fits(list(result.fits.values()), result.difference), figure)
    if as_json:
        print_json(result.as_dict())
        return
    for each in result.fits.values():
        print_fit(each)
    print(result.sentence)
    for row in result.as_dict()["slices"][:6]:
        low, high = row["energy_meV"]
        print(f"  Ei {row['ei_meV']:g} meV, {low:g} to {high:g} meV: {row['log_likelihood_ratio']:+.1f}")
