"""The published study beside ours: nothing is copied, and what is missing says how to make it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from magnoscope.cleaning import Cleaner, save_cleaner
from magnoscope.errors import StudyError
from magnoscope.explain import Explanation
from magnoscope.networks.kinds import untrained
from magnoscope.reproduce import cleaning
from magnoscope.reproduce.cleaning import cleaned_by, cleaners_of, cleaning_rows
from magnoscope.reproduce.coarse import aliasing, edge_shifts
from magnoscope.reproduce.figures import parameter_table, plot_models
from magnoscope.reproduce.published import named_slices, published
from magnoscope.reproduce.rows import network_rows, trained
from magnoscope.spectrum import Spectrum
from magnoscope.studies import load_study, parse_study
from magnoscope.trust.weights import shipped_weights

SQUARE = (Path(__file__).parents[1] / "cli" / "square.toml").read_text()


def test_published_numbers_of_the_worked_case(pcsmo):
    numbers = published(pcsmo)
    # section 3.2 and 4.2 of the paper: 12 h, 1 h and 10 min an image; [dimer, Goodenough] = [0.05, 0.99]
    assert [(c["minutes"], c["method"]) for c in numbers.cost] == [
        (720, "montecarlo"),
        (60, "montecarlo"),
        (10, "gaussian-coarse"),
    ]
    assert numbers.networks["duq-published"]["montecarlo"]["measurement"] == {"goodenough": 0.99, "dimer": 0.05}


def test_other_studies_have_none(pcsmo):
    with pytest.raises(StudyError, match="no published numbers ship for study mine"):
        published(replace(pcsmo, name="mine"))


def test_missing_weights_leave_a_gap_and_the_command_that_fills_it(pcsmo, tmp_path):
    numbers = published(pcsmo)
    nets = [net for net in trained(pcsmo, numbers, tmp_path) if net.path.parent == tmp_path]
    rows = network_rows(pcsmo, numbers, nets, None)
    assert rows and all(row.ours == "" for row in rows)
    dense = next(row for row in rows if row.what == "dense on gaussian-coarse: measurement")
    assert dense.published == "goodenough 0.001, dimer 0.999"
    assert (
        "magnoscope dataset build pcsmo -n 3322 --resolution gaussian-coarse -o pcsmo-gaussian-coarse.zarr" in dense.how
    )
    assert f"magnoscope train dense pcsmo-gaussian-coarse.zarr -o {tmp_path}/dense-gaussian-coarse" in dense.how


def test_weights_of_the_folder_are_told_by_their_cards(pcsmo, tmp_path):
    path = tmp_path / "any-name.safetensors"
    path.write_bytes(shipped_weights(pcsmo).read_bytes())
    card = json.loads(shipped_weights(pcsmo).with_suffix(".json").read_text())
    nets = trained(pcsmo, replace(published(pcsmo), accurate=card["training_set"]["resolution"]), tmp_path)
    found = {(net.kind, net.path) for net in nets if net.weights is not None}
    assert found == {(card["kind"], path)}


def test_weights_that_ship_fill_what_the_folder_lacks(pcsmo, tmp_path):
    nets = trained(pcsmo, published(pcsmo), tmp_path)
    assert {net.path for net in nets if net.weights is not None} == {shipped_weights(pcsmo)}
    assert cleaners_of(pcsmo, tmp_path).keys() == {"cleaner"}


def test_what_the_folder_has_beyond_the_published_comes_last(pcsmo, tmp_path):
    numbers = published(pcsmo)
    (tmp_path / "any.safetensors").write_bytes(shipped_weights(pcsmo).read_bytes())
    nets = trained(pcsmo, replace(numbers, accurate="gaussian"), tmp_path)
    assert nets[-1].kind == "compact" and nets[-1].resolution == "montecarlo" and nets[-1].weights is not None


def test_a_band_that_is_a_slice_lower_has_its_top_a_slice_lower(pcsmo):
    slices = np.arange(10)[:, None, None]
    height = np.broadcast_to(4 + np.linspace(0, 1, 40)[:, None] * np.linspace(0, 1, 40), (40, 40))
    fine = np.stack([np.exp(-((slices - height) ** 2) / 2)] * 6)
    coarse = np.stack([np.exp(-((slices - height + 1) ** 2) / 2)] * 6)
    for row, run in zip(edge_shifts(pcsmo, coarse, fine), pcsmo.runs, strict=True):
        assert row.top == pytest.approx(-0.06 * run.ei, rel=0.02) and row.bottom == pytest.approx(
            -0.06 * run.ei, rel=0.02
        )
        assert row.intensity[0] < 1 < row.intensity[1]


def test_aliasing_is_the_distance_from_the_finest_grid_whatever_the_scale():
    image = np.random.default_rng(0).gamma(2.0, size=(1, 2, 8, 8))
    found = aliasing({10: 3 * image, 20: image + 0.1 * image**2, 40: image})
    assert found[10] == pytest.approx(0, abs=1e-12) and 0.01 < found[20] < 1 and 40 not in found


def test_table_and_figure_of_the_models_come_from_the_study(pcsmo):
    table = parameter_table(pcsmo)
    # table 1 of the paper
    assert "| goodenough | JF1 | -11.39 ± 0.05 | -20 to 0 |" in table and table.count("\n") == 13
    figure = plot_models(pcsmo)
    labels = [{text.get_text() for text in axes.get_legend().get_texts()} for axes in figure.axes]
    assert labels == [{"JF1", "JA", "JF2", "JF3"}, {"JFS", "JFW", "JA1", "JA2"}]


def test_slices_the_publication_names_are_found_on_our_grid(pcsmo):
    # 35.6 to 40.4 meV in the paper; the study's slices are 0.06 Ei wide from 0.1 Ei on
    found = {
        (pcsmo.runs[r].ei, *pcsmo.energy_edges[r, s : s + 2].round(1).tolist()): rank
        for (r, s), rank in named_slices(published(pcsmo), pcsmo).items()
    }
    assert found == {(70, 36.4, 40.6): "1", (100, 34.0, 40.0): "next", (140, 30.8, 39.2): "next"}
    assert named_slices(published(pcsmo), parse_study(SQUARE)) == {}


def test_figure_7_ranks_the_slices_that_the_publication_names(pcsmo, monkeypatch):
    numbers = published(pcsmo)
    shares = np.linspace(1, -0.2, 60).reshape(6, 10)
    measured = Spectrum(pcsmo, np.ones(pcsmo.shape), np.ones(pcsmo.shape, bool))
    found = Explanation(measured, "goodenough", "shapley", shares / np.abs(shares).sum(), None, 3.0, 0.0)
    monkeypatch.setattr(cleaning, "classify", lambda *_: None)
    monkeypatch.setattr(cleaning, "explain", lambda *_, method: found)
    nets = [net for net in trained(pcsmo, numbers, None) if net.weights is not None]
    rows, figure = cleaning_rows(pcsmo, nets, {}, measured, {}, numbers)
    told = {row.what: (row.published, row.ours) for row in rows}
    share = found.shares[3, 7]
    assert told["rank of Ei 70 meV, 36.4 to 40.6 meV: compact, shapley, raw"] == ("1", f"38 of 60 ({share:+.1%})")
    assert told["rank of Ei 100 meV, 34.0 to 40.0 meV: compact, shapley, raw"][0] == "next"
    assert figure is not None
    labels = [text.get_text() for axes in figure.axes for text in axes.get_yticklabels()]
    assert "38. Ei 70: 36.4 to 40.6 [published: 1]" in labels and "1. Ei 25: 2.5 to 4.0" in labels
    assert sum(len(axes.patches) == 3 for axes in figure.axes) == 1  # the map's outlines


def test_cleaning_is_shown_and_what_is_missing_says_how_to_make_it(tmp_path):
    study = parse_study(SQUARE)
    card = {"kind": "cleaner", "width": 16, "layout_hash": study.layout_hash, "physics_hash": study.physics_hash}
    save_cleaner(Cleaner(untrained(study, "cleaner", 0, 16), card), tmp_path / "any.safetensors")
    cleaners = cleaners_of(study, tmp_path)
    assert cleaners.keys() == {"cleaner"}
    values = np.random.default_rng(0).gamma(2.0, size=study.shape)
    measured = Spectrum(study, values, np.ones(study.shape, bool))
    cleaned = cleaned_by(cleaners, measured)
    assert cleaned["cleaner"].signal.shape == study.shape and cleaned_by(cleaners, None) == {}
    rows, figure = cleaning_rows(study, [], cleaners, measured, cleaned, published(load_study("pcsmo")))
    missing, found = rows
    assert missing.ours == "" and "magnoscope train autoencoder-published square-montecarlo.zarr" in missing.how
    assert "raw" in found.ours and found.how == "8 tiles" and figure is not None
    assert cleaning_rows(study, [], cleaners, None, {}, published(load_study("pcsmo"))) == ([], None)
    assert all(net.weights is None for net in trained(study, published(load_study("pcsmo")), tmp_path))
