"""Units of intensity, k_f / k_i and temperature: factors known in closed form."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from magnoscope.intensity import Intensity
from magnoscope.simulate import Sampling, Simulator


def factor(energy, ei=100.0, **changes):
    return Intensity(**changes).factor(torch.tensor(energy, dtype=torch.float64), ei).numpy()


def test_nothing_is_changed_unless_asked_for():
    assert_allclose(factor([1.0, 50.0]), 1)


def test_absolute_units():
    # (gamma r_0)^2 from the neutron's magnetic moment, 1.91304 nuclear magnetons, and the classical radius of the
    # electron, 2.8179403 fm (CODATA); a barn is 100 fm^2
    expected = (1.91304 * 2.8179403) ** 2 * 10
    assert_allclose(factor([5.0], units="mbarn", formula_units=1.0), expected, rtol=1e-4)
    assert_allclose(factor([5.0], units="mbarn", formula_units=8.0, g=1.5), expected * 0.75**2 / 8, rtol=1e-4)


def test_kf_over_ki():
    # speeds: k_f / k_i = 1/2 where three quarters of the energy are lost
    assert_allclose(factor([75.0, 0.0], kf_over_ki=True), [0.5, 1])


def test_temperature_is_detailed_balance():
    # 1 + n = exp(x) n; far above k_B T nothing changes
    x = 10 / (0.0861733 * 300)
    assert_allclose(factor([10.0], temperature=300.0), 1 + 1 / np.expm1(x), rtol=1e-6)
    assert_allclose(factor([50.0], temperature=4.0), 1, rtol=1e-12)


@pytest.mark.parametrize("kind", ["mbarn", "kf_over_ki"])
def test_spectra_follow(pcsmo, kind):
    study = replace(pcsmo, runs=pcsmo.runs[3:4])
    changes = {"units": "mbarn", "formula_units": 8.0} if kind == "mbarn" else {"kf_over_ki": True}
    changed = replace(study, intensity=Intensity(**changes))
    default = Sampling()
    plain, other = (Simulator(s, "none", default)("goodenough").signal[0] for s in (study, changed))
    bright = plain.sum((1, 2)) > 0.01 * plain.sum((1, 2)).max()
    ratio = other[bright].sum((1, 2)) / plain[bright].sum((1, 2))
    if kind == "mbarn":
        assert_allclose(ratio, 290.6 / 8, rtol=1e-4)
    else:
        fractions = np.array(study.maps.energy_fractions)
        assert (ratio <= np.sqrt(1 - fractions[:-1][bright]) + 0.01).all()
        assert (ratio >= np.sqrt(1 - fractions[1:][bright]) - 0.01).all()
