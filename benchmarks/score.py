"""How well simulations at the published fits follow the measurement, against settings nobody has fitted.

usage: MAGNOSCOPE_DATA=FOLDER python benchmarks/score.py [--table]

The score is the mean Pearson correlation over tiles (tests/reference/test_score.py). First the scores of both models,
then what limits them: the same score of the measurement with its own mirror images, which have the same physics
to a good approximation and independent noise, hence an estimate of the best any noise-free image could reach; and of
the simulation with the measurement averaged over its mirror images, which has less noise. With --table the score
against resolution method, grid, moderator width, mosaic and the width of modes. Settings are those of the documents;
the table only shows what would follow from others.
"""

import argparse
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from magnoscope.simulate import Sampling, Simulator
from magnoscope.studies import load_study

CLIP = 60


def tiles(image: np.ndarray) -> np.ndarray:
    return np.asarray(image, float).reshape(6, 40, 10, 40).transpose(0, 2, 1, 3)


def correlations(one: np.ndarray, other: np.ndarray, use: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Of each tile in ``shown``, over the pixels in ``use``."""
    found = [
        np.corrcoef(one[i, j][use[i, j]], other[i, j][use[i, j]])[0, 1] for i, j in zip(*np.nonzero(shown), strict=True)
    ]
    return np.array(found)


def mirrored(image: np.ndarray) -> list[np.ndarray]:
    """Along h, along k, and both."""
    return [image[..., ::-1, :], image[..., ::-1], image[..., ::-1, ::-1]]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = Path(os.environ["MAGNOSCOPE_DATA"]) / "pcsmo"
    covered = ~tiles(np.load(folder / "masked.npy")).astype(bool)
    shown = (np.nan_to_num(tiles(np.load(folder / "reference_goodenough.npy"))) > 0).sum((2, 3)) > 50
    measured = np.minimum(np.nan_to_num(tiles(np.load(folder / "measured.npy"))), CLIP)
    study = load_study("pcsmo")

    def score(other, method="montecarlo", sampling=None, models=("goodenough", "dimer")):
        simulator = Simulator(other, method, sampling)
        return [correlations(simulator.reference(m), measured, covered, shown).mean() for m in models]

    default = Simulator(study, "montecarlo")
    images = {m: default.reference(m) for m in study.classes}
    for name, image in images.items():
        print(f"{name}: {correlations(image, measured, covered, shown).mean():.4f}")

    both = [covered & m for m in mirrored(covered)]
    reliability = np.mean(
        [correlations(measured, m, use, shown) for m, use in zip(mirrored(measured), both, strict=True)], axis=0
    )
    ceiling = np.sqrt(np.clip(reliability, 0, 1))
    print(
        f"measurement with its mirror images: {reliability.mean():.4f}; ceiling, mean of the root: {ceiling.mean():.4f}"
    )
    for name, image in images.items():
        symmetric = np.mean([image, *mirrored(image)], axis=0)
        print(
            f"{name} symmetrised: with the measurement {correlations(symmetric, measured, covered, shown).mean():.4f}, "
            f"itself with its mirror images "
            f"{np.mean([correlations(image, m, covered, shown).mean() for m in mirrored(image)]):.4f}"
        )
    total = np.sum(
        [measured * covered, *(m * c for m, c in zip(mirrored(measured), mirrored(covered), strict=True))], 0
    )
    count = np.sum([covered, *mirrored(covered)], axis=0)
    averaged = total / np.maximum(count, 1)
    for name, image in images.items():
        symmetric = np.mean([image, *mirrored(image)], axis=0)
        print(
            f"{name} symmetrised with the mirror-averaged measurement: "
            f"{correlations(symmetric, averaged, count > 0, shown).mean():.4f}"
        )
    each = correlations(images["goodenough"], measured, covered, shown)
    good = ceiling > 0.3
    print(
        f"share of the ceiling reached, tile by tile ({good.sum()} tiles with a ceiling above 0.3): "
        f"{np.median(each[good] / ceiling[good]):.3f} (median)"
    )
    if not arguments.table:
        return
    print("setting, goodenough, dimer")
    for method in ("gaussian", "montecarlo"):
        print(f"{method}: " + " ".join(f"{x:.4f}" for x in score(study, method)), flush=True)
    for points in (12, 32):
        print(
            f"{points} points a zone: " + " ".join(f"{x:.4f}" for x in score(study, sampling=Sampling(points))),
            flush=True,
        )
    moderator = study.spectrometer.moderator
    for width in (0.6, 0.8, 1.25, 1.5):
        other = replace(moderator, tau_fast=moderator.tau_fast * width)
        changed = replace(study, spectrometer=replace(study.spectrometer, moderator=other))
        print(f"moderator width x {width:g}: " + " ".join(f"{x:.4f}" for x in score(changed)), flush=True)
    for mosaic in (0.5, 1.0, 2.0, 4.0):
        changed = replace(study, sample=replace(study.sample, mosaic=(mosaic,) * 3))
        print(f"mosaic {mosaic:g} degrees: " + " ".join(f"{x:.4f}" for x in score(changed)), flush=True)
    for width in (0.5, 2.0):
        changed = replace(study, intrinsic_width=width)
        print(f"intrinsic width {width:g} meV: " + " ".join(f"{x:.4f}" for x in score(changed)), flush=True)
    kf = replace(study, intensity=replace(study.intensity, kf_over_ki=True))
    print("with k_f / k_i: " + " ".join(f"{x:.4f}" for x in score(kf)), flush=True)


if __name__ == "__main__":
    main()
