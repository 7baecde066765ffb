"""Accuracy of the shipped weights on images simulated afresh by the code as it stands.

usage: python benchmarks/fresh_images.py [--images 150] [--resolution gaussian] [--seed 99]

The card of the weights tells their scores on the test part of the set they were made with; this tells whether they
still hold after the simulation, or its resolution, has changed.
"""

import argparse

import numpy as np
import torch

from magnoscope.dataset.coverage import CoverageLaw, random_coverage
from magnoscope.dataset.draws import simulate_draw
from magnoscope.dataset.parts import Part
from magnoscope.simulate import Simulator
from magnoscope.studies import load_study
from magnoscope.trust.held_back import report_card
from magnoscope.trust.weights import load_weights, shipped_weights


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=150, help="for each class")
    parser.add_argument("--resolution", choices=["gaussian", "montecarlo"], default="gaussian")
    parser.add_argument("--seed", type=int, default=99)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    study = load_study("pcsmo")
    weights, _ = load_weights(shipped_weights(study), study)
    simulator = Simulator(study, arguments.resolution)
    images = [
        simulate_draw(simulator, number, arguments.seed, index)[0].astype(np.float16)
        for number in range(len(study.classes))
        for index in range(arguments.images)
    ]
    labels = np.repeat(np.arange(len(study.classes)), arguments.images)
    # the parameters are not scored here
    widest = max(len(model.parameters) for model in study.models.values())
    test = Part(np.stack(images), labels, np.zeros((len(labels), widest), np.float32))
    coverages = random_coverage(study, 256, arguments.seed, CoverageLaw.from_settings(weights.card.get("coverage")))
    print(f"{len(labels)} images, {arguments.resolution}, seed {arguments.seed}")
    for name, card in report_card(weights, test, coverages, arguments.seed).items():
        print(name, {key: value if isinstance(value, list | tuple) else round(value, 4) for key, value in card.items()})


if __name__ == "__main__":
    main()
