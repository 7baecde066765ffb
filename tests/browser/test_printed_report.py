"""A report as a browser prints it to PDF: all of its text, every figure on one page and whole."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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


def printed(browser, html: str, folder: Path) -> list:
    """Pages of a report as PDF, by the paper that it asks for."""
    pypdf = pytest.importorskip("pypdf")
    (folder / "report.html").write_text(html, "utf-8")
    page = browser.new_page()
    page.goto((folder / "report.html").as_uri())
    content = page.pdf(format="A4", prefer_css_page_size=True)
    page.close()
    return list(pypdf.PdfReader(io.BytesIO(content)).pages)


def whole(pages: list, count: int) -> bool:
    """Whether there are so many figures, each on one page and within its margins; one that is cut is drawn on two."""
    images = [place for page in pages for place in placed(page)]
    width, height = map(float, pages[0].mediabox[2:])
    inside = [
        left >= MARGIN and bottom >= MARGIN and right <= width - MARGIN and top <= height - MARGIN
        for left, bottom, right, top in images
    ]
    return len(images) == count and all(inside)


def test_prints(browser, report, tmp_path: Path) -> None:
    pages = printed(browser, render(report), tmp_path)
    said = " ".join(" ".join(one.extract_text() for one in pages).split())
    verdict = report.verdict
    assert verdict.sentence in said and f"p = {verdict.p_value:.3g} against held-back simulations" in said
    for name, found in verdict.matches.items():
        assert f"{verdict.scores[name]:.3f}" in said and f"{found.match.chi_square:.3f}" in said and name in said
    assert "Citations to give" in said and "physics hash" in said
    assert whole(pages, 3)
    assert all(right - left > 200 for page in pages for left, _, right, _ in placed(page))


def test_a_tall_figure_is_on_one_page_by_the_rules_of_the_report(browser, report, tmp_path: Path) -> None:
    """As the verdict of a study of many runs; without the rule for print it is cut, which is seen."""
    picture = io.BytesIO()
    Image.effect_noise((600, 1800), 50).save(picture, "PNG")
    source = "data:image/png;base64," + base64.b64encode(picture.getvalue()).decode()
    html = re.sub(r'(?<=<figure><img src=")[^"]*', source, render(report), count=1)
    rule = "img { max-height: 215mm; }"
    assert source in html and html.count(rule) == 1
    assert whole(printed(browser, html, tmp_path), 3)
    assert not whole(printed(browser, html.replace(rule, ""), tmp_path), 3)
