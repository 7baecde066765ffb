"""Figures of how far weights can be trusted."""

import numpy as np
import scipy
from matplotlib.figure import Figure

from .plot import literal
from .trust.posterior import Checked, rank_counts


def plot_reliability(rows: dict[str, list[dict[str, float]]], title: str) -> Figure:
    """Share of right answers against the probability that was claimed, one panel a condition.

    Parameters
    ----------
    rows : dict
        Of each condition the rows of :func:`magnoscope.trust.calibration.reliability`.
    """
    figure = Figure(figsize=(4.2 * len(rows), 4.2), layout="constrained")
    for place, (name, found) in enumerate(rows.items(), 1):
        axes = figure.add_subplot(1, len(rows), place)
        x = np.array([row["confidence"] for row in found])
        y, low, high = (np.array([row[k] for row in found]) for k in ("right", "low", "high"))
        least = min(float(x.min()), float(low.min()), 0.95)
        axes.plot([least, 1], [least, 1], color="0.7", lw=1)
        axes.errorbar(x, y, yerr=[(y - low).clip(0), (high - y).clip(0)], fmt="o", ms=4, capsize=2, color="C0")
        axes.set_xlabel("probability of the most likely model")
        axes.set_ylabel("share that is right (95 % interval)")
        axes.set_title(f"{name.replace('_', ' ')}, n = {int(sum(row['n'] for row in found))}", fontsize=10, loc="left")
    figure.suptitle(literal(title), fontsize=10)
    return figure


def plot_ranks(checked: dict[str, Checked], names: dict[str, list[str]], title: str) -> Figure:
    """Ranks of the truth among a posterior's draws, a row of panels for each candidate; even if the posterior is right.

    Grey is what 95 % of even ranks lie within, bin by bin.

    Parameters
    ----------
    checked : dict
        Of each candidate.
    names : dict
        Of each candidate's parameters.
    """
    columns = max(len(names[model]) for model in checked)
    figure = Figure(figsize=(2.2 * columns, 2.1 * len(checked) + 0.4), layout="constrained")
    panels = figure.subplots(len(checked), columns, squeeze=False, sharex=True, sharey="row")
    for row, (model, found) in zip(panels, checked.items(), strict=True):
        for axes in row[len(names[model]) :]:
            axes.set_axis_off()
        for number, name in enumerate(names[model]):
            counts = rank_counts(found.ranks[:, number])
            low, high = scipy.stats.binom.interval(0.95, int(counts.sum()), 1 / len(counts))
            row[number].axhspan(low, high, color="0.85")
            row[number].stairs(counts, np.linspace(0, 1, len(counts) + 1), color="C0")
            row[number].set_title(literal(name), fontsize=9, loc="left")
        # once all are drawn: a limit that is set stops the row's shared axis from growing
        row[0].set_ylim(0, None)
        row[0].set_ylabel(literal(f"{model}, n = {len(found.ranks)}"))
    figure.supxlabel("rank of the truth among draws", fontsize=9)
    figure.suptitle(literal(title), fontsize=10)
    return figure
