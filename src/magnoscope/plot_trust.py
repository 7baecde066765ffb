"""Figures of how far weights can be trusted."""

import numpy as np
from matplotlib.figure import Figure

from .plot import literal


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
