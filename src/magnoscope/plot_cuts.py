"""Figure of cuts: data with errors against every candidate."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .cuts import Cut
from .plot import literal

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
"""Told apart by colour-blind readers (M. Okabe and K. Ito, Color Universal Design, 2008)."""
STYLES = ("-", "--", "-.", ":")
"""Told apart in black and white."""
COLUMNS = 2


def plot_cuts(cuts: Sequence[Cut], title: str = "") -> Figure:
    """Each cut in a panel of its own, with the chi-square of every candidate."""
    rows = -(-len(cuts) // COLUMNS)
    columns = min(len(cuts), COLUMNS)
    figure = Figure(figsize=(5.6 * columns, 0.4 + 3.8 * rows), layout="constrained")
    for number, one in enumerate(cuts, 1):
        _draw(figure.add_subplot(rows, columns, number), one)
    if title:
        figure.suptitle(literal(title), fontsize=10)
    return figure


def _draw(axes: Axes, one: Cut) -> None:
    x, shown = one.axis.positions, np.isfinite(one.data)
    axes.errorbar(
        x[shown], one.data[shown], one.error[shown], fmt="o", ms=3.5, color="black", elinewidth=0.8, label="data"
    )
    for number, (name, values) in enumerate(one.candidates.items()):
        label = literal(f"{name}: chi2 = {one.chi_square[name]:.2f}")
        colour, style = COLOURS[number % len(COLOURS)], STYLES[number % len(STYLES)]
        axes.plot(x, values, style, color=colour, lw=1.6, label=label)
    if one.axis.ticks:
        axes.set_xticks([at for at, _ in one.axis.ticks], [literal(name) for _, name in one.axis.ticks])
        for at, _ in one.axis.ticks[1:-1]:
            axes.axvline(at, color="0.7", lw=0.6)
    axes.set_xlabel(literal(one.axis.label))
    axes.set_ylabel("intensity")
    axes.set_title(literal(f"{one.where}\nerrors: {one.error_source}"), fontsize=8, loc="left")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.3 * (high - low))  # room for the legend
    axes.legend(fontsize=8, loc="upper left")
