"""Colours that colour-blind readers tell apart, and text panes.

Intensities are viridis, signed numbers PuOr. Pixels without a detector have no colour at all: the hatching below
shows. Values beyond the ends of a scale have colours that the scale has not.
"""

import html
from typing import Any

import matplotlib
import panel as pn
from bokeh.models import LinearColorMapper

from ..plot import MISSING

OVER, UNDER = "#ffffff", "#000000"
"""Above and below the scale of intensities."""
SIGNED_OVER, SIGNED_UNDER = "#f7e225", "#00c8e8"
"""Above and below a scale of signed numbers."""
FOR, AGAINST = "#b35806", "#542788"
"""Evidence for and against, as in PuOr."""
NO_DETECTOR: dict[str, Any] = {
    "fill_color": MISSING,
    "hatch_pattern": "right_diagonal_line",
    "hatch_color": "#8a8a8a",
    "hatch_scale": 6,
    "hatch_weight": 1,
    "line_color": None,
    "level": "image",
}
"""How a picture looks where there is no detector: drawn first, seen where the image has no colour."""

STYLE = """
:host { font: 15px/1.45 system-ui, sans-serif; color: #111; }
h1 { font-size: 1.5em; margin: 0.2em 0; } h2 { font-size: 1.2em; border-bottom: 1px solid #999; margin: 1em 0 0.3em; }
.banner { border: 3px solid #b00; padding: 0.6em 1em; margin: 0.6em 0; } .banner strong { font-size: 1.2em; }
.sound { border: 2px solid #005a8c; padding: 0.6em 1em; margin: 0.6em 0; }
.warning { border-left: 4px solid #d55e00; padding-left: 0.8em; }
.error { border: 2px solid #b00; padding: 0.5em 1em; }
table { border-collapse: collapse; margin: 0.6em 0; }
th, td { text-align: left; padding: 0.2em 0.7em; vertical-align: top; }
th { border-bottom: 1px solid #333; } td { border-bottom: 1px solid #ddd; }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
.note { font-size: 0.9em; color: #333; } code { overflow-wrap: anywhere; }
pre { font: 12px/1.35 monospace; white-space: pre-wrap; border: 1px solid #ccc; padding: 0.6em; margin: 0.3em 0; }
"""


def text(markup: str, **options: Any) -> pn.pane.HTML:
    """A pane of HTML; whatever is from a file must have gone through :func:`plain`."""
    return pn.pane.HTML(markup, stylesheets=[STYLE], sizing_mode="stretch_width", **options)


def plain(value: object) -> str:
    """Text of any origin as HTML that says just that."""
    return html.escape(str(value))


def _palette(name: str) -> list[str]:
    return [matplotlib.colors.to_hex(c) for c in matplotlib.colormaps[name](range(256))]


def intensity_colours(high: float) -> LinearColorMapper:
    """Viridis from zero to ``high``."""
    return LinearColorMapper(
        _palette("viridis"), low=0, high=max(high, 1e-12), low_color=UNDER, high_color=OVER, nan_color="#00000000"
    )


def signed_colours(top: float) -> LinearColorMapper:
    """PuOr about zero."""
    top = max(top, 1e-12)
    return LinearColorMapper(
        _palette("PuOr_r"),
        low=-top,
        high=top,
        low_color=SIGNED_UNDER,
        high_color=SIGNED_OVER,
        nan_color="#00000000",
    )
