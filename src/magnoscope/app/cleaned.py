"""Raw against cleaned, where there is a cleaning network for the study."""

from pathlib import Path

import panel as pn

from ..cleaning import Cleaner, load_cleaner, shipped_cleaner
from ..errors import WeightsError
from ..study import Study
from .colours import intensity_colours
from .maps import scale_of
from .mosaic import shown
from .pictures import Pictures
from .state import State
from .words import plain, text

HEADING = "<h2>Raw against cleaned</h2>"


def cleaner_of(study: Study, path: Path | None = None) -> tuple[Cleaner | None, str | None]:
    """The cleaning network at a path, else the one that ships, and what must be said of it; or how to make one.

    Raises
    ------
    WeightsError
        If one that was named cannot be used.
    """
    try:
        return load_cleaner(path or shipped_cleaner(study), study)
    except WeightsError:
        if path is not None:
            raise
        return None, (
            f"No cleaning network ships for study {study.name}: train one with `magnoscope train cleaner SET.zarr "
            "-o cleaner.safetensors`, and name it with `magnoscope app --cleaner cleaner.safetensors`."
        )


class RawAndCleaned:
    """The raw spectrum, the cleaned one, and what it may be off by, side by side; without a network how to make one.

    Parameters
    ----------
    state : State
    shared : Pictures, optional
        Those that they zoom together with.

    Attributes
    ----------
    view : panel.viewable.Viewable
    pictures : Pictures
    """

    def __init__(self, state: State, shared: Pictures | None = None) -> None:
        self.pictures = Pictures(state.study, shared)
        self._said = text("")
        self.view = pn.Column(text(HEADING), self._said, sizing_mode="stretch_width")
        self.show(state)

    def show(self, state: State) -> None:
        """Draw a state of the same study."""
        spectrum, cleaned = state.spectrum, state.cleaned
        self._said.object = f"<p class=note>{plain(state.uncleaned or '')}</p>"
        if cleaned is None:
            return
        scale = scale_of(state)
        panels = {"raw": spectrum.signal, "cleaned": cleaned.signal}
        if cleaned.error is not None:
            panels["spread of the cleaned"] = cleaned.error
        new = not self.pictures.figures
        for name, values in panels.items():
            if new:
                self.pictures.add(name, intensity_colours(1.0))
            self.pictures.put(name, shown(spectrum, values / scale), shown(spectrum, values), name)
        if new:
            self.view.append(pn.pane.Bokeh(self.pictures.grid()))
