"""How well simulations at the published fits follow the measurement, against settings nobody has fitted.

usage: MAGNOSCOPE_DATA=FOLDER python benchmarks/score.py [--table]

The score is the mean Pearson correlation over tiles (tests/reference/test_score.py). First the scores of both models
with the settings of the documents. Then what limits them:

- noise: the same score of the measurement with its own mirror images, which have the same physics to a good
  approximation and independent noise, hence an estimate of the best any noise-free image could reach; and of the
  simulation with the measurement averaged over its mirror images, which has less noise;
- broadening: the same images blurred further, along both axes of Q or along energy.

With --table the score against resolution method, points, moderator width, mosaic and the width of modes: only to show
what would follow from others than those of the documents.
"""

import argparse
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from magnoscope.machine import keep_memory
from magnoscope.simulate import Sampling, Simulator
from magnoscope.studies import load_study
from magnoscope.study import Study

CLIP = 60
MODELS = ("goodenough", "dimer")
ASKED = 0.62
"""The score that was hoped for."""


def tiles(image: np.ndarray) -> np.ndarray:
    """A 240 x 400 image as (Ei, slice, h, k)."""
    return np.asarray(image, float).reshape(6, 40, 10, 40).transpose(0, 2, 1, 3)


@dataclass(frozen=True)
class Measurement:
    """What is compared with: signal, pixels with a detector, tiles with signal."""

    signal: np.ndarray
    covered: np.ndarray
    shown: np.ndarray

    @classmethod
    def read(cls, folder: Path) -> "Measurement":
        covered = ~tiles(np.load(folder / "masked.npy")).astype(bool)
        shown = (np.nan_to_num(tiles(np.load(folder / "reference_goodenough.npy"))) > 0).sum((2, 3)) > 50
        return cls(np.minimum(np.nan_to_num(tiles(np.load(folder / "measured.npy"))), CLIP), covered, shown)

    def each(self, image: np.ndarray, covered: np.ndarray | None = None) -> np.ndarray:
        """Correlation of each tile with signal, over the pixels with a detector."""
        use = self.covered if covered is None else covered
        return np.array(
            [
                np.corrcoef(image[i, j][use[i, j]], self.signal[i, j][use[i, j]])[0, 1]
                for i, j in zip(*np.nonzero(self.shown), strict=True)
            ]
        )

    def averaged(self) -> "Measurement":
        """Over its mirror images, where they have a detector."""
        total = np.sum(
            [s * c for s, c in zip(with_mirrors(self.signal), with_mirrors(self.covered), strict=True)], axis=0
        )
        count = np.sum(with_mirrors(self.covered), axis=0)
        return Measurement(total / np.maximum(count, 1), count > 0, self.shown)


def with_mirrors(image: np.ndarray) -> list[np.ndarray]:
    """As it is, and mirrored along h, along k, and both."""
    return [image, image[..., ::-1, :], image[..., ::-1], image[..., ::-1, ::-1]]


def row(setting: str, scores: list[float]) -> None:
    """A line of a table."""
    print(f"| {setting} | {scores[0]:.4f} | {scores[1]:.4f} | {scores[0] - scores[1]:.4f} |", flush=True)


def limits(measured: Measurement, images: list[np.ndarray]) -> None:
    """What stands between the images and a higher score."""
    mirrored = zip(with_mirrors(measured.signal)[1:], with_mirrors(measured.covered)[1:], strict=True)
    reliability = np.mean([measured.each(s, c & measured.covered) for s, c in mirrored], axis=0)
    ceiling = np.sqrt(np.clip(reliability, 0, 1))
    print(
        f"\nNoise: the measurement has {reliability.mean():.4f} with its own mirror images; the root of that, "
        f"{ceiling.mean():.4f} on average over tiles, is what an image without noise could reach."
    )
    good, each = ceiling > 0.3, measured.each(images[0])
    print(
        f"Of its ceiling a tile reaches {np.median(each[good] / ceiling[good]):.3f} (median of the {good.sum()} with "
        "one above 0.3)."
    )
    symmetric = [np.mean(with_mirrors(image), axis=0) for image in images]
    print("\n| default images | goodenough | dimer | difference |\n|---|---|---|---|")
    row("averaged over mirror images", [measured.each(s).mean() for s in symmetric])
    averaged = measured.averaged()
    row("the same, with the measurement averaged likewise", [averaged.each(s).mean() for s in symmetric])
    for pixels in (0.5, 1.0, 1.5):
        blurred = [ndimage.gaussian_filter(image, (0, 0, pixels, pixels)) for image in images]
        row(f"blurred along h and k by {pixels * 2 / 39:.3f} r.l.u.", [measured.each(b).mean() for b in blurred])
    for slices in (0.5, 1.0):
        blurred = [ndimage.gaussian_filter1d(image, slices, axis=1, mode="nearest") for image in images]
        row(f"blurred along energy by {slices:g} slices", [measured.each(b).mean() for b in blurred])


def settings(study: Study) -> Iterator[tuple[str, Study, str, Sampling | None]]:
    """What the table goes through: words, study, method and sampling."""
    yield "Gaussian", study, "gaussian", None
    for points in (12, 32):
        yield f"{points} points a zone", study, "montecarlo", Sampling(points)
    spectrometer, moderator = study.spectrometer, study.spectrometer.moderator
    for width in (0.6, 0.8, 1.25, 1.5):
        wider = replace(spectrometer, moderator=replace(moderator, tau_fast=moderator.tau_fast * width))
        yield f"moderator width x {width:g}", replace(study, spectrometer=wider), "montecarlo", None
    for mosaic in (0.5, 1.0, 2.0, 4.0):
        sample = replace(study.sample, mosaic=(mosaic,) * 3)
        yield f"mosaic {mosaic:g} degrees (FWHM)", replace(study, sample=sample), "montecarlo", None
    for width in (0.5, 2.0):
        yield f"width of a mode {width:g} meV", replace(study, intrinsic_width=width), "montecarlo", None
    with_factor = replace(study, intensity=replace(study.intensity, kf_over_ki=True))
    yield "k_f / k_i", with_factor, "montecarlo", None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    measured = Measurement.read(Path(os.environ["MAGNOSCOPE_DATA"]) / "pcsmo")
    study = load_study("pcsmo")

    def images_of(other: Study, method: str = "montecarlo", sampling: Sampling | None = None) -> list[np.ndarray]:
        simulator = Simulator(other, method, sampling)
        return [simulator.reference(model) for model in MODELS]

    images = images_of(study)
    scores = [measured.each(image).mean() for image in images]
    print("| settings of the documents | goodenough | dimer | difference |\n|---|---|---|---|")
    row("Monte Carlo", scores)
    print(f"Goodenough is {ASKED - scores[0]:.4f} short of {ASKED:g}.")
    limits(measured, images)
    if not arguments.table:
        return
    print("\n| other settings | goodenough | dimer | difference |\n|---|---|---|---|")
    for words, other, method, sampling in settings(study):
        row(words, [measured.each(image).mean() for image in images_of(other, method, sampling)])


if __name__ == "__main__":
    main()
