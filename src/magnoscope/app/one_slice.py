"""One slice with its own axes: data, the two nearest candidates there, and their difference."""

from typing import Any

import numpy as np
import panel as pn
from bokeh.layouts import gridplot
from bokeh.models import ColorBar, ColumnDataSource, FixedTicker, HoverTool, LinearColorMapper, Range1d
from bokeh.plotting import figure
from numpy.typing import NDArray

from ..views import Edge, MapView
from .colours import NO_DETECTOR, intensity_colours, signed_colours
from .mosaic import MARGIN, shown, slice_name
from .state import State
from .words import plain, text

SIZE = 330
"""Of a picture in pixels of the screen."""


class OneSlice:
    """The pictures of one slice of a state; of a path all of the run, zoomed to the slice's energies.

    Attributes
    ----------
    view : panel.viewable.Viewable
    run, number : int
        The slice shown.
    """

    def __init__(self, state: State, run: int = 0, number: int = 0) -> None:
        self.run, self.number = run, number
        self._edges = state.study.view.tile_edges(state.study.runs[run].ei)
        rows, columns = self._edges
        self._x, self._y = Range1d(columns.low, columns.high), Range1d(rows.low, rows.high)
        self._intensity, self._signed = intensity_colours(1.0), signed_colours(1.0)
        self._names = state.order[:2]  # they stay when a slider makes the other one the better
        self._sources: dict[str, ColumnDataSource] = {}
        self._figures: dict[str, figure] = {}
        for name in ("data", "first", "second")[: 1 + len(self._names)]:
            self._add(name, self._intensity)
        if len(self._names) > 1:
            self._add("difference", self._signed)
        self._heading = text("")
        grid = gridplot([list(self._figures.values())], merge_tools=True)
        self.view = pn.Column(self._heading, pn.pane.Bokeh(grid), sizing_mode="stretch_width")
        self.show(state)

    def open(self, state: State, run: int, number: int) -> None:
        """Show a slice of another spectrum of the same study."""
        self._names = state.order[:2]
        self.pick(state, run, number)

    def pick(self, state: State, run: int, number: int) -> None:
        """Show another slice."""
        self.run, self.number = run, number
        rows, columns = self._edges
        self._x.update(start=columns.low, end=columns.high)
        if isinstance(state.study.view, MapView):
            self._y.update(start=rows.low, end=rows.high)
        else:
            edges = state.study.energy_edges[run]
            step = edges[1] - edges[0]
            low, high = edges[number] - MARGIN * step, edges[number + 1] + MARGIN * step
            self._y.update(start=max(low, rows.low), end=min(high, rows.high))
        self.show(state)

    def show(self, state: State) -> None:
        """Draw a state; the slice stays."""
        data = self._tile(state, state.spectrum.signal)
        some = data[np.isfinite(data)]
        self._intensity.high = max(float(np.percentile(some, 98)), 1e-12) if some.size else 1.0
        self._put("data", data, "data")
        found = {name: self._tile(state, state.matches[name].match.fitted) for name in self._names}
        for place, (name, values) in zip(("first", "second"), found.items(), strict=False):
            self._put(place, values, name)
        if len(self._names) > 1:
            first, second = self._names
            difference = found[first] - found[second]
            sizes = np.abs(difference[np.isfinite(difference)])
            top = max(float(np.percentile(sizes, 99)), 1e-12) if sizes.size else 1.0
            self._signed.update(low=-top, high=top)
            self._put("difference", difference, f"{first} less {second}")
        share = ""
        if state.explanation is not None:
            share = f"; share of the evidence for {plain(state.explanation.name)}: "
            share += f"{state.explanation.shares[self.run, self.number]:+.3f}"
        self._heading.object = f"<h2>Slice: {slice_name(state.study, self.run, self.number)}{share}</h2>"

    def _tile(self, state: State, values: NDArray) -> NDArray[np.float64]:
        tiles = state.study.view.as_tiles(shown(state.spectrum, values))
        maps = isinstance(state.study.view, MapView)
        return np.asarray(tiles[self.run, self.number if maps else 0])

    def _put(self, name: str, values: NDArray, title: str) -> None:
        self._sources[name].data = {"image": [np.ascontiguousarray(values, np.float32)]}
        self._figures[name].title.text = title

    def _add(self, name: str, colours: LinearColorMapper) -> None:
        rows, columns = self._edges
        plot = figure(
            x_range=self._x, y_range=self._y, width=SIZE, height=SIZE, tools="pan,box_zoom,wheel_zoom,reset",
            name=f"slice {name}", title=name,
        )  # fmt: skip
        plot.quad(left=columns.low, right=columns.high, bottom=rows.low, top=rows.high, **NO_DETECTOR)
        source = ColumnDataSource({"image": []})
        drawn = plot.image(
            "image", x=columns.low, y=rows.low, dw=columns.high - columns.low, dh=rows.high - rows.low,
            source=source, color_mapper=colours,
        )  # fmt: skip
        plot.add_tools(
            HoverTool(renderers=[drawn], tooltips=[(columns.name, "$x"), (rows.name, "$y"), ("value", "@image")])
        )
        plot.add_layout(ColorBar(color_mapper=colours, width=8, padding=4), "right")
        _name_axis(plot.xaxis, columns)
        _name_axis(plot.yaxis, rows)
        plot.grid.visible = False
        self._sources[name], self._figures[name] = source, plot


def _name_axis(axis: Any, edge: Edge) -> None:
    axis.axis_label = edge.label
    if edge.ticks:
        axis.ticker = FixedTicker(ticks=[at for at, _ in edge.ticks])
        axis.major_label_overrides = dict(edge.ticks)
