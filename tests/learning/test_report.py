"""The report as a page: sound HTML, self-contained, nothing from a user's file in it as markup."""

import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from magnoscope.cuts import cut
from magnoscope.explain import explain
from magnoscope.networks.kinds import new_network
from magnoscope.plot import plot_explanation, plot_spectrum, plot_verdict
from magnoscope.plot_cuts import plot_cuts
from magnoscope.report import Report, Source, render, write_report
from magnoscope.report.content import citations, versions
from magnoscope.simulate import Simulator
from magnoscope.spectrum import counted
from magnoscope.studies import parse_study, study_text
from magnoscope.trust.best_match import best_match
from magnoscope.trust.calibration import Calibration
from magnoscope.trust.weights import Weights
from magnoscope.verdict import Verdict

SQUARE = (Path(__file__).parents[1] / "cli" / "square.toml").read_text()
HOSTILE = '</title><script src=//e.org>alert("1")</script><img src=x onerror=y> & $\\frac{$'
VOID = {"meta", "img", "br", "link", "hr", "input"}


class Page(HTMLParser):
    """Tags, attributes and text of a page; refuses tags that do not close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.values: list[tuple[str, str]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        self.values += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        self.text += data


def assert_self_contained(page: Page) -> None:
    assert not {"script", "link", "iframe", "object", "base", "form"} & set(page.tags)
    assert not [name for name, _ in page.values if name.startswith("on") or name in ("href", "srcset", "action")]
    sources = [value for name, value in page.values if name == "src"]
    assert sources and all(value.startswith("data:image/png;base64,") for value in sources)
    assert "url(" not in page.text and "@import" not in page.text


def report_of(text: str) -> Report:
    """A report on counts of the last model with a network that has learned nothing."""
    study = parse_study(text)
    simulator = Simulator(study)
    first, last = study.classes
    spectrum = counted(simulator(last), 30, 1)
    matches = {name: best_match(simulator, spectrum, name, None) for name in study.classes}
    signals = {"feature_distance": {"value": 1.0, "p_value": 0.4}, "one_minus_k": {"value": 0.1, "p_value": 0.5}}
    scores = {first: 0.2, last: 0.9}
    found = Verdict(spectrum, last, last, (last,), scores, scores, True, 0.5, signals, matches, None)
    network = new_network(study, "compact", 3, 16).eval()
    weights = Weights(network, Calibration(2.0, 0.1, 0.9, np.zeros((2, 1)), np.eye(1), np.zeros((1, 2))), {})
    return Report(
        verdict=found,
        explanation=explain(found, weights),
        cuts=(cut(spectrum, matches, "energy"),),
        comparison=None,
        card={"kind": "compact", "note": HOSTILE},
        promised=0.9,
        sources=(Source("image", HOSTILE, "0" * 64),),
        study_text=text,
        command="magnoscope report",
        versions=versions(),
        citations=citations(study, False),
    )


@pytest.fixture(scope="module")
def report() -> Report:
    escaped = HOSTILE.replace("\\", "\\\\").replace('"', '\\"')
    return report_of(SQUARE.replace("Square-lattice ferromagnets on MAPS", escaped))


@pytest.fixture(scope="module")
def html(report: Report) -> str:
    return render(report)


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes seconds, where it is not what is tested."""
    empty = dict.fromkeys(("verdict", "explanation", "cuts"), "data:image/png;base64,")
    monkeypatch.setattr("magnoscope.report.page._figures", lambda report: empty)


def test_page_is_sound_and_self_contained(html: str) -> None:
    page = Page(html)
    assert_self_contained(page)
    assert html.startswith("<!DOCTYPE html>") and page.tags.count("img") == 3
    assert all("alt" in tag for tag in re.findall(r"<img[^>]*>", html))


def test_what_a_file_says_is_text(html: str) -> None:
    assert HOSTILE not in html and "<script" not in html and "onerror=y>" not in html
    # title, heading, card, source and the study's own text
    assert Page(html).text.count("onerror=y> & $") == 5


def test_page_says_what_the_verdict_says(report: Report, html: str) -> None:
    text = " ".join(Page(html).text.split())
    assert report.verdict.sentence in text
    assert "Label: far; label set: far." in text and "In distribution: p = 0.5" in text
    assert "OUT OF DISTRIBUTION" not in text
    for name, found in report.verdict.matches.items():
        assert f"{found.match.chi_square:.3f}" in text and name in text
    study = report.verdict.spectrum.study
    for part in (study.layout_hash, study.physics_hash, *report.versions, *report.citations, "J1 = -2", "-5 to -3"):
        assert part in text
    assert "at least 90 % of the time" in text


def test_figures_say_what_a_file_says() -> None:
    """Dollar signs in a study's title are no formulas, in any figure."""
    title = r"A$_1$B$\\frac{$"
    found = report_of(SQUARE.replace("Square-lattice ferromagnets on MAPS", title))
    title = found.verdict.spectrum.study.title
    assert title == r"A$_1$B$\frac{$"
    figures = (
        plot_verdict(found.verdict),
        plot_explanation(found.explanation),
        plot_cuts(found.cuts, title),
        plot_spectrum(found.verdict.spectrum),
    )
    for figure in figures:
        drawn = io.StringIO()
        with matplotlib.rc_context({"svg.fonttype": "none"}):
            figure.savefig(drawn, format="svg")
        assert title in drawn.getvalue()


def test_warnings_come_before_any_class(report: Report, no_figures: None) -> None:
    foreign = replace(report.verdict, label=None, in_distribution=False, p_value=0.001, warning="train again")
    html = render(replace(report, verdict=foreign))
    Page(html)
    body = html[html.index("<h2>") :]
    first = min(body.index(name) for name in ("near", "far"))
    assert body.index("OUT OF DISTRIBUTION") < first and body.index("Warning: train again") < first
    assert "In distribution" not in html and "Label: none" in html


def test_report_is_there_whole_or_not_at_all(report: Report, no_figures: None, tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "r.html"
    write_report(report, path)
    assert path.read_text("utf-8").rstrip().endswith("</html>")
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]
    before = path.read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(Exception, match="r.html cannot be written: No space left on device"):
        write_report(report, path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_report_on_a_path() -> None:
    text = study_text("cri3")[0]
    for old, new in (
        ("step = 0.022", "points = [7, 5, 8]"),
        ("bins = 40", "bins = 20"),
        ("width = 5 }", "width = 1 }"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    page = Page(render(report_of(text)))
    assert_self_contained(page)
    assert "20 energy bins at 20 points of a path for each run" in page.text
    assert "energy (meV)" in page.text and "1/Å" in page.text
