"""What the page shows, and what happens on it, without a browser."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from bokeh.plotting import figure

from magnoscope.app.cleaned import RawAndCleaned
from magnoscope.app.dropper import Dropper
from magnoscope.app.facts import facts, limits, mask
from magnoscope.app.judged import judged
from magnoscope.app.mosaic import Mosaic
from magnoscope.app.page import Page
from magnoscope.app.service import Service
from magnoscope.app.shell import Shell
from magnoscope.app.state import Origin, examine
from magnoscope.app.upload import UPLOADED, read_upload, safe_name
from magnoscope.cuts import cut
from magnoscope.errors import SpectrumError
from magnoscope.io.images import read_spectrum
from magnoscope.simulate import Simulator
from magnoscope.studies import load_study, parse_study, study_text
from magnoscope.trust.best_match import match_at

HOSTILE = "<img src=x onerror=y>.npy"


@pytest.fixture
def page(service: Service) -> Page:
    found = Page(service)
    found.begin()
    assert found.status.object == ""
    return found


def plain_text(markup: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", markup).split())


def test_order_of_the_page(page: Page) -> None:
    """Measurement, mask, trust before any class, pictures, shares, slice, cleaning, sliders, cuts, script."""
    kinds = [type(part).__name__ for part in page.body]
    places = [
        page.body.objects.index(part.view) for part in (page.maps, page.shares, page.slice, page.sliders, page.cuts)
    ]
    assert places == sorted(places) and kinds[0] == "Row" and page.body[-1] is page.script
    first, verdict = page.body[0], page.body[1]
    assert "Measurement" in first[0].object and "Valid pixels" in first[1].object
    said = plain_text(verdict.object)
    trust = min(said.index(word) for word in ("OUT OF DISTRIBUTION", "In distribution") if word in said)
    assert trust < min(said.index(name) for name in page.state.study.classes)


def test_facts_are_those_of_the_file(page: Page, counts: Path) -> None:
    state = page.state
    said = plain_text(facts(state).object)
    assert "counts.h5 (given file)" in said and state.origin.sha256 in said
    assert "errors are in the file" in said and "magnoscope spectrum" in said
    assert limits(state)[0] == ("h", "r.l.u.", pytest.approx(-0.9818181818), pytest.approx(0.9818181818), 12)
    share = 100 * state.spectrum.valid.mean()
    assert f"{share:.1f} %" in plain_text(mask(state).object)


def test_pictures_show_the_arrays_where_the_mosaic_says(page: Page) -> None:
    state, mosaic = page.state, Mosaic.of(page.state.study)
    drawn = page.maps.pictures.sources["data"].data["value"][0]
    left, right, bottom, top = map(int, mosaic.place(0, 1))
    tile = drawn[bottom:top, left:right]
    expected = np.where(state.spectrum.valid, state.spectrum.signal, np.nan)[0, 1]
    np.testing.assert_allclose(tile, expected, rtol=1e-6)  # the picture is float32
    page.pick(0, 1)
    x, y = page.maps.pictures.x, page.maps.pictures.y
    assert (x.start, x.end, y.start, y.end) == (left, right, bottom, top)
    assert "50: 20.0 to 35.0 meV" in page.slice.view[0].object
    shown = page.slice._sources["difference"].data["image"][0]
    first, second = (state.matches[name].match.fitted[0, 1] for name in state.order)
    np.testing.assert_allclose(shown, np.where(state.spectrum.valid[0, 1], first - second, np.nan), atol=1e-4)
    page.maps.whole()
    assert (x.start, x.end, y.start, y.end) == (0, mosaic.size[0], 0, mosaic.size[1])


def test_mosaic_of_runs_puts_the_first_on_top() -> None:
    study = load_study("pcsmo")
    mosaic = Mosaic.of(study)
    values = np.zeros(study.shape)
    values[0, 3, 0] = 1
    image = mosaic.image(values)
    left, right, bottom, top = map(int, mosaic.place(0, 3))
    assert top == image.shape[0] and image[bottom, left:right].all() and image.sum() == right - left


def test_a_click_on_a_bar_shows_its_slice(page: Page) -> None:
    explanation = page.state.explanation
    assert explanation.method == "shapley"
    # the largest share is on the scale, not beyond it
    pictures = page.maps.pictures
    largest = np.nanmax(np.abs(pictures.sources["evidence"].data["image"][0]))
    assert 0 < largest <= page.maps._evidence.high == -page.maps._evidence.low
    page.shares._clicked("indices", [], [0])
    # bars are drawn upwards, the largest on top
    assert (page.slice.run, page.slice.number) == explanation.ordered()[::-1][0]


def test_a_slider_simulates(page: Page) -> None:
    before = page.state.matches["far"]
    page.sliders.of["far"]["J1"].value = -2.7
    page._move("far", page.sliders.values("far"))
    found = page.state.matches["far"]
    assert found.parameters["J1"] == pytest.approx(-2.7) and page.state.moved["far"] == found.parameters
    simulator = Simulator(page.state.study)
    direct = match_at(simulator, page.state.spectrum, "far", found.parameters)
    np.testing.assert_allclose(found.match.fitted, direct.match.fitted)
    assert "simulated in" in page.sliders.status.object
    drawn = page.maps.pictures.sources["far"].data["value"][0]
    assert np.nanmax(drawn) == pytest.approx(np.nanmax(direct.match.fitted[page.state.spectrum.valid]), rel=1e-5)
    page._back("far")
    assert page.state.moved == {} and page.state.matches["far"] is before


def test_unstable_parameters_are_said_and_change_nothing(page: Page) -> None:
    before = page.state
    page._move("near", {"J": 4.0, "D": -0.1})
    assert "class=error" in page.sliders.status.object and "minimum" in page.sliders.status.object
    assert page.state is before


def test_cut_follows_its_sliders(page: Page) -> None:
    page.cuts.along.value = "k"
    settings = page.cuts.settings
    assert settings["along"] == "k" and settings["at"].keys() == {"h", "energy"}
    shown = page.cuts._points.data["y"]
    expected = cut(page.state.spectrum, page.state.matches, "k", settings["ei"], settings["at"])
    np.testing.assert_allclose(shown, expected.data[np.isfinite(expected.data)])
    labels = [item.label.value for item in page.cuts._legend.items[1:]]
    assert labels == [f"{name}: chi-square {value:.2f}" for name, value in expected.chi_square.items()]


def test_script_makes_what_is_on_screen(
    page: Page, counts: Path, weights_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    page._move("far", {"J1": -2.7, "J2": -1.5})
    for path in (counts, weights_file):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(page.script.value, "script", "exec"), names)
    assert names["verdict"].scores == pytest.approx(page.state.verdict.scores)
    np.testing.assert_allclose(names["matches"]["far"].match.fitted, page.state.matches["far"].match.fitted)
    np.testing.assert_allclose(names["explanation"].shares, page.state.explanation.shares)
    shown = page.cuts._points.data["y"]
    np.testing.assert_allclose(names["one"].data[np.isfinite(names["one"].data)], shown)
    assert (names["run"], names["number"]) == (page.slice.run, page.slice.number)
    assert {path.name for path in tmp_path.glob("*.png")} == {"cut.png", "verdict.png", "explanation.png"}
    assert page.state.verdict.sentence in capsys.readouterr().out


def test_a_bad_file_leaves_what_was_there(page: Page) -> None:
    before = page.state
    page.dropper.value[HOSTILE] = b"no array"
    page._uploaded(None)
    assert "is no NumPy array file" in plain_text(page.status.object) and "role=alert" in page.status.object
    assert "<img" not in page.status.object and "/tmp" not in page.status.object
    assert page.state is before and page.dropper.value == {}


def test_residuals_where_a_simulation_is_zero(page: Page) -> None:
    """A tile that no mode reaches has no noise: no residual there, no warning, and the page shows the rest."""
    signal = page.state.spectrum.signal.copy()
    signal[0, 1] = 0
    bare = replace(page.state.spectrum, signal=np.where(page.state.spectrum.valid, signal, np.nan), error=None)
    page.show(replace(page.state, spectrum=bare))
    for residual in map(page.state.residual, page.state.matches):
        assert np.isnan(residual[0, 1]).all() and np.isnan(residual[~bare.valid]).all()
        assert np.isfinite(residual[0, 0][bare.valid[0, 0]]).all()


def test_upload(page: Page, counts: Path) -> None:
    page.dropper.value["again.h5"] = counts.read_bytes()
    page._uploaded(None)
    assert page.state.origin.name == "again.h5" and page.state.origin.what == "uploaded"
    np.testing.assert_array_equal(page.state.spectrum.signal, read_spectrum(counts, page.state.study).signal)


def test_another_spectrum_comes_into_the_panels_that_are_there(page: Page, tmp_path: Path) -> None:
    """Its verdict first, the pictures next; nothing is left of the one before."""
    page._move("far", {"J1": -2.7, "J2": -1.5})
    page.maps.zoom(0, 1)
    before, parts, script = page.state, list(page.body), page.script.value
    spectrum, origin = before.spectrum, Origin("other.h5", "0", UPLOADED)
    other = replace(spectrum, signal=2 * spectrum.signal[:, ::-1], valid=spectrum.valid[:, ::-1], error=None)
    state = page._service.judge(other, origin)
    later: list = []
    page._work.soon = later.append
    page._judged(state, None)
    said = plain_text(page.body[0][0].object + page.body[1].object)
    assert "other.h5 (uploaded)" in said and page.state is state
    for name, found in state.verdict.matches.items():
        assert f"{state.verdict.scores[name]:.3f}" in said and f"{found.match.chi_square:.3f}" in said
    assert page.script.value == script and "drawing other.h5" in page.status.object
    later.pop()()
    assert list(page.body) == parts and page.status.object == ""
    pictures = page.maps.pictures
    drawn = pictures.mosaic.image(np.where(other.valid, other.signal, np.nan))
    np.testing.assert_array_equal(pictures.sources["data"].data["value"][0], drawn)
    assert pictures.x.start == 0 and page.maps.residual_of.value == state.order[0]
    assert page.slice._figures["first"].title.text == state.order[0]
    for key, value in page.state.matches["far"].parameters.items():
        slider = page.sliders.of["far"][key]
        assert slider.value == pytest.approx(np.clip(value, slider.start, slider.end))
    assert "best match" in pictures.figures["far"].title.text and "where the sliders are" not in page.script.value
    assert page.state.explanation.method == "shapley" and "shapley" in page.shares._plot.title.text
    expected = cut(other, state.matches, page.cuts.settings["along"], None)
    np.testing.assert_allclose(page.cuts._points.data["y"], expected.data[np.isfinite(expected.data)])


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    path = tmp_path / "objects.npy"
    np.save(path, np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(SpectrumError, match="^objects.npy holds Python objects"):
        read_upload("objects.npy", path.read_bytes(), load_study("pcsmo"))


@pytest.mark.parametrize(
    ("name", "kept"),
    [("../../etc/passwd", "passwd"), ("..\\a b", "a_b"), ("...", "file"), (".npy", "npy"), (99 * "x", "x" * 80)],
)
def test_names_of_files_lead_nowhere(name: str, kept: str) -> None:
    assert safe_name(name) == kept


def chunk(number: int, total: int, data: bytes, name: str = "a.npy") -> SimpleNamespace:
    fields = {"name": name, "chunk": number, "total_chunks": total, "data": data, "type": "text/plain"}
    return SimpleNamespace(event_name="upload_event", data=fields)


def test_size_limit_holds_on_the_servers_side() -> None:
    dropper = Dropper(1)
    half = b"x" * 600_000
    dropper._process_event(chunk(1, 2, half))
    dropper._process_event(chunk(2, 2, half))
    assert dropper.take() is None
    dropper._process_event(chunk(2, 2, b"y"))  # a rest without a beginning
    assert dropper.take() is None and not dropper._file_buffer
    dropper._process_event(chunk(1, 2, b"a"))
    dropper._process_event(chunk(2, 2, b"b"))
    assert dropper.take() == ("a.npy", b"ab") and dropper.take() is None


def test_what_comes_before_the_page_can_read_is_opened_first(service: Service, counts: Path, tmp_path: Path) -> None:
    shell = Shell(service)
    np.save(tmp_path / "mask.npy", np.zeros(service.study.image_shape, bool))
    shell.masks.value["mask.npy"] = (tmp_path / "mask.npy").read_bytes()
    shell.dropper.value["early.h5"] = counts.read_bytes()
    page = Page(service, shell)
    page.begin()
    assert page.view is shell.view and shell.status.object == ""
    assert (page.state.origin.name, page.state.origin.mask) == ("early.h5", "mask.npy")


def test_a_mask_is_laid_over_the_next_measurement(page: Page, counts: Path, tmp_path: Path) -> None:
    study = page.state.study
    missing = np.zeros(study.image_shape, bool)
    missing[:3] = True
    np.save(tmp_path / "mask.npy", missing)
    page.masks.value["mask.npy"] = (tmp_path / "mask.npy").read_bytes()
    page._masked(None)
    page.dropper.value["counts.h5"] = counts.read_bytes()
    page._uploaded(None)
    assert not page.state.spectrum.valid[0, :, :3].any() and page.state.spectrum.valid.any()
    assert page.state.origin.mask == "mask.npy"
    page.dropper.value["counts.h5"] = counts.read_bytes()
    page._uploaded(None)
    assert page.state.origin.mask is None  # the next alone


def test_raw_and_cleaned_zoom_with_the_rest(page: Page) -> None:
    assert "magnoscope train cleaner" in page.state.uncleaned
    assert "train cleaner" in page.cleaned.view[1].object and len(page.cleaned.view) == 2
    state = replace(page.state, cleaned=replace(page.state.spectrum, signal=page.state.spectrum.signal / 2))
    grid = RawAndCleaned(state, page.maps.pictures).view[2].object
    plots = list(grid.select({"type": figure}))
    assert {plot.title.text for plot in plots} == {"raw", "cleaned", "spread of the cleaned"}
    assert all(plot.x_range is page.maps.pictures.x for plot in plots)


def test_path_without_weights() -> None:
    """A path in Q, and no weights: no verdict, candidates at their reference values, pictures and cuts all the same."""
    text = study_text("cri3")[0]
    for old, new in (
        ("step = 0.022", "points = [7, 5, 8]"),
        ("bins = 40", "bins = 20"),
        ("width = 5 }", "width = 1 }"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    study = parse_study(text)
    simulator = Simulator(study)
    state = examine(simulator(study.classes[0]), simulator, None, Origin("path.npy"), "no weights ship")
    assert "No verdict" in judged(state).object and "no weights ship" in judged(state).object
    page = Page(Service(study, "cri3"))
    page.show(state)
    page.pick(0, 10)
    assert page.maps.pictures.mosaic.place(0, 10) == (0.0, 20.0, 8.0, 13.0)
    assert page.cuts.settings["along"] == "path" and len(page.cuts._points.data["x"]) > 5
    assert "classify" not in page.script.value and "evidence" not in page.maps.pictures.figures
