"""One-dimensional cuts: data with errors against every candidate; the region follows two sliders."""

from typing import Any

import numpy as np
import panel as pn
from bokeh.core.properties import value
from bokeh.models import ColumnDataSource, FixedTicker, HoverTool, Legend
from bokeh.plotting import figure

from ..cuts import Cut, cut, cut_axes, cut_ranges
from ..errors import SpectrumError
from ..plot_cuts import COLOURS
from .state import State
from .words import plain, text

DASHES = ("solid", "dashed", "dotdash", "dotted")
AUTOMATIC = "where the candidates differ most"
ANY = 0.0
"""Stands for any incident energy."""


class CutPanel:
    """A cut through one state.

    Attributes
    ----------
    view : panel.viewable.Viewable
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._setting = False
        study = state.study
        self.along = pn.widgets.Select(label="cut along", options=list(cut_axes(study)), width=150)
        runs = {AUTOMATIC: ANY, **{f"{run.ei:g} meV": run.ei for run in study.runs}}
        self.ei = pn.widgets.Select(label="Ei", options=runs, width=240)
        self.automatic = pn.widgets.Button(label=AUTOMATIC, width=240, align="end")
        self.regions = pn.Row(sizing_mode="stretch_width")
        self._plot = figure(
            height=360, sizing_mode="stretch_width", tools="pan,box_zoom,wheel_zoom,reset", name="cut", title=""
        )
        self._points = ColumnDataSource({"x": [], "y": [], "low": [], "high": []})
        self._lines = {name: ColumnDataSource({"x": [], "y": []}) for name in study.classes}
        self._draw()
        self._said = text("")
        self.along.param.watch(lambda event: self._afresh(), "value")
        self.ei.param.watch(lambda event: self._afresh(), "value")
        self.automatic.on_click(lambda event: self._afresh())
        self.view = pn.Column(
            text("<h2>Cuts</h2>"),
            pn.Row(self.along, self.ei, self.automatic),
            self.regions,
            pn.pane.Bokeh(self._plot, sizing_mode="stretch_width"),
            self._said,
            sizing_mode="stretch_width",
        )
        self._afresh()

    @property
    def settings(self) -> dict[str, Any]:
        """Of the cut shown, as :func:`magnoscope.cuts.cut` takes them."""
        at = {slider.label.split(" (")[0]: tuple(map(float, slider.value)) for slider in self.regions}
        return {"along": self.along.value, "ei": self._ei, "at": at}

    def open(self, state: State) -> None:
        """Draw another spectrum of the same study, where its candidates differ most."""
        self._state = state
        self._afresh()

    def show(self, state: State) -> None:
        """Draw another state of the same spectrum; the region stays."""
        self._state = state
        self._cut(self.settings["at"])

    def _afresh(self) -> None:
        """Choose the region anew."""
        self._ei: float | None = self.ei.value or None
        found = self._cut({})
        if found is None:
            return
        self._ei = found.ei
        ranges = cut_ranges(self._state.study, found.axis.name, found.ei)
        sliders = []
        for name, ends in found.region.items():
            low, high, unit = ranges[name]
            inside = max(ends[0], low), min(ends[1], high)
            slider = pn.widgets.RangeSlider(
                label=f"{name} ({unit})", start=low, end=high, value=inside, step=(high - low) / 400, format="0.00"
            )
            slider.param.watch(lambda event: self._cut(self.settings["at"]), "value_throttled")
            sliders.append(slider)
        self.regions.objects = sliders

    def _cut(self, at: dict[str, tuple[float, float]]) -> Cut | None:
        try:
            found = cut(self._state.spectrum, self._state.matches, self.along.value, self._ei, at)
        except SpectrumError as error:
            self._said.object = f"<p class=error>{plain(error)}</p>"
            return None
        seen = np.isfinite(found.data)
        x, y, dy = found.axis.positions[seen], found.data[seen], found.error[seen]
        self._points.data = {"x": x, "y": y, "low": y - dy, "high": y + dy}
        for name, values in found.candidates.items():
            self._lines[name].data = {"x": found.axis.positions, "y": values}
        for item, (name, chi_square) in zip(self._legend.items[1:], found.chi_square.items(), strict=True):
            item.label = value(f"{name}: chi-square {chi_square:.2f}")
        self._plot.xaxis.axis_label = found.axis.label
        if found.axis.ticks:
            self._plot.xaxis.ticker = FixedTicker(ticks=[at for at, _ in found.axis.ticks])
            self._plot.xaxis.major_label_overrides = dict(found.axis.ticks)
        self._plot.title.text = found.where
        self._said.object = (
            f"<p class=note>{plain(found.where)}; {int((found.pixels > 0).sum())} points; errors: "
            f"{plain(found.error_source)}. Scale and background are those of each slice, not adjusted to the cut.</p>"
        )
        return found

    def _draw(self) -> None:
        plot = self._plot
        points = plot.scatter("x", "y", source=self._points, size=6, color="black")
        plot.segment("x", "low", "x", "high", source=self._points, color="black", line_width=0.8)
        items = [("data", [points])]
        for number, (name, source) in enumerate(self._lines.items()):
            dash = DASHES[number % len(DASHES)]
            line = plot.line(
                "x", "y", source=source, color=COLOURS[number % len(COLOURS)], line_width=2, line_dash=dash
            )
            items.append((name, [line]))
        self._legend = Legend(items=items, orientation="horizontal", click_policy="hide", spacing=24)
        plot.add_layout(self._legend, "above")
        plot.add_tools(HoverTool(renderers=[points], tooltips=[("at", "@x{0.000}"), ("intensity", "@y{0.000}")]))
        plot.yaxis.axis_label = "intensity"
