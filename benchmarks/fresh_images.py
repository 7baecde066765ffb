"""Accuracy of weights on images that neither they nor their scores have seen.

usage: python benchmarks/fresh_images.py [--study pcsmo] [--weights FILE] [--images 150] [--resolution gaussian]
       python benchmarks/fresh_images.py --study cri3 --grown SET.zarr

The card of the weights tells their scores on the test part of the set they were made with. This tells whether they
still hold after the simulation, or its resolution, has changed: images are simulated afresh by the code as it stands.
Or, with --grown, how they do on what a set has more of now than when they were made with it.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from magnoscope.dataset.coverage import CoverageLaw, random_coverage
from magnoscope.dataset.draws import simulate_draw
from magnoscope.dataset.parts import Part
from magnoscope.dataset.store import open_store
from magnoscope.simulate import Simulator
from magnoscope.studies import load_study
from magnoscope.study import Study
from magnoscope.trust.held_back import report_card
from magnoscope.trust.weights import Weights, load_weights, shipped_weights


def simulated(study: Study, images: int, resolution: str, seed: int) -> list[NDArray]:
    """Images of each class, (n, runs, slices, x, y)."""
    simulator = Simulator(study, resolution)  # type: ignore[arg-type]
    return [
        np.stack([simulate_draw(simulator, number, seed, i)[0].astype(np.float16) for i in range(images)])
        for number in range(len(study.classes))
    ]


def grown(study: Study, weights: Weights, path: Path) -> list[NDArray]:
    """Those images of each class that a set holds beyond the ones it had when the weights were made with it."""
    root, made = open_store(path), weights.card["training_set"]
    for key in ("seed", "resolution", "physics_hash"):
        if root.attrs[key] != made[key]:
            raise SystemExit(f"{path} has {key} = {root.attrs[key]}, the weights were made with {made[key]}")
    found = []
    for name in study.classes:
        done = np.flatnonzero(np.asarray(root[f"{name}/done"]))
        found.append(np.asarray(root[f"{name}/images"])[done[done >= made["per_class"]]])
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--study", default="pcsmo")
    parser.add_argument("--weights", type=Path, help="else those that ship")
    parser.add_argument("--images", type=int, default=150, help="for each class")
    parser.add_argument("--resolution", choices=["gaussian", "montecarlo"], default="gaussian")
    parser.add_argument("--seed", type=int, default=99)
    parser.add_argument("--grown", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    study = load_study(arguments.study)
    weights, _ = load_weights(arguments.weights or shipped_weights(study), study)
    if arguments.grown:
        images, source = grown(study, weights, arguments.grown), str(arguments.grown)
    else:
        images = simulated(study, arguments.images, arguments.resolution, arguments.seed)
        source = f"{arguments.resolution}, seed {arguments.seed}"
    labels = np.concatenate([np.full(len(some), number) for number, some in enumerate(images)])
    # the parameters are not scored here
    widest = max(len(model.parameters) for model in study.models.values())
    test = Part(np.concatenate(images), labels, np.zeros((len(labels), widest), np.float32))
    coverages = random_coverage(study, 256, arguments.seed, CoverageLaw.from_settings(weights.card.get("coverage")))
    print(f"{len(labels)} images, {source}")
    for name, card in report_card(weights, test, coverages, arguments.seed).items():
        print(name, {key: value if isinstance(value, list | tuple) else round(value, 4) for key, value in card.items()})


if __name__ == "__main__":
    main()
