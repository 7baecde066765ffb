"""Figure of a plan: where the candidates are told apart."""

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from .plan import Plan
from .plot import literal


def plot_plan(found: Plan) -> Figure:
    """Share of the evidence against energy transfer for each run; beside it what each run is worth, and its time."""
    study = found.study
    runs = len(study.runs)
    figure = Figure(figsize=(10.5, 1.4 + 0.95 * runs), layout="constrained")
    grid = figure.add_gridspec(runs, 2, width_ratios=[2.2, 1])
    top = max(float(found.slice_shares.max()), 1e-12)
    colours = matplotlib.colormaps["viridis"]
    last = float(study.energy_edges.max())
    for r, run in enumerate(study.runs):
        axes = figure.add_subplot(grid[r, 0])
        edges, shares = study.energy_edges[r], found.slice_shares[r]
        axes.bar(
            edges[:-1], shares, np.diff(edges), align="edge", color=colours(shares / top), edgecolor="white", lw=0.3
        )
        axes.set_xlim(0, 1.02 * last)
        axes.set_ylim(0, 1.08 * top)
        axes.set_ylabel(f"Ei {run.ei:g}", rotation=0, ha="right", va="center")
        axes.set_yticks([0, round(top, 3)])
        axes.tick_params(labelsize=7, labelbottom=r == runs - 1)
        if r == 0:
            axes.set_title("share of the evidence by slice, equal times", fontsize=9, loc="left")
    axes.set_xlabel("energy transfer (meV)")
    axes = figure.add_subplot(grid[:, 1])
    place = np.arange(runs)
    alone = np.median(found.alone, 0)
    axes.barh(
        place - 0.2, alone / max(alone.max(), 1e-12), 0.38, color="#0072b2", label="what it tells alone (best = 1)"
    )
    axes.barh(place + 0.2, found.shares, 0.38, color="#d55e00", label="best share of the time")
    axes.set_yticks(place, [f"Ei {run.ei:g}" for run in study.runs])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.05)
    axes.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    names = " or ".join(study.classes)
    said = f"{study.title}\n{names}: {len(found.pairs)} truths, each against the best match of another"
    figure.suptitle(literal(said), fontsize=10)
    return figure
