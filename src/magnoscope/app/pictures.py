"""Pictures of all tiles of a spectrum that zoom together."""

import numpy as np
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

from ..study import Study
from .colours import NO_DETECTOR
from .mosaic import Mosaic

WIDTH, HEIGHT, COLUMNS = 430, 330, 3
"""Of a picture in pixels of the screen, and pictures in a row."""


class Pictures:
    """Pictures by name, on ranges that they share.

    Attributes
    ----------
    mosaic : Mosaic
    x, y : bokeh Range1d
    figures : dict of str to figure
    sources : dict of str to ColumnDataSource
    """

    def __init__(self, study: Study, shared: "Pictures | None" = None) -> None:
        self.mosaic = Mosaic.of(study)
        width, height = self.mosaic.size
        self.x: Range1d = shared.x if shared else Range1d(0, width, bounds=(0, width))
        self.y: Range1d = shared.y if shared else Range1d(0, height, bounds=(0, height))
        self.figures: dict[str, figure] = {}
        self.sources: dict[str, ColumnDataSource] = {}

    def grid(self) -> object:
        """All of them in rows, with one toolbar."""
        plots = list(self.figures.values())
        return gridplot([plots[i : i + COLUMNS] for i in range(0, len(plots), COLUMNS)], merge_tools=True)

    def add(self, name: str, colours: LinearColorMapper, unit: str = "value") -> None:
        """Another picture, empty."""
        zoom = BoxZoomTool()
        plot = figure(
            x_range=self.x,
            y_range=self.y,
            width=WIDTH,
            height=HEIGHT,
            tools=[zoom, PanTool(), WheelZoomTool(), ResetTool()],
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
        plot.add_tools(
            HoverTool(
                renderers=[drawn],
                tooltips=[("at", "$x{custom}"), (unit, "@value{0.000}")],
                formatters={"$x": self.mosaic.hover()},
            )
        )
        self.mosaic.label(plot)
        plot.title.text_font_size = "12px"
        self.sources[name], self.figures[name] = source, plot

    def put(self, name: str, picture: NDArray, values: NDArray, title: str) -> None:
        """What a picture shows and what the pointer reads, (runs, slices, axis 0, axis 1), NaN without a detector."""
        arrays = [self.mosaic.image(np.asarray(a)) for a in (picture, values)]
        known = [*self.sources[name].data["image"], *self.sources[name].data["value"]]
        if not known or not all(map(_same, known, arrays)):  # what is there already need not be sent again
            self.sources[name].data = {"image": arrays[:1], "value": arrays[1:]}
        self.figures[name].title.text = title


def _same(a: NDArray, b: NDArray) -> bool:
    return np.array_equal(a, b, equal_nan=True)
