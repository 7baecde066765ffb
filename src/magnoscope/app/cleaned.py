"""Raw against cleaned, where there is a cleaning network for the study."""

import panel as pn

from .colours import intensity_colours, plain, text
from .maps import scale_of
from .mosaic import shown
from .pictures import Pictures
from .state import State

HEADING = "<h2>Raw against cleaned</h2>"


def raw_against_cleaned(state: State, shared: Pictures | None = None) -> pn.viewable.Viewable:
    """The raw spectrum, the cleaned one, and what it may be off by, side by side; without a network how to make one.

    Parameters
    ----------
    state : State
    shared : Pictures, optional
        Those that they zoom together with.
    """
    spectrum, cleaned = state.spectrum, state.cleaned
    if cleaned is None:
        why = state.uncleaned or "no cleaning network ships for this study"
        return text(f"{HEADING}<p class=note>{plain(why)}</p>")
    pictures, scale, colours = Pictures(state.study, shared), scale_of(state), intensity_colours(1.0)
    panels = {"raw": spectrum.signal, "cleaned": cleaned.signal}
    if cleaned.error is not None:
        panels["spread of the cleaned"] = cleaned.error
    for name, values in panels.items():
        pictures.add(name, colours)
        pictures.put(name, shown(spectrum, values / scale), shown(spectrum, values), name)
    return pn.Column(text(HEADING), pn.pane.Bokeh(pictures.grid()), sizing_mode="stretch_width")
