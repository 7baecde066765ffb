"""What the banks of an instrument file see of a study's maps, beside a measured mask.

usage: python benchmarks/coverage.py STUDY MASK.npy

MASK.npy is True where there is no detector, in the study's image layout. Printed for each run: the share of pixels that
the banks and the mask agree on, the same for the kinematics alone, and the shares of the seen and of the hidden pixels
that the banks get right.
"""

import sys

import numpy as np

from magnoscope.resolution.coverage import coverage
from magnoscope.simulate import Simulator
from magnoscope.spectrum import to_tiles
from magnoscope.studies import load_study


def main() -> None:
    study = load_study(sys.argv[1])
    measured = ~to_tiles(np.load(sys.argv[2]).astype(bool), study)
    reached = Simulator(study, "none").reachable
    print("   Ei   agree   kinematics alone   seen   hidden")
    for number, run in enumerate(study.runs):
        ours, seen = coverage(study, number), measured[number]
        shares = ((ours == seen).mean(), (reached[number] == seen).mean(), ours[seen].mean(), (~ours[~seen]).mean())
        print(f"{run.ei:>5g}  {shares[0]:>6.3f}  {shares[1]:>17.3f}  {shares[2]:>5.3f}  {shares[3]:>7.3f}")


if __name__ == "__main__":
    main()
