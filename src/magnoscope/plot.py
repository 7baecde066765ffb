"""Figures of results."""

import os
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from .errors import MagnoscopeError
from .estimate import Fit
from .explain import Explanation
from .spectrum import Spectrum, to_image
from .spinwave import PowderSpectrum
from .verdict import Verdict

MISSING = "#d9d9d9"
"""Grey of pixels without a detector."""


def literal(text: str) -> str:
    """Text of a file (a title, a name) as it stands there: dollar signs in it are no formulas."""
    return text.replace("$", r"\$")


def _colour_map() -> matplotlib.colors.Colormap:
    return matplotlib.colormaps["viridis"].with_extremes(bad=MISSING)


def run_scale(spectrum: Spectrum) -> NDArray[np.float64]:
    """Intensity at the top of the colour scale for each run: the 98th percentile of what was measured."""
    return np.array(
        [np.nanpercentile(np.where(v, s, np.nan), 98) for s, v in zip(spectrum.signal, spectrum.valid, strict=True)]
    )


def draw_image(axes: Axes, tiles: NDArray[np.float64], spectrum: Spectrum, title: str) -> None:
    """All tiles of a spectrum (runs, tiles, rows, columns), each run on its own scale."""
    study = spectrum.study
    runs, number, nx, ny = tiles.shape
    scale = run_scale(spectrum)[:, None, None, None]
    axes.imshow(to_image(tiles / scale), cmap=_colour_map(), vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    for r in range(1, runs):
        axes.axhline(r * nx - 0.5, color="white", lw=0.6)
    for s in range(1, number):
        axes.axvline(s * ny - 0.5, color="white", lw=0.6)
    axes.set_yticks([(r + 0.5) * nx for r in range(runs)], [f"{run.ei:g}" for run in study.runs])
    ei = study.runs[0].ei
    middles = [sum(study.view.tile_energies(ei, s)) / 2 / ei for s in range(number)]
    axes.set_xticks([(s + 0.5) * ny for s in range(number)], [f"{m:.2f}" for m in middles], fontsize=7)
    axes.set_xlabel("energy transfer / Ei")
    axes.set_ylabel("Ei (meV)")
    axes.set_title(literal(title), fontsize=10, loc="left")


def _draw_tile(axes: Axes, tile: NDArray[np.float64], spectrum: Spectrum, r: int, top: float) -> AxesImage:
    """One tile of a run with its axes."""
    rows, columns = spectrum.study.view.tile_edges(spectrum.study.runs[r].ei)
    shown = axes.imshow(
        tile,
        cmap=_colour_map(),
        vmin=0,
        vmax=max(top, 1e-12),
        origin="lower",
        extent=(columns.low, columns.high, rows.low, rows.high),
        interpolation="nearest",
        aspect="auto" if rows.unit != columns.unit else "equal",
    )
    for edge, place, line in ((columns, axes.set_xticks, axes.axvline), (rows, axes.set_yticks, axes.axhline)):
        if edge.ticks:
            place([at for at, _ in edge.ticks], [literal(name) for _, name in edge.ticks])
            for at, _ in edge.ticks[1:-1]:
                line(at, color="white", lw=0.6)
    axes.set_xlabel(literal(columns.label))
    axes.set_ylabel(literal(rows.label))
    return shown


def telling_tiles(verdict: Verdict, number: int = 4) -> list[tuple[int, int]]:
    """Tiles (run, tile) in which the best matches of the two nearest models differ most, in units of the noise."""
    first, second = sorted(verdict.matches, key=lambda name: -verdict.scores[name])[:2]
    a, b = verdict.matches[first].match, verdict.matches[second].match
    spectrum, as_tiles = verdict.spectrum, verdict.spectrum.study.view.as_tiles
    valid = as_tiles(spectrum.valid)
    difference = as_tiles(np.where(spectrum.valid, (a.fitted - b.fitted) ** 2, 0)).sum((2, 3))
    residual = as_tiles(np.where(spectrum.valid, (spectrum.signal - a.fitted) ** 2, 0)).sum((2, 3))
    gain = np.where(np.isfinite(a.per_tile), difference / np.maximum(residual / valid.sum((2, 3)).clip(1), 1e-30), 0)
    best = np.argsort(gain, axis=None)[::-1][:number]
    return [tuple(map(int, np.unravel_index(i, gain.shape))) for i in best]  # type: ignore[misc]


def plot_verdict(verdict: Verdict) -> Figure:
    """The data, the best match of each model, and the tiles that tell them apart, side by side."""
    chosen = telling_tiles(verdict) if len(verdict.matches) > 1 else []
    fitted = {
        f"{name}: K = {verdict.scores[name]:.3f}, chi2 = {m.match.chi_square:.2f}": m.match.fitted
        for name, m in verdict.matches.items()
    }
    return _side_by_side(verdict.spectrum, fitted, chosen, verdict.sentence)


def plot_fits(fits: Sequence[Fit], difference: NDArray[np.float64] | None = None, number: int = 4) -> Figure:
    """The data, the best fit of each candidate, and some tiles side by side.

    Parameters
    ----------
    fits : sequence of Fit
        Of one spectrum; of a single one what is left is drawn too.
    difference : (runs, tiles), optional
        What the tiles shown are largest in; the first fit's chi-square unless given.
    """
    size = np.nan_to_num(np.abs(fits[0].match.per_tile if difference is None else difference), nan=-1.0)
    order = np.argsort(size, axis=None)[::-1][:number]
    chosen = [tuple(map(int, np.unravel_index(i, size.shape))) for i in order]
    fitted = {f"{f.model}: chi2 = {f.match.chi_square:.3f}": f.match.fitted for f in fits}
    if len(fits) == 1:
        fitted["|data - fit|"] = np.abs(fits[0].spectrum.signal - fits[0].match.fitted)
    said = "\n".join(
        f"{f.model}: " + ", ".join(f"{e.name} {e.value:.3g}({e.error:.1g})" for e in f.estimates) for f in fits
    )
    return _side_by_side(fits[0].spectrum, fitted, chosen, said)  # type: ignore[arg-type]


def _side_by_side(
    spectrum: Spectrum, fitted: dict[str, NDArray[np.float64]], chosen: Sequence[tuple[int, int]], said: str
) -> Figure:
    """The data and simulations fitted to it, and chosen tiles of them.

    Of a view with one tile for each run, such as a path, all tiles are drawn with their axes.
    """
    panels = [(title, _shown(spectrum, values)) for title, values in {"data": spectrum.signal, **fitted}.items()]
    columns = len(panels)
    runs, tiles = panels[0][1].shape[:2]
    overview = tiles > 1
    if not overview:
        chosen = [(r, 0) for r in range(runs)]
    heights = [1.7] * overview + [1.0 if overview else 1.4] * len(chosen)
    figure = Figure(figsize=(4.6 * columns, 0.8 + 2.5 * max(sum(heights), 1)), layout="constrained")
    grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    if overview:
        for column, (title, values) in enumerate(panels):
            draw_image(figure.add_subplot(grid[0, column]), values, spectrum, title)
    for row, (r, t) in enumerate(chosen, int(overview)):
        _draw_tiles(figure, [figure.add_subplot(grid[row, c]) for c in range(columns)], panels, spectrum, r, t)
    figure.suptitle(literal(f"{spectrum.study.title}\n{said}"), fontsize=10, wrap=True)
    return figure


def _shown(spectrum: Spectrum, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values as tiles (runs, tiles, rows, columns), NaN where there is no detector."""
    return spectrum.study.view.as_tiles(np.where(spectrum.valid, values, np.nan))


def _draw_tiles(
    figure: Figure,
    axes: Sequence[Axes],
    panels: Sequence[tuple[str, NDArray[np.float64]]],
    spectrum: Spectrum,
    r: int,
    t: int,
) -> None:
    """One tile of every panel on one colour scale."""
    study = spectrum.study
    low, high = study.view.tile_energies(study.runs[r].ei, t)
    top = np.nanpercentile(panels[0][1][r, t], 98)
    whole = panels[0][1].shape[1] == 1
    for number, (axis, (title, tiles)) in enumerate(zip(axes, panels, strict=True)):
        shown = _draw_tile(axis, tiles[r, t], spectrum, r, top)
        where = f"Ei {study.runs[r].ei:g}" if whole else f"Ei {study.runs[r].ei:g}: {low:.1f} to {high:.1f} meV"
        axis.set_title(literal(f"{title if whole else title.split(':')[0]}, {where}"), fontsize=9)
        if number == len(axes) - 1:
            figure.colorbar(shown, ax=axis, label="intensity")


def plot_explanation(explanation: Explanation, number: int = 12) -> Figure:
    """The data and the share of each slice, by pixel where the method has it, and the largest shares as bars."""
    spectrum, study = explanation.spectrum, explanation.spectrum.study
    figure = Figure(figsize=(11, 9), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=[1.4, 1])
    draw_image(figure.add_subplot(grid[0, 0]), _shown(spectrum, spectrum.signal), spectrum, "data")
    shares = explanation.pixels
    if shares is None:
        shares = np.where(spectrum.valid, explanation.shares[..., None, None], np.nan)
    top = max(float(np.nanpercentile(np.abs(shares), 99.5)), 1e-12)
    axes = figure.add_subplot(grid[0, 1])
    image = to_image(shares)
    colours = matplotlib.colormaps["PuOr_r"].with_extremes(bad=MISSING)
    drawn = axes.imshow(image, cmap=colours, vmin=-top, vmax=top, interpolation="nearest", aspect="auto")
    axes.set_title(literal(f"evidence for {explanation.name} ({explanation.method})"), fontsize=10, loc="left")
    axes.set_xticks([])
    axes.set_yticks([])
    figure.colorbar(drawn, ax=axes, label="share")
    axes = figure.add_subplot(grid[1, :])
    order = explanation.ordered()[:number]
    names = [
        f"Ei {study.runs[r].ei:g}: {study.energy_edges[r, s]:.1f} to {study.energy_edges[r, s + 1]:.1f} meV"
        for r, s in order
    ]
    sizes = [explanation.shares[r, s] for r, s in order]
    axes.barh(names[::-1], sizes[::-1], color=["#b35806" if x > 0 else "#542788" for x in sizes[::-1]])
    axes.axvline(0, color="black", lw=0.6)
    axes.set_xlabel(literal(f"share of the evidence (positive: for {explanation.name})"))
    said = f"log-odds of {explanation.name}: {explanation.margin:.2f}; with every slice neutral"
    figure.suptitle(literal(f"{study.title}\n{said} {explanation.neutral:.2f}"), fontsize=10)
    return figure


def plot_spectrum(spectrum: Spectrum, title: str = "") -> Figure:
    """A spectrum alone: all its tiles, with their axes where each run has but one."""
    values = _shown(spectrum, spectrum.signal)
    runs, tiles = values.shape[:2]
    if tiles > 1:
        figure = Figure(figsize=(8, 5), layout="constrained")
        draw_image(figure.add_subplot(), values, spectrum, title or spectrum.study.title)
        return figure
    figure = Figure(figsize=(6.4, 0.5 + 3.5 * runs), layout="constrained")
    for r, scale in enumerate(run_scale(spectrum)):
        axes = figure.add_subplot(runs, 1, r + 1)
        shown = _draw_tile(axes, values[r, 0], spectrum, r, scale)
        axes.set_title(literal(f"{title or spectrum.study.title}, Ei {spectrum.study.runs[r].ei:g} meV"), fontsize=9)
        figure.colorbar(shown, ax=axes, label="intensity")
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure; the format is that of the file's ending.

    Raises
    ------
    MagnoscopeError
        If the ending names no format or the file cannot be written.
    """
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        figure.savefig(partial, dpi=110)
        os.replace(partial, path)
    except (ValueError, OSError) as error:
        raise MagnoscopeError(f"figure {path} cannot be written: {error}; name a .png, .pdf or .svg file") from None
    finally:
        partial.unlink(missing_ok=True)


def plot_powder(spectrum: PowderSpectrum) -> Figure:
    """A powder average on |Q| and energy; the colour scale ends at the 99th percentile."""
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    half = np.diff(spectrum.q) / 2 if len(spectrum.q) > 1 else np.array([0.05])
    q_edges = np.concatenate(
        [[spectrum.q[0] - half[0]], spectrum.q[:-1] + half[: len(spectrum.q) - 1], [spectrum.q[-1] + half[-1]]]
    )
    top = max(float(np.percentile(spectrum.intensity, 99)), 1e-12)
    shown = axes.pcolormesh(
        q_edges, spectrum.energy_edges, spectrum.intensity.T, cmap=_colour_map(), vmin=0, vmax=top, rasterized=True
    )
    axes.set_xlabel("|Q| (1/Å)")
    axes.set_ylabel("energy transfer (meV)")
    axes.set_title(literal(f"{spectrum.model}, powder, {spectrum.temperature:g} K"), fontsize=10, loc="left")
    figure.colorbar(shown, ax=axes, label="S_perp (1/meV per magnetic cell)")
    return figure
