"""The command line: every command has --help, every result --json; bad input ends in one line and exit status 2."""

import json
import sys

import typer
from click.exceptions import ClickException

from ..errors import MagnoscopeError
from . import datasets, judge, physics, studies
from .common import app

__all__ = ["app", "datasets", "judge", "main", "physics", "studies"]


def main() -> None:
    """Run a command; print what a user can mend in one line and exit with 2."""
    try:
        status = app(standalone_mode=False)
    except MagnoscopeError as error:
        _fail(str(error))
    except ClickException as error:
        where = f"; see {error.ctx.command_path} --help" if getattr(error, "ctx", None) else ""  # type: ignore[attr-defined]
        _fail(error.format_message().rstrip(".") + where)
    except (typer.Abort, KeyboardInterrupt):
        print("interrupted; run the same command again to go on", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)
    sys.exit(status if isinstance(status, int) else 0)


def _fail(message: str) -> None:
    message = " ".join(message.split())
    print(json.dumps({"error": message}) if "--json" in sys.argv else f"magnoscope: {message}", file=sys.stderr)
    sys.exit(2)
