"""The figures of the published study, ours."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..hamiltonian import SpinModel
from ..plot import draw_image, literal
from ..spectrum import Spectrum
from ..study import Study
from .coarse import EdgeShift

FLAT = 0.05
"""How far sites of one sheet may lie apart along z, Å."""


def plot_models(study: Study) -> Figure:
    """One sheet of each candidate: sites by their spin, bonds by the parameter that sets them (figure 1).

    Longer bonds than the shortest are dashed.
    """
    figure = Figure(figsize=(5.5 * len(study.classes), 5), layout="constrained")
    for place, (name, model) in enumerate(study.models.items(), 1):
        axes = figure.add_subplot(1, len(study.classes), place)
        _draw_sheet(axes, model)
        axes.set_title(literal(f"{name}, one magnetic cell"), fontsize=10, loc="left")
    return figure


def _draw_sheet(axes: Axes, model: SpinModel) -> None:
    sheet = np.abs(model.positions[:, 2] - model.positions[0, 2]) < FLAT
    shifts = [model.cell[0] * i + model.cell[1] * j for i in (-1, 0, 1) for j in (-1, 0, 1)]
    lengths = np.linalg.norm(model.bond_vectors, axis=1)
    shortest = min((x for x, v in zip(lengths, model.bond_vectors, strict=True) if abs(v[2]) < FLAT), default=0.0)
    drawn: set[str] = set()
    for bond, vector, length in zip(model.bonds, model.bond_vectors, lengths, strict=True):
        set_by = np.flatnonzero(np.abs(bond.exchange[:-1]).sum((1, 2)))
        if not sheet[bond.start] or abs(vector[2]) > FLAT or not len(set_by):
            continue
        label, near = model.parameters[set_by[0]].name, length < 1.2 * shortest
        for shift in shifts:
            x, y, _ = np.stack([model.positions[bond.start], model.positions[bond.start] + vector]).T + shift[:, None]
            line: dict[str, Any] = {"lw": 2.5, "ls": "-", "zorder": 1} if near else {"lw": 1.5, "ls": "--", "zorder": 2}
            axes.plot(x, y, color=f"C{set_by[0]}", label="" if label in drawn else label, **line)
            drawn.add(label)
    along = model.moments @ model.moments[0]
    for value, marker, colour in ((1, "o", "k"), (-1, "s", "0.6")):
        for shift in shifts:
            x, y, _ = (model.positions[sheet & (np.sign(along) == value)] + shift).T
            axes.scatter(x, y, s=70, marker=marker, color=colour, zorder=3)
    for setter, edge in ((axes.set_xlim, model.cell[0][0]), (axes.set_ylim, model.cell[1][1])):
        setter(-0.05 * edge, 1.05 * edge)
    axes.set(xlabel="x (Å)", ylabel="y (Å)", aspect="equal")
    if drawn:
        axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))


def parameter_table(study: Study) -> str:
    """Table 1 in Markdown: reference values with their errors, and priors."""
    lines = ["| model | parameter | reference (meV) | prior (meV) |", "|---|---|---|---|"]
    for name, model in study.models.items():
        for p in model.parameters:
            error = f" ± {p.error:g}" if p.error else ""
            lines.append(f"| {name} | {p.name} | {p.reference:g}{error} | {p.prior[0]:g} to {p.prior[1]:g} |")
    return "\n".join(lines)


def plot_images(study: Study, measured: Spectrum | None, images: dict[str, NDArray[np.float64]]) -> Figure:
    """The measurement, where there is one, and each candidate at its reference values (figure 2)."""
    everywhere = np.ones(study.shape, bool)
    panels = {} if measured is None else {"measured": measured}
    panels |= {name: Spectrum(study, image, everywhere) for name, image in images.items()}
    figure = Figure(figsize=(5.4 * len(panels), 5), layout="constrained")
    for place, (name, spectrum) in enumerate(panels.items(), 1):
        shown = np.where(spectrum.valid, spectrum.signal, np.nan)
        draw_image(figure.add_subplot(1, len(panels), place), study.view.as_tiles(shown), spectrum, name)
    return figure


def plot_edges(shifts: list[EdgeShift]) -> Figure:
    """Shift of the bands' tops and bottoms by the coarse Gaussian, run by run."""
    figure = Figure(figsize=(5, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for what, marker in (("top", "v"), ("bottom", "^")):
        rows = [(s.ei, getattr(s, what)) for s in shifts if getattr(s, what) is not None]
        if rows:
            axes.plot(*zip(*rows, strict=True), marker=marker, ls="", label=f"{what}s of bands")
            axes.legend(fontsize=8)
    axes.axhline(0, color="0.7", lw=1)
    axes.set(xlabel="Ei (meV)", ylabel="coarse - fine (meV)")
    return figure


def plot_histogram(found: dict[str, NDArray[np.float64]], title: str) -> Figure:
    """K of the first model for test images of each model (figure 5)."""
    figure = Figure(figsize=(5, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for name, k in found.items():
        axes.hist(k, bins=np.linspace(0, 1, 41).tolist(), alpha=0.6, label=f"{name} ({len(k)})")
    axes.set(xlabel=f"K of {next(iter(found))}", ylabel="images", yscale="symlog", title=title)
    axes.legend(fontsize=8)
    return figure


def plot_curves(curves: dict[str, dict[str, list[float]]]) -> Figure:
    """Losses of training and validation, and accuracy of validation, against epochs (supporting figure 1)."""
    figure = Figure(figsize=(8.5, 3.6), layout="constrained")
    losses, accuracy = figure.subplots(1, 2)
    for n, (name, found) in enumerate(curves.items()):
        losses.plot(found["epoch"], found["train_loss"], color=f"C{n}", ls=":")
        losses.plot(found["epoch"], found["validation_loss"], color=f"C{n}", label=name)
        accuracy.plot(found["epoch"], found["validation_accuracy"], color=f"C{n}", label=name)
    losses.set(xlabel="epoch", ylabel="loss (dotted: training)", yscale="log")
    accuracy.set(xlabel="epoch", ylabel="accuracy of validation")
    losses.legend(fontsize=7)
    return figure
