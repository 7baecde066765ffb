"""The networks of the published study: sizes as printed, its preparation of an image, and what its DUQ does wrong."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors
import torch

from magnoscope.dataset.noise import CLEAN
from magnoscope.dataset.parts import Part
from magnoscope.errors import StudyError, WeightsError
from magnoscope.networks.base import Sizes
from magnoscope.networks.files import write_file
from magnoscope.networks.kinds import KINDS, kind_of
from magnoscope.networks.published import PublishedDUQ, PublishedNetwork, flat_image
from magnoscope.networks.training import Training, evaluate, losses

PAPER = Sizes((6, 10, 40, 40), 2, 6)
SMALL = Sizes((2, 3, 12, 12), 3, 2)


def test_the_dense_network_has_the_published_sizes():
    # figure 3a and its footnote: 117 x 92 x 32 = 344448 values into 64 nodes
    network = PublishedNetwork(PAPER)
    assert network.dense[0].in_features == 344448
    inputs = torch.zeros(1, 1, 240, 400)
    assert network.convolutions(inputs).shape == (1, 32, 117, 92)
    assert network(inputs).scores.shape == (1, 2)
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(22.06e6, rel=1e-3)


def test_the_pooled_network_is_linear_in_its_mean_filters():
    # figure 3b: 11.5 thousand weights, the class score linear in the mean of each filter (equations 2 and 4)
    network = PublishedNetwork(PAPER, pooled=True).eval()
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(11.5e3, rel=0.05)
    inputs = torch.rand(1, 1, 240, 400)
    maps = network.convolutions(inputs)
    by_hand = torch.einsum("cf,nfxy->nc", network.head.weight, maps) / maps[0, 0].numel() + network.head.bias
    assert torch.allclose(network(inputs).logits, by_hand, atol=1e-5)


def test_an_image_is_prepared_as_published():
    # clipped to [0, 120], minimum subtracted, divided by its maximum, masked pixels zero; rows of tiles are runs
    measured = torch.full((1, 2, 3, 12, 12), 20.0)
    measured[0, 1, 2, 4, 5], measured[0, 0, 0, 0, 0] = 500.0, 60.0
    valid = torch.ones_like(measured, dtype=torch.bool)
    valid[0, 0, 1] = False
    image = flat_image(measured * valid, valid)[0, 0]
    assert image.shape == (24, 36)
    assert float(image[12 + 4, 24 + 5]) == 1.0
    assert float(image[0, 0]) == pytest.approx(0.4)
    assert not image[:12, 12:24].any()
    assert float(image[20, 0]) == 0.0


def test_published_duq_cannot_say_no():
    # centroids that stay near zero and sigma = 1: an input without features scores about 0.6 for every class
    torch.manual_seed(0)
    wrong, right = PublishedDUQ(SMALL, corrected=False), PublishedDUQ(SMALL, corrected=True)
    features, labels = torch.rand(8, 64), torch.arange(8) % 3
    for network in (wrong, right):
        network.update(torch.zeros(0), features, labels)
    assert torch.equal(wrong.duq.count, torch.ones(3))
    assert not torch.equal(right.duq.count, torch.ones(3))
    far = 3 * torch.nn.functional.normalize(torch.randn(200, 64), dim=1)
    assert float(wrong.duq(far).detach().mean()) > 0.5
    assert float(right.duq(far).detach().mean()) < 0.01


def test_too_small_an_image_is_refused():
    with pytest.raises(StudyError, match="at least 9 x 27 pixels, this study's are 8 x 24; train the compact one"):
        PublishedNetwork(Sizes((1, 2, 8, 12), 2, 1))


def test_kinds_have_names():
    with pytest.raises(WeightsError, match="there is no network big; this version trains: compact, additive, dense"):
        kind_of("big")


def ridges(number: int, seed: int) -> Part:
    """Three classes: a ridge along axis 0, along axis 1, or none."""
    rng = np.random.default_rng(seed)
    labels = np.arange(number) % 3
    images = rng.uniform(0.1, 0.3, (number, *SMALL.shape))
    images[labels == 0, :, :, 4:8, :] += 1
    images[labels == 1, :, :, :, 3:6] += 1
    return Part(images.astype(np.float16), labels, rng.uniform(size=(number, 2)).astype(np.float32))


@pytest.mark.parametrize("name", sorted(name for name, kind in KINDS.items() if not kind.cleans))
def test_every_kind_learns_and_goes_on_where_it_stopped(name: str, tmp_path: Path):
    kind = KINDS[name]
    coverage = torch.ones(1, *SMALL.shape, dtype=torch.bool)
    nuisance = replace(kind.nuisance, masks=False, hot=0.0, noise=(0.0, 0.0), mirrors=False, offset=0.0)

    def training(folder: Path, epochs: int) -> Training:
        torch.manual_seed(1)
        config = replace(kind.config, epochs=epochs, batch=16, seed=3, reduced_precision=False, foreign=0.0)
        return Training(kind.build(SMALL, 16), ridges(96, 0), ridges(33, 1), coverage, config, folder, nuisance)

    whole = training(tmp_path / "whole", 8)
    whole.run(lambda line: None)
    broken = training(tmp_path / "broken", 8)
    broken.config = replace(broken.config, epochs=8)
    original, broken_run = broken._save, []

    def stop_after_three() -> None:
        original()
        broken_run.append(1)
        if len(broken_run) == 3:
            raise KeyboardInterrupt

    broken._save = stop_after_three  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        broken.run(lambda line: None)
    again = training(tmp_path / "broken", 8)
    assert again.resume()
    assert again.epoch == 3
    again.run(lambda line: None)
    # fewer epochs end a training whose learning rate does not depend on their number
    assert training(tmp_path / "broken", 4).resume() == (not kind.config.annealed)
    test = ridges(60, 2)
    one, two = (evaluate(t.network, test, coverage, CLEAN, 5) for t in (whole, again))
    assert torch.allclose(one.output.scores, two.output.scores, atol=1e-6)
    assert one.accuracy > 0.9


def test_running_statistics_are_of_the_weights_as_they_are_and_weights_are_stored_as_scored(tmp_path: Path):
    kind, coverage = KINDS["pooled"], torch.ones(1, *SMALL.shape, dtype=torch.bool)
    config = replace(kind.config, epochs=2, batch=16, reduced_precision=False)
    network = kind.build(SMALL, 16)
    Training(network, ridges(96, 0), ridges(33, 1), coverage, config, tmp_path, CLEAN).run(lambda line: None)
    assert not network.training
    layer = next(m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert layer.momentum == 0.1
    seen: list[torch.Tensor] = []
    layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    evaluate(network, ridges(96, 0), coverage, CLEAN, 0)
    filters = torch.cat(seen).transpose(0, 1).flatten(1)
    # batches of one epoch in another order, and weights rounded since
    torch.testing.assert_close(layer.running_mean, filters.mean(1), rtol=2e-2, atol=1e-3)
    torch.testing.assert_close(layer.running_var, filters.var(1), rtol=5e-2, atol=1e-3)
    assert all(torch.equal(p, p.half().float()) for p in network.parameters())
    write_file(network.state_dict(), {}, {"kind": "pooled"}, tmp_path / "w.safetensors")
    with safetensors.safe_open(str(tmp_path / "w.safetensors"), "pt") as file:
        stored = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    assert stored["head.weight"].dtype == torch.float16
    for key, value in network.state_dict().items():
        assert torch.equal(stored[key].to(value.dtype), value)


def test_corrected_duq_is_drawn_to_its_centroids_from_where_every_score_is_zero():
    torch.manual_seed(0)
    network = PublishedDUQ(SMALL, corrected=True)
    with torch.no_grad():
        network.duq.weight *= 30
    inputs, labels = torch.rand(6, 1, 24, 36), torch.arange(6) % 3
    output = network(inputs)
    assert float(output.scores.detach().max()) == 0
    loss, _ = losses(output, labels, torch.zeros(6, 0), torch.nn.functional.one_hot(labels, 3).float(), False)
    (slope,) = torch.autograd.grad(loss, network.duq.weight)
    assert float(slope.norm()) > 1


def test_nodes_of_the_corrected_duq_stay_alive_behind_the_flattened_trunk():
    torch.manual_seed(0)
    network = PublishedDUQ(SMALL, corrected=True)
    with torch.no_grad():
        network.dense[0].bias -= 100
    features = network(torch.rand(6, 1, 24, 36)).features.detach()
    assert float((features > 0).any(0).float().mean()) > 0.25
