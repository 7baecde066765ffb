"""The command line: every command has --help, every result --json; bad input ends in one line and exit status 2."""

import io
import json
import os
import sys
from typing import Any, NoReturn

import typer

from ..errors import MagnoscopeError
from .commands import load
from .common import app as _app

# BadParameter < UsageError < ClickException: typer names only the first, and brings its own click or uses the other.
UsageError: Any = typer.BadParameter.__mro__[2]


def main() -> None:
    """Run a command; print what a user can mend in one line and exit with 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = _app(prog_name="magnoscope", standalone_mode=False)
        sys.stdout.flush()
    except MagnoscopeError as error:
        _fail(str(error))
    except UsageError as error:
        context = getattr(error, "ctx", None)
        where = f"; see {context.command_path} --help" if context else ""
        _fail(error.format_message().rstrip(".") + where)
    except (typer.Abort, KeyboardInterrupt):
        print("interrupted; run the same command again to go on", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        _drop_output()
        sys.exit(0)
    except OSError as error:
        if error.filename is None:  # most likely standard output
            _drop_output()
        where = "this" if error.filename is None else error.filename
        _fail(f"{where} cannot be read or written: {error.strerror or error}")
    except MemoryError as error:
        _fail(f"there is not enough memory for this ({error}); choose fewer points, slices or images")
    sys.exit(status if isinstance(status, int) else 0)


def _drop_output() -> None:
    """Send what is still buffered nowhere, so that the interpreter does not fail on it at its end."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        pass


def _fail(message: str) -> NoReturn:
    message = " ".join(message.split())
    print(json.dumps({"error": message}) if "--json" in sys.argv else f"magnoscope: {message}", file=sys.stderr)
    sys.exit(2)


def __getattr__(name: str) -> Any:
    """``app``, the application with every command, for those who want more than to run one."""
    if name == "app":
        return load()
    raise AttributeError(f"module {__name__} has no attribute {name}")
