"""Training networks, and scoring them on what they have not seen."""

import json
import pickle
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
import zarr

from .. import __version__
from ..cleaning import Cleaner, check_cleaner, save_cleaner
from ..dataset.coverage import CoverageLaw, random_coverage
from ..dataset.noise import SWITCHES
from ..dataset.parts import (
    Exported,
    Part,
    attributes_of,
    identity_of,
    joined,
    load_misstated,
    load_part,
    open_set,
    relabelled,
)
from ..errors import DataError, StudyError, WeightsError
from ..networks.base import SpectrumNetwork
from ..networks.cleaner import CleanerNetwork, CleaningNetwork
from ..networks.cleaning import spread_factors
from ..networks.files import read_file
from ..networks.foreign import families_of, slice_energies
from ..networks.kinds import KINDS, Kind, kind_of, untrained
from ..networks.posterior import KIND as INFERENCE
from ..networks.posterior import POSTERIOR, POSTERIOR_NUISANCE, Inference, PosteriorNetwork, new_posterior
from ..networks.training import Classification, Training, TrainingConfig
from ..study import Study
from ..trust.held_back import RANDOM_MAGNETS, calibrate, scored
from ..trust.posterior import Posterior, check_posterior, save_posterior
from ..trust.weights import Weights, save_weights
from .common import (
    DatasetArgument,
    EmulatorOption,
    ForeignOption,
    InstrumentOption,
    Json,
    SeedOption,
    StudyOption,
    app,
    print_json,
    writable,
)
from .datasets import study_of

COVERAGES = 256
FINE = 0.25
"""Learning rate of a training that starts from weights, in units of the usual one."""


def current_commit() -> str:
    """The commit of the checkout the package runs from, "unknown" where there is none."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return found.stdout.strip() or "unknown"


@app.command()
def train(
    kind: Annotated[str, typer.Argument(metavar="KIND", help=f"The network: {', '.join([*KINDS, INFERENCE])}.")],
    dataset: DatasetArgument,
    output: Annotated[Path, typer.Option("-o", "--output", help="Weights to write, ending in .safetensors.")],
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="At most so many; else the kind's own.")] = None,
    batch: Annotated[int | None, typer.Option("--batch", min=2, help="Images a step; else the kind's own.")] = None,
    rate: Annotated[
        float | None, typer.Option("--learning-rate", min=1e-9, max=10, help="The largest; else the kind's own.")
    ] = None,
    seed: SeedOption = 0,
    width: Annotated[
        int | None, typer.Option("--width", min=16, max=1024, help="Channels, a multiple of 16; else the kind's own.")
    ] = None,
    without: Annotated[
        str, typer.Option("--without", help=f"Nuisances to leave out, with commas: {', '.join(SWITCHES)}.")
    ] = "",
    shared: Annotated[
        Path | None,
        typer.Option("--shared", help="Another set, of spectra that models share: `dataset build --draws overlap`."),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option("--start-from", help="Weights of the same kind and width to go on from, on this set."),
    ] = None,
    foreign: ForeignOption = None,
    instrument: InstrumentOption = None,
    emulator: EmulatorOption = True,
    at_random: Annotated[
        bool,
        typer.Option("--random-labels", help="Labels of other spectra: what it learns is no explanation of anything."),
    ] = False,
    study: StudyOption = None,
    as_json: Json = False,
) -> None:
    """Train a network, calibrate it on held-back simulations and score it on others; go on if interrupted."""
    recipe = _recipe(kind)
    width = width or recipe.width
    _refuse(kind, width, shared, foreign)
    writable(output, ".safetensors")
    found, commit = study_of(dataset, study), current_commit()
    source, coverages = open_set(dataset), random_coverage(found, COVERAGES, seed)
    parts = _parts(source, found, shared, foreign, instrument, seed if at_random else None)
    nuisance = recipe.nuisance.without(*without.split(",")) if without else recipe.nuisance
    config = _config(recipe, seed, epochs, batch, rate)
    if start is not None and rate is None:
        config = replace(config, learning_rate=config.learning_rate * FINE)
    network = _network(found, kind, seed, width, start)
    energies, folder = slice_energies(found), output.with_suffix(".training")
    training = Training(
        network, parts["train"], parts["validation"], coverages, config, folder, nuisance, energies, recipe.task(),
        parts["foreign train"].images if foreign else None,
    )  # fmt: skip

    def report(line: str) -> None:
        typer.echo(line, err=True)

    if attributes_of(source)["physics_hash"] != found.physics_hash:
        report(f"warning: study {found.name} has changed since {dataset} was built")
    sets = _sets(foreign=foreign, instrument=instrument)
    chance = {"random_labels": True} if at_random else {}
    identity = {"kind": kind, "width": width, "shared": str(shared), "start": str(start)} | sets | chance
    if _go_on(training, identity_of(dataset) | identity):
        report(f"going on after epoch {training.epoch}")
    training.run(report)
    about = {"kind": kind, "width": width, "seed": seed, "commit": commit} | ({"start": str(start)} if start else {})
    about |= chance | sets | {"foreign_families": _shown(found, config.foreign, foreign)}
    about = _card(training, found, dataset, parts, about)
    card = _finish(network, about, training, found, parts, coverages, output, emulator)
    if as_json:
        print_json(card)
    else:
        print(json.dumps(card["scores"], indent=2))


def _config(recipe: Kind, seed: int, epochs: int | None, batch: int | None, rate: float | None) -> TrainingConfig:
    """How a kind is trained, with what was asked for instead."""
    own = recipe.config
    return replace(
        own,
        seed=seed,
        epochs=epochs or own.epochs,
        batch=batch or own.batch,
        learning_rate=rate or own.learning_rate,
    )


def _refuse(kind: str, width: int, shared: Path | None, foreign: Path | None) -> None:
    """Refuse what a kind of network has no room for."""
    if width % 16:
        raise StudyError(f"--width {width} is not a multiple of 16")
    if kind == INFERENCE and shared is not None:
        raise StudyError("a posterior is trained on draws of the prior alone, which --shared would change")
    taught = [name for name, other in KINDS.items() if other.task is Classification and other.config.foreign]
    if foreign is not None and kind not in taught:
        raise StudyError(f"no foreign inputs are shown to a {kind} in training; --foreign is for {', '.join(taught)}")


def _parts(
    source: zarr.Group | Exported,
    study: Study,
    shared: Path | None,
    foreign: Path | None,
    instrument: Path | None,
    lot: int | None,
) -> dict[str, Part]:
    """All parts of a training set, and those that are used of the sets beside it; labels by lot, if it is given."""
    parts = {name: load_part(source, study, name) for name in ("train", "validation", "calibration", "test")}
    if shared is not None:
        both = open_set(shared)
        parts |= {f"shared {name}": load_part(both, study, name) for name in ("calibration", "test")}
        parts["train"] = joined([parts["train"], load_part(both, study, "train")], len(study.classes))
    if instrument is not None:
        parts["instrument test"] = load_misstated(instrument, study, "test")
        for name in ("train", "validation"):  # the best epoch is to be that of both
            parts[name] = joined([parts[name], load_misstated(instrument, study, name)], len(study.classes))
    if foreign is not None:
        magnets = open_set(foreign)
        parts |= {f"foreign {name}": load_part(magnets, study, name, foreign=True) for name in ("train", "test")}
    if lot is not None:
        parts |= {name: relabelled(parts[name], lot) for name in ("train", "validation")}
    return parts


def _sets(**paths: Path | None) -> dict[str, Any]:
    """What tells each set beside the training set from others, of those that there are."""
    return {f"{name}_set": identity_of(path) for name, path in paths.items() if path is not None}


def _shown(study: Study, share: float, foreign: Path | None) -> list[str]:
    """Foreign families that are shown in training."""
    if not share:
        return []
    return [*families_of(*study.shape[:2]), *([RANDOM_MAGNETS] if foreign else [])]


def _recipe(kind: str) -> Kind:
    """How a network of a kind is trained; a posterior is built from more than its sizes, see :func:`new_posterior`."""
    if kind != INFERENCE:
        return kind_of(kind)
    return Kind(
        "the parameters of each candidate",
        PosteriorNetwork,  # type: ignore[arg-type]
        POSTERIOR,
        POSTERIOR_NUISANCE,
        Inference,
        48,
    )


def _go_on(training: Training, identity: dict[str, Any]) -> bool:
    """Take up a training that was interrupted, if there is one and it is of the same network and training set."""
    about = training.folder / "about.json"
    try:
        if training.checkpoint.exists() and about.exists() and json.loads(about.read_text()) != identity:
            raise DataError(
                f"{training.folder} holds a training on another training set or of another width; remove it or write "
                "to other weights"
            )
        about.write_text(json.dumps(identity))
        return training.resume()
    except (OSError, ValueError, RuntimeError, KeyError, EOFError, pickle.UnpicklingError):
        raise DataError(f"{training.folder} is damaged; remove it to train from the start") from None


def _network(study: Study, kind: str, seed: int, width: int, start: Path | None) -> torch.nn.Module:
    """A new network, or one that starts from weights."""
    network = new_posterior(study, seed, width) if kind == INFERENCE else untrained(study, kind, seed, width)
    if start is not None:
        _start_from(network, start, study, kind, width)
    return network


def _start_from(network: torch.nn.Module, start: Path, study: Study, kind: str, width: int) -> None:
    """Give a network the weights of another of its kind; layers that its kind has gained since begin as they are."""
    tensors, _, card = read_file(start, study)
    own = network.state_dict()
    given = {k.removeprefix("network."): v for k, v in tensors.items() if k.removeprefix("network.") in own}
    try:
        if card.get("kind") != kind or not given or any(v.shape != own[k].shape for k, v in given.items()):
            raise ValueError("another kind or width")
        network.load_state_dict(given, strict=False)
    except ValueError:
        raise WeightsError(
            f"{start} is no {kind} network of width {width}; start from weights of the same kind and width"
        ) from None


def _card(
    training: Training, study: Study, dataset: Path, parts: dict[str, Any], about: dict[str, Any]
) -> dict[str, Any]:
    """What weights say of themselves: what they were made of, and how."""
    return about | {
        "study": study.name,
        "classes": list(study.classes),
        "layout_hash": study.layout_hash,
        "physics_hash": study.physics_hash,
        "magnoscope": __version__,
        "training_set": identity_of(dataset),
        "images": {name: len(part.labels) for name, part in parts.items()},
        "settings": {k: getattr(training.config, k) for k in training.config.__dataclass_fields__},
        "nuisance": training.nuisance.settings(),
        "coverage": CoverageLaw().settings(),
        "epochs": training.epoch,
        "minutes": sum(row["seconds"] for row in training.history) / 60,
    }


def _finish(
    network: torch.nn.Module,
    card: dict[str, Any],
    training: Training,
    study: Study,
    parts: dict[str, Any],
    coverages: torch.Tensor,
    output: Path,
    emulator: bool,
) -> dict[str, Any]:
    """Calibrate what tells models apart, score, write; returns the card."""
    seed = int(card["seed"])
    typer.echo("calibrating and scoring", err=True)
    if isinstance(network, CleaningNetwork):
        if isinstance(network, CleanerNetwork):
            seen_so = training.nuisance.measured
            network.spread = spread_factors(network, parts["calibration"], coverages, seen_so, seed + 41)
            card["spread"] = list(network.spread)
        cleaner = Cleaner(network, card)
        card["scores"] = check_cleaner(cleaner, parts["train"], parts["test"], coverages, seed).as_dict()
        save_cleaner(cleaner, output)
        return card
    if isinstance(network, PosteriorNetwork):
        checked = check_posterior(network, parts["test"], coverages, study, training.nuisance.measured, seed)
        card["scores"] = {
            name: found.as_dict([p.name for p in study.models[name].parameters]) for name, found in checked.items()
        }
        save_posterior(Posterior(network, card), output)
        return card
    assert isinstance(network, SpectrumNetwork)
    calibration = calibrate(
        network, parts["train"], parts["calibration"], coverages, seed, study.view, training.nuisance,
        parts.get("shared calibration"), emulator=emulator,
    )  # fmt: skip
    weights = scored(
        Weights(network, calibration, card), parts["test"], coverages, seed, parts.get("shared test"),
        parts.get("foreign test"), parts.get("instrument test"),
    )  # fmt: skip
    save_weights(weights, output)
    return weights.card
