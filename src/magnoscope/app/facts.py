"""The measurement: what was read, its axes and limits, and which pixels have a detector."""

import numpy as np
import panel as pn

from ..views import MapView
from .state import State
from .words import plain, text


def facts(state: State) -> pn.pane.HTML:
    """The file, and a table of axes and limits."""
    origin = state.origin
    lines = "".join(f"<br>{plain(line.strip())}" for line in origin.lines)
    masked = f"; masked by {plain(origin.mask)}" if origin.mask else ""
    rows = "".join(
        f"<tr><td>{plain(name)}</td><td>{plain(unit)}</td><td class=n>{low:g}</td><td class=n>{high:g}</td>"
        f"<td class=n>{points}</td></tr>"
        for name, unit, low, high, points in limits(state)
    )
    return text(
        f"<h2>Measurement</h2><p><strong>{plain(origin.name)}</strong> ({plain(origin.what)}){masked}{lines}"
        + (f"<br><span class=note>sha256 <code>{plain(origin.sha256)}</code></span>" if origin.sha256 else "")
        + "</p><table><tr><th>axis</th><th>unit</th><th>from</th><th>to</th><th>points</th></tr>"
        + f"{rows}</table>{_intensity(state)}"
    )


def limits(state: State) -> list[tuple[str, str, float, float, int]]:
    """Of each axis of the spectrum name, unit, both ends and the number of points."""
    study = state.study
    out = []
    if isinstance(study.view, MapView):
        for axis in study.view.axes:
            half = axis.width / 2
            out.append((axis.name, "r.l.u.", axis.start - half, axis.stop + half, axis.points))
    else:
        names = " ".join(name for _, name in study.view.named_points())
        length = sum(s.length for s in study.view.segments)
        out.append((f"path {names}", "1/Å", 0.0, float(length), study.view.shape[1]))
    for run, edges in zip(study.runs, study.energy_edges, strict=True):
        name = f"energy transfer at Ei {run.ei:g} meV"
        out.append((name, "meV", float(edges[0]), float(edges[-1]), len(edges) - 1))
    return out


def _intensity(state: State) -> str:
    spectrum = state.spectrum
    seen = spectrum.signal[spectrum.valid]
    errors = (
        "errors are in the file"
        if spectrum.error is not None
        else ("no errors in the file: the scatter of neighbouring pixels is taken")
    )
    return f"<p class=note>Intensity {seen.min():.4g} to {seen.max():.4g}, median {np.median(seen):.4g}; {errors}.</p>"


def mask(state: State) -> pn.pane.HTML:
    """How many pixels were measured, run by run; zero is a measurement, a missing detector is not."""
    valid = state.spectrum.valid
    share = valid.mean((1, 2, 3))
    zeros = ((state.spectrum.signal == 0) & valid).sum((1, 2, 3)) / np.maximum(valid.sum((1, 2, 3)), 1)
    rows = "".join(
        f"<tr><td class=n>{run.ei:g}</td><td class=n>{100 * s:.1f} %</td><td class=n>{100 * z:.1f} %</td></tr>"
        for run, s, z in zip(state.study.runs, share, zeros, strict=True)
    )
    return text(
        "<h2>Valid pixels</h2><table><tr><th>Ei (meV)</th><th>with a detector</th><th>of these exactly zero</th></tr>"
        f"{rows}</table><p class=note>In the pictures: hatched where there is no detector (or it was masked), dark "
        "violet at zero, black below zero, white above the scale (98th percentile of each run).</p>"
    )
