"""Training networks, and scoring them on what they have not seen."""

import json
import pickle
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from .. import __version__
from ..dataset.coverage import CoverageLaw, random_coverage
from ..dataset.noise import SWITCHES, Nuisance
from ..dataset.parts import attributes_of, identity_of, joined, load_part, open_set
from ..errors import DataError, StudyError
from ..networks.base import SpectrumNetwork
from ..networks.foreign import slice_energies
from ..networks.kinds import KINDS, kind_of, new_network
from ..networks.posterior import POSTERIOR, POSTERIOR_NUISANCE, Inference, PosteriorNetwork, new_posterior
from ..networks.training import Training, TrainingConfig
from ..study import Study
from ..trust.held_back import calibrate, scored
from ..trust.posterior import KIND as INFERENCE
from ..trust.posterior import Posterior, check_posterior, save_posterior
from ..trust.weights import Weights, save_weights
from .common import DatasetArgument, Json, SeedOption, StudyOption, app, print_json, writable
from .datasets import study_of

COVERAGES = 256


def _commit() -> str:
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
    seed: SeedOption = 0,
    width: Annotated[int, typer.Option("--width", min=16, max=1024, help="Channels; a multiple of 16.")] = 48,
    without: Annotated[
        str, typer.Option("--without", help=f"Nuisances to leave out, with commas: {', '.join(SWITCHES)}.")
    ] = "",
    shared: Annotated[
        Path | None,
        typer.Option("--shared", help="Another set, of spectra that models share: `dataset build --draws overlap`."),
    ] = None,
    study: StudyOption = None,
    as_json: Json = False,
) -> None:
    """Train a network, calibrate it on held-back simulations and score it on others; go on if interrupted."""
    settings, usual = (POSTERIOR, POSTERIOR_NUISANCE) if kind == INFERENCE else _recipe(kind)
    if width % 16:
        raise StudyError(f"--width {width} is not a multiple of 16")
    if kind == INFERENCE and shared is not None:
        raise StudyError("a posterior is trained on draws of the prior alone, which --shared would change")
    writable(output, ".safetensors")
    found, commit = study_of(dataset, study), _commit()
    source = open_set(dataset)
    parts = {name: load_part(source, found, name) for name in ("train", "validation", "calibration", "test")}
    if shared is not None:
        both = open_set(shared)
        parts |= {f"shared {name}": load_part(both, found, name) for name in ("calibration", "test")}
        parts["train"] = joined([parts["train"], load_part(both, found, "train")], len(found.classes))
    coverages = random_coverage(found, COVERAGES, seed)
    nuisance = usual.without(*without.split(",")) if without else usual
    config = replace(settings, seed=seed, epochs=epochs or settings.epochs)
    network: SpectrumNetwork | PosteriorNetwork
    network = new_posterior(found, seed, width) if kind == INFERENCE else new_network(found, kind, seed, width)
    folder, task = output.with_suffix(".training"), Inference() if kind == INFERENCE else None
    training = Training(
        network, parts["train"], parts["validation"], coverages, config, folder, nuisance, slice_energies(found), task
    )

    def report(line: str) -> None:
        typer.echo(line, err=True)

    attributes = attributes_of(source)
    if attributes["physics_hash"] != found.physics_hash:
        report(f"warning: study {found.name} has changed since {dataset} was built")
    if _go_on(training, identity_of(dataset) | {"kind": kind, "width": width, "shared": str(shared)}):
        report(f"going on after epoch {training.epoch}")
    training.run(report)
    about = {"kind": kind, "width": width, "seed": seed, "commit": commit}
    card = _finish(network, training, found, dataset, parts, coverages, about, output)
    if as_json:
        print_json(card)
    else:
        print(json.dumps(card["scores"], indent=2))


def _recipe(kind: str) -> tuple[TrainingConfig, Nuisance]:
    """How a network of a kind is trained, and what its training images are put through."""
    recipe = kind_of(kind)
    return recipe.config, recipe.nuisance


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


def _finish(
    network: SpectrumNetwork | PosteriorNetwork,
    training: Training,
    study: Study,
    dataset: Path,
    parts: dict[str, Any],
    coverages: torch.Tensor,
    about: dict[str, Any],
    output: Path,
) -> dict[str, Any]:
    """Calibrate, score, write; returns the card."""
    seed = int(about["seed"])
    typer.echo("calibrating and scoring", err=True)
    card: dict[str, Any] = about | {
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
    if isinstance(network, PosteriorNetwork):
        checked = check_posterior(network, parts["test"], coverages, study, training.nuisance.measured, seed)
        card["scores"] = {
            name: found.as_dict([p.name for p in study.models[name].parameters]) for name, found in checked.items()
        }
        save_posterior(Posterior(network, card), output)
        return card
    calibration = calibrate(
        network, parts["train"], parts["calibration"], coverages, seed, study.view, training.nuisance,
        parts.get("shared calibration"),
    )  # fmt: skip
    weights = scored(Weights(network, calibration, card), parts["test"], coverages, seed, parts.get("shared test"))
    save_weights(weights, output)
    return weights.card
