"""A report as one HTML file: figures inside, no scripts, nothing fetched; everything from a file is escaped."""

import base64
import io
import json
import os
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from matplotlib.figure import Figure

from ..errors import MagnoscopeError
from ..plot import plot_explanation, plot_fits, plot_verdict
from ..plot_cuts import plot_cuts
from ..verdict import Verdict
from .content import Report

DPI = 100
SHARES = 12
"""Slices listed of an explanation."""


def render(report: Report) -> str:
    """The page of a report.

    Raises
    ------
    MagnoscopeError
        If a figure cannot be drawn.
    """
    study = report.verdict.spectrum.study
    tiles = study.view.as_tiles(report.verdict.spectrum.valid)
    return _template("page.html").render(
        _of_verdict(report.verdict, report.promised),
        report=report,
        study=study,
        shares=[] if report.explanation is None else report.explanation.as_dict()["slices"][:SHARES],
        ratios=[] if report.comparison is None else report.comparison.as_dict()["slices"][:SHARES],
        missing=1 - float(tiles.mean()),
        figures=_figures(report),
        card=json.dumps(report.card, indent=2, ensure_ascii=False),
    )


def render_verdict(verdict: Verdict, promised: float) -> str:
    """A verdict as a piece of HTML: trust first, then classes with their scores, and what these mean.

    Parameters
    ----------
    verdict : Verdict
    promised : float
        Coverage of the label sets.
    """
    return _template("verdict.html").render(_of_verdict(verdict, promised))


def _of_verdict(verdict: Verdict, promised: float) -> dict[str, Any]:
    order = sorted(verdict.scores, key=lambda name: -verdict.scores[name])
    return {"verdict": verdict, "promised": promised, "order": order}


def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda found: (resources.files(__package__) / found).read_text("utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def write_report(report: Report, path: Path) -> None:
    """Write a report; it is there whole or not at all.

    Raises
    ------
    MagnoscopeError
        If it cannot be written.
    """
    text = render(report)
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(text, "utf-8", errors="replace")
        os.replace(partial, path)
    except OSError as error:
        raise MagnoscopeError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        partial.unlink(missing_ok=True)


def _figures(report: Report) -> dict[str, str]:
    """Of each figure its data URI."""
    found = {"verdict": _inline(plot_verdict(report.verdict))}
    if report.explanation is not None:
        found["explanation"] = _inline(plot_explanation(report.explanation))
    if report.cuts:
        found["cuts"] = _inline(plot_cuts(report.cuts))
    if report.comparison is not None:
        fits = list(report.comparison.fits.values())
        found["fits"] = _inline(plot_fits(fits, report.comparison.difference))
    return found


def _inline(figure: Figure) -> str:
    buffer = io.BytesIO()
    try:
        figure.savefig(buffer, format="png", dpi=DPI)
    except ValueError as error:
        raise MagnoscopeError(f"a figure of the report cannot be drawn: {error}") from None
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
