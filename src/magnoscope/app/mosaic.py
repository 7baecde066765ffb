"""All tiles of a spectrum in one picture: runs from top to bottom, tiles to the right, each tile's rows upwards."""

from dataclasses import dataclass

import numpy as np
from bokeh.models import CustomJSHover, FixedTicker
from bokeh.plotting import figure
from numpy.typing import NDArray

from ..spectrum import Spectrum
from ..study import Study
from ..views import Edge, MapView

MARGIN = 2.0
"""Energy bins that are shown on either side of one that is looked at."""

WHERE = """
const r = runs - 1 - Math.floor(special_vars.y / rows), t = Math.floor(special_vars.x / columns)
if (r < 0 || r >= runs || t < 0 || t >= tiles) return ""
const up = (special_vars.y - (runs - 1 - r) * rows) / rows, right = (special_vars.x - t * columns) / columns
const [low, high] = energies[r][t]
const place = (edge, share) => edge.low + share * (edge.high - edge.low)
const say = (edge, share) => `${edge.name} ${place(edge, share).toFixed(3)} ${edge.unit}`
if (tiles > 1)
  return `Ei ${ei[r]} meV, ${low.toFixed(2)} to ${high.toFixed(2)} meV, ${say(edges[0], up)}, ${say(edges[1], right)}`
return `Ei ${ei[r]} meV, ${say(edges[0], up)}, pixel ${Math.floor(right * columns)} of the path`
"""


@dataclass(frozen=True)
class Mosaic:
    """Where each tile lies in the picture, in pixels of the data from its lower left corner."""

    study: Study
    runs: int
    tiles: int
    rows: int
    columns: int

    @classmethod
    def of(cls, study: Study) -> "Mosaic":
        """That of a study."""
        return cls(study, *study.view.as_tiles(np.empty(study.shape, bool)).shape)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.tiles * self.columns, self.runs * self.rows

    def image(self, values: NDArray) -> NDArray[np.float32]:
        """The picture (height, width), its lowest line first, of (runs, slices, axis 0, axis 1)."""
        tiles = self.study.view.as_tiles(np.asarray(values, np.float32))[::-1]
        return np.ascontiguousarray(tiles.transpose(0, 2, 1, 3).reshape(self.size[::-1]))

    def place(self, run: int, number: int) -> tuple[float, float, float, float]:
        """(left, right, bottom, top) of a slice: a tile of maps, a few energy bins of a path."""
        bottom = (self.runs - 1 - run) * self.rows
        if isinstance(self.study.view, MapView):
            left = number * self.columns
            return float(left), float(left + self.columns), float(bottom), float(bottom + self.rows)
        low, high = max(number - MARGIN, 0), min(number + 1 + MARGIN, self.rows)
        return 0.0, float(self.columns), bottom + low, bottom + high

    def borders(self) -> tuple[list[list[float]], list[list[float]]]:
        """Lines between tiles, and at the named points of a path."""
        width, height = self.size
        xs = [[0.0, float(width)] for _ in range(1, self.runs)]
        ys = [[float(r * self.rows)] * 2 for r in range(1, self.runs)]
        across: list[float] = [t * self.columns for t in range(1, self.tiles)]
        if self.tiles == 1:
            across += [at for at, _ in self._columns_edge.ticks[1:-1]]
        xs += [[float(x)] * 2 for x in across]
        ys += [[0.0, float(height)] for _ in across]
        return xs, ys

    @property
    def _columns_edge(self) -> Edge:
        return self.study.view.tile_edges(self.study.runs[0].ei)[1]

    def label(self, plot: figure) -> None:
        """Name runs and tiles on the axes of a picture."""
        study = self.study
        middles = [(self.runs - 1 - r + 0.5) * self.rows for r in range(self.runs)]
        plot.yaxis.ticker = FixedTicker(ticks=middles)
        plot.yaxis.major_label_overrides = {m: f"{run.ei:g}" for m, run in zip(middles, study.runs, strict=True)}
        plot.yaxis.axis_label = "Ei (meV)"
        if self.tiles == 1:
            ticks = self._columns_edge.ticks
            plot.xaxis.ticker = FixedTicker(ticks=[at for at, _ in ticks])
            plot.xaxis.major_label_overrides = dict(ticks)
            plot.xaxis.axis_label = self._columns_edge.label
        else:
            ei = study.runs[0].ei
            middles = [(t + 0.5) * self.columns for t in range(self.tiles)]
            shares = [sum(study.view.tile_energies(ei, t)) / 2 / ei for t in range(self.tiles)]
            plot.xaxis.ticker = FixedTicker(ticks=middles)
            plot.xaxis.major_label_overrides = {m: f"{s:.2f}" for m, s in zip(middles, shares, strict=True)}
            plot.xaxis.axis_label = "energy transfer / Ei"
        plot.grid.visible = False

    def hover(self) -> CustomJSHover:
        """What the pointer is on, in the study's own axes."""
        study = self.study
        edges = study.view.tile_edges(study.runs[0].ei)
        return CustomJSHover(
            code=WHERE,
            args={
                "runs": self.runs,
                "tiles": self.tiles,
                "rows": self.rows,
                "columns": self.columns,
                "ei": [run.ei for run in study.runs],
                "energies": [
                    [list(study.view.tile_energies(run.ei, t)) for t in range(self.tiles)] for run in study.runs
                ],
                "edges": [{"name": e.name, "unit": e.unit, "low": e.low, "high": e.high} for e in edges],
            },
        )


def slice_name(study: Study, run: int, number: int) -> str:
    """A slice in words."""
    low, high = study.energy_edges[run, number : number + 2]
    return f"Ei {study.runs[run].ei:g}: {low:.1f} to {high:.1f} meV"


def shown(spectrum: Spectrum, values: NDArray) -> NDArray[np.float64]:
    """Values with NaN where there is no detector."""
    return np.where(spectrum.valid, values, np.nan)
