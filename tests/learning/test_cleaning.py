"""Cleaning: targets are what would be seen without noise, errors fall, and the checks see a cleaner that cheats."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from magnoscope.cleaning import Cleaner, check_cleaner, held_out, load_cleaner, save_cleaner
from magnoscope.cleaning.library import Library
from magnoscope.dataset.noise import CLEAN, MEASUREMENT_LIKE, Nuisance
from magnoscope.dataset.parts import Part
from magnoscope.errors import WeightsError
from magnoscope.networks.autoencoder import PublishedAutoencoder
from magnoscope.networks.base import Sizes
from magnoscope.networks.cleaner import CleanerNetwork, CleaningNetwork
from magnoscope.networks.cleaning import Cleaning, errors, half_planes, pairs, spread_factors
from magnoscope.networks.files import write_file
from magnoscope.networks.kinds import untrained
from magnoscope.networks.training import Training, TrainingConfig
from magnoscope.spectrum import Spectrum
from magnoscope.studies import parse_study

SHAPE = (2, 3, 12, 12)
COVERAGE = torch.ones(1, *SHAPE, dtype=torch.bool)
SQUARE = (Path(__file__).parents[1] / "cli" / "square.toml").read_text()
SIZES = Sizes(SHAPE, 2, 2, (0, 1))


def toy_part(number: int, seed: int) -> Part:
    """Symmetric rings whose radius grows with energy in one class and falls in the other."""
    rng = np.random.default_rng(seed)
    labels = np.arange(number) % 2
    axis = np.linspace(-1, 1, 12)
    radius = np.hypot(axis[:, None], axis[None])
    slices = np.arange(3)[None, None, :, None, None]
    centre = (
        0.3 + 0.4 * rng.random((number, 1, 1, 1, 1)) + np.array([0.15, -0.15])[labels].reshape(-1, 1, 1, 1, 1) * slices
    )
    images = np.exp(-(((radius - centre) / 0.2) ** 2)) + 0.02
    images = np.broadcast_to(images, (number, *SHAPE)).astype(np.float32)
    return Part(images, labels, np.full((number, 2), 0.5, np.float32))


def only_pairs(part: Part, nuisance: Nuisance, seed: int = 0, **more: float) -> tuple[torch.Tensor, ...]:
    return next(pairs(part, len(part.labels), COVERAGE, nuisance, torch.Generator().manual_seed(seed), False, **more))


def test_clean_spectra_are_what_is_seen_without_noise_and_background():
    silent = Nuisance().without("noise", "background", "hot")
    measured, valid, clean, _ = only_pairs(toy_part(8, 0), silent)
    assert torch.allclose(measured[valid], clean[valid])
    noisy, _, same, _ = only_pairs(toy_part(8, 0), Nuisance())
    assert torch.equal(clean, same) and not torch.allclose(noisy, same, atol=0.1)


def test_halves_are_hidden():
    hidden = half_planes(torch.zeros(400, *SHAPE), 0.25, torch.Generator().manual_seed(0))
    share = hidden.flatten(1).float().mean(1)
    assert set(share.unique().tolist()) == {0.0, 0.5} and 0.15 < float((share > 0).float().mean()) < 0.35
    assert len({tuple(image[0, 0].flatten().tolist()) for image in hidden}) == 5
    path = half_planes(torch.zeros(50, 1, 4, 9, 1), 1.0, torch.Generator().manual_seed(0))
    assert set(path.flatten(1).sum(1).unique().tolist()) == {16, 20}


@pytest.mark.parametrize("shape", [SHAPE, (1, 4, 13, 11), (3, 5, 9, 1)])
def test_a_cleaner_follows_the_scale_of_each_run(shape):
    torch.manual_seed(0)
    network = CleanerNetwork(Sizes(shape, 2, 2, (0,)), 16).eval()
    measured, valid = torch.rand(2, *shape), torch.rand(2, *shape) < 0.8
    measured = measured * valid
    scale = torch.rand(2, shape[0], 1, 1, 1) + 0.5
    with torch.no_grad():
        one, spread = network.restore(measured, valid)
        two, wider = network.restore(measured * scale, valid)
    assert one.shape == measured.shape and bool((spread > 0).all())
    assert torch.allclose(two, one * scale, rtol=1e-3, atol=1e-6) and torch.allclose(wider, spread * scale, rtol=1e-3)


def test_a_mirrored_measurement_keeps_its_padding_at_the_end():
    # 10 pixels are padded to 12; the mirror image of the real ones must lie on the real ones
    torch.manual_seed(0)
    network = CleanerNetwork(Sizes((1, 2, 10, 10), 2, 2, (0, 1)), 16).eval()
    seen: list[torch.Tensor] = []
    network.enter.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    inputs = torch.rand(1, 2, 2, 10, 10)
    with torch.no_grad():
        network(inputs)
    views = seen[0].split(2, 1)
    for view, axes in zip(views, ((), (3,), (4,), (3, 4)), strict=True):
        assert torch.equal(view[..., :10, :10], inputs.flip(axes))
        assert float(view[..., 10:, :].abs().max()) == 0


def started(shape: tuple[int, int, int, int], mirrors: tuple[int, ...]) -> CleanerNetwork:
    """A network whose patterns and corrections, which begin with nothing, do something."""
    torch.manual_seed(0)
    network = CleanerNetwork(Sizes(shape, 2, 2, mirrors), 16).eval()
    for last in (network.summary[-1], network.correct[-1]):
        torch.nn.init.normal_(last.weight, std=0.1)
    return network


@pytest.mark.parametrize(("shape", "mirrors"), [((2, 3, 12, 12), (0, 1)), ((1, 2, 10, 9), (1,)), ((3, 5, 9, 1), (0,))])
def test_a_mirrored_measurement_is_cleaned_to_the_mirror_image(shape, mirrors):
    network = started(shape, mirrors)
    generator = torch.Generator().manual_seed(1)
    valid = torch.rand(2, *shape, generator=generator) < 0.8
    measured = torch.rand(2, *shape, generator=generator) * valid
    turn = tuple(3 + axis for axis in mirrors)
    with torch.no_grad():
        one, spread = network.restore(measured, valid)
        two, same = network.restore(measured.flip(turn), valid.flip(turn))
    assert not torch.allclose(one, one.flip(turn), rtol=0.1)
    assert torch.allclose(two.flip(turn), one, rtol=1e-3, atol=1e-5)
    assert torch.allclose(same.flip(turn), spread, rtol=1e-3, atol=1e-5)


def test_all_runs_and_slices_inform_each_other():
    network = started((2, 9, 40, 40), (0, 1))
    inputs = torch.rand(1, 4, 9, 40, 40, generator=torch.Generator().manual_seed(2)).requires_grad_(True)
    mean, _ = network(inputs)
    mean[0, 0, 0, 0, 0].backward()
    slopes = inputs.grad
    assert slopes is not None and float(slopes[0, 1, 8, 20:, 20:].abs().max()) > 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> CleanerNetwork:
    torch.manual_seed(0)
    config = TrainingConfig(epochs=16, batch=8, learning_rate=6e-3, foreign=0.125)
    energies = torch.tensor([[2.0, 4, 6], [5, 10, 15]])
    parts, folder = (toy_part(56, 0), toy_part(32, 1)), tmp_path_factory.mktemp("cleaner")
    training = Training(CleanerNetwork(SIZES, 16), *parts, COVERAGE, config, folder, Nuisance(), energies, Cleaning())
    training.run(lambda line: None)
    assert training.history[-1].keys() >= {"train_loss", "validation_loss", "validation_stated over true error"}
    return training.network  # type: ignore[return-value]


def test_training_lowers_the_error_and_turns_no_verdict(trained):
    report = check_cleaner(Cleaner(trained, {}), toy_part(96, 0), toy_part(64, 2), COVERAGE, 0)
    assert report.images == 64
    assert report.error_left < 0.75  # after seconds of training
    assert report.turned_wrong == 0 and report.verdicts_right > 0.95
    assert report.noise_left < 0.6 and report.noise_explained < 0.5 < report.spectra_explained
    assert 0.5 < report.stated_over_true < 2


def test_the_spread_is_set_to_the_errors_that_are_made(trained):
    seen = (toy_part(64, 5), COVERAGE, MEASUREMENT_LIKE)
    before = trained.spread
    trained.spread = spread_factors(trained, *seen, 0)
    found = errors(trained, *seen, 0)
    trained.spread = before
    assert float((found.size**2).mean() / (found.cleaned**2).mean()) == pytest.approx(1, abs=0.02)


class Fixed(CleaningNetwork):
    """A cleaner that answers what it is told."""

    def __init__(self, answer) -> None:
        super().__init__()
        self.answer, self.nothing = answer, torch.nn.Parameter(torch.zeros(1))

    def restore(self, measured, valid):
        found = self.answer(measured, valid)
        return found, torch.ones_like(found)


def test_checks_see_a_cleaner_that_paints_one_class():
    picture = torch.as_tensor(toy_part(2, 3).images[:1])
    painter = Fixed(lambda measured, valid: picture.expand(measured.shape))
    report = check_cleaner(Cleaner(painter, {}), toy_part(64, 0), toy_part(64, 2), COVERAGE, 0)
    assert report.verdicts_right > 0.9
    assert report.turned_wrong == pytest.approx(0.5, abs=0.1)
    assert report.noise_explained > 0.9  # noise became a spectrum
    idle = Fixed(lambda measured, valid: measured)
    honest = check_cleaner(Cleaner(idle, {}), toy_part(64, 0), toy_part(64, 2), COVERAGE, 0)
    assert honest.error_left == pytest.approx(1) and honest.flipped == 0 and honest.noise_left == pytest.approx(1)
    assert honest.noise_explained < 0.5 < honest.spectra_explained + 0.3


def test_the_library_fits_scale_and_background_of_each_tile():
    library = Library.of(toy_part(8, 0))
    images = torch.as_tensor(toy_part(8, 0).images)
    valid = torch.rand(images.shape, generator=torch.Generator().manual_seed(0)) < 0.7
    lifted = 2.5 * images + 0.7
    assert library.explained(lifted, valid) == pytest.approx(np.ones(8), abs=1e-3)
    noisy = lifted + torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    found = library.chi_squares(noisy, valid, torch.ones(8, 6))
    y, v = noisy[3, 1, 2].flatten().double().numpy(), valid[3, 1, 2].flatten().numpy()
    one = Library(library.tiles[5:6], library.labels).chi_squares(
        noisy[:, 1:2, 2:3], valid[:, 1:2, 2:3], torch.ones(8, 1)
    )
    for number in range(8):
        x = library.tiles[5, number].double().numpy()
        design = np.stack([x[v], np.ones(v.sum())], 1)
        solved = np.linalg.lstsq(design, y[v], rcond=None)
        expected = solved[1][0] if solved[0][0] > 0 else ((y[v] - y[v].mean()) ** 2).sum()
        assert float(one[3, number]) == pytest.approx(expected, rel=1e-3)
    assert found.shape == (8, 8) and bool((found > one).all())


def symmetric_measurement(seed: int) -> tuple[Spectrum, np.ndarray]:
    study = parse_study(SQUARE)
    axis = np.linspace(-1, 1, 12)
    truth = np.broadcast_to(np.exp(-((np.hypot(axis[:, None], axis[None]) - 0.6) ** 2) / 0.08), study.shape)
    noisy = np.maximum(truth + 0.4 * np.random.default_rng(seed).normal(size=study.shape), 0)
    return Spectrum(study, noisy, np.ones(study.shape, bool)), truth


def test_held_out_pixels_tell_a_true_cleaning_from_none():
    spectrum, truth = symmetric_measurement(0)
    given: list[float] = []

    def idle(measured, valid):
        given.append(float(valid.float().mean()))
        return measured

    same = held_out(Cleaner(Fixed(idle), {}), spectrum)
    assert same is not None and same.cleaned == pytest.approx(same.raw, abs=0.03) and given == [0.5] * 4
    picture = torch.as_tensor(truth.astype(np.float32))[None]
    right = held_out(Cleaner(Fixed(lambda measured, valid: picture), {}), spectrum)
    assert (
        right is not None
        and right.cleaned > right.raw + 0.05
        and right.predicted == pytest.approx(right.cleaned, abs=0.02)
    )


def test_the_published_autoencoder_gives_back_its_input(tmp_path):
    torch.manual_seed(0)
    config = TrainingConfig(
        epochs=8, batch=16, learning_rate=1e-3, weight_decay=0.0, foreign=0.0, optimizer="adam", annealed=False
    )
    network = PublishedAutoencoder(Sizes(SHAPE, 2, 2))
    training = Training(network, toy_part(64, 0), toy_part(16, 1), COVERAGE, config, tmp_path, CLEAN, None, Cleaning())
    training.run(lambda line: None)
    losses = [row["validation_loss"] for row in training.history]
    assert losses[-1] < 0.8 * losses[0]
    images = torch.as_tensor(toy_part(8, 2).images)
    with torch.no_grad():
        found, spread = network.restore(images, torch.ones(images.shape, dtype=torch.bool))
    assert float(((found - images) ** 2).mean()) < float(((images.mean() - images) ** 2).mean())
    assert found.shape == images.shape and bool((spread >= 0).all())


def test_cleaners_are_written_and_read(tmp_path):
    study = parse_study(SQUARE)
    network = untrained(study, "cleaner", 1, 16).eval()
    card = {"kind": "cleaner", "width": 16, "layout_hash": study.layout_hash, "physics_hash": "other"}
    path = tmp_path / "cleaner.safetensors"
    save_cleaner(Cleaner(network, card), path)
    found, warning = load_cleaner(path, study)
    assert warning is not None and "has changed since" in warning
    spectrum, _ = symmetric_measurement(1)
    masked = spectrum.masked(np.arange(12) < 3 * np.ones((*study.shape[:3], 1), int))
    cleaned = found(masked)
    assert np.array_equal(cleaned.valid, masked.valid) and cleaned.error is not None
    assert np.isfinite(cleaned.signal[cleaned.valid]).all() and np.isnan(cleaned.signal[~cleaned.valid]).all()
    save_cleaner(replace(found, card=card | {"spread": [4.0, 4.0]}), path)
    wider = load_cleaner(path, study)[0](masked)
    np.testing.assert_allclose(wider.error, 2 * cleaned.error, rtol=1e-4)
    save_cleaner(replace(found, card=card | {"spread": [0.0, 1.0]}), path)
    with pytest.raises(WeightsError, match="does not fit this version"):
        load_cleaner(path, study)
    save_cleaner(Cleaner(untrained(study, "cleaner", 1, 32), card), path)
    with pytest.raises(WeightsError, match="does not fit this version"):
        load_cleaner(path, study)
    write_file({k: v for k, v in network.state_dict().items() if not k.startswith("correct")}, {}, card, path)
    with pytest.raises(WeightsError, match="does not fit this version"):  # as an earlier version wrote them
        load_cleaner(path, study)
    save_cleaner(replace(found, card=card | {"layout_hash": "x"}), path)
    with pytest.raises(WeightsError, match="other tiles, axes or classes"):
        load_cleaner(path, study)


def test_the_default_is_small():
    network = CleanerNetwork(Sizes((6, 10, 40, 40), 2, 6, (0, 1)))
    assert sum(w.numel() for w in network.parameters()) * 2 < 2e6  # stored in half precision
    assert MEASUREMENT_LIKE.noise == (1.0, 1.0)
