"""A report as a browser prints it to PDF: all of its text, every figure on one page and whole."""

import io
from pathlib import Path

import numpy as np
import pytest

from magnoscope.networks.kinds import new_network
from magnoscope.report import make_report, render
from magnoscope.simulate import Simulator
from magnoscope.spectrum import counted
from magnoscope.studies import parse_study
from magnoscope.trust.calibration import Calibration
from magnoscope.trust.weights import Weights

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SQUARE = (Path(__file__).parents[1] / "cli" / "square.toml").read_text()
MARGIN = 14 / 25.4 * 72
"""In points, a little less than the report's own."""


@pytest.fixture(scope="module")
def report():
    """On counts of the last candidate, by a network that has learned nothing."""
    study = parse_study(SQUARE)
    network = new_network(study, "compact", 3, 16).eval()
    n = network.n_features
    calibration = Calibration(2.0, 0.1, 0.9, np.zeros((2, n)), np.eye(n), np.ones((20, 2)))
    card = {"kind": "compact", "width": 16, "seed": 3, "study": "square", "classes": list(study.classes)}
    card |= {"layout_hash": study.layout_hash, "physics_hash": study.physics_hash}
    spectrum = counted(Simulator(study)("far"), 30, 1)
    return make_report(
        spectrum, Weights(network, calibration, card), None, (), SQUARE, "magnoscope report", None, 0, print
    )


def placed(page) -> list[tuple[float, float, float, float]]:
    """Of each image on a page its left, bottom, right and top, in points."""
    found = []

    def visit(operator, operands, matrix, text_matrix) -> None:
        if operator == b"Do":
            a, _, _, d, x, y = matrix
            found.append((min(x, x + a), min(y, y + d), max(x, x + a), max(y, y + d)))

    page.extract_text(visitor_operand_before=visit)
    return found


def test_prints(browser, report, tmp_path: Path) -> None:
    pypdf = pytest.importorskip("pypdf")
    (tmp_path / "report.html").write_text(render(report), "utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "report.html").as_uri())
    printed = page.pdf(format="A4", prefer_css_page_size=True)
    page.close()
    pages = pypdf.PdfReader(io.BytesIO(printed)).pages
    said = " ".join(" ".join(one.extract_text() for one in pages).split())
    verdict = report.verdict
    assert verdict.sentence in said and f"p = {verdict.p_value:.3g} against held-back simulations" in said
    for name, found in verdict.matches.items():
        assert f"{verdict.scores[name]:.3f}" in said and f"{found.match.chi_square:.3f}" in said and name in said
    assert "Citations to give" in said and "physics hash" in said
    images = [place for one in pages for place in placed(one)]
    assert len(images) == 3  # one that is cut would be drawn on two pages
    width, height = map(float, pages[0].mediabox[2:])
    for left, bottom, right, top in images:
        assert left >= MARGIN and bottom >= MARGIN and right <= width - MARGIN and top <= height - MARGIN
        assert right - left > 200
