"""The sample's mosaic and shape reach the simulated maps."""

from pathlib import Path

import numpy as np
import pytest

from magnoscope.simulate import Sampling, Simulator
from magnoscope.studies import parse_study

SQUARE = (Path(__file__).parents[1] / "cli" / "square.toml").read_text("utf-8")
SAMPLING = Sampling(zone_points=12)


def image(method, extra=""):
    study = parse_study(SQUARE.replace('package = "S"', 'package = "S"' + extra))
    return Simulator(study, method, SAMPLING)("near")


@pytest.fixture(scope="module")
def sharp():
    return image("gaussian")


@pytest.mark.parametrize("method", ["gaussian", "montecarlo"])
def test_mosaic_smears_along_rings_and_keeps_intensity(sharp, method):
    smeared = image(method, '\nshape = "sphere"\nmosaic = 6.0')
    valid = sharp.valid
    assert (smeared.valid == valid).all()
    # most of the intensity stays, while it is spread out: the maps lose contrast
    assert smeared.signal[valid].sum() == pytest.approx(sharp.signal[valid].sum(), rel=0.01)
    assert smeared.signal[valid].std() < 0.95 * sharp.signal[valid].std()


def test_the_two_methods_agree(sharp):
    gaussian, drawn = (image(m, '\nshape = "cylinder"\nmosaic = [2.0, 3.0, 1.0]') for m in ("gaussian", "montecarlo"))
    valid = sharp.valid
    distance = np.linalg.norm((gaussian.signal - drawn.signal)[valid]) / np.linalg.norm(gaussian.signal[valid])
    assert 0 < distance < 0.03
