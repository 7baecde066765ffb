"""The web page."""

import os
import sys
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from ..errors import MagnoscopeError
from ..studies import default_study, load_study
from .common import MaskOption, StudyOption, WeightsOption, app


@app.command("app")
def page(
    image: Annotated[
        Path | None, typer.Argument(metavar="[IMAGE]", help="What the page begins with; else the study's measurement.")
    ] = None,
    study: StudyOption = None,
    mask: MaskOption = None,
    weights: WeightsOption = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any that is free.")] = 5006,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; by default this machine alone.")
    ] = "127.0.0.1",
    origins: Annotated[
        list[str] | None,
        typer.Option("--allow-origin", metavar="NAME[:PORT]", help="A name under which the page may be reached too."),
    ] = None,
    largest: Annotated[int, typer.Option("--max-upload", min=1, max=4000, help="Limit of an upload, MB.")] = 200,
    cleaner: Annotated[
        Path | None, typer.Option("--cleaner", help="Network that `train cleaner` wrote; else that which ships.")
    ] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
) -> None:
    """Serve the web page of a study on this machine: verdict, trust, linked maps, slices, cuts, sliders."""
    try:
        from ..app.serve import address, make_server, serve
        from ..app.service import Service
    except ModuleNotFoundError as error:
        raise MagnoscopeError(
            f"the page needs {error.name}, which is not installed: pip install 'magnoscope[app]'"
        ) from None
    name = study or default_study()
    service = Service(load_study(name), name, weights, None if image is None else (image, mask), largest, cleaner)
    if image is not None:
        from ..io.images import read_spectrum

        read_spectrum(image, service.study, mask)
    elif mask is not None:
        raise MagnoscopeError("--mask needs an IMAGE that it belongs to")
    # what was named and cannot be used is refused before the server starts; what ships is read when it is asked for
    if weights is not None:
        _ = service.weights
    if cleaner is not None:
        _ = service.cleaner
    server = make_server(service, port, host, origins or ())
    where = address(host, server.port)

    def started() -> None:
        print(f"magnoscope: {where} shows study {service.study.name}; Ctrl-C stops it", flush=True)
        if browser:
            webbrowser.open(where)

    serve(server, service, started)
    sys.stdout.flush()
    os._exit(0)  # a thread that explains a spectrum cannot be interrupted, and nobody waits for it any more
