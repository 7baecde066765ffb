"""Simulation."""

import json
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import torch
import typer
from numpy.typing import NDArray

from ..dataset.noise import MEASUREMENT_LIKE, SWITCHES, Nuisance, degraded
from ..errors import StudyError
from ..io.images import read_mask, read_spectrum, write_spectrum
from ..simulate import Sampling, Simulator, converged
from ..spectrum import counted
from ..studies import load_study
from ..study import Study
from .common import Json, SeedOption, SetOption, Shape, StudyArgument, app, parse_settings, print_json, writable
from .physics import Resolution
from .waves import ModelArgument


class Device(StrEnum):
    """Where images are worked out."""

    cpu = "cpu"
    cuda = "cuda"


class Units(StrEnum):
    """What the numbers of a spectrum mean."""

    arbitrary = "arbitrary"
    mbarn = "mbarn"


MOST_POINTS = 200
"""Most fine points along an axis of the magnetic zone."""
MOST_DRAWN = 30_000
"""Most draws of all true shapes in a magnetic zone: two thirds of a gigabyte for a run of two zones by two."""
HOTTEST = 1e4
"""K."""
WIDEST_MODE = 100.0
"""FWHM, meV."""
MOST_COUNTS = 1e12
"""Largest mean of the counting noise."""

DEGRADATIONS = [name for name in SWITCHES if name != "mirrors"]
"""What a simulation may be put through to be like a measurement."""

Method = Annotated[Resolution, typer.Option("--resolution", help="Resolution method.")]
Noise = Annotated[float | None, typer.Option("--noise", help="Count with so many counts per pixel on average.")]
Tolerance = Annotated[
    float | None,
    typer.Option("--tolerance", help="Sample finer until that changes the image by less (relative L2), e.g. 0.02."),
]
Degrade = Annotated[
    str,
    typer.Option(
        "--degrade",
        metavar="all|NAME,NAME",
        help=f"Make it like a measurement, in all or some ways: {', '.join(DEGRADATIONS)}.",
    ),
]
ZonePoints = Annotated[
    int | None, typer.Option("--zone-points", help="Fine points along each axis of the magnetic zone.")
]
TrueShapes = Annotated[
    int | None,
    typer.Option(
        "--true-shapes",
        metavar="DRAWS",
        help="montecarlo: true shapes of chopper pulse, aperture, sample and detectors too, by so many draws a mode "
        "(e.g. 16); without it they enter by their covariance, and the moderator's pulse alone by its shape.",
    ),
]
Mask = Annotated[Path | None, typer.Option("--mask", help="Boolean .npy image, True where there is no detector.")]
Like = Annotated[
    Path | None, typer.Option("--like", metavar="IMAGE", help="A measured image: no detector where it has none.")
]
UnitsOption = Annotated[
    Units | None, typer.Option("--units", help="arbitrary: S_perp per magnetic cell; mbarn: mbarn/sr/meV/f.u.")
]
KfOverKi = Annotated[
    bool | None, typer.Option("--kf-ki/--no-kf-ki", help="With the factor k_f / k_i of the cross section.")
]
Temperature = Annotated[
    float | None,
    typer.Option("--temperature", help="K; the factor 1 + n(E) of a mode's creation, of an oscillator at each E."),
]
Width = Annotated[float | None, typer.Option("--width", help="FWHM of a mode in energy, meV.")]
LineOption = Annotated[
    Shape | None, typer.Option("--line", help="Shape of a mode in energy; an oscillator is a damped mode.")
]


DeviceOption = Annotated[
    Device, typer.Option("--device", help="Where to work; cuda for maps of modes flat along the hidden axis.")
]


@app.command()
def simulate(
    study: StudyArgument,
    model: ModelArgument,
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write: .npy (bare image) or .h5.")],
    settings: SetOption = None,
    method: Method = Resolution.gaussian,
    noise: Noise = None,
    seed: SeedOption = 0,
    tolerance: Tolerance = None,
    degrade: Degrade = "",
    zone_points: ZonePoints = None,
    true_shapes: TrueShapes = None,
    mask: Mask = None,
    like: Like = None,
    units: UnitsOption = None,
    kf_over_ki: KfOverKi = None,
    temperature: Temperature = None,
    width: Width = None,
    line: LineOption = None,
    device: DeviceOption = Device.cpu,
    as_json: Json = False,
) -> None:
    """Simulate a model's spectrum on the study's tiles; NaN where there is no detector."""
    found = _with_line(_with_intensity(load_study(study), units, kf_over_ki, temperature), width, line)
    spin_model = found.model(model)
    hidden = _hidden(found, mask, like)
    sampling = _sampling(method, zone_points, true_shapes, tolerance)
    changes = parse_settings(settings)
    if noise is not None and not 0 < noise <= MOST_COUNTS:
        raise StudyError(f"--noise {noise:g} is not a number of counts; give a positive mean per pixel, such as 5")
    nuisance = _nuisance(degrade, noise)
    writable(output, ".npy", ".h5")
    where = _present(device)
    distance = None
    if tolerance is None:
        simulator = Simulator(found, method.value, sampling, where)
        spectrum = simulator(model, changes)
    else:
        simulator, spectrum, distance = converged(found, model, method.value, tolerance, where, **changes)
    if nuisance is not None:
        spectrum = degraded(spectrum, nuisance, seed)
    if hidden is not None:
        spectrum = spectrum.masked(hidden)
    if noise is not None:
        spectrum = counted(spectrum, noise, seed)
    values = {p.name: float(v) for p, v in zip(spin_model.parameters, spin_model.values(changes), strict=True)}
    told: dict[str, object] = {"model": model, "units": found.intensity.name, **_line_told(found)}
    about = told | {"resolution": method.value} | {f"parameter_{name}": value for name, value in values.items()}
    if nuisance is not None:
        about |= {"degraded": json.dumps(nuisance.settings()), "seed": seed}
    write_spectrum(spectrum, output, about, simulator.hidden_axis())
    points = simulator.sampling.zone_points
    if as_json:
        refined = {} if distance is None else {"zone_points": points, "distance": distance}
        print_json({"file": str(output), "parameters": values} | told | refined)
        return
    print(f"{output}: {model}, " + ", ".join(f"{name} = {value:g}" for name, value in values.items()))
    if distance is not None:
        print(f"the last refinement, to {points} points a zone, changed the image by {100 * distance:.2g} %")


def _present(device: Device) -> str:
    """The device, if this machine has it."""
    if device is Device.cuda and not torch.cuda.is_available():
        raise StudyError("there is no CUDA device on this machine; leave --device out")
    return device.value


def _hidden(study: Study, mask: Path | None, like: Path | None) -> NDArray | None:
    """Pixels that no detector sees, by a mask and by a measured image."""
    hidden = None if mask is None else read_mask(mask, study)
    if like is not None:
        unseen = ~read_spectrum(like, study).valid
        hidden = unseen if hidden is None else hidden | unseen
    return hidden


def _sampling(method: Resolution, zone_points: int | None, draws: int | None, tolerance: float | None) -> Sampling:
    """How finely to simulate, where no tolerance says it."""
    if zone_points is not None and not 4 <= zone_points <= MOST_POINTS:
        raise StudyError(f"--zone-points {zone_points} is out of range; give 4 to {MOST_POINTS}")
    if tolerance is not None and (zone_points is not None or draws is not None):
        given = "--zone-points" if zone_points is not None else "--true-shapes"
        raise StudyError(f"--tolerance chooses how finely to sample; give it or {given}, not both")
    sampling = Sampling() if zone_points is None else Sampling(zone_points=zone_points)
    if draws is None:
        return sampling
    if method is not Resolution.montecarlo:
        raise StudyError(f"--true-shapes is for --resolution montecarlo, not {method.value}; leave one of them out")
    if not 1 <= draws <= MOST_DRAWN // sampling.zone_points**2:
        most = MOST_DRAWN // sampling.zone_points**2
        raise StudyError(
            f"--true-shapes {draws} is out of range at {sampling.zone_points} points a zone; give 1 to {most}"
            if most
            else f"--true-shapes is not for as many as {sampling.zone_points} points a zone; give fewer --zone-points"
        )
    return sampling.with_true_shapes(draws)


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


def _with_intensity(study: Study, units: Units | None, kf_over_ki: bool | None, temperature: float | None) -> Study:
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
    return replace(study, intensity=replace(study.intensity, **changes))  # type: ignore[arg-type]


def _with_line(study: Study, width: float | None, line: Shape | None) -> Study:
    """A study whose modes are as wide and of such a shape as options say."""
    if width is not None and not 0 <= width <= WIDEST_MODE:
        raise StudyError(f"--width {width:g} is out of range; give 0 to {WIDEST_MODE:g} meV")
    found = replace(
        study,
        intrinsic_width=study.intrinsic_width if width is None else width,
        line=study.line if line is None else line.value,
    )
    if found.line == "oscillator" and not found.intrinsic_width:
        raise StudyError("an oscillator needs a width above 0 meV; give --width, or --line gaussian for sharp modes")
    return found


def _line_told(study: Study) -> dict[str, object]:
    """What a file says of the line of a mode, where it is not the resolution's own shape."""
    return {} if study.line == "gaussian" else {"line": study.line, "width_meV": study.intrinsic_width}
