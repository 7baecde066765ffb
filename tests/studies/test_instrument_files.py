"""Instruments of a user's own: a TOML file beside the study, checked key by key."""

from importlib import resources
from pathlib import Path

import pytest

from magnoscope.errors import InstrumentError, StudyError
from magnoscope.instrument import load_spectrometer, presets
from magnoscope.studies import load_study

SQUARE = (Path(__file__).parents[1] / "cli" / "square.toml").read_text("utf-8")
PRESET = (resources.files("magnoscope.instrument") / "presets" / "maps-v1.toml").read_text("utf-8")


def test_file_beside_the_study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path.parent)
    (tmp_path / "mine.toml").write_text(PRESET.replace("tau_fast = 70e-6", "tau_fast = 90e-6"))
    old = next(line for line in SQUARE.splitlines() if line.startswith("preset"))
    (tmp_path / "study.toml").write_text(SQUARE.replace(old, 'preset = "mine.toml"'))
    (tmp_path / "same.toml").write_text(SQUARE)
    mine, shipped = load_study(tmp_path / "study.toml"), load_study(tmp_path / "same.toml")
    assert mine.spectrometer.moderator.variance(50) > 1.5 * shipped.spectrometer.moderator.variance(50)
    before = mine.physics_hash
    (tmp_path / "mine.toml").write_text(PRESET.replace("tau_fast = 70e-6", "tau_fast = 91e-6"))
    assert load_study(tmp_path / "study.toml").physics_hash != before


def test_every_preset_says_where_it_comes_from():
    assert {"arcs", "maps-pychop", "maps-v1", "maps-v2", "mari", "merlin", "sequoia"} <= set(presets())
    for name in presets():
        spectrometer = load_spectrometer(name)
        assert len(spectrometer.citation) > 20
        assert spectrometer.choppers


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("tau_fast = 70e-6", "tau_fats = 70e-6", "moderator.tau_fats: unknown key"),
        ("tau_fast = 70e-6", "", "give either `tau_fast` or `wavelengths` with `widths`"),
        ("tau_fast = 70e-6", "wavelengths = [1.0, 2.0]\nwidths = [2e-5]", "2 wavelengths and 1 widths"),
        ("moderator_chopper = 10.1", "moderator_chopper = -10.1", "moderator_chopper: must be greater than 0"),
        ("distance = 6.0", 'distance = "six"', "detectors.distance: must be a valid number"),
        ("chopper_sample = 1.9\n", "", "chopper_sample: this key is missing"),
        ("aperture = [0.07013, 0.07013]", "aperture = [0.07013]", "aperture: List should have at least 2 items"),
        ('name = "MAPS', 'name = MAPS"', "is not a TOML file"),
    ],
)
def test_mistakes(tmp_path, old, new, said):
    assert old in PRESET
    (tmp_path / "mine.toml").write_text(PRESET.replace(old, new, 1))
    with pytest.raises(InstrumentError) as caught:
        load_spectrometer("mine.toml", tmp_path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value).strip() or "TOML" in said


def test_missing_file_names_the_line_of_the_study(tmp_path):
    old = next(line for line in SQUARE.splitlines() if line.startswith("preset"))
    (tmp_path / "study.toml").write_text(SQUARE.replace(old, 'preset = "gone.toml"'))
    line = SQUARE.splitlines().index(old) + 1
    with pytest.raises(StudyError, match=rf"line {line}: instrument.preset: there is no instrument file .*gone.toml"):
        load_study(tmp_path / "study.toml")
