"""What the commands share: the application, options, and how results are printed."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from ..errors import MagnoscopeError, StudyError

app = typer.Typer(
    name="magnoscope",
    help="Which exchange model made this neutron spectrum, how sure is that, and where in the data is the evidence?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
StudyArgument = Annotated[str, typer.Argument(metavar="STUDY", help="A study that ships, or a .toml file.")]
StudyOption = Annotated[str | None, typer.Option("--study", help="A study that ships, or a .toml file.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A parameter, meV.")]


@app.callback()
def _settings() -> None:
    """Which exchange model made this neutron spectrum, how sure is that, and where in the data is the evidence?"""
    torch.set_num_threads(max(1, min(torch.get_num_threads(), 4)))


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
        if not sign:
            raise StudyError(f'--set "{text}" is not understood; give NAME=VALUE with a number in meV, such as J1=-2.5')
    return out


def writable(path: Path) -> Path:
    """A path whose folder exists; checked before long work."""
    if not path.parent.is_dir():
        raise MagnoscopeError(f"{path} cannot be written: there is no folder {path.parent}")
    if path.is_dir():
        raise MagnoscopeError(f"{path} is a folder; name a file")
    return path
