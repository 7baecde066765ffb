"""Files of facilities: what is in them, and from runs to a study's image."""

from pathlib import Path
from typing import Annotated

import typer

from ..io.contents import inspect as inspect_file
from .common import Json, app, print_json


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file of a facility, or one of ours.")],
    as_json: Json = False,
) -> None:
    """Say what a file holds: NXSPE, MDHistoWorkspace, .sqw, dnd, our .h5, .npy; judged by its content."""
    found = inspect_file(file)
    if as_json:
        print_json(found.as_dict())
        return
    print("\n".join(found.lines()))
