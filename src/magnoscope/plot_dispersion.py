"""Figure of spin waves along a path in Q."""

import numpy as np
from matplotlib.figure import Figure

from .dispersion import Dispersion, Path
from .plot import literal

ENERGIES = 400
"""Points of the energy axis."""


def plot_dispersion(path: Path, found: Dispersion, width: float | None = None, title: str = "") -> Figure:
    """Energies of the modes along a path over a map of S_perp.

    Parameters
    ----------
    path : Path
    found : Dispersion
        At the points of the path.
    width : float, meV
        Full width at half maximum that the map is drawn with; a fortieth of the highest energy if not given.
    title : str
    """
    top = 1.08 * max(float(found.energies.max()), 1e-3)
    width = width or top / 40
    grid = np.linspace(0, top, ENERGIES)
    shown = found.spectrum(grid, width)
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    # near zero energy intensities of antiferromagnets diverge: the scale leaves out the brightest percent
    bright = np.percentile(shown[shown > 0], 99) if np.any(shown > 0) else 1.0
    image = axes.pcolormesh(path.distance, grid, shown.T, vmin=0, vmax=bright, cmap="viridis", shading="gouraud")
    axes.plot(path.distance, found.energies, color="white", lw=0.6, alpha=0.7)
    for tick in path.ticks[1:-1]:
        axes.axvline(tick, color="white", lw=0.5, alpha=0.5)
    axes.set_xticks(path.ticks, [literal(name) for name in path.labels])
    axes.set_xlim(path.distance[0], path.distance[-1])
    axes.set_ylim(0, top)
    axes.set_xlabel("Q (r.l.u.)")
    axes.set_ylabel("energy (meV)")
    axes.set_title(literal(title), fontsize=10, loc="left")
    figure.colorbar(image, ax=axes, label=f"$S_\\perp$ per meV, width {width:.3g} meV")
    return figure
