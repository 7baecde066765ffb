"""Weights in one safetensors file: the network, its calibration and a card that says how they were made."""

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..dataset.noise import Nuisance
from ..errors import WeightsError
from ..networks.base import SpectrumNetwork
from ..networks.ensemble import MOST_MEMBERS, Ensemble
from ..networks.files import changed, read_file, width_of, write_file
from ..networks.kinds import KINDS, new_network, sizes_of
from ..networks.posterior import KIND as INFERENCE
from ..networks.posterior import trunk_of
from ..study import Study
from .calibration import FIRST_SIGNALS, OF_MATCH, SIGNALS, Calibration
from .emulator import Coefficients, Emulator, frozen
from .manifold import Manifold
from .reconstruction import Reconstruction

ARRAYS = ("means", "precision", "held_back")
OF_NOISE = ("noise", "together")
"""Arrays that weights of before may lack."""
NUMBERS = ("temperature", "label_threshold", "coverage")


@dataclass(frozen=True)
class Weights:
    """A trained network with all that a verdict needs.

    Attributes
    ----------
    card : dict
        Kind, study and hashes, seed, commit, training set, settings, scores.
    """

    network: SpectrumNetwork
    calibration: Calibration
    card: dict[str, Any]

    @property
    def nuisance(self) -> Nuisance:
        """What the network was trained with, by its card."""
        return Nuisance.from_settings(self.card.get("nuisance") or {})


def save_weights(weights: Weights, path: Path) -> None:
    """Write weights, and their card beside them as JSON."""
    found = weights.calibration
    tensors = {f"network.{k}": v for k, v in weights.network.state_dict().items()}
    tensors |= {f"calibration.{k}": torch.as_tensor(getattr(found, k)) for k in ARRAYS}
    tensors |= {f"calibration.{k}": torch.as_tensor(v) for k in OF_NOISE if (v := getattr(found, k)) is not None}
    if found.reconstruction is not None:
        tensors["calibration.components"] = torch.as_tensor(found.reconstruction.components).half().contiguous()
        tensors["calibration.spread"] = torch.as_tensor(found.reconstruction.spread)
    if found.manifold is not None:
        trunk = found.manifold.trunk.state_dict()
        tensors |= {f"manifold.{k}": v for k, v in trunk.items()}
        tensors["calibration.references"] = torch.as_tensor(found.manifold.references)
    if found.emulator is not None:
        tensors["emulator.components"] = found.emulator.components
        for number, candidate in enumerate(found.emulator.candidates):
            tensors |= {f"emulator.{number}.{name}": value for name, value in candidate.state_dict().items()}
    calibration = {k: getattr(found, k) for k in NUMBERS} | {"signals": list(found.signals)}
    write_file(tensors, {"calibration": json.dumps(calibration)}, weights.card, path)


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
        Said where the study's physics has changed since the training, or its labels were random.

    Raises
    ------
    WeightsError
        If the file is none of ours, or was made for another layout (tiles, axes, classes).
    """
    tensors, metadata, card = read_file(path, study)
    if card.get("kind") in [name for name, kind in KINDS.items() if kind.cleans]:
        raise WeightsError(f"{path} cleans spectra and tells no models apart; give it to `magnoscope clean`")
    if card.get("kind") == INFERENCE:
        raise WeightsError(
            f"{path} finds parameters and tells no models apart; give it to `magnoscope fit --posterior`"
        )
    try:
        settings = json.loads(metadata["calibration"])
        if not isinstance(settings, dict):
            raise ValueError("the calibration is no JSON object")
    except (KeyError, ValueError, RecursionError):
        raise WeightsError(f"{path} is no weights file of magnoscope; `magnoscope train` writes them") from None
    try:
        network = untrained(study, card)
        network.load_state_dict({k.removeprefix("network."): v for k, v in tensors.items() if k.startswith("network.")})
        named = [*ARRAYS, *(k for k in OF_NOISE if f"calibration.{k}" in tensors)]
        arrays: dict[str, Any] = {k: np.asarray(tensors[f"calibration.{k}"].numpy()) for k in named}
        settings["signals"] = tuple(settings.get("signals", FIRST_SIGNALS))
        calibration = Calibration(
            **settings,
            **arrays,
            reconstruction=_reconstruction(study, tensors),
            manifold=_manifold(study, tensors),
            emulator=_emulator(study, tensors),
        )
        int(card["seed"])
        if not _sound(calibration, network):
            raise ValueError("shapes do not fit or numbers are not finite")
    except (RuntimeError, KeyError, TypeError, ValueError):
        raise WeightsError(f"{path} does not fit this version of the network; train the weights again") from None
    network.eval()
    by_lot = f"{path} was trained on labels of other spectra, to check explanations; its verdicts mean nothing"
    return Weights(network, calibration, card), by_lot if card.get("random_labels") else changed(card, study, path)


def untrained(study: Study, card: dict[str, Any], seed: int = 0) -> SpectrumNetwork:
    """An untrained network, or an ensemble of them, as a card describes it.

    Raises
    ------
    ValueError, KeyError, TypeError, WeightsError
        If the card describes none.
    """
    if card["kind"] == "ensemble":
        members = card["members"]
        if not 1 <= len(members) <= MOST_MEMBERS:
            raise ValueError("no ensemble has so many members")
        return Ensemble([_member(study, member, seed + n) for n, member in enumerate(members)])
    return _member(study, card, seed)


def _member(study: Study, card: dict[str, Any], seed: int) -> SpectrumNetwork:
    return new_network(study, str(card["kind"]), seed, width_of(card))


def _reconstruction(study: Study, tensors: dict[str, torch.Tensor]) -> Reconstruction | None:
    """What spectra are made of; None in weights of before there was any."""
    if "calibration.components" not in tensors:
        return None
    components, spread = (tensors[f"calibration.{k}"].float().numpy() for k in ("components", "spread"))
    if components.ndim != 5 or components.shape[1] != len(study.runs):
        raise ValueError("the components are of other runs")
    return Reconstruction(study.view, components, spread)


def _manifold(study: Study, tensors: dict[str, torch.Tensor]) -> Manifold | None:
    """What features of simulations look like; None in weights without that signal."""
    if "calibration.references" not in tensors:
        return None
    state = {k.removeprefix("manifold."): v.float() for k, v in tensors.items() if k.startswith("manifold.")}
    trunk = trunk_of(sizes_of(study), state)
    return Manifold(trunk, tensors["calibration.references"].float().numpy())


def _emulator(study: Study, tensors: dict[str, torch.Tensor]) -> Emulator | None:
    """What spectra look like at given parameters; None in weights without it."""
    if "emulator.components" not in tensors:
        return None
    components = tensors["emulator.components"].float()
    if components.ndim != 4 or len(components) != len(study.runs):
        raise ValueError("the components are of other runs")
    candidates = []
    for number in range(len(study.classes)):
        start = f"emulator.{number}."
        state = {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
        shape, width = state["last"].shape[:-1], state["last"].shape[-1]
        candidate = Coefficients(state["free"].bool(), tuple(shape), len(state["library"]), width)
        candidate.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
        candidates.append(frozen(candidate))
    return Emulator(study.view, components, tuple(candidates))


def _sound(calibration: Calibration, network: SpectrumNetwork) -> bool:
    """Whether a calibration fits its network, and every number in both is finite."""
    features, of_noise = network.n_features, [getattr(calibration, k) for k in OF_NOISE]
    fits = (
        calibration.means.shape == (network.classes, features)
        and calibration.precision.shape == (features, features)
        and calibration.held_back.ndim == 2
        and calibration.held_back.shape[1] == len(calibration.signals) > 0
        and set(calibration.signals) <= set(SIGNALS)
        and ("disagreement" in calibration.signals) <= isinstance(network, Ensemble)
        and ("unexplained_structure" in calibration.signals) == (calibration.reconstruction is not None)
        and ("distance_from_simulations" in calibration.signals) == (calibration.manifold is not None)
        and bool(set(OF_MATCH) & set(calibration.signals)) == (calibration.emulator is not None)
        and (calibration.emulator is None or calibration.emulator.sound)
        and (calibration.reconstruction is None or calibration.reconstruction.sound)
        and (calibration.manifold is None or calibration.manifold.sound(features))
        and len(calibration.held_back) > 0
        and all(a is None or a.shape == (len(calibration.held_back),) for a in of_noise)
        and (calibration.together is None or calibration.noise is not None)
    )
    numbers = [calibration.temperature, calibration.label_threshold, calibration.coverage]
    known = [a for a in of_noise if a is not None]
    finite = all(np.isfinite(a).all() for a in (numbers, *known, calibration.means, calibration.precision))
    return fits and finite and all(bool(torch.isfinite(v).all()) for v in network.state_dict().values())
