"""Networks in one safetensors file, with a card that says how they were made, and beside it the card as JSON."""

import json
import os
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save_file

from ..errors import WeightsError
from ..study import Study


def halved(network: torch.nn.Module) -> None:
    """Round the parameters of a network to half precision, in which they are stored, so that what is kept is scored."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(parameter.half().float())


def _smallest(tensor: torch.Tensor) -> torch.Tensor:
    """In half precision if that loses nothing."""
    halves = tensor.dtype == torch.float32 and torch.equal(tensor.half().float(), tensor)
    return (tensor.half() if halves else tensor).contiguous()


def write_file(tensors: dict[str, torch.Tensor], metadata: dict[str, str], card: dict[str, Any], path: Path) -> None:
    """Write tensors, metadata and card whole or not at all; numbers in half precision where that loses nothing.

    Raises
    ------
    WeightsError
        If the file cannot be written.
    """
    partial = path.with_suffix(".partial")
    try:
        save_file(
            {name: _smallest(tensor) for name, tensor in tensors.items()},
            partial,
            metadata | {"card": json.dumps(card)},
        )
        os.replace(partial, path)
        partial.write_text(json.dumps(card, indent=2) + "\n")
        os.replace(partial, path.with_suffix(".json"))
    except (OSError, safetensors.SafetensorError) as error:
        raise WeightsError(f"{path} cannot be written: {error}") from None
    finally:
        partial.unlink(missing_ok=True)


def read_file(path: str | Path, study: Study) -> tuple[dict[str, torch.Tensor], dict[str, str], dict[str, Any]]:
    """Tensors, metadata and card of a network made for a study.

    Raises
    ------
    WeightsError
        If the file is none of ours, or was made for another layout (tiles, axes, classes).
    """
    try:
        with safetensors.safe_open(str(path), "pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        card = json.loads(metadata["card"])
        if not isinstance(card, dict):
            raise ValueError("the card is no JSON object")
    except FileNotFoundError:
        raise WeightsError(f"there is no weights file {path}") from None
    except IsADirectoryError:
        raise WeightsError(f"{path} is a folder; name the .safetensors file that `magnoscope train` wrote") from None
    except (safetensors.SafetensorError, KeyError, OSError, ValueError, RecursionError):
        raise WeightsError(f"{path} is no weights file of magnoscope; `magnoscope train` writes them") from None
    if card.get("layout_hash") != study.layout_hash:
        raise WeightsError(
            f"{path} was made for study {card.get('study')} with classes {', '.join(card.get('classes', []))}; study "
            f"{study.name} has other tiles, axes or classes, train weights for it"
        )
    return tensors, metadata, card


def changed(card: dict[str, Any], study: Study, path: str | Path) -> str | None:
    """What must be said if a study's physics has changed since a training; None if it has not."""
    if card.get("physics_hash") == study.physics_hash:
        return None
    return f"study {study.name} has changed since {Path(path).name} was trained; train again before you trust it"


def width_of(card: dict[str, Any]) -> int:
    """Width of the network a card describes.

    Raises
    ------
    ValueError
        If no network has it, so that a damaged card asks for no memory beyond reason.
    """
    width = int(card["width"])
    if not 16 <= width <= 1024 or width % 16:
        raise ValueError("no network has this width")
    return width
