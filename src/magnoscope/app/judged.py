"""The verdict: whether to believe it before what it is."""

import panel as pn

from ..report import render_verdict
from .state import State
from .words import plain, text


def judged(state: State) -> pn.pane.HTML:
    """Banner, classes with scores and label set, and what these mean; as in the report."""
    if state.verdict is None or state.weights is None:
        rows = "".join(
            f"<tr><td>{plain(name)}</td><td class=n>{found.match.chi_square:.3f}</td>"
            f"<td class=n>{100 * found.match.unexplained:.0f} %</td></tr>"
            for name, found in state.matches.items()
        )
        return text(
            f"<h2>No verdict</h2><p class=warning>{plain(state.said or 'there are no weights')}</p><p>The candidates "
            "at the study's reference values, not fitted; scale and background of each slice are free:</p><table>"
            f"<tr><th>candidate</th><th>chi-square</th><th>left unexplained</th></tr>{rows}</table>"
        )
    return text("<h2>Verdict</h2>" + render_verdict(state.verdict, state.weights.calibration.coverage))
