"""Resolution."""

from enum import StrEnum
from typing import Annotated

import numpy as np
import typer

from ..errors import InstrumentError, StudyError
from ..resolution.shown import shown_covariance
from ..studies import load_study
from ..views import PathView
from .common import Json, StudyArgument, app, parse_numbers, print_json


class Resolution(StrEnum):
    """How the spectrometer's resolution is put on."""

    gaussian = "gaussian"
    montecarlo = "montecarlo"
    none = "none"
    coarse = "gaussian-coarse"


LARGEST_GAIN = 100
"""Most energy a neutron may gain, in units of Ei."""


@app.command()
def resolution(
    study: StudyArgument,
    ei: Annotated[float, typer.Option("--ei", help="Incident energy of one of the study's runs, meV.")],
    q: Annotated[
        str, typer.Option("--q", metavar="H,K[,L]", help="Point on the two axes of maps, or on a path; r.l.u.")
    ],
    energy: Annotated[float, typer.Option("--energy", help="Energy transfer, meV.")],
    as_json: Json = False,
) -> None:
    """Covariance of what the view shows, the rest integrated out: two axes of maps (r.l.u.) and energy (meV).

    Of a path: place along it (1/Å) and energy; the mean of both sides of the beam.
    """
    found = load_study(study)
    point = (
        parse_numbers(q, 3, "--q", "h,k,l") if isinstance(found.view, PathView) else parse_numbers(q, 2, "--q", "h,k")
    )
    number = next((i for i, run in enumerate(found.runs) if abs(run.ei - ei) < 1e-6 * run.ei), None)
    if number is None:
        raise StudyError(
            f"study {found.name} has no run at Ei = {ei:g} meV; it has {', '.join(f'{r.ei:g}' for r in found.runs)}"
        )
    if not energy < ei:
        raise InstrumentError(
            f"energy transfer {energy:g} meV is not below Ei = {ei:g} meV; the neutron has no more to give"
        )
    if energy < -LARGEST_GAIN * ei:
        raise InstrumentError(
            f"energy transfer {energy:g} meV is below -{LARGEST_GAIN * ei:g} meV; no sample gives that"
        )
    names, units, part = shown_covariance(found, number, np.array(point), energy)
    if as_json:
        print_json({"axes": names, "units": units, "covariance": part.tolist()})
        return
    for name, unit, variance in zip(names, units, np.diag(part), strict=True):
        print(f"{name:>8}: FWHM {2.35482 * np.sqrt(variance):.5g} {unit}")
    print(part)
