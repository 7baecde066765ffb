"""A report as one HTML file: figures inside, no scripts, nothing fetched; everything from a file is escaped."""

import base64
import io
import json
import os
from importlib import resources
from pathlib import Path

import jinja2
import matplotlib
from matplotlib.figure import Figure
from matplotlib.text import Text

from ..errors import MagnoscopeError
from ..plot import plot_explanation, plot_fits, plot_verdict
from ..plot_cuts import plot_cuts
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
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    text = (resources.files(__package__) / "page.html").read_text("utf-8")
    study = report.verdict.spectrum.study
    tiles = study.view.as_tiles(report.verdict.spectrum.valid)
    return environment.from_string(text).render(
        report=report,
        verdict=report.verdict,
        study=study,
        order=sorted(study.classes, key=lambda name: -report.verdict.scores[name]),
        shares=[] if report.explanation is None else report.explanation.as_dict()["slices"][:SHARES],
        ratios=[] if report.comparison is None else report.comparison.as_dict()["slices"][:SHARES],
        missing=1 - float(tiles.mean()),
        figures=_figures(report),
        card=json.dumps(report.card, indent=2, ensure_ascii=False),
    )


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
    # titles are what a study file says; dollar signs in them are no formulas
    with matplotlib.rc_context({"text.parse_math": False}):
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
    for text in figure.findobj(Text):
        if isinstance(text, Text) and text.get_wrap():  # wrapping measures formulas even where none are drawn
            text.set_text(text.get_text().replace("$", r"\$"))
            text.set_parse_math(True)
    buffer = io.BytesIO()
    try:
        figure.savefig(buffer, format="png", dpi=DPI)
    except ValueError as error:
        raise MagnoscopeError(f"a figure of the report cannot be drawn: {error}") from None
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
