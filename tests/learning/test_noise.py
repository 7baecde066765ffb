"""The nuisance model: each part does what it says, and nothing else."""

from dataclasses import replace

import pytest
import torch

from magnoscope.dataset.noise import CLEAN, MEASUREMENT_LIKE, Nuisance, degrade, detector_angles, random_coverage

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
