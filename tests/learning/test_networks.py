"""The network, its DUQ head and the training loop, on sizes that take seconds."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from magnoscope.dataset.noise import CLEAN, Nuisance, prepare
from magnoscope.dataset.parts import FOREIGN, Part, joined
from magnoscope.networks import foreign
from magnoscope.networks.base import Output, of_sigmoids
from magnoscope.networks.compact import STRIDES_BEFORE, CompactNetwork
from magnoscope.networks.duq import DUQHead, gradient_penalty
from magnoscope.networks.foreign import make_foreign
from magnoscope.networks.training import Training, TrainingConfig, batches, evaluate, losses, reduced_precision

SHAPE = (2, 3, 12, 8)
QUIET = replace(Nuisance(), masks=False, hot=0.0, noise=(0.1, 0.2))


def toy_part(number: int, seed: int) -> Part:
    """Two classes: a ridge along axis 0 or along axis 1."""
    rng = np.random.default_rng(seed)
    labels = np.arange(number) % 2
    images = rng.uniform(0.1, 0.3, (number, *SHAPE))
    images[labels == 0, :, :, 4:8, :] += 1
    images[labels == 1, :, :, :, 3:5] += 1
    return Part(images.astype(np.float16), labels, rng.uniform(size=(number, 2)).astype(np.float32))


def toy_network(seed: int = 0) -> CompactNetwork:
    torch.manual_seed(seed)
    return CompactNetwork(2, 3, 2, 2, width=16, features=8)


COVERAGE = torch.ones(1, *SHAPE, dtype=torch.bool)
CONFIG = TrainingConfig(epochs=6, batch=16, seed=3, reduced_precision=False)


def toy_training(folder: Path, epochs: int = 6) -> Training:
    config = replace(CONFIG, epochs=epochs)
    return Training(toy_network(), toy_part(96, 0), toy_part(32, 1), COVERAGE, config, folder, QUIET)


def test_duq_scores_fall_to_zero_far_from_the_centroids_and_are_one_on_them():
    head = DUQHead(features=4, classes=3, embedding=5, sigma=0.2)
    far = 100 * torch.randn(7, 4)
    assert float(head(far).detach().max()) < 1e-6
    with torch.no_grad():
        head.total.copy_(head.embed(torch.ones(1, 4))[0] * head.count[:, None])
    assert torch.allclose(head(torch.ones(1, 4)), torch.ones(1, 3))


def test_duq_score_is_the_papers_formula():
    """K_c = exp(-|W_c v - e_c|^2 / (2 n sigma^2)), n the size of the embedding (equation 3)."""
    head = DUQHead(features=4, classes=2, embedding=3, sigma=0.5)
    v = torch.randn(1, 4)
    for c in range(2):
        distance = float(((head.weight[c] @ v[0] - head.centroids[c]) ** 2).sum().detach())
        assert float(head(v)[0, c].detach()) == pytest.approx(math.exp(-distance / (2 * 3 * 0.25)), rel=1e-5)


def test_duq_centroids_move_to_the_mean_embedding_of_their_class_only():
    head = DUQHead(features=4, classes=2, embedding=3, momentum=0.5)
    features = torch.randn(40, 4)
    before = head.centroids.clone()
    labels = torch.zeros(40, dtype=torch.long)
    for _ in range(60):
        head.update(features, labels)
    mean = head.embed(features)[:, 0].mean(0)
    assert torch.allclose(head.centroids[0], mean, atol=1e-4)
    assert torch.allclose(head.centroids[1], before[1], atol=1e-4)


def test_gradient_penalty_is_two_sided():
    x = torch.randn(5, 3, requires_grad=True)
    for slope, expected in ((1.0, 0.0), (3.0, 4.0), (0.0, 1.0)):
        direction = torch.tensor([slope, 0.0, 0.0])
        assert float(gradient_penalty(x, (x @ direction)[:, None]).detach()) == pytest.approx(expected, abs=1e-6)
    scores = (x**2).sum(1, keepdim=True)
    assert float(gradient_penalty(x, scores).detach()) == pytest.approx(
        float(((2 * x).norm(dim=1) - 1).pow(2).mean().detach()), rel=1e-5
    )


def test_input_does_not_depend_on_the_scale_of_a_run_and_marks_missing_detectors():
    measured, valid = torch.rand(2, *SHAPE), torch.rand(2, *SHAPE) > 0.2
    measured = measured * valid
    one = prepare(measured, valid)
    two = prepare(measured * torch.tensor([3.0, 0.2])[None, :, None, None, None], valid)
    assert torch.allclose(one, two, atol=1e-5)
    assert torch.equal(one[:, 2:] > 0, valid)
    assert float(one[:, :2][~valid].abs().max()) == 0


def test_the_slope_of_what_a_network_sees_is_there_for_explanations():
    measured = torch.rand(1, *SHAPE).double().requires_grad_(True)
    valid = torch.rand(1, *SHAPE) > 0.2
    assert torch.autograd.gradcheck(lambda m: prepare(m, valid), (measured,), atol=1e-4)


def test_one_hot_pixel_does_not_set_the_scale():
    measured = torch.rand(1, 2, 3, 40, 40)
    valid = torch.ones_like(measured, dtype=torch.bool)
    hot = measured.clone()
    hot[0, 0, 0, 0, 0] = 1e6
    a, b = prepare(measured, valid), prepare(hot, valid)
    b[0, 0, 0, 0, 0] = a[0, 0, 0, 0, 0]
    assert float(((a - b).abs() / (a + 0.1)).max()) < 0.05


def test_a_path_goes_through_the_same_network_with_less_work():
    network = toy_network().double()
    inputs = torch.rand(3, 4, 3, 12, 1, dtype=torch.float64)
    whole, flat = network._convolved(inputs), network._along_a_path(inputs)
    torch.testing.assert_close(flat, whole)
    weight = network.convolutions[2][0].weight
    slopes = [torch.autograd.grad(m.square().sum(), weight, retain_graph=True)[0] for m in (whole, flat)]
    torch.testing.assert_close(slopes[1], slopes[0])
    assert weight.shape == (16, 16, 3, 3, 3) and slopes[0][..., 1].abs().max() > 0


def test_weights_of_before_the_strides_changed_still_say_what_they_said():
    torch.manual_seed(0)
    inputs, now = torch.rand(2, 4, 3, 12, 8), toy_network()
    said = now(inputs).scores
    for (convolution, _, _), by in zip(now.convolutions, STRIDES_BEFORE, strict=True):
        convolution.stride = (1, by, by)
    then = now(inputs).scores
    assert not torch.allclose(then, said)
    state = now.state_dict()
    kept = toy_network(1)
    kept.load_state_dict(state)
    torch.testing.assert_close(kept(inputs).scores, said)
    old = toy_network(1)
    old.load_state_dict(state | {"strides": torch.tensor(STRIDES_BEFORE)})
    torch.testing.assert_close(old(inputs).scores, then)
    silent = {name: value for name, value in state.items() if name != "strides"}
    for strict in (True, False):  # also where a training starts from it
        with pytest.raises(ValueError, match="no compact network with strides None"):
            old.load_state_dict(silent, strict=strict)
    with pytest.raises(ValueError, match="no compact network with strides"):
        old.load_state_dict(state | {"strides": torch.tensor([9, 9, 9, 9])})


@pytest.mark.parametrize("slices", [1, 2, 3, 10])
def test_gradients_in_reduced_precision_are_those_in_full(slices):
    """Wherever training takes bfloat16: PyTorch's own gradients are garbage for two slices."""
    torch.manual_seed(0)
    layer, inputs, gradients = torch.nn.Conv3d(8, 16, 3, padding=1), torch.rand(4, 8, slices, 12, 8), []
    upstream = torch.randn(4, 16, slices, 12, 8)
    for wanted in (True, False):
        layer.zero_grad()
        with reduced_precision(replace(CONFIG, reduced_precision=wanted), inputs):
            made = layer(inputs)
        (made.float() * upstream).sum().backward()
        gradients.append(layer.weight.grad.clone())
    reduced, full = gradients
    assert float((reduced - full).norm()) < 0.02 * float(full.norm())


def test_training_learns_and_tells_the_test_part_apart(tmp_path):
    training = toy_training(tmp_path, epochs=12)
    training.run(lambda line: None)
    found = evaluate(training.network, toy_part(64, 2), COVERAGE, QUIET, seed=5)
    assert found.accuracy > 0.95
    assert (tmp_path / "history.csv").read_text().count("\n") == training.epoch + 1


def test_training_images_are_moved_further_than_those_that_a_network_is_checked_on(tmp_path):
    x = torch.arange(24.0)
    spot = torch.exp(-((x[:, None] - 11.5) ** 2 + (x - 11.5) ** 2) / 8).expand(200, 1, 2, 24, 24)
    part = Part(spot.numpy(), np.zeros(200, int), np.full((200, 1), 0.5))
    network, nuisance = CompactNetwork(1, 2, 2, 1, width=16), Nuisance().only("misalignment")
    training = Training(network, part, part, torch.ones(1, 1, 2, 24, 24), CONFIG, tmp_path, nuisance)

    def spread(prepared: list[torch.Tensor]) -> float:
        intensity = torch.cat(prepared)[:, 0].square()
        return float(((intensity * x).sum((2, 3)) / intensity.sum((2, 3))).std())

    trained = spread([batch[0] for batch in training.task.stream(training, torch.Generator().manual_seed(0))])
    seen: list[torch.Tensor] = []
    evaluate(network, part, training.coverages, training.checked_on, 5, lambda *shown: seen.append(prepare(*shown)))
    assert spread(seen) == pytest.approx(nuisance.misalignment, rel=0.2)
    assert trained == pytest.approx(1.6 * nuisance.misalignment, rel=0.2)


def test_training_gone_on_with_after_a_kill_ends_where_an_uninterrupted_one_does(tmp_path):
    whole = toy_training(tmp_path / "whole")
    whole.run(lambda line: None)

    class Killed(Exception):
        pass

    def kill(line: str) -> None:
        if line.startswith("epoch 3"):
            raise Killed

    first = toy_training(tmp_path / "cut")
    with pytest.raises(Killed):
        first.run(kill)
    second = toy_training(tmp_path / "cut")
    assert second.resume() and second.epoch == 3
    second.run(lambda line: None)
    for a, b in zip(whole.network.state_dict().values(), second.network.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_checkpoint_of_other_settings_is_not_gone_on_with(tmp_path):
    toy_training(tmp_path, epochs=1).run(lambda line: None)
    assert not toy_training(tmp_path, epochs=2).resume()


ENERGIES = torch.tensor([[2.0, 4, 6], [5, 10, 15]])


def test_foreign_images_are_finite_and_those_of_the_seed():
    signal = torch.rand(60, *SHAPE) + 0.1
    made = make_foreign(signal, signal, ENERGIES, torch.Generator().manual_seed(0))
    assert made.shape == signal.shape and bool(torch.isfinite(made).all()) and float(made.min()) >= 0
    again = make_foreign(signal, signal, ENERGIES, torch.Generator().manual_seed(0))
    assert torch.equal(made, again)
    assert not torch.equal(made, make_foreign(signal, signal, ENERGIES, torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("family", foreign.FAMILIES)
def test_no_foreign_image_is_the_one_it_was_made_of(family):
    for seed in range(8):
        a, b = torch.rand(2, *SHAPE) + 0.1
        made = foreign._MAKERS[family](a, b, ENERGIES, torch.Generator().manual_seed(seed))
        assert made.shape == SHAPE and bool(torch.isfinite(made).all()) and float(made.min()) >= 0
        scaled = made * (a.mean((1, 2, 3)) / made.mean((1, 2, 3)))[:, None, None, None]
        assert float((scaled - a).abs().max()) > 0.05


def test_foreign_families_that_a_study_has_room_for():
    assert set(foreign.FAMILIES) - set(foreign.families_of(1, 4)) == set(foreign.ACROSS_RUNS)
    assert set(foreign.FAMILIES) - set(foreign.families_of(2, 1)) == set(foreign.ALONG_ENERGY)
    signal = torch.rand(40, 1, 5, 9, 1) + 0.1  # a path of one run
    made = make_foreign(signal, signal, torch.arange(5.0)[None] + 1, torch.Generator().manual_seed(0))
    assert made.shape == signal.shape and bool(torch.isfinite(made).all())


def test_stretched_runs_show_their_slices_at_other_energies_and_some_run_stays():
    energies = torch.stack([torch.linspace(1, 9, 9), torch.linspace(2, 18, 9), torch.linspace(3, 27, 9)])
    a = energies[..., None, None].expand(3, 9, 4, 4)  # an intensity that says which energy it belongs to
    for seed in range(6):
        made = foreign._stretched_runs(a, a, energies, torch.Generator().manual_seed(seed))[..., 0, 0]
        kept = (made == energies).all(1)
        assert 0 < int(kept.sum()) < 3
        factor = (energies / made)[~kept]
        inside = (made > energies[:, :1]) & (made < energies[:, -1:])
        assert float((factor - factor[inside[~kept]].mean()).abs()[inside[~kept]].max()) < 1e-4
        assert 0.65 <= float(factor[inside[~kept]].mean()) <= 0.87 or 1.15 <= float(factor[inside[~kept]].mean()) <= 1.5


def test_displaced_slices_keep_what_they_show():
    a = torch.rand(2, 3, 10, 10)
    for seed in range(6):
        made = foreign._displaced(a, a, ENERGIES, torch.Generator().manual_seed(seed))
        assert torch.equal(made.flatten(2).sort().values, a.flatten(2).sort().values)
        if bool((made == a).any()):  # those above one energy, whichever their run
            moved = (made != a).flatten(2).any(2)
            assert float(ENERGIES[moved].min()) > float(ENERGIES[~moved].max())


def test_partners_are_those_whose_intensity_lies_elsewhere():
    low, high = torch.ones(2, *SHAPE), torch.ones(2, *SHAPE)
    low[:, :, 0] += 5
    high[:, :, 2] += 5
    both = torch.cat([low, high])
    partners = foreign._partners(both, both, torch.Generator().manual_seed(0))
    assert set(partners[:2].tolist()) <= {2, 3} and set(partners[2:].tolist()) <= {0, 1}


def test_half_of_the_foreign_images_are_magnets_where_there_are_any(tmp_path):
    magnets = np.full((3, *SHAPE), 7, np.float16)
    part, generator = toy_part(16, 0), torch.Generator().manual_seed(0)
    seen = []

    def watch(measured, valid):
        seen.append(measured)

    made = list(
        batches(
            toy_network(), part, 16, COVERAGE, CLEAN, generator, foreign=0.5, energies=ENERGIES, watch=watch,
            magnets=magnets,
        )
    )  # fmt: skip
    assert made[0][1].tolist()[16:] == [FOREIGN] * 8
    assert [bool((image == 7).all()) for image in seen[0]] == [False] * 20 + [True] * 4


def scoring(output: Output, scores: list[list[float]]) -> Output:
    """An output with other scores."""
    return replace(output, scores=torch.tensor(scores), log_scores=torch.tensor(scores).clamp_min(1e-9).log())


TARGETS = torch.tensor([[1.0, 0], [0, 1], [0, 0], [0, 0]])


def test_foreign_images_count_in_the_scores_alone():
    output = toy_network()(prepare(torch.rand(4, *SHAPE), torch.ones(4, *SHAPE, dtype=torch.bool)))
    labels, parameters = torch.tensor([0, 1, FOREIGN, FOREIGN]), torch.rand(2, 2)
    whole, regression = losses(output, labels, parameters, TARGETS, own_logits=True)
    known = Output(
        *(getattr(output, f)[:2] for f in ("features", "scores", "logits", "parameters")),
        log_scores=output.log_scores[:2],
    )
    alone, same = losses(known, labels[:2], parameters, TARGETS[:2], own_logits=True)
    assert torch.equal(regression, same) and not torch.equal(whole, alone)
    sure = scoring(output, [[1.0, 0], [0, 1], [0, 0], [0, 0]])
    unsure = scoring(output, [[1.0, 0], [0, 1], [1, 0], [0, 0]])
    assert float(losses(sure, labels, parameters, TARGETS, own_logits=True)[0].detach()) < float(
        losses(unsure, labels, parameters, TARGETS, own_logits=True)[0].detach()
    )


def test_sigmoids_that_are_surely_wrong_are_learnt_from():
    logits = torch.tensor([[-40.0, 40.0], [40.0, -40.0]], requires_grad=True)
    labels, targets = torch.tensor([0, 1]), torch.eye(2)
    losses(of_sigmoids(torch.zeros(2, 1), logits), labels, torch.zeros(2, 1), targets, False)[0].backward()
    assert torch.all(logits.grad.abs() > 0.2) and torch.equal(logits.grad > 0, logits.detach() > 0)


def test_foreign_images_weigh_as_much_as_they_are_told_to():
    output = toy_network()(prepare(torch.rand(4, *SHAPE), torch.ones(4, *SHAPE, dtype=torch.bool)))
    labels, parameters = torch.tensor([0, 1, FOREIGN, FOREIGN]), torch.rand(2, 2)
    none, quarter, one = (float(losses(output, labels, parameters, TARGETS, True, w)[0].detach()) for w in (0, 0.25, 1))
    assert none < one and quarter == pytest.approx(none + (one - none) / 4, rel=1e-5)


def test_a_shared_spectrum_should_score_for_every_model_that_makes_it():
    output = toy_network()(prepare(torch.rand(1, *SHAPE), torch.ones(1, *SHAPE, dtype=torch.bool)))
    labels, parameters, targets = torch.tensor([0]), torch.rand(1, 2), torch.tensor([[0.5, 0.5]])

    def loss(scores: list[float], logits: list[float]) -> float:
        said = replace(scoring(output, [scores]), logits=torch.tensor([logits]))
        return float(losses(said, labels, parameters, targets, own_logits=True)[0].detach())

    assert loss([0.9, 0.9], [0.0, 0.0]) < loss([0.9, 0.1], [0.0, 0.0]) < loss([0.9, 0.1], [3.0, 0.0])


def test_parts_are_joined_with_their_targets():
    plain, shared = toy_part(6, 0), replace(toy_part(4, 1), targets=np.full((4, 2), 0.5, np.float32))
    both = joined([plain, shared], 2)
    assert both.images.shape == (10, *SHAPE) and np.array_equal(both.images[np.array([7])][0], shared.images[1])
    assert both.targets is not None and both.targets[:6].max() == 1 and (both.targets[6:] == 0.5).all()


def test_scores_learn_to_fall_on_foreign_images(tmp_path):
    config = replace(CONFIG, epochs=25, foreign=0.5)
    training = Training(toy_network(), toy_part(192, 0), toy_part(32, 1), COVERAGE, config, tmp_path, QUIET, ENERGIES)
    training.run(lambda line: None)
    test = toy_part(64, 2)
    flat = Part(np.ones_like(test.images), test.labels, test.parameters)
    own = evaluate(training.network, test, COVERAGE, QUIET, 5).output.scores.amax(1)
    strange = evaluate(training.network, flat, COVERAGE, QUIET, 5).output.scores.amax(1)
    assert float(own.median()) > 0.7 and float(strange.median()) < 0.3


def test_scores_learn_to_fall_on_magnets_and_the_candidates_are_still_told_apart(tmp_path):
    def diagonals(seed: int) -> np.ndarray:
        noise = np.random.default_rng(seed).uniform(0.1, 0.3, (40, *SHAPE))
        x, y = np.meshgrid(np.linspace(-1, 1, SHAPE[2]), np.linspace(-1, 1, SHAPE[3]), indexing="ij")
        return (noise + (np.abs(x + y) < 0.3)).astype(np.float16)

    config = replace(CONFIG, epochs=10, foreign=0.5)
    part, check, magnets = toy_part(96, 0), toy_part(32, 1), diagonals(0)
    training = Training(toy_network(), part, check, COVERAGE, config, tmp_path, QUIET, ENERGIES, magnets=magnets)
    training.run(lambda line: None)
    test = toy_part(40, 2)
    own = evaluate(training.network, test, COVERAGE, QUIET, 5)
    strange = evaluate(training.network, replace(test, images=diagonals(1)), COVERAGE, QUIET, 5).output.scores.amax(1)
    assert own.accuracy > 0.95
    assert float(own.output.scores.amax(1).median()) > 0.7 and float(strange.median()) < 0.3


def test_same_seed_same_weights(tmp_path):
    states = []
    for name in ("a", "b"):
        training = toy_training(tmp_path / name, epochs=2)
        training.run(lambda line: None)
        states.append(training.network.state_dict())
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
