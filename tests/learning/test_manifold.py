"""Distance from simulations of parameters nearby: small on the surface that they span, large beside it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from magnoscope.dataset.noise import CLEAN, Nuisance
from magnoscope.dataset.parts import Part
from magnoscope.errors import WeightsError
from magnoscope.networks.base import Sizes
from magnoscope.networks.compact import CompactNetwork
from magnoscope.networks.posterior import POSTERIOR, Inference, PosteriorNetwork, Trunk, trunk_of
from magnoscope.networks.training import Training
from magnoscope.studies import parse_study
from magnoscope.trust.held_back import calibrate
from magnoscope.trust.manifold import Manifold, rounded, trunk_features
from magnoscope.trust.signals import signal_values
from magnoscope.trust.weights import Weights, load_weights, save_weights

SQUARE = (Path(__file__).parents[1] / "cli" / "square.toml").read_text()
SIZES = Sizes((1, 2, 12, 12), 2, 2)
EVERYWHERE = torch.ones((1, *SIZES.shape), dtype=torch.bool)


def sheet(number: int, seed: int) -> np.ndarray:
    """Points of a curved surface of two dimensions among forty, with a little scatter."""
    waves = np.random.default_rng(0).uniform(-2, 2, (3, 40))
    rng = np.random.default_rng(seed)
    flat = np.sin(rng.uniform(-1, 1, (number, 2)) @ waves[:2] + waves[2])
    return flat + 0.01 * rng.normal(size=flat.shape)


def test_what_lies_beside_a_curved_surface_is_far_though_the_surface_surrounds_it():
    manifold = Manifold(Trunk(SIZES, 16, 5), sheet(2000, 0).astype(np.float32))
    on, beside = sheet(200, 1), sheet(200, 2)
    # features of two places at once: inside the cloud of references along every axis
    beside[:, ::2] = on[:, ::2]
    near, far = (manifold.distance(points[:, :5], points[:, 5:]) for points in (on, beside))
    assert np.quantile(near, 0.9) < np.quantile(far, 0.2)


def spots(number: int, seed: int, width: float = 0.02, spots: int = 1) -> Part:
    """A spot whose place is the two parameters of class 0, and along one axis the parameter of class 1."""
    rng = np.random.default_rng(seed)
    labels = np.arange(number) % 2
    parameters = rng.uniform(size=(number, 2)).astype(np.float32)
    parameters[labels == 1, 1] = 0.5
    x, y = np.meshgrid(*[np.linspace(0, 1, 12)] * 2, indexing="ij")
    image = np.zeros((number, 12, 12))
    for _ in range(spots):
        place = parameters if spots == 1 else rng.uniform(size=(number, 2))
        image += np.exp(-((x - place[:, :1, None]) ** 2 + (y - place[:, 1:, None]) ** 2) / width)
    return Part(np.tile(image[:, None, None], (1, 1, 2, 1, 1)).astype(np.float32), labels, parameters, ())


def test_spectra_that_no_parameters_make_are_far(tmp_path):
    torch.manual_seed(0)
    network = PosteriorNetwork(SIZES, (2, 1), 16, 48)
    noise = replace(CLEAN, noise=(0.05, 0.05))
    settings = replace(POSTERIOR, epochs=12, learning_rate=3e-3)
    training = Training(network, spots(512, 0), spots(64, 1), EVERYWHERE, settings, tmp_path, noise, task=Inference())
    training.run(lambda line: None)
    trunk = trunk_of(SIZES, network.state_dict())

    def features(part: Part) -> np.ndarray:
        images = torch.as_tensor(part.images) + 0.02 * torch.randn(part.images.shape)
        return trunk_features(rounded(trunk), images, torch.ones_like(images, dtype=torch.bool))

    manifold = Manifold(trunk, features(spots(512, 0)))
    assert manifold.sound(0) and not manifold.sound(1)
    assert not replace(manifold, references=manifold.references * np.nan).sound(0)

    def of(part: Part) -> np.ndarray:
        own = features(part)
        return manifold.distance(own, np.zeros((len(own), 0)))

    own = np.median(of(spots(100, 2)))
    for strange in (spots(100, 3, spots=2), spots(100, 3, spots=3), spots(100, 4, width=0.2)):
        assert np.median(of(strange)) > 4 * own


def test_weights_carry_it_in_half_precision(tmp_path: Path):
    study = parse_study(SQUARE)
    sizes = Sizes(study.shape, 2, 2)
    torch.manual_seed(0)
    network, trunk = CompactNetwork(*study.shape[:2], 2, 2, width=16), Trunk(sizes, 16)
    images = np.random.default_rng(0).gamma(2.0, size=(40, *study.shape)).astype(np.float16)
    part = Part(images, np.arange(40) % 2, np.full((40, 2), 0.5, np.float32), study.view.mirrors)
    everywhere = torch.ones((1, *study.shape), dtype=torch.bool)
    found = calibrate(network, part, part, everywhere, 0, study.view, Nuisance(), trunk=trunk)
    assert found.signals[-1] == "distance_from_simulations" and found.held_back.shape == (160, 3)
    card = {"kind": "compact", "width": 16, "seed": 0, "layout_hash": study.layout_hash, "physics_hash": "x"}
    save_weights(Weights(network, found, card), tmp_path / "w.safetensors")
    again = load_weights(tmp_path / "w.safetensors", study)[0].calibration
    measured = torch.as_tensor(images[:5].astype(np.float32))
    valid = torch.rand(measured.shape) > 0.2
    with torch.no_grad():
        output = network.eval()(network.prepare(measured * valid, valid))
    there, here = (signal_values(c, output, (measured * valid).numpy(), valid.numpy())[0] for c in (again, found))
    np.testing.assert_allclose(there, here, rtol=1e-5)
    cut = replace(found, manifold=replace(found.manifold, references=found.manifold.references[:, :5]))
    save_weights(Weights(network, cut, card), tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="does not fit this version"):
        load_weights(tmp_path / "w.safetensors", study)
