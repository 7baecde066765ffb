"""The table: what was published, what we find, and how; a number that is missing says the command that makes it."""

import contextlib
import csv
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..dataset.draws import simulate_draw
from ..dataset.noise import CLEAN
from ..dataset.parts import Part, identity_of, load_part, open_set
from ..errors import MagnoscopeError, WeightsError
from ..networks.files import read_file
from ..networks.training import evaluate
from ..resolution.spread import Method
from ..simulate import Simulator
from ..spectrum import Spectrum
from ..study import Study
from ..trust.families import stitched
from ..trust.other_magnets import other_materials
from ..trust.signals import run_network, signal_values
from ..trust.weights import Weights, load_weights, shipped_weights
from .coarse import EdgeShift, aliasing, coarse_images, edge_shifts
from .published import Published

FRANKEN_IMAGES = 20
DUQ = ("compact", "duq", "duq-published")
"""Kinds whose scores are K."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes
    ----------
    ours : str
        Empty where it is missing.
    how : str
        The conditions of our number, or the command that makes the missing one.
    """

    what: str
    published: str
    ours: str
    how: str


@dataclass(frozen=True)
class Trained:
    """A network of a kind trained on images of a resolution method, where the folder has one."""

    kind: str
    resolution: str
    weights: Weights | None
    path: Path
    commands: str


def _scores(values: Any) -> str:
    if isinstance(values, dict):
        return ", ".join(f"{name} {value:.3g}" for name, value in values.items())
    return "" if values is None else str(values)


def trained(study: Study, numbers: Published, folder: Path | None) -> list[Trained]:
    """For each published network, and ours on the accurate method, the weights of the folder, or those that ship.

    What else the folder holds comes last: a network on a third resolution method, say.

    Raises
    ------
    WeightsError
        If a file of the folder cannot be read.
    """
    found: dict[tuple[str, str], tuple[Path, Weights]] = {}
    paths = sorted(folder.glob("*.safetensors")) if folder is not None else []
    with contextlib.suppress(WeightsError):
        paths.append(shipped_weights(study))
    for path in paths:
        if "calibration" not in read_file(path, study)[1]:  # a cleaner or a posterior tells no models apart
            continue
        loaded, _ = load_weights(path, study)
        key = str(loaded.card["kind"]), str(loaded.card.get("training_set", {}).get("resolution"))
        found.setdefault(key, (path, loaded))
    wanted = [(kind, method) for kind, methods in numbers.networks.items() for method in methods]
    for kind in ("duq", "compact", "additive"):
        wanted.append((kind, numbers.accurate))
    wanted += [key for key in found if key not in wanted]
    out = []
    for kind, method in wanted:
        missing = (folder or Path("weights")) / f"{kind}-{method}.safetensors"
        path, weights = found[kind, method] if (kind, method) in found else (missing, None)
        dataset = f"{study.name}-{method}.zarr"
        commands = (
            f"magnoscope dataset build {study.name} -n {numbers.per_class} --resolution {method} -o {dataset}; "
            f"magnoscope train {kind} {dataset} -o {path}"
        )
        out.append(Trained(kind, method, weights, path, commands))
    return out


def timed(study: Study, model: str, method: Method) -> tuple[NDArray[np.float64], float]:
    """The reference image of a model, and its CPU-seconds when another was simulated before."""
    simulator, values = Simulator(study, method), study.model(model).reference
    simulator.signal(model, values)
    started = time.process_time()
    image = simulator.signal(model, values)
    return image, time.process_time() - started


def cost_rows(numbers: Published, seconds: dict[str, float]) -> list[Row]:
    """CPU time of an image by each published method beside that of ours which does the same."""
    how = "one thread, after one image"
    rows = [
        Row(f"CPU time an image: {c['what']}", f"{c['minutes']:g} min", f"{seconds[c['method']]:.2f} s", how)
        for c in numbers.cost
    ]
    fine = Row("CPU time an image: Gaussian, as fine as the Monte Carlo", "", f"{seconds['gaussian']:.2f} s", how)
    return [*rows, fine]


def coarse_rows(
    study: Study, numbers: Published, model: str, fine: NDArray[np.float64], points: list[int]
) -> tuple[list[Row], list[EdgeShift], float]:
    """What the coarse Gaussian does to band edges, and how its image depends on its grid; its CPU-seconds."""
    found = coarse_images(study, model, points)
    chosen = 80 if 80 in found else points[0]
    image, seconds = found[chosen]
    shifts = edge_shifts(study, image, fine)
    told = [s for s in shifts if s.top is not None and s.bottom is not None]

    def spread(values: list[float]) -> str:
        if not values:
            return "no edge in view"
        return f"{min(values):+.2f} to {max(values):+.2f} meV over {len(values)} runs"

    how = f"mean shift from the fine Gaussian of where a quarter of a pixel's largest signal is reached, {model}"
    tops, bottoms = ([float(getattr(s, end) or 0) for s in told] for end in ("top", "bottom"))
    rows = [
        Row("coarse Gaussian: tops of bands", numbers.edges["tops"], spread(tops), how),
        Row("coarse Gaussian: bottoms of bands", numbers.edges["bottoms"], spread(bottoms), how),
        Row(
            "coarse Gaussian: sharpness",
            "sharper than the data",
            f"{np.mean([s.sharpness[0] for s in shifts]):.2f} against {np.mean([s.sharpness[1] for s in shifts]):.2f}",
            "mean squared step between pixels over mean squared signal, coarse against fine",
        ),
    ]  # fmt: skip
    for number, distance in aliasing({n: i for n, (i, _) in found.items()}).items():
        rows.append(
            Row(
                f"coarse Gaussian: aliasing, {number} points",
                "aliasing for certain grid sizes",
                f"{distance:.3f}",
                f"relative distance from the image on {max(found)} points, slices at one sum",
            )
        )
    return rows, shifts, seconds


def network_rows(
    study: Study,
    numbers: Published,
    nets: list[Trained],
    measured: Spectrum | None,
    cleaned: Mapping[str, Spectrum] | None = None,
) -> list[Row]:
    """Accuracy, and what each network says of the measurement, raw and as each cleaner cleans it."""
    rows = []
    for net in nets:
        printed = numbers.networks.get(net.kind, {}).get(net.resolution, {})
        name = f"{net.kind} on {net.resolution}"
        if net.weights is None:
            rows.append(Row(f"{name}: accuracy", _scores(printed.get("accuracy", "not used")), "", net.commands))
            rows.append(Row(f"{name}: measurement", _scores(printed.get("measurement", "not used")), "", net.commands))
            continue
        card = net.weights.card
        score = card["scores"]["clean"]
        low, high = score["interval"]
        size, epochs = card["training_set"]["per_class"], card.get("epochs", "?")
        about = f"{size} images of each model, {epochs} epochs, {net.path.name}"
        rows.append(
            Row(
                f"{name}: accuracy",
                _scores(printed.get("accuracy", "not used")),
                f"{score['accuracy']:.3f} ({low:.3f} to {high:.3f})",
                f"{score['n']} test images without noise that nothing has seen; {about}",
            )
        )
        if measured is None:
            how, ours = f"no measurement found; magnoscope fetch {study.name}", ""
        else:
            how, ours = about, _verdict(net.weights, measured)
        rows.append(Row(f"{name}: measurement", _scores(printed.get("measurement", "not used")), ours, how))
        for cleaner, spectrum in (cleaned or {}).items():
            what = f"{name}: measurement, cleaned by {cleaner}"
            rows.append(Row(what, _scores(printed.get("cleaned", "not used")), _verdict(net.weights, spectrum), about))
    return rows


def _verdict(weights: Weights, spectrum: Spectrum) -> str:
    output = run_network(weights, spectrum)
    k = dict(zip(spectrum.study.classes, output.scores[0].numpy().astype(float), strict=True))
    measured = np.where(spectrum.valid, spectrum.signal, 0.0)
    observed = signal_values(weights.calibration, output, measured[None], spectrum.valid[None])
    p = float(weights.calibration.p_values(*observed)[1][0])
    return f"{_scores(k)}; like training p = {p:.2g}"


def franken_rows(study: Study, numbers: Published, nets: list[Trained], images: Part | None) -> list[Row]:
    """Scores of Franken images by each network there is; without noise, as published."""
    rows = []
    for net in nets:
        printed = numbers.networks.get(net.kind, {}).get(net.resolution, {}).get("franken", "not printed")
        name = f"{net.kind} on {net.resolution}: Franken image"
        if net.weights is None or images is None:
            if printed != "not printed":
                rows.append(Row(name, _scores(printed), "", net.commands))
            continue
        everywhere = torch.ones(1, *study.shape, dtype=torch.bool)
        k = evaluate(net.weights.network, images, everywhere, CLEAN, 0).output.scores.numpy().astype(float)
        mean = dict(zip(study.classes, k.mean(0), strict=True))
        ours = f"mean {_scores(mean)}; all below 0.5 in {np.mean(k.max(1) < 0.5):.0%}"
        rows.append(Row(name, _scores(printed), ours, f"{len(k)} images, every run of another simulated magnet"))
    return rows


def franken_images(study: Study, resolution: Method, number: int = FRANKEN_IMAGES, seed: int = 0) -> Part:
    """Images of which every run is of another textbook magnet, simulated at the study's settings."""
    others = other_materials(study)
    simulator = Simulator(others, resolution)
    drawn = np.stack(
        [simulate_draw(simulator, i % len(others.classes), seed, i)[0] for i in range(max(8, len(study.runs)))]
    )
    level = np.full((number, *study.shape), drawn.mean())
    images = stitched(level, drawn, np.random.default_rng(seed), True)
    widest = max(len(model.parameters) for model in study.models.values())
    labels, values = np.zeros(number, np.int64), np.full((number, widest), 0.5, np.float32)
    return Part(images.astype(np.float32), labels, values, study.view.mirrors)


def histogram_of(net: Trained, study: Study, datasets: Sequence[Path]) -> dict[str, NDArray[np.float64]]:
    """K of the first model for clean test images of each model (figure 5); nothing of networks without centroids.

    Networks that were trained on none of these sets are left out.
    """
    if net.weights is None or net.kind not in DUQ:
        return {}
    dataset = next((path for path in datasets if identity_of(path) == net.weights.card["training_set"]), None)
    if dataset is None:
        return {}
    part = replace(load_part(open_set(dataset), study, "test"), mirrors=())
    everywhere = torch.ones(1, *study.shape, dtype=torch.bool)
    k = evaluate(net.weights.network, part, everywhere, CLEAN, 0).output.scores.numpy().astype(float)
    return {name: k[part.labels == c, 0] for c, name in enumerate(study.classes)}


def curves_of(nets: list[Trained]) -> dict[str, dict[str, list[float]]]:
    """Training curves beside the weights, by the name of the network."""
    out = {}
    for net in nets:
        path = net.path.with_suffix(".training") / "history.csv"
        if net.weights is None or not path.exists():
            continue
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file))
        try:
            out[f"{net.kind} on {net.resolution}"] = {k: [float(row[k]) for row in rows] for k in rows[0]}
        except (ValueError, KeyError, IndexError):
            raise MagnoscopeError(f"{path} is no history of a training; remove it or train again") from None
    return out
