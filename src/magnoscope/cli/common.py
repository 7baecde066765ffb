"""What the commands share: the application, options, and how results are printed."""

import json
import math
import os
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import __version__
from ..errors import MagnoscopeError, StudyError
from .commands import Commands

FIGURES = (".png", ".pdf", ".svg")
"""Endings of files that figures are written to."""
LARGEST_Q = 1000
"""Largest component of a wave vector, r.l.u."""
LARGEST_VALUE = 1e6
"""Largest size of a parameter, meV."""

app = typer.Typer(
    name="magnoscope",
    cls=Commands,
    help="Which exchange model made this neutron spectrum, how sure is that, and where in the data is the evidence?",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


class Shape(StrEnum):
    """Shapes of a mode in energy."""

    gaussian = "gaussian"
    lorentzian = "lorentzian"
    oscillator = "oscillator"


Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
StudyArgument = Annotated[str, typer.Argument(metavar="STUDY", help="A study that ships, or a .toml file.")]
StudyOption = Annotated[str | None, typer.Option("--study", help="A study that ships, or a .toml file.")]
ImageArgument = Annotated[
    Path,
    typer.Argument(
        metavar="IMAGE",
        help="What simulate or reduce wrote, a .npy image (NaN: no detector), or a histogram of Mantid or Horace.",
    ),
]
MaskOption = Annotated[Path | None, typer.Option("--mask", help="Boolean .npy image, True where there is no detector.")]
WeightsOption = Annotated[Path | None, typer.Option("--weights", help="Weights that `train` wrote.")]
DatasetArgument = Annotated[
    Path, typer.Argument(metavar="DATASET", help="Folder that `dataset build` or `dataset export` wrote.")
]
ForeignOption = Annotated[
    Path | None,
    typer.Option("--foreign", help="Another set, of magnets that are no candidate: `dataset build --draws foreign`."),
]
InstrumentOption = Annotated[
    Path | None,
    typer.Option(
        "--instrument",
        help="Another set, of spectra of an instrument that is not as stated: `dataset build --draws instrument`.",
    ),
]
EmulatorOption = Annotated[
    bool,
    typer.Option(
        "--emulator/--no-emulator", help="Learn what finds each candidate's best parameters, and signals made of it."
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, max=2**31 - 1, help="Of everything random.")]
TemperatureOption = Annotated[float, typer.Option("--temperature", help="Temperature of the sample, K.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A parameter, meV.")]


@app.callback()
def _settings(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    """Set what all commands need; say what there is where no command is given."""
    if version:
        print(f"magnoscope {__version__}")
        raise typer.Exit
    help_without_command(context)
    torch = sys.modules.get("torch")  # a command that has not imported it does not wait for it here
    if torch is not None:
        torch.set_num_threads(max(1, min(torch.get_num_threads(), 4)))


def help_without_command(context: typer.Context) -> None:
    """Print the help of a group of commands that was called with none of them."""
    if context.invoked_subcommand is None:
        print(context.get_help())


def print_json(result: Any) -> None:
    """Print a result as one JSON document; what is not finite becomes null."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(k): plain(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(v) for v in value]
        if isinstance(value, float) and not math.isfinite(value):
            return None
        return value

    print(json.dumps(plain(result)))


def parse_numbers(text: str, count: int, option: str, form: str) -> list[float]:
    """Numbers separated by commas, such as ``0.5,0,1``."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != count or not all(math.isfinite(v) for v in values):
        raise StudyError(f'{option} "{text}" is not understood; give {form} such as {",".join(["0.5"] * count)}')
    if max(map(abs, values)) > LARGEST_Q:
        raise StudyError(f'{option} "{text}" is out of all reach; each number must lie within {LARGEST_Q} r.l.u.')
    return values


def parse_settings(settings: Sequence[str] | None) -> dict[str, float]:
    """``NAME=VALUE`` options as a dictionary."""
    out = {}
    for text in settings or []:
        name, sign, value = text.partition("=")
        try:
            out[name.strip()] = float(value)
        except ValueError:
            sign = ""
        if not sign or not name.strip():
            raise StudyError(f'--set "{text}" is not understood; give NAME=VALUE with a number in meV, such as J1=-2.5')
        if math.isfinite(out[name.strip()]) and abs(out[name.strip()]) > LARGEST_VALUE:
            raise StudyError(f'--set "{text}" is too large; a parameter must lie within {LARGEST_VALUE:g} meV')
    return out


def writable(path: Path, *endings: str) -> Path:
    """A path that can be written and has one of the endings (none: any); checked before long work."""
    if endings and path.suffix.lower() not in endings:
        raise MagnoscopeError(f"{path} must end in {' or '.join(endings)}")
    if not path.parent.is_dir():
        raise MagnoscopeError(f"{path} cannot be written: there is no folder {path.parent}")
    if path.is_dir():
        raise MagnoscopeError(f"{path} is a folder; name a file")
    if not os.access(path.parent, os.W_OK):
        raise MagnoscopeError(f"{path} cannot be written: {path.parent} is read-only")
    return path
