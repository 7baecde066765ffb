"""Colours that colour-blind readers tell apart.

Intensities are viridis, signed numbers PuOr. Pixels without a detector have no colour at all: the hatching below
shows. Values beyond the ends of a scale have colours that the scale has not.
"""

from typing import Any

import matplotlib
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
