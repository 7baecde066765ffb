"""Figures of cleaned spectra, and of the published one beside ours."""

from collections.abc import Mapping

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from .explain import Explanation
from .plot import MISSING, draw_image, literal
from .spectrum import Spectrum, to_image


def plot_cleaned(measured: Spectrum, cleaned: Spectrum) -> Figure:
    """Data, the cleaned spectrum and its spread, each run on the scale of its data."""
    return _beside(measured, {"data": measured.signal, "cleaned": cleaned.signal, "spread": _spread(cleaned)})


def _spread(cleaned: Spectrum) -> NDArray[np.float64]:
    return np.zeros_like(cleaned.signal) if cleaned.error is None else cleaned.error


def _beside(measured: Spectrum, panels: Mapping[str, NDArray[np.float64]]) -> Figure:
    figure = Figure(figsize=(1 + 4.6 * len(panels), 5.4), layout="constrained")
    for number, (title, values) in enumerate(panels.items(), 1):
        shown = measured.study.view.as_tiles(np.where(measured.valid, values, np.nan))
        draw_image(figure.add_subplot(1, len(panels), number), shown, measured, title)
    figure.suptitle(literal(measured.study.title), fontsize=10)
    return figure


def plot_cleaning_and_evidence(
    measured: Spectrum,
    cleaned: Mapping[str, Spectrum],
    explanations: Mapping[str, Explanation],
    named: Mapping[tuple[int, int], str] | None = None,
    number: int = 10,
) -> Figure:
    """As figure 7 of the published study, for several cleaners and networks side by side.

    Parameters
    ----------
    measured : Spectrum
    cleaned : mapping of str to Spectrum
        By title, such as the published autoencoder's and ours.
    explanations : mapping of str to Explanation
        By title: the map of each, and under it the slices with the largest shares.
    named : mapping of (run, slice) to str, optional
        Slices that the publication names with the rank it gives them: outlined in the maps, and always among the bars.
    number : int
        Slices shown.
    """
    upper = {"data": measured.signal} | {title: spectrum.signal for title, spectrum in cleaned.items()}
    columns = max(len(upper), len(explanations), 1)
    figure = Figure(figsize=(1 + 4.6 * columns, 13), layout="constrained")
    grid = figure.add_gridspec(3, columns, height_ratios=[1.3, 1.3, 1])
    view, study, named = measured.study.view, measured.study, named or {}
    for column, (title, values) in enumerate(upper.items()):
        shown = view.as_tiles(np.where(measured.valid, values, np.nan))
        draw_image(figure.add_subplot(grid[0, column]), shown, measured, title)
    for column, (title, one) in enumerate(explanations.items()):
        axes = figure.add_subplot(grid[1, column])
        shares = one.shares[..., None, None] if one.pixels is None else one.pixels
        shown = to_image(np.where(measured.valid, shares, np.nan))
        top = max(float(np.nanpercentile(np.abs(shown), 99.5)), 1e-12)
        colours = matplotlib.colormaps["PuOr_r"].with_extremes(bad=MISSING)
        axes.imshow(shown, cmap=colours, vmin=-top, vmax=top, interpolation="nearest", aspect="auto")
        axes.set_title(literal(f"{title}:\nevidence for {one.name}"), fontsize=10, loc="left")
        axes.set_xticks([])
        axes.set_yticks([])
        nx, ny = study.shape[2:]
        for r, s in named:
            axes.add_patch(Rectangle((s * ny - 0.5, r * nx - 0.5), ny, nx, fill=False, lw=1.5, ec="black"))
        axes = figure.add_subplot(grid[2, column])
        order = one.ordered()
        first = [at for place, at in enumerate(order) if place < number or at in named][::-1]
        names = [
            f"{order.index((r, s)) + 1}. Ei {study.runs[r].ei:g}: {study.energy_edges[r, s]:.1f} to "
            f"{study.energy_edges[r, s + 1]:.1f}" + (f" [published: {named[r, s]}]" if (r, s) in named else "")
            for r, s in first
        ]
        sizes = [one.shares[r, s] for r, s in first]
        edges = ["black" if at in named else "none" for at in first]
        axes.barh(names, sizes, color=["#b35806" if x > 0 else "#542788" for x in sizes], edgecolor=edges)
        axes.axvline(0, color="black", lw=0.6)
        axes.tick_params(labelsize=7)
        axes.set_xlabel("share of the evidence" + ("\n(outlined: published)" if named else ""))
    return figure
