"""What training and asking each network that tells candidates apart costs, all in one run.

usage: python benchmarks/networks.py [--images 64] [--study pcsmo] [--kinds compact compact:48 dense]

CPU-seconds per 1000 images on one thread: training as `train` does it (nuisances, foreign images, gradient penalty and
precision of each kind) in batches of 16, after one batch to warm up; what of it the network's own step takes, forward
and backward on images that are ready; and classification. A kind may be followed by its width. Random images serve,
for the time does not depend on what they show. On a machine that does other work compare the columns "of dense",
ratios within this run.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from magnoscope.dataset.noise import CLEAN
from magnoscope.dataset.parts import Part
from magnoscope.machine import keep_memory
from magnoscope.networks.foreign import slice_energies
from magnoscope.networks.kinds import KINDS, kind_of, new_network
from magnoscope.networks.training import Training, batches, evaluate
from magnoscope.studies import load_study

BATCH, STEPS = 16, 3


def seconds(study, name: str, part: Part, folder: Path) -> tuple[int, tuple[float, ...]]:
    """Weights, and CPU-seconds per 1000 images of training, of the network's own step and of classification."""
    kind, _, width = name.partition(":")
    recipe, coverages = kind_of(kind), torch.rand(4, *study.shape) > 0.2
    network = new_network(study, kind, 0, int(width) if width else None)
    config = replace(recipe.config, batch=BATCH)
    energies = slice_energies(study)
    training = Training(network, part, part, coverages, config, folder, recipe.nuisance, energies)
    network.train()
    stream = training.task.stream(training, torch.Generator().manual_seed(0))
    training._step(1, next(stream))
    started, number = time.process_time(), 0
    # from a batch with the gradient penalty on, so that its share is that of a long training
    for number, batch in enumerate(stream, 1):
        training._step(number - 1, batch)
    train = (time.process_time() - started) / (number * BATCH)
    ready = next(batches(network, part, BATCH, coverages, recipe.nuisance, torch.Generator().manual_seed(1)))
    training._step(1, ready)
    started = time.process_time()
    for _ in range(STEPS):
        training._step(1, ready)  # the gradient penalty comes with multiples of four alone
    step = (time.process_time() - started) / (STEPS * BATCH)
    started = time.process_time()
    evaluate(network, part, coverages, CLEAN, 0)
    ask = (time.process_time() - started) / len(part.labels)
    return sum(p.numel() for p in network.parameters()), (1000 * train, 1000 * step, 1000 * ask)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=64, help="trained on, beside the first batch")
    parser.add_argument("--study", default="pcsmo")
    told_apart = [name for name, kind in KINDS.items() if not kind.cleans]
    parser.add_argument("--kinds", nargs="+", default=told_apart)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    study, rng = load_study(arguments.study), np.random.default_rng(0)
    n = arguments.images + BATCH
    widest = max(len(model.parameters) for model in study.models.values())
    images = rng.gamma(2.0, size=(n, *study.shape)).astype(np.float16)
    part = Part(images, np.arange(n) % len(study.classes), np.full((n, widest), 0.5, np.float32), study.view.mirrors)
    found = {}
    with TemporaryDirectory() as folder:
        for name in arguments.kinds:
            found[name] = seconds(study, name, part, Path(folder) / name)
    base = found.get("dense", next(iter(found.values())))[1]
    print("CPU-seconds per 1000 images, one thread")
    columns = "".join(f"  {title:>11}  of dense" for title in ("training", "its step", "classifying"))
    print(f"{'network':>14}  {'weights':>9}{columns}")
    for name, (weights, times) in found.items():
        row = "".join(f"  {time:11.1f}  {time / of:8.3f}" for time, of in zip(times, base, strict=True))
        print(f"{name:>14}  {weights:>9}{row}")


if __name__ == "__main__":
    main()
