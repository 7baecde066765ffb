"""How well foreign inputs are told from a study's own: the families of :mod:`.families` on held-back noise."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import torch
from numpy.typing import NDArray

from .. import __version__
from ..dataset.draws import UNIFORM, Law, simulate_draw
from ..dataset.noise import MEASUREMENT_LIKE
from ..dataset.parts import Part
from ..resolution.spread import Method
from ..simulate import Simulator
from ..study import Study
from ..views import MapView
from .families import FROM_TEST_PART, HALF_MISSING, Family, half_missing, stitched, trained_on
from .held_back import RANDOM_MAGNETS, UNSEEN, chosen
from .other_magnets import other_materials, third_hamiltonian
from .signals import observe
from .weights import Weights

THIRD = Family("third Hamiltonian", "ferromagnets on the candidates' own bonds", relatives=(RANDOM_MAGNETS,))
BEYOND = Family(
    "outside the priors",
    "candidates, with parameters up to half a prior's width beyond it",
    "the Hamiltonian is a candidate's: a right label is right, and small excursions look like training",
    True,
)
MATERIALS = Family("other materials", "four textbook magnets on the study's lattice", relatives=(RANDOM_MAGNETS,))
FRANKEN = Family("Franken, whole runs", "every run of another material", relatives=("runs of two spectra",))
FRANKEN_SLICES = Family(
    "Franken, some slices", "30 to 70 % of the slices of a spectrum replaced by those of other materials",
    relatives=("two spectra",),
)  # fmt: skip
COARSE = Family("coarse Gaussian", "the candidates with the published study's coarse Gaussian resolution", "", True)
RESOLUTIONS: dict[str, Family] = {
    method: Family(
        f"{words} resolution",
        f"the candidates with {words} resolution instead of that of the training set",
        "images differ by 1 to 4 %, less than the noise: inside the training data, and should not be refused",
        True,
    )
    for method, words in (("gaussian", "Gaussian"), ("montecarlo", "Monte Carlo"))
}

Report = Callable[[str], None]


@dataclass(frozen=True)
class Simulated:
    """Simulated spectra of a family, and the candidate each is of (-1: none)."""

    family: Family
    images: NDArray
    labels: NDArray[np.int64]


class Cache:
    """Simulated spectra of foreign magnets in a folder, grown when more are asked for; gone on with if interrupted."""

    def __init__(self, folder: Path, study: Study, seed: int, report: Report) -> None:
        self.folder, self.report = folder, report
        self.key = {"physics_hash": study.physics_hash, "version": __version__, "seed": seed}
        folder.mkdir(parents=True, exist_ok=True)

    def images(self, name: str, number: int, make: Callable[[int], NDArray], every: int = 10) -> NDArray:
        """The first ``number`` spectra of a family, (n, runs, slices, x, y) float16."""
        path, about = self.folder / f"{name}.npy", self.folder / f"{name}.json"
        found: list[NDArray] = []
        try:
            if json.loads(about.read_text()) == self.key:
                found = list(np.load(path, allow_pickle=False))
        except (OSError, ValueError):
            pass
        while len(found) < number:
            found += [make(i).astype(np.float16) for i in range(len(found), min(len(found) + every, number))]
            partial = path.with_suffix(".partial")
            with open(partial, "wb") as file:
                np.save(file, np.stack(found))
            os.replace(partial, path)
            about.write_text(json.dumps(self.key))
            self.report(f"{name}: {len(found)} of {number} spectra simulated")
        return np.stack(found[:number])


def simulated(
    study: Study, test: Part, resolution: Method, number: int, cache: Cache, seed: int
) -> Iterator[Simulated]:
    """Families that need the simulator; those that a study has no room for are left out and said to be."""
    third = third_hamiltonian(study)
    if third is None:
        cache.report("third Hamiltonian: left out, for all spins of the first candidate are parallel already")
    else:
        yield _drawn(THIRD, "third", third, resolution, number, cache, seed)
    yield _drawn(BEYOND, "beyond", study, resolution, number, cache, seed, Law("beyond"))
    others = _drawn(MATERIALS, "materials", other_materials(study), resolution, number, cache, seed)
    yield others
    rng, own = np.random.default_rng([seed, 5]), chosen(test, number).images.astype(float)
    for family, whole in ((FRANKEN, True), (FRANKEN_SLICES, False)):
        images = stitched(own, others.images.astype(float), rng, whole)
        if len(study.runs) > 1 or not whole:
            yield Simulated(family, images, np.full(len(images), -1))
    methods: dict[Method, Family] = {"gaussian": RESOLUTIONS["gaussian"], "montecarlo": RESOLUTIONS["montecarlo"]}
    if isinstance(study.view, MapView):
        methods["gaussian-coarse"] = COARSE
    for method, family in methods.items():
        if method != resolution:
            yield _drawn(family, method, study, method, number, cache, seed)


def _drawn(
    family: Family, name: str, study: Study, resolution: Method, number: int, cache: Cache, seed: int,
    law: Law = UNIFORM,
) -> Simulated:  # fmt: skip
    """Spectra of a study's models in turn."""
    simulator: list[Simulator] = []
    classes = len(study.classes)

    def make(index: int) -> NDArray:
        simulator[:] = simulator or [Simulator(study, resolution)]
        return simulate_draw(simulator[0], index % classes, seed + 7919, index, law)[0]

    images = cache.images(f"{name}-{resolution}", number, make)
    labels = np.arange(number) % classes if family.candidate else np.full(number, -1)
    return Simulated(family, images, labels)


def run_suite(
    weights: Weights, study: Study, test: Part, coverages: torch.Tensor, resolution: Method, number: int, cache: Cache
) -> dict[str, Any]:
    """Score weights on every family, with measurement-like noise.

    Returns
    -------
    dict
        ``own``: of the test part the number, the share with p below 0.01. ``families``: for each name ``n``, ``auroc``
        of the p-value with its 95 % ``interval``, ``fpr95`` (share accepted where 95 % of the own are), ``below_0.01``,
        ``k_below_half`` (share in which every K is below 0.5), ``by_signal`` (AUROC of each signal), ``accuracy`` of
        spectra that are a candidate's, ``about`` and ``note``. ``mean_auroc`` and ``least_auroc`` over the families
        that are foreign. ``chosen_on``: the families that settings were chosen on, none of these.
    """
    seed = int(weights.card["seed"])

    def look(images: NDArray, labels: NDArray[np.int64], coverage: torch.Tensor = coverages) -> Seen:
        n = len(images)
        blank = np.full((n, test.parameters.shape[1]), 0.5, np.float32)
        part = Part(images.astype(np.float32), np.maximum(labels, 0), blank, test.mirrors)
        found, signals, noise = observe(
            weights.network, weights.calibration, part, coverage, MEASUREMENT_LIKE, seed + 51
        )
        k = found.output.scores.numpy().astype(float)
        return Seen(signals, weights.calibration.p_values(signals, noise)[1], k, labels)

    some = chosen(test, 4 * number)
    own = look(np.asarray(some.images), some.labels)
    few = chosen(test, number)
    rng = np.random.default_rng([seed, 9])
    families: dict[str, Any] = {}
    trained = trained_on(weights.card)

    def add(family: Family, seen: Seen) -> None:
        row = _figures(family, own, seen, weights.calibration.signals)
        families[family.name] = row | {"note": family.remark(trained)}
        cache.report(f"{family.name}: AUROC {families[family.name]['auroc']:.3f}")

    for family, make in FROM_TEST_PART.items():
        if family.name == "wrong Ei order" and len(study.runs) < 2:
            continue
        images = make(np.asarray(few.images, float), study, rng)
        add(family, look(images, np.full(len(images), -1)))
    add(HALF_MISSING, look(np.asarray(few.images), few.labels, half_missing(coverages, study)))
    for made in simulated(study, test, resolution, number, cache, seed):
        add(made.family, look(made.images, made.labels))
    areas = [row["auroc"] for row in families.values() if "accuracy" not in row]
    return {
        "own": {"n": len(own.p), "below_0.01": float(np.mean(own.p < 0.01))},
        "families": families,
        "mean_auroc": float(np.mean(areas)),
        "least_auroc": float(min(areas)),
        "chosen_on": [*trained, *UNSEEN],
    }


@dataclass(frozen=True)
class Seen:
    """What weights say of some inputs: signals (n, n_signals), p-values (n,), K (n, classes), labels (n,)."""

    signals: NDArray[np.float64]
    p: NDArray[np.float64]
    k: NDArray[np.float64]
    labels: NDArray[np.int64]


def _figures(family: Family, own: Seen, seen: Seen, signals: tuple[str, ...]) -> dict[str, Any]:
    area = _area(-own.p, -seen.p)
    row: dict[str, Any] = {
        "n": len(seen.p),
        "auroc": area,
        "interval": _area_interval(area, len(own.p), len(seen.p)),
        "fpr95": float(np.mean(seen.p > np.quantile(own.p, 0.05))),
        "below_0.01": float(np.mean(seen.p < 0.01)),
        "k_below_half": float(np.mean(seen.k.max(1) < 0.5)),
        "by_signal": {name: _area(own.signals[:, i], seen.signals[:, i]) for i, name in enumerate(signals)},
        "about": family.about,
    }
    if family.candidate:
        row["accuracy"] = float(np.mean(seen.k.argmax(1) == seen.labels))
    return row


def _area(own: NDArray[np.float64], foreign: NDArray[np.float64]) -> float:
    """Area under the ROC curve of a signal that is larger for foreign inputs."""
    return float(scipy.stats.mannwhitneyu(foreign, own).statistic / (len(own) * len(foreign)))


def _area_interval(area: float, own: int, foreign: int) -> tuple[float, float]:
    """95 % interval after Hanley and McNeil, Radiology 143, 29 (1982)."""
    one, two = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (foreign - 1) * (one - area**2) + (own - 1) * (two - area**2)
    half = 1.96 * float(np.sqrt(max(variance, 0) / (own * foreign)))
    return max(0.0, area - half), min(1.0, area + half)
