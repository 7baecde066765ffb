"""Errors of the instrument as training sets draw them: from their priors, for each run if runs have their own."""

import numpy as np
import pytest
import scipy

from magnoscope.dataset.draws import Law, simulate_draw
from magnoscope.instrument_errors import BROADENING, drawn_amounts, kinds_of
from magnoscope.simulate import Simulator
from magnoscope.studies import load_study

NAMES = ["energy zero", "moderator width", "mosaic", "width of a mode", "place along h", "place along k"]


def test_draws_follow_the_priors() -> None:
    study, rng = load_study("pcsmo"), np.random.default_rng(1)
    assert [kind.name for kind in kinds_of(study)] == NAMES
    drawn = np.array([drawn_amounts(study, rng) for _ in range(400)])
    zero, moderator, mosaic, width, *places = drawn.transpose(1, 0, 2)
    for each_run in (zero, moderator):
        assert scipy.stats.kstest(each_run.ravel(), "norm").pvalue > 1e-3
        assert abs(np.corrcoef(each_run[:, 0], each_run[:, 1])[0, 1]) < 0.2 and np.abs(each_run).max() <= 2.5
    for shared in (mosaic, width):
        assert np.all(shared == shared[:, :1])
        assert scipy.stats.kstest(shared[:, 0] / BROADENING, "halfnorm").pvalue > 1e-3
    assert not np.any(places)


@pytest.mark.parametrize("name", ["pcsmo", "cri3"])
def test_a_drawn_instrument_is_that_of_its_own_image(name: str) -> None:
    study = load_study(name)
    simulator = Simulator(study, "gaussian")
    stated, values, _ = simulate_draw(simulator, 0, 3, 0, Law())
    other, same, _ = simulate_draw(simulator, 0, 3, 0, Law("instrument"))
    again, _, _ = simulate_draw(simulator, 0, 3, 0, Law("instrument"))
    np.testing.assert_array_equal(values, same)
    np.testing.assert_array_equal(other, again)
    # features are broader or elsewhere: as much intensity, within what energy zeros move it, in other pixels
    assert np.abs(other - stated).sum() > 0.05 * stated.sum()
    assert other.sum() == pytest.approx(stated.sum(), rel=0.3)
