"""How the coarse Gaussian method of the published study fails, against the fine Gaussian.

usage: python benchmarks/coarse.py [--points 60 80 100 160]

At the reference parameters of the first model of the worked study; src/magnoscope/reproduce/coarse.py says what each
number is. Then the relative L2 distance of the images of other grids from that of the finest, each slice scaled to the
same sum, and CPU-seconds an image.
"""

import argparse

import torch

from magnoscope.reproduce.coarse import aliasing, coarse_images, edge_shifts
from magnoscope.simulate import Simulator
from magnoscope.studies import load_study


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--points", type=int, nargs="+", default=[60, 80, 100, 160])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    study = load_study("pcsmo")
    name = study.classes[0]
    fine = Simulator(study, "gaussian").reference(name)
    found = coarse_images(study, name, arguments.points)
    for points, (image, cost) in found.items():
        print(f"{points} x {points} points a slice: {cost:.1f} CPU-s")
        if points != 80:
            continue
        for row in edge_shifts(study, image, fine):
            edges = "no edges in view" if row.top is None else f"bottom {row.bottom:+.2f}, top {row.top:+.2f} meV"
            print(
                f"Ei {row.ei:g}: intensity {row.intensity[0]:.2e} to {row.intensity[1]:.2e} of the fine image's; "
                f"sharpness {row.sharpness[0]:.3f} against {row.sharpness[1]:.3f}; {edges} ({row.pixels} pixels)"
            )
    for points, distance in aliasing({points: image for points, (image, _) in found.items()}).items():
        print(f"{points} from {max(found)} points: {distance:.3f}")


if __name__ == "__main__":
    main()
