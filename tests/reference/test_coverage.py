"""What the detectors see: banks by geometry, and MAPS' own against what was measured on it."""

from pathlib import Path

import numpy as np
import pytest

from magnoscope.dataset.coverage import random_coverage
from magnoscope.errors import StudyError
from magnoscope.instrument import Bank, Coverage, load_spectrometer
from magnoscope.resolution.coverage import coverage
from magnoscope.simulate import Simulator
from magnoscope.spectrum import to_tiles
from magnoscope.studies import parse_study

SQUARE = (Path(__file__).parents[1] / "cli" / "square.toml").read_text("utf-8")


def test_a_bank_is_a_range_of_two_angles():
    one = Coverage((Bank((-10, 20), (-5, 5)),))

    def towards(across, up):
        across, up = np.radians(across), np.radians(up)
        return 3.7 * np.array([np.cos(up) * np.cos(across), np.cos(up) * np.sin(across), np.sin(up)])

    for across, up, seen in ((0, 0, True), (19.9, 4.9, True), (20.1, 0, False), (-10.1, 0, False), (0, -5.1, False)):
        assert one.sees(towards(across, up)) == seen
    assert not one.sees(towards(175, 0))
    assert not one.sees(np.full(3, np.nan))
    two = Coverage((*one.banks, Bank((90, 130), (-5, 5))))
    assert two.sees(towards(100, 3))
    assert not two.sees(towards(50, 3))


@pytest.mark.parametrize("number", range(6))
def test_maps_before_2017(pcsmo, shared_data, number):
    # the published mask; the banks' edges were read off the runs at 25, 50 and 100 meV, so 35, 70 and 140 are a test
    seen = ~to_tiles(np.load(shared_data / "pcsmo" / "masked.npy"), pcsmo)[number]
    ours = coverage(pcsmo, number, subdivision=3)
    assert (ours == seen).mean() > 0.93
    assert ours[seen].mean() > 0.95
    assert (~ours[~seen]).mean() > 0.75


def test_a_study_may_ask_for_it():
    whole = Simulator(parse_study(SQUARE), "none")
    asked = parse_study(SQUARE.replace('package = "S"', 'package = "S"\ncoverage = true'))
    seen = Simulator(asked, "none")
    assert (seen.reachable == (whole.reachable & coverage(asked, 0)[None])).all()
    assert 0.5 * whole.reachable.sum() < seen.reachable.sum() < whole.reachable.sum()
    assert not whole.study.coverage
    spectrum = seen("near")
    assert np.isnan(spectrum.signal[~spectrum.valid]).all()
    assert np.isfinite(spectrum.signal[spectrum.valid]).all()
    assert asked.layout_hash == whole.study.layout_hash


def test_training_sees_nothing_outside_the_banks_of_a_study_that_asks_for_them():
    asked = parse_study(SQUARE.replace('package = "S"', 'package = "S"\ncoverage = true'))
    drawn, free = (random_coverage(study, 40, 0).numpy() for study in (asked, parse_study(SQUARE)))
    banks = coverage(asked, 0)[None]
    assert (drawn == (free & banks)).all()
    assert drawn.any()
    assert (free & ~banks).any()


def test_an_instrument_that_does_not_say():
    assert load_spectrometer("mari").coverage is None
    text = SQUARE.replace('"maps-v1"', '"mari"')
    with pytest.raises(StudyError, match="instrument MARI does not say where it has detectors"):
        coverage(parse_study(text), 0)
    with pytest.raises(StudyError, match=r"instrument.coverage: the file of instrument MARI has no \[\[detectors"):
        parse_study(text.replace('package = "S"', 'package = "S"\ncoverage = true'))
