"""Cuts against averages by hand, on maps and on a path."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from magnoscope.cuts import cut, cut_axes, pixel_errors
from magnoscope.errors import SpectrumError
from magnoscope.plot_cuts import plot_cuts
from magnoscope.simulate import Simulator
from magnoscope.spectrum import Spectrum, counted
from magnoscope.studies import parse_study, study_text
from magnoscope.trust.best_match import BestMatch, best_match
from magnoscope.trust.match import Match

SQUARE = (Path(__file__).parents[1] / "cli" / "square.toml").read_text()
ALL = {"k": (-1.0, 1.0), "energy": (0.0, 50.0)}


@pytest.fixture(scope="module")
def counts() -> tuple[Spectrum, dict[str, BestMatch]]:
    """Counts of the model `far`, and both candidates at their reference values."""
    study = parse_study(SQUARE)
    simulator = Simulator(study)
    spectrum = counted(simulator("far"), 30, 1)
    return spectrum, {name: best_match(simulator, spectrum, name, None) for name in study.classes}


@pytest.fixture(scope="module")
def path() -> tuple[Spectrum, dict[str, BestMatch]]:
    """A ramp in energy along a path, and candidates that are known numbers."""
    text = study_text("cri3")[0]
    for old, new in (("step = 0.022", "points = [7, 5, 8]"), ("bins = 40", "bins = 20")):
        text = text.replace(old, new)
    study = parse_study(text)
    signal = np.broadcast_to(np.arange(20.0)[:, None, None], study.shape).copy()
    return known(Spectrum(study, signal, np.ones(study.shape, bool), np.full(study.shape, 2.0)))


def known(spectrum: Spectrum) -> tuple[Spectrum, dict[str, BestMatch]]:
    """A spectrum with two candidates: itself, and one that is one larger."""
    tiles = spectrum.study.view.as_tiles(spectrum.signal).shape[:2]
    signal = np.where(spectrum.valid, spectrum.signal, 0)
    fitted = {"same": signal, "more": signal + 1}
    return spectrum, {n: BestMatch(n, {}, Match(1.0, 0.0, np.ones(tiles), f)) for n, f in fitted.items()}


def test_points_are_averages_over_the_region(counts) -> None:
    spectrum, matches = counts
    axis = spectrum.study.maps.axes[1].centres
    low, high = axis[3] - 0.01, axis[5] + 0.01
    found = cut(spectrum, matches, "h", at={"k": (low, high), "energy": (5, 20)})
    inside = spectrum.valid[0, 0, :, 3:6]
    number = inside.sum(1)
    assert found.pixels.tolist() == number.tolist() and number.max() == 3
    some = number > 0
    by_hand = np.where(inside, spectrum.signal[0, 0, :, 3:6], 0).sum(1)[some] / number[some]
    np.testing.assert_allclose(found.data[some], by_hand)
    errors = np.where(inside, spectrum.error[0, 0, :, 3:6] ** 2, 0).sum(1)[some] ** 0.5 / number[some]
    np.testing.assert_allclose(found.error[some], errors)
    assert (found.axis.name, found.axis.unit, found.chosen) == ("h", "r.l.u.", ())
    assert found.error_source == "the spectrum's own errors"
    assert found.region == {"k": (low, high), "energy": (5, 20)}


def test_truth_is_described_to_its_errors_and_the_other_is_not(counts) -> None:
    spectrum, matches = counts
    for name in cut_axes(spectrum.study):
        found = cut(spectrum, matches, name)
        assert set(found.chosen) == set(found.region) == set(found.units)
        # 12 points: the mean of as many squares is below 3 all but once in 10 000
        assert found.chi_square["far"] < 3
        if name != "energy":  # two points of free scale and background each
            assert found.chi_square["near"] > 2 * found.chi_square["far"]


def test_a_cut_along_a_diagonal_sees_each_pixel_where_it_is(counts) -> None:
    spectrum, _ = counts
    study = spectrum.study
    h, k = (axis.centres for axis in study.maps.axes)
    valid = np.ones(study.shape, bool)
    for name, sign in (("diagonal", 1), ("antidiagonal", -1)):
        t = np.broadcast_to((h[:, None] + sign * k) / 2, study.shape).copy()
        other = next(n for n in ("diagonal", "antidiagonal") if n != name)
        found = cut(*known(Spectrum(study, t, valid, valid + 0.0)), name, at={other: (-2, 2)})
        np.testing.assert_allclose(found.data, found.axis.positions, atol=1e-12)
        assert found.pixels.sum() == len(h) * len(k) and len(found.data) == 12
        assert found.pixels[0] == 3  # the corner, and its two neighbours half a step on
        narrow = cut(*known(Spectrum(study, t, valid, valid + 0.0)), name, at={other: (-0.1, 0.1)})
        assert narrow.pixels.sum() < found.pixels.sum() / 3


def test_pixels_without_a_detector_leave_gaps(counts) -> None:
    spectrum, matches = counts
    no_detector = np.zeros(spectrum.study.shape, bool)
    no_detector[:, :, 4] = True
    found = cut(spectrum.masked(no_detector), matches, "h", at=ALL)
    assert np.isnan(found.data[4]) and found.pixels[4] == 0 and np.isfinite(found.data[5])
    assert all(np.isfinite(value) for value in found.chi_square.values())
    with pytest.raises(SpectrumError, match="no pixel with a detector lies there: k at h -0.7 to -0.6 r.l.u."):
        cut(spectrum, matches, "k", at={"h": (-0.7, -0.6)})


def test_without_errors_the_scatter_of_neighbours_is_taken_and_said(counts) -> None:
    spectrum, _ = counts
    noise = np.random.default_rng(2).normal(5, 0.5, spectrum.study.shape)
    flat = replace(spectrum, signal=noise, valid=np.ones(noise.shape, bool), error=None)
    errors, source = pixel_errors(flat)
    np.testing.assert_allclose(errors, 0.5, rtol=0.15)
    found = cut(*known(flat), "k", at={"h": (-1, 1), "energy": (0, 50)})
    assert found.error_source == source == "the scatter of neighbouring pixels in each tile"
    np.testing.assert_allclose(found.error, 0.5 / 24**0.5, rtol=0.15)
    assert found.chi_square["more"] == pytest.approx(np.mean(1 / found.error**2))
    assert found.chi_square["same"] == 0


def test_where_there_is_no_error_there_is_none_to_divide_by(counts) -> None:
    """A masked pixel, a tile without scatter, an error of zero in a file: NaN, never zero."""
    spectrum, _ = counts
    valid = np.ones(spectrum.study.shape, bool)
    valid[:, :, 4] = False
    noise = np.random.default_rng(2).normal(5, 0.5, valid.shape)
    noise[0, 1] = 0
    bare = replace(spectrum, signal=noise, valid=valid, error=None)
    errors, _ = pixel_errors(bare)
    assert np.isnan(errors[0, 1]).all() and np.isnan(errors[0, 0, 4]).all()
    assert (errors[0, 0][valid[0, 0]] > 0).all()
    given = np.where(valid, 2.0, np.nan)
    given[0, 0, 0, 0] = 0
    errors, _ = pixel_errors(replace(bare, error=given))
    np.testing.assert_array_equal(errors, np.where(given > 0, given, np.nan))


def test_a_path_is_cut_along_itself_and_along_energy(path) -> None:
    spectrum, matches = path
    view = spectrum.study.path
    along = cut(spectrum, matches, "path", at={"energy": (2, 4)})
    assert along.axis.unit == "1/Å" and [name for _, name in along.axis.ticks] == ["Γ", "M", "K", "Γ"]
    np.testing.assert_allclose(along.axis.positions, view.distances)
    np.testing.assert_allclose(along.data, 0.5)  # two bins of 1 meV from 2 meV
    np.testing.assert_allclose(along.error, 2 / 2**0.5)
    energy = cut(spectrum, matches, "energy", ei=35)
    np.testing.assert_allclose(energy.axis.positions, np.arange(2.5, 22))
    np.testing.assert_allclose(energy.data, np.arange(20))
    assert energy.pixels.tolist() == [3] * 20 and energy.chosen == ("path",)
    assert energy.chi_square["more"] == pytest.approx(3 / 4)
    figure = plot_cuts([along, energy])
    assert [a.get_xlabel() for a in figure.axes] == ["path (1/Å)", "energy (meV)"]
    assert "more: chi2 = 0.75" in [t.get_text() for t in figure.axes[1].get_legend().get_texts()]


def test_names_that_are_none(counts, path) -> None:
    with pytest.raises(SpectrumError, match="cannot be cut along `l`; it has h, k, diagonal, antidiagonal, energy"):
        cut(*counts, "l")
    with pytest.raises(SpectrumError, match="cannot be cut along `h`; it has path, energy"):
        cut(*path, "h")
    with pytest.raises(SpectrumError, match="a cut along h cannot be taken at `h`; it averages over k and energy"):
        cut(*counts, "h", at={"h": (0, 1)})
    with pytest.raises(SpectrumError, match="has no run with Ei = 70 meV; it has 50"):
        cut(*counts, "h", ei=70)
