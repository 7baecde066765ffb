"""Weights in one safetensors file: the network, its calibration and a card that says how they were made."""

import json
import os
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from safetensors.torch import save_file

from ..errors import WeightsError
from ..networks.compact import CompactNetwork
from ..study import Study
from .calibration import Calibration

ARRAYS = ("means", "precision", "held_back")


@dataclass(frozen=True)
class Weights:
    """A trained network with all that a verdict needs.

    Attributes
    ----------
    card : dict
        Kind, study and hashes, seed, commit, training set, settings, scores.
    """

    network: CompactNetwork
    calibration: Calibration
    card: dict[str, Any]


def new_network(study: Study, seed: int, width: int = 48) -> CompactNetwork:
    """An untrained network with the study's sizes."""
    torch.manual_seed(seed)
    runs, slices, *_ = study.shape
    most = max(len(model.parameters) for model in study.models.values())
    return CompactNetwork(runs, slices, len(study.classes), most, width)


def save_weights(weights: Weights, path: Path) -> None:
    """Write weights, and their card beside them as JSON."""
    calibration = asdict(weights.calibration)
    tensors = {f"network.{k}": v.contiguous() for k, v in weights.network.state_dict().items()}
    tensors |= {f"calibration.{k}": torch.as_tensor(calibration.pop(k)) for k in ARRAYS}
    metadata = {"card": json.dumps(weights.card), "calibration": json.dumps(calibration)}
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata)
    os.replace(partial, path)
    path.with_suffix(".json").write_text(json.dumps(weights.card, indent=2) + "\n")


def shipped_weights(study: Study) -> Path:
    """The weights that ship for a study.

    Raises
    ------
    WeightsError
        If there are none.
    """
    path = Path(str(resources.files("magnoscope") / "weights" / f"{study.name}.safetensors"))
    if not path.exists():
        raise WeightsError(
            f"no weights ship for study {study.name}; train some with `magnoscope dataset build` and `magnoscope "
            "train`, and name them with --weights"
        )
    return path


def load_weights(path: str | Path, study: Study) -> tuple[Weights, str | None]:
    """Read weights made for a study.

    Returns
    -------
    weights : Weights
    warning : str or None
        Said where the study's physics has changed since the training.

    Raises
    ------
    WeightsError
        If the file is none of ours, or was made for another layout (tiles, axes, classes).
    """
    try:
        with safetensors.safe_open(str(path), "pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        card, settings = json.loads(metadata["card"]), json.loads(metadata["calibration"])
    except FileNotFoundError:
        raise WeightsError(f"there is no weights file {path}") from None
    except (safetensors.SafetensorError, KeyError, OSError, json.JSONDecodeError):
        raise WeightsError(f"{path} is no weights file of magnoscope; `magnoscope train` writes them") from None
    if card.get("layout_hash") != study.layout_hash:
        raise WeightsError(
            f"{path} was made for study {card.get('study')} with classes {', '.join(card.get('classes', []))}; study "
            f"{study.name} has other tiles, axes or classes, train weights for it"
        )
    network = new_network(study, 0, int(card.get("width", 48)))
    try:
        network.load_state_dict({k.removeprefix("network."): v for k, v in tensors.items() if k.startswith("network.")})
        arrays = {k: np.asarray(tensors[f"calibration.{k}"].numpy()) for k in ARRAYS}
        calibration = Calibration(**settings, **arrays)
    except (RuntimeError, KeyError, TypeError):
        raise WeightsError(f"{path} does not fit this version of the network; train the weights again") from None
    network.eval()
    warning = None
    if card.get("physics_hash") != study.physics_hash:
        warning = f"study {study.name} has changed since {Path(path).name} was trained; train again before you trust it"
    return Weights(network, calibration, card), warning
