"""Resolution and simulation."""

import json
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from ..dataset.noise import MEASUREMENT_LIKE, SWITCHES, Nuisance, degraded
from ..errors import InstrumentError, StudyError
from ..io.images import read_mask, read_spectrum, write_spectrum
from ..resolution.shown import shown_covariance
from ..simulate import Sampling, Simulator, converged
from ..spectrum import counted
from ..studies import load_study
from ..study import Study
from ..views import PathView
from .common import Json, SeedOption, SetOption, StudyArgument, app, parse_numbers, parse_settings, print_json, writable
from .waves import ModelArgument


class Resolution(StrEnum):
    """How the spectrometer's resolution is put on."""

    gaussian = "gaussian"
    montecarlo = "montecarlo"
    none = "none"
    coarse = "gaussian-coarse"


class Units(StrEnum):
    """What the numbers of a spectrum mean."""

    arbitrary = "arbitrary"
    mbarn = "mbarn"


MOST_POINTS = 200
"""Most fine points along an axis of the magnetic zone."""
HOTTEST = 1e4
"""K."""
WIDEST_MODE = 100.0
"""FWHM, meV."""
LARGEST_GAIN = 100
"""Most energy a neutron may gain, in units of Ei."""
MOST_COUNTS = 1e12
"""Largest mean of the counting noise."""

DEGRADATIONS = [name for name in SWITCHES if name != "mirrors"]
"""What a simulation may be put through to be like a measurement."""


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


def _nuisance(degrade: str, noise: float | None) -> Nuisance | None:
    """What ``--degrade`` asks for; counts that ``--noise`` asks for take the place of its own noise."""
    if not degrade:
        return None
    found = MEASUREMENT_LIKE.without("mirrors")
    if degrade != "all":
        names = [name.strip() for name in degrade.split(",")]
        if any(name not in DEGRADATIONS for name in names):
            raise StudyError(f'--degrade "{degrade}" is not understood; give all, or some of {",".join(DEGRADATIONS)}')
        found = found.only(*names)
    return found if noise is None else found.without("noise", "mirrors")


@app.command()
def simulate(
    study: StudyArgument,
    model: ModelArgument,
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write: .npy (bare image) or .h5.")],
    settings: SetOption = None,
    method: Annotated[Resolution, typer.Option("--resolution", help="Resolution method.")] = Resolution.gaussian,
    noise: Annotated[
        float | None, typer.Option("--noise", help="Count with so many counts per pixel on average.")
    ] = None,
    seed: SeedOption = 0,
    tolerance: Annotated[
        float | None,
        typer.Option("--tolerance", help="Sample finer until that changes the image by less (relative L2), e.g. 0.02."),
    ] = None,
    degrade: Annotated[
        str,
        typer.Option(
            "--degrade",
            metavar="all|NAME,NAME",
            help=f"Make it like a measurement, in all or some ways: {', '.join(DEGRADATIONS)}.",
        ),
    ] = "",
    zone_points: Annotated[
        int | None, typer.Option("--zone-points", help="Fine points along each axis of the magnetic zone.")
    ] = None,
    mask: Annotated[
        Path | None, typer.Option("--mask", help="Boolean .npy image, True where there is no detector.")
    ] = None,
    like: Annotated[
        Path | None, typer.Option("--like", metavar="IMAGE", help="A measured image: no detector where it has none.")
    ] = None,
    units: Annotated[
        Units | None, typer.Option("--units", help="arbitrary: S_perp per magnetic cell; mbarn: mbarn/sr/meV/f.u.")
    ] = None,
    kf_over_ki: Annotated[
        bool | None, typer.Option("--kf-ki/--no-kf-ki", help="With the factor k_f / k_i of the cross section.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", help="K; the factor 1 + n(E) of a mode's creation.")
    ] = None,
    width: Annotated[float | None, typer.Option("--width", help="FWHM of a mode in energy (Gaussian), meV.")] = None,
    as_json: Json = False,
) -> None:
    """Simulate a model's spectrum on the study's tiles; NaN where there is no detector."""
    found = _with_intensity(load_study(study), units, kf_over_ki, temperature, width)
    found.model(model)
    hidden = None if mask is None else read_mask(mask, found)
    if like is not None:
        unseen = ~read_spectrum(like, found).valid
        hidden = unseen if hidden is None else hidden | unseen
    if zone_points is not None and not 4 <= zone_points <= MOST_POINTS:
        raise StudyError(f"--zone-points {zone_points} is out of range; give 4 to {MOST_POINTS}")
    if zone_points is not None and tolerance is not None:
        raise StudyError("--tolerance chooses the number of points; give it or --zone-points, not both")
    changes = parse_settings(settings)
    if noise is not None and not 0 < noise <= MOST_COUNTS:
        raise StudyError(f"--noise {noise:g} is not a number of counts; give a positive mean per pixel, such as 5")
    nuisance = _nuisance(degrade, noise)
    writable(output, ".npy", ".h5")
    distance = None
    if tolerance is None:
        sampling = Sampling() if zone_points is None else Sampling(zone_points=zone_points)
        simulator = Simulator(found, method.value, sampling)
        spectrum = simulator(model, changes)
    else:
        simulator, spectrum, distance = converged(found, model, method.value, tolerance, **changes)
    if nuisance is not None:
        spectrum = degraded(spectrum, nuisance, seed)
    if hidden is not None:
        spectrum = spectrum.masked(hidden)
    if noise is not None:
        spectrum = counted(spectrum, noise, seed)
    values = dict(zip([p.name for p in found.model(model).parameters], found.model(model).values(changes), strict=True))
    about: dict[str, object] = {
        "model": model,
        "resolution": method.value,
        "units": found.intensity.name,
        **{f"parameter_{k}": float(v) for k, v in values.items()},
    }
    if nuisance is not None:
        about |= {"degraded": json.dumps(nuisance.settings()), "seed": seed}
    write_spectrum(spectrum, output, about, simulator.hidden_axis())
    if as_json:
        summary: dict[str, object] = {
            "file": str(output),
            "model": model,
            "parameters": {k: float(v) for k, v in values.items()},
            "units": found.intensity.name,
        }
        if distance is not None:
            summary |= {"zone_points": simulator.sampling.zone_points, "distance": distance}
        print_json(summary)
        return
    print(f"{output}: {model}, " + ", ".join(f"{k} = {v:g}" for k, v in values.items()))
    if distance is not None:
        points = simulator.sampling.zone_points
        print(f"the last refinement, to {points} points a zone, changed the image by {100 * distance:.2g} %")


def _with_intensity(
    study: Study, units: Units | None, kf_over_ki: bool | None, temperature: float | None, width: float | None
) -> Study:
    """A study whose spectra are counted as options say; what they do not say is as in its file."""
    changes: dict[str, object] = {}
    if units is not None:
        if units is Units.mbarn and not study.intensity.formula_units:
            raise StudyError(
                f"--units mbarn are per formula unit, and study {study.name} does not say how many its magnetic cell "
                "has; add [intensity] with formula_units to its file"
            )
        changes["units"] = units.value
    if kf_over_ki is not None:
        changes["kf_over_ki"] = kf_over_ki
    if temperature is not None:
        if not 0 <= temperature <= HOTTEST:
            raise StudyError(f"--temperature {temperature:g} is out of range; give 0 to {HOTTEST:g} K")
        changes["temperature"] = temperature
    if width is not None and not 0 <= width <= WIDEST_MODE:
        raise StudyError(f"--width {width:g} is out of range; give 0 to {WIDEST_MODE:g} meV")
    found = replace(study, intensity=replace(study.intensity, **changes))  # type: ignore[arg-type]
    return found if width is None else replace(found, intrinsic_width=width)
