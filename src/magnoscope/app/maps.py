"""Linked pictures that zoom together: data, the simulation of each candidate, residual, and where the evidence lies."""

import numpy as np
import panel as pn
from bokeh.layouts import gridplot
from bokeh.models import (
    BoxZoomTool,
    ColorBar,
    ColumnDataSource,
    HoverTool,
    LinearColorMapper,
    PanTool,
    Range1d,
    ResetTool,
    WheelZoomTool,
)
from bokeh.plotting import figure
from numpy.typing import NDArray

from ..plot import run_scale
from .colours import NO_DETECTOR, intensity_colours, signed_colours
from .mosaic import Mosaic, shown
from .state import State

WIDTH, HEIGHT, COLUMNS = 430, 330, 3
"""Of a picture in pixels of the screen, and pictures in a row."""
RESIDUAL = 5.0
"""End of the scale of residuals, in standard deviations."""


class Maps:
    """The pictures of one state; :meth:`show` puts another state of the same study into them.

    Attributes
    ----------
    view : panel.viewable.Viewable
    x, y : bokeh Range1d
        Shared by all pictures.
    """

    def __init__(self, state: State) -> None:
        self.mosaic = Mosaic.of(state.study)
        width, height = self.mosaic.size
        self.x, self.y = Range1d(0, width, bounds=(0, width)), Range1d(0, height, bounds=(0, height))
        self._of = state.order[0]
        self._state = state
        self._sources: dict[str, ColumnDataSource] = {}
        self._figures: dict[str, figure] = {}
        self._evidence = signed_colours(1.0)
        intensity = intensity_colours(1.0)
        self._add("data", intensity, "share of the scale")
        for name in state.study.classes:
            self._add(name, intensity, "share of the scale")
        self._add("residual", signed_colours(RESIDUAL), "standard deviations")
        if len(state.study.classes) > 1 and state.weights is not None:
            self._add("evidence", self._evidence, "share of the evidence")
        plots = list(self._figures.values())
        grid = gridplot([plots[i : i + COLUMNS] for i in range(0, len(plots), COLUMNS)], merge_tools=True)
        self.residual_of = pn.widgets.RadioButtonGroup(
            label="residual of", options=list(state.order), value=self._of, button_type="default"
        )
        self.residual_of.param.watch(lambda event: self.show(self._state), "value")
        self.view = pn.Column(
            pn.Row(pn.pane.HTML("residual of"), self.residual_of), pn.pane.Bokeh(grid), sizing_mode="stretch_width"
        )
        self.show(state)

    def show(self, state: State) -> None:
        """Draw a state of the same study; the zoom stays."""
        self._state, spectrum = state, state.spectrum
        scale = run_scale(spectrum)[:, None, None, None]
        scale = np.where(scale > 0, scale, 1.0)
        self._put("data", spectrum.signal / scale, spectrum.signal, "data")
        for name, found in state.matches.items():
            what = "your parameters" if name in state.moved else "best match"
            if state.verdict is None and name not in state.moved:
                what = "reference values"
            values = found.match.fitted
            self._put(name, values / scale, values, f"{name}, {what}: chi-square {found.match.chi_square:.3f}")
        of = str(self.residual_of.value)
        residual = np.asarray(state.residuals[of])
        self._put("residual", residual, residual, f"data less {of}, in standard deviations")
        if "evidence" in self._figures:
            self._show_evidence(state)

    def _show_evidence(self, state: State) -> None:
        found = state.explanation
        if found is None:
            blank = np.full(state.study.shape, np.nan)
            self._put("evidence", blank, blank, "evidence: being worked out")
            return
        shares = np.broadcast_to(found.shares[..., None, None], state.study.shape)
        top = float(np.abs(shares).max())
        self._evidence.update(low=-top, high=top)
        self._put("evidence", shares, shares, f"evidence for {found.name} (orange) or against (violet)")

    def zoom(self, run: int, number: int) -> None:
        """Show one slice in all pictures."""
        self.x.start, self.x.end, self.y.start, self.y.end = self.mosaic.place(run, number)

    def whole(self) -> None:
        """Show all again."""
        (self.x.end, self.y.end), self.x.start, self.y.start = self.mosaic.size, 0, 0

    def _put(self, name: str, picture: NDArray, values: NDArray, title: str) -> None:
        spectrum = self._state.spectrum
        arrays = [self.mosaic.image(shown(spectrum, a)) for a in (picture, values)]
        self._sources[name].data = {"image": arrays[:1], "value": arrays[1:]}
        self._figures[name].title.text = title

    def _add(self, name: str, colours: LinearColorMapper, label: str) -> None:
        plot = figure(
            x_range=self.x,
            y_range=self.y,
            width=WIDTH,
            height=HEIGHT,
            tools=[zoom := BoxZoomTool(), PanTool(), WheelZoomTool(), ResetTool()],
            active_drag=zoom,
            name=name,
            title=name,
        )
        source = ColumnDataSource({"image": [], "value": []})
        width, height = self.mosaic.size
        plot.quad(left=0, right=width, bottom=0, top=height, **NO_DETECTOR)
        drawn = plot.image("image", x=0, y=0, dw=width, dh=height, source=source, color_mapper=colours)
        plot.multi_line(*self.mosaic.borders(), color="white", line_width=0.7)
        plot.add_layout(ColorBar(color_mapper=colours, width=8, title=None, padding=4), "right")
        tip = HoverTool(
            renderers=[drawn],
            tooltips=[("at", "$x{custom}"), (label if name == "residual" else "value", "@value{0.000}")],
            formatters={"$x": self.mosaic.hover()},
        )
        plot.add_tools(tip)
        self.mosaic.label(plot)
        plot.title.text_font_size = "12px"
        self._sources[name], self._figures[name] = source, plot
