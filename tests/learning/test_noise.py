"""The nuisance model: each part does what it says, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from magnoscope.dataset.coverage import MILD, CoverageLaw, detector_angles, random_coverage
from magnoscope.dataset.noise import CLEAN, MEASUREMENT_LIKE, SWITCHES, Nuisance, degrade, degraded
from magnoscope.errors import StudyError
from magnoscope.spectrum import Spectrum

SHAPE = (2, 4, 20, 20)


def bumps(number: int = 6) -> torch.Tensor:
    x = torch.linspace(-1, 1, 20)
    image = torch.exp(-((x[:, None] - 0.2) ** 2 + (x[None] + 0.4) ** 2) / 0.05) + 0.05
    return image.expand(number, *SHAPE[:2], 20, 20).clone()


def run(nuisance: Nuisance, seed: int = 0, signal: torch.Tensor | None = None):
    return degrade(bumps() if signal is None else signal, None, nuisance, torch.Generator().manual_seed(seed))


def test_clean_changes_nothing():
    measured, valid = run(CLEAN)
    assert torch.equal(measured, bumps()) and bool(valid.all())


def test_same_seed_same_measurement():
    assert torch.equal(run(MEASUREMENT_LIKE, 4)[0], run(MEASUREMENT_LIKE, 4)[0])
    assert not torch.equal(run(MEASUREMENT_LIKE, 4)[0], run(MEASUREMENT_LIKE, 5)[0])


def test_measurements_are_never_negative_and_noise_leaves_zeros():
    measured, _ = run(MEASUREMENT_LIKE)
    assert float(measured.min()) == 0
    assert 0.05 < float((measured == 0).float().mean()) < 0.7


def test_noise_has_the_size_asked_for():
    flat = torch.ones(400, 1, 1, 20, 20)
    sizes = []
    for level in (0.05, 0.1):
        nuisance = replace(CLEAN, noise=(level, level), quiet=0.0)
        sizes.append(float((run(nuisance, signal=flat)[0] - 1).std()))
    assert sizes[1] / sizes[0] == pytest.approx(2, rel=0.1)


def test_envelope_falls_with_energy_transfer_within_its_range():
    flat = torch.ones(50, 1, 4, 6, 6)
    measured, _ = run(replace(CLEAN, envelope=(0.5, 1.0)), signal=flat)
    fall = -torch.log(measured[:, 0, -1] / measured[:, 0, 0])
    assert float(fall.min()) >= 0.5 - 1e-5 and float(fall.max()) <= 1.0 + 1e-5


def test_misalignment_moves_a_peak_by_about_as_much_as_asked():
    measured, _ = run(replace(CLEAN, misalignment=1.0), signal=bumps(200))
    image = measured[:, 0, 0] - 0.05
    centre = (image.sum(2) * torch.arange(20.0)).sum(1) / image.sum((1, 2))
    assert 0.5 < float(centre.std()) < 1.6


def test_hot_pixels_are_few_and_high():
    flat = torch.ones(20, 1, 4, 20, 20)
    measured, _ = run(replace(CLEAN, hot=5e-3), signal=flat)
    hot = measured > 2
    assert 0 < float(hot.float().mean()) <= 5e-3


def test_coverage_is_fixed_in_angle(pcsmo):
    """A gap at one scattering angle falls on smaller wave vectors at lower incident energy."""
    across, up = detector_angles(pcsmo)
    assert abs(float(across[0, 0, 39, 20])) > abs(float(across[5, 0, 39, 20])) > 3
    coverage = random_coverage(pcsmo, 8, seed=1)
    assert coverage.shape == (8, *pcsmo.shape)
    share = coverage.float().mean((1, 2, 3, 4))
    assert float(share.min()) > 0.3 and len(set(share.tolist())) > 3
    assert torch.equal(coverage, random_coverage(pcsmo, 8, seed=1))


def test_missing_detectors_are_zero_and_not_valid(pcsmo):
    coverage = random_coverage(pcsmo, 4, seed=2)
    signal = torch.ones(3, *pcsmo.shape)
    nuisance = replace(CLEAN, masks=True)
    measured, valid = degrade(signal, coverage, nuisance, torch.Generator().manual_seed(0))
    assert torch.equal(measured > 0, valid)


def test_noise_is_skewed_as_counts_are():
    """Third moment of a Poisson variable: gain times the variance; normal noise has none."""
    flat = torch.ones(2000, 1, 1, 20, 20)
    for counting, expected in ((True, 1.0), (False, 0.0)):
        measured, _ = run(replace(CLEAN, noise=(0.25, 0.25), quiet=0.0, counting=counting), signal=flat)
        # every image has its own level; the third moment over gain times variance does not depend on it
        off = (measured - 1).double().flatten(1)
        variance = off.var(1)
        gain = variance / 2  # the background counts as much as the mean
        ratio = (off**3).mean() / (gain * variance).mean()
        assert float(ratio) == pytest.approx(expected, abs=0.15)


def test_moderator_changes_the_width_in_energy_both_ways_and_keeps_the_intensity():
    line = torch.zeros(400, 1, 9, 2, 2)
    line[:, :, 2:7] = torch.tensor([0.1, 0.5, 1.0, 0.5, 0.1])[None, None, :, None, None]
    measured, _ = run(replace(CLEAN, moderator=0.05), signal=line)
    position = torch.arange(9.0)[None, :] - 4
    profile = measured[:, 0, :, 0, 0]
    assert torch.allclose(profile.sum(1), line[:, 0, :, 0, 0].sum(1), rtol=2e-2)
    change = (profile * position**2).sum(1) / profile.sum(1) - (0.1 * 8 + 0.5 * 2) / 2.2
    assert float(change.min()) < 0 < float(change.max())
    assert float(change.std()) == pytest.approx(0.05, rel=0.2)


@pytest.mark.parametrize("name", SWITCHES)
def test_each_nuisance_can_be_switched_on_alone_and_off_alone(name):
    usual = Nuisance()
    alone, others = usual.only(name), usual.without(name)
    for key, fields in SWITCHES.items():
        for field in fields:
            on, off = getattr(usual, field), getattr(CLEAN, field)
            assert getattr(alone, field) == (on if key == name else off)
            assert getattr(others, field) == (off if key == name else on)
    with pytest.raises(StudyError, match="there is no nuisance nonsense; there are noise, scale"):
        usual.without("nonsense")


def test_coverages_see_as_much_as_the_measurement_does(pcsmo, shared_data):
    """Its share of pixels with a detector, run by run, lies within what training sees; MILD ones miss less."""
    measured = np.isfinite(np.load(shared_data / "pcsmo" / "measured.npy")).reshape(6, 40, 400)
    usual, mild = (random_coverage(pcsmo, 60, 3, law).float().mean((2, 3, 4)) for law in (None, MILD))
    assert float(mild.mean()) > 0.92
    assert float(usual.mean()) == pytest.approx(measured.mean(), abs=0.04)
    for run_, share in enumerate(measured.mean((1, 2))):
        low, high = np.quantile(usual[:, run_].numpy(), [0.02, 0.98])
        assert low < share < high


def test_coverage_law_goes_through_a_card():
    assert CoverageLaw.from_settings(None) == MILD
    assert CoverageLaw.from_settings(CoverageLaw().settings()) == CoverageLaw()


def test_a_degraded_simulation_is_seen_where_there_are_detectors(pcsmo):
    clean = Spectrum(pcsmo, np.ones(pcsmo.shape), np.ones(pcsmo.shape, bool))
    found = degraded(clean, MEASUREMENT_LIKE, 1)
    assert 0.4 < found.valid.mean() < 1 and np.isnan(found.signal[~found.valid]).all()
    assert np.nanmin(found.signal) == 0
    np.testing.assert_array_equal(found.signal, degraded(clean, MEASUREMENT_LIKE, 1).signal)
    only = degraded(clean, MEASUREMENT_LIKE.only("scale"), 1)
    assert only.valid.all() and len(np.unique(only.signal.round(5))) == 6


def test_a_misaligned_image_is_mirrored_after_it_is_moved():
    signal = torch.rand(24, 2, 3, 10, 7)
    moved, _ = run(Nuisance().only("misalignment"), signal=signal)
    mirrored, _ = run(Nuisance().only("misalignment", "mirrors"), signal=signal)
    of_each = []
    for one, other in zip(moved, mirrored, strict=True):
        flips = [one, one.flip(-2), one.flip(-1), one.flip(-2, -1)]
        found = [torch.allclose(flipped, other, atol=1e-5) for flipped in flips]
        assert sum(found) == 1
        of_each.append(found.index(True))
    assert set(of_each) == {0, 1, 2, 3}


def test_an_offset_in_energy_mixes_each_slice_with_the_next_or_with_the_last():
    signal = torch.rand(40, 2, 5, 3, 3)
    measured, _ = run(replace(CLEAN, energy_shift=0.3), signal=signal)
    sides = set()
    for image, shifted in zip(signal.flatten(0, 1), measured.flatten(0, 1), strict=True):
        up, down = torch.cat([image[1:], image[-1:]]), torch.cat([image[:1], image[:-1]])
        shares = [float(((shifted - image) * (n - image)).sum() / (n - image).square().sum()) for n in (up, down)]
        fits = [torch.allclose(shifted, image.lerp(n, s), atol=1e-5) for n, s in zip((up, down), shares, strict=True)]
        assert any(fits) and -1e-5 < shares[fits.index(True)] < 0.9 + 1e-5
        sides.add(fits.index(True))
    assert sides == {0, 1}
