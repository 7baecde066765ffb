"""One self-contained HTML file that says what a spectrum is, how sure that is, why, and how it was worked out."""

from .content import Report, Source, make_report
from .page import render, render_verdict, write_report

__all__ = ["Report", "Source", "make_report", "render", "render_verdict", "write_report"]
