"""K of held-back candidates, as noisy as a measurement, as they are and shifted by a pixel.

usage: python benchmarks/shifted.py STUDY SET.zarr WEIGHTS ... [--images 400]

Spectra of the validation part, one in so many. Printed are the share named rightly, that whose K of all models together
is below 0.95, which is how much a network takes them for foreign, and what one in ten has for its own model at most.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from magnoscope.dataset.coverage import random_coverage
from magnoscope.dataset.noise import MEASUREMENT_LIKE, degrade
from magnoscope.dataset.parts import load_part, open_set
from magnoscope.studies import load_study
from magnoscope.trust.held_back import chosen
from magnoscope.trust.weights import load_weights

SHIFTS = {"as they are": (0, 0), "x + 1": (1, 0), "x - 1": (-1, 0), "y + 1": (0, 1), "y - 1": (0, -1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("dataset", type=Path)
    parser.add_argument("weights", nargs="+", type=Path)
    parser.add_argument("--images", type=int, default=400)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    study = load_study(arguments.study)
    part = chosen(load_part(open_set(arguments.dataset), study, "validation"), arguments.images)
    coverages, generator = random_coverage(study, 256, 0), torch.Generator().manual_seed(0)
    networks = {path.name: load_weights(path, study)[0].network for path in arguments.weights}
    scores: dict[tuple[str, str], list[torch.Tensor]] = {(n, s): [] for n in networks for s in SHIFTS}
    for index in torch.arange(len(part.labels)).split(32):
        clean = torch.as_tensor(np.asarray(part.images[index.numpy()], np.float32))
        measured, valid = degrade(clean, coverages, MEASUREMENT_LIKE, generator)
        for shift, by in SHIFTS.items():
            for name, network in networks.items():
                with torch.no_grad():
                    prepared = network.prepare(measured.roll(by, (3, 4)), valid.roll(by, (3, 4)))
                    scores[name, shift].append(network(prepared).scores)
    labels = torch.as_tensor(part.labels)[:, None]
    print(f"{len(labels)} spectra")
    for (name, shift), found in scores.items():
        k = torch.cat(found)
        low, own = (k.sum(1) < 0.95).double().mean(), k.gather(1, labels)[:, 0].quantile(0.1)
        right = (k.argmax(1, keepdim=True) == labels).double().mean()
        print(f"{name}, {shift}: {right:.3f} right, {low:.1%} below 0.95, one in ten of own K below {own:.3f}")


if __name__ == "__main__":
    main()
