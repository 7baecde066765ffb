"""Figures of results."""

import os
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .errors import MagnoscopeError
from .spectrum import Spectrum, to_image
from .verdict import Verdict

MISSING = "#d9d9d9"
"""Grey of pixels without a detector."""


def _colour_map() -> matplotlib.colors.Colormap:
    return matplotlib.colormaps["viridis"].with_extremes(bad=MISSING)


def run_scale(spectrum: Spectrum) -> NDArray[np.float64]:
    """Intensity at the top of the colour scale for each run: the 98th percentile of what was measured."""
    return np.array(
        [np.nanpercentile(np.where(v, s, np.nan), 98) for s, v in zip(spectrum.signal, spectrum.valid, strict=True)]
    )


def _draw_image(axes: Axes, tiles: NDArray[np.float64], spectrum: Spectrum, title: str) -> None:
    """All tiles of a spectrum, each run on its own scale."""
    study = spectrum.study
    runs, slices, nx, ny = study.shape
    scale = run_scale(spectrum)[:, None, None, None]
    axes.imshow(to_image(tiles / scale), cmap=_colour_map(), vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    for r in range(1, runs):
        axes.axhline(r * nx - 0.5, color="white", lw=0.6)
    for s in range(1, slices):
        axes.axvline(s * ny - 0.5, color="white", lw=0.6)
    axes.set_yticks([(r + 0.5) * nx for r in range(runs)], [f"{run.ei:g}" for run in study.runs])
    fractions = study.view.energy_fractions
    axes.set_xticks(
        [(s + 0.5) * ny for s in range(slices)],
        [f"{(a + b) / 2:.2f}" for a, b in zip(fractions[:-1], fractions[1:], strict=True)],
        fontsize=7,
    )
    axes.set_ylabel("Ei (meV)")
    axes.set_title(title, fontsize=10, loc="left")


def telling_slices(verdict: Verdict, number: int = 4) -> list[tuple[int, int]]:
    """Slices (run, slice) in which the best matches of the two nearest models differ most, in units of the noise."""
    first, second = sorted(verdict.matches, key=lambda name: -verdict.scores[name])[:2]
    a, b = verdict.matches[first].match, verdict.matches[second].match
    valid = verdict.spectrum.valid
    difference = np.where(valid, (a.fitted - b.fitted) ** 2, 0).sum((2, 3))
    residual = np.where(valid, (verdict.spectrum.signal - a.fitted) ** 2, 0).sum((2, 3))
    gain = np.where(np.isfinite(a.per_tile), difference / np.maximum(residual / valid.sum((2, 3)).clip(1), 1e-30), 0)
    best = np.argsort(gain, axis=None)[::-1][:number]
    return [tuple(map(int, np.unravel_index(i, gain.shape))) for i in best]  # type: ignore[misc]


def plot_verdict(verdict: Verdict) -> Figure:
    """The data, the best match of each model, and the slices that tell them apart, side by side."""
    spectrum, study = verdict.spectrum, verdict.spectrum.study
    names = list(verdict.matches)
    columns = 1 + len(names)
    chosen = telling_slices(verdict) if len(names) > 1 else []
    figure = Figure(figsize=(4.6 * columns, 4.2 + 2.5 * len(chosen)), layout="constrained")
    grid = figure.add_gridspec(1 + len(chosen), columns, height_ratios=[1.7] + [1] * len(chosen))
    measured = np.where(spectrum.valid, spectrum.signal, np.nan)
    panels = [("data", measured)] + [
        (
            f"{name}: K = {verdict.scores[name]:.3f}, chi2 = {m.match.chi_square:.2f}",
            np.where(spectrum.valid, m.match.fitted, np.nan),
        )
        for name, m in verdict.matches.items()
    ]
    for column, (title, tiles) in enumerate(panels):
        axes = figure.add_subplot(grid[0, column])
        _draw_image(axes, tiles, spectrum, title)
        axes.set_xlabel("energy transfer / Ei")
    for row, (r, s) in enumerate(chosen, 1):
        _draw_slices(figure, [figure.add_subplot(grid[row, c]) for c in range(columns)], panels, spectrum, r, s)
    figure.suptitle(f"{study.title}\n{verdict.sentence}", fontsize=10, wrap=True)
    return figure


def _draw_slices(
    figure: Figure,
    axes: Sequence[Axes],
    panels: Sequence[tuple[str, NDArray[np.float64]]],
    spectrum: Spectrum,
    r: int,
    s: int,
) -> None:
    """One slice of every panel on one colour scale."""
    study = spectrum.study
    x, y = study.view.axes
    low, high = study.energy_edges[r, s : s + 2]
    top = np.nanpercentile(panels[0][1][r, s], 98)
    extent = (y.start - y.width / 2, y.stop + y.width / 2, x.start - x.width / 2, x.stop + x.width / 2)
    for number, (axis, (title, tiles)) in enumerate(zip(axes, panels, strict=True)):
        shown = axis.imshow(
            tiles[r, s],
            cmap=_colour_map(),
            vmin=0,
            vmax=max(top, 1e-12),
            origin="lower",
            extent=extent,
            interpolation="nearest",
            aspect="equal",
        )
        axis.set_xlabel(f"{y.name} (r.l.u.)")
        axis.set_ylabel(f"{x.name} (r.l.u.)")
        axis.set_title(f"{title.split(':')[0]}, Ei {study.runs[r].ei:g}: {low:.1f} to {high:.1f} meV", fontsize=9)
        if number == len(axes) - 1:
            figure.colorbar(shown, ax=axis, label="intensity")


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
