"""Instruments of a user's own: a TOML file beside the study, checked key by key."""

from importlib import resources
from pathlib import Path

import pytest

from magnoscope.errors import InstrumentError, StudyError
from magnoscope.instrument import content, load_spectrometer, presets
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
        ("tau_fast = 70e-6", "tau_fast = 70e-6\ngrowth = 1e-3", "`growth` goes with `pulse_length`, which is missing"),
        ("tau_fast = 70e-6", "tau_fast = 70e-6\npulse_length = 38e-3", "give either `tau_fast` or"),
        ("tau_fast = 70e-6", "scattering = [119.0, 33.0]", "`scattering` needs `storage_rates`, `storage_step` and"),
        ("tau_fast = 70e-6", "tau_fast = 70e-6\nbeyond = { tau_fast = 60e-6 }", "`beyond` goes with `wavelengths`"),
        (
            "tau_fast = 70e-6",
            "wavelengths = [1.0, 2.0]\nwidths = [2e-5, 3e-5]\nbeyond = { growth = 1e-3 }",
            "moderator.beyond: `growth` goes with `pulse_length`",
        ),
        (
            "tau_fast = 70e-6",
            "pulse_length = 38e-3\nhat = { height = 1.0, from = 150.0, to = 0.5, blurs = [1.0, 1.0] }",
            "moderator.hat: `from` must be below `to`",
        ),
        ("horizontal = [6.5, 19.6]", "horizontal = [19.6, 6.5]", "must rise from its lower to its upper end"),
        ("[chopper.S]", "[guide]\nonset = 2.3\nlongest = 4.5\n[chopper.S]", "guide.coefficients: this key is missing"),
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


def test_content_stays_as_the_package_learns():
    # what a file does not use is not in the hash, so that weights made before stay those of the study
    maps = load_spectrometer("maps-v1")
    text = content(maps)
    assert "guide" not in text
    assert "banks" not in text
    assert text == (
        "Spectrometer(name='MAPS (before 2017)', "
        f"citation={maps.citation!r}, moderator_chopper=10.1, chopper_sample=1.9, aperture_chopper=8.11, "
        "aperture=(0.07013, 0.07013), moderator=Moderator(tau_fast=7e-05, tau_slow=0.0, mixing=0.0, tilt=32.0), "
        "choppers={'S': FermiChopper(package='S', slit=0.002899, radius=0.049, curvature=1.3), "
        "'A': FermiChopper(package='A', slit=0.001087, radius=0.049, curvature=1.3), "
        "'B': FermiChopper(package='B', slit=0.001812, radius=0.049, curvature=0.92)}, "
        "detectors=Detectors(distance=6.0, depth=0.015, width=0.0254, height=0.0168))"
    )
    assert "guide=GuideGain(" in content(load_spectrometer("maps-v2"))
    assert "beyond=PulseLengthModerator(" in content(load_spectrometer("mari"))
