"""Linked pictures that zoom together: data, the simulation of each candidate, residual, and where the evidence lies."""

import numpy as np
import panel as pn

from ..plot import run_scale
from .colours import intensity_colours, signed_colours
from .mosaic import shown
from .pictures import Pictures
from .state import State

RESIDUAL = 5.0
"""End of the scale of residuals, in standard deviations."""


class Maps:
    """The pictures of one state; :meth:`open` and :meth:`show` put another state of the same study into them.

    Attributes
    ----------
    view : panel.viewable.Viewable
    pictures : Pictures
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._evidence = signed_colours(1.0)
        self.pictures = Pictures(state.study)
        intensity = intensity_colours(1.0)
        for name in ("data", *state.study.classes):
            self.pictures.add(name, intensity)
        self.pictures.add("residual", signed_colours(RESIDUAL), "standard deviations")
        if len(state.study.classes) > 1 and state.weights is not None:
            self.pictures.add("evidence", self._evidence, "share")
        self.residual_of = pn.widgets.RadioButtonGroup(
            label="residual of", options=list(state.study.classes), value=state.order[0]
        )
        self.residual_of.param.watch(lambda event: self.show(self._state), "value")
        self.view = pn.Column(
            pn.Row(pn.pane.HTML("residual of", align="center"), self.residual_of),
            pn.pane.Bokeh(self.pictures.grid()),
            sizing_mode="stretch_width",
        )
        self.show(state)

    def open(self, state: State) -> None:
        """Draw another spectrum of the same study, all of it, and the residual of its likeliest candidate."""
        self._state = state
        self.whole()
        if self.residual_of.value != state.order[0]:
            self.residual_of.value = state.order[0]  # draws
        else:
            self.show(state)

    def show(self, state: State) -> None:
        """Draw another state of the same spectrum; the zoom stays."""
        self._state, spectrum = state, state.spectrum
        scale = scale_of(state)
        put = self.pictures.put
        put("data", shown(spectrum, spectrum.signal / scale), shown(spectrum, spectrum.signal), "data")
        for name, found in state.matches.items():
            what = "your parameters" if name in state.moved else "best match"
            if state.verdict is None and name not in state.moved:
                what = "reference values"
            values = shown(spectrum, found.match.fitted)
            put(name, values / scale, values, f"{name}, {what}: chi-square {found.match.chi_square:.3f}")
        of = str(self.residual_of.value)
        residual = shown(spectrum, state.residual(of))
        put("residual", residual, residual, f"data less {of}, in standard deviations")
        if "evidence" in self.pictures.figures:
            self._show_evidence(state)

    def _show_evidence(self, state: State) -> None:
        found = state.explanation
        if found is None:
            blank = np.full(state.study.shape, np.nan)
            self.pictures.put("evidence", blank, blank, "evidence: being worked out")
            return
        # pictures are float32, in which the largest share may be more than itself
        top = float(np.abs(found.shares).max()) * (1 + 1e-6)
        self._evidence.update(low=-top, high=top)
        shares = shown(state.spectrum, np.broadcast_to(found.shares[..., None, None], state.study.shape))
        title = f"evidence for {found.name} (orange) or against (violet)"
        self.pictures.put("evidence", shares, shares, title)

    def zoom(self, run: int, number: int) -> None:
        """Show one slice in all pictures."""
        left, right, bottom, top = self.pictures.mosaic.place(run, number)
        self.pictures.x.update(start=left, end=right)
        self.pictures.y.update(start=bottom, end=top)

    def whole(self) -> None:
        """Show all again."""
        width, height = self.pictures.mosaic.size
        self.pictures.x.update(start=0, end=width)
        self.pictures.y.update(start=0, end=height)


def scale_of(state: State) -> np.ndarray:
    """Intensity at the top of each run's scale, (runs, 1, 1, 1)."""
    scale = run_scale(state.spectrum)[:, None, None, None]
    return np.where(scale > 0, scale, 1.0)
