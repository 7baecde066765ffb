"""Shares of the evidence by slice as bars; a click on one shows that slice."""

from collections.abc import Callable

import panel as pn
from bokeh.models import ColumnDataSource, HoverTool, Span, TapTool
from bokeh.plotting import figure

from .colours import AGAINST, FOR
from .mosaic import slice_name
from .state import State

NUMBER = 14
"""Bars shown, of the largest shares."""


class Shares:
    """The bars of one state.

    Attributes
    ----------
    view : panel.viewable.Viewable
    """

    def __init__(self, state: State, picked: Callable[[int, int], None] = lambda run, number: None) -> None:
        self._picked = picked
        self._slices: list[tuple[int, int]] = []
        self._source = ColumnDataSource({"name": [], "share": [], "colour": []})
        self._plot = figure(
            y_range=[""],
            height=340,
            sizing_mode="stretch_width",
            tools=[TapTool()],
            toolbar_location=None,
            name="shares",
        )
        self._plot.hbar(
            y="name", right="share", height=0.75, color="colour", source=self._source, nonselection_alpha=0.5
        )
        self._plot.add_layout(Span(location=0, dimension="height", line_width=1))
        self._plot.add_tools(HoverTool(tooltips=[("slice", "@name"), ("share", "@share{+0.000}")]))
        self._plot.ygrid.visible = False
        self._source.selected.on_change("indices", self._clicked)
        self.view = pn.Column(
            pn.pane.Bokeh(self._plot, sizing_mode="stretch_width", margin=(5, 10)), sizing_mode="stretch_width"
        )
        self.show(state)

    def show(self, state: State) -> None:
        """Draw a state's shares, once it has them."""
        found = state.explanation
        if found is None:
            self._slices = []
            self._source.data = {"name": [], "share": [], "colour": []}
            self._plot.title.text = "shares of the evidence: being worked out"
            return
        self._slices = found.ordered()[:NUMBER][::-1]
        names = [slice_name(state.study, *place) for place in self._slices]
        shares = [float(found.shares[place]) for place in self._slices]
        self._plot.y_range.factors = names
        self._source.data = {"name": names, "share": shares, "colour": [FOR if s > 0 else AGAINST for s in shares]}
        self._plot.title.text = (
            f"share of the evidence for {found.name} (orange: for, violet: against), {found.method} values; log-odds "
            f"{found.margin:.2f}, with every slice neutral {found.neutral:.2f}. Click a bar to see the slice."
        )

    def _clicked(self, attribute: str, old: list[int], new: list[int]) -> None:
        if new:
            self._picked(*self._slices[new[0]])
