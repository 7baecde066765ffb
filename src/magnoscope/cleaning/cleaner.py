"""A trained cleaner: a spectrum in, a spectrum with its spread out."""

import math
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import WeightsError
from ..networks.cleaner import CleanerNetwork, CleaningNetwork
from ..networks.files import changed, read_file, width_of, write_file
from ..networks.kinds import untrained
from ..spectrum import Spectrum
from ..study import Study


@dataclass(frozen=True)
class Cleaner:
    """A trained cleaner.

    Attributes
    ----------
    card : dict
        Kind, study and hashes, seed, commit, training set, settings, factors of the spread, errors on the test part.
    """

    network: CleaningNetwork
    card: dict[str, Any]

    @torch.no_grad()
    def restore(self, spectrum: Spectrum) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Clean intensities and one standard deviation, (runs, slices, x, y), where there is no detector as well."""
        valid = torch.as_tensor(np.ascontiguousarray(spectrum.valid))[None]
        measured = torch.as_tensor(np.where(spectrum.valid, spectrum.signal, 0.0), dtype=torch.float32)[None]
        cleaned, spread = self.network.restore(measured.clamp_min(0), valid)
        return cleaned[0].double().numpy(), spread[0].double().numpy()

    def __call__(self, spectrum: Spectrum) -> Spectrum:
        """The clean spectrum; its errors are the spread. Pixels without a detector stay so."""
        cleaned, spread = self.restore(spectrum)
        signal, error = (np.where(spectrum.valid, a, np.nan) for a in (cleaned, spread))
        return replace(spectrum, signal=signal, error=error, npix=None)


def save_cleaner(cleaner: Cleaner, path: Path) -> None:
    """Write a cleaner, and its card beside it as JSON."""
    write_file(cleaner.network.state_dict(), {}, cleaner.card, path)


def shipped_cleaner(study: Study) -> Path:
    """The cleaner that ships for a study.

    Raises
    ------
    WeightsError
        If there is none.
    """
    path = Path(str(resources.files("magnoscope") / "weights" / f"{study.name}-cleaner.safetensors"))
    if not path.exists():
        raise WeightsError(
            f"no cleaner ships for study {study.name}; train one with `magnoscope train cleaner`, and name it with "
            "--weights"
        )
    return path


def load_cleaner(path: str | Path, study: Study) -> tuple[Cleaner, str | None]:
    """Read a cleaner made for a study.

    Returns
    -------
    cleaner : Cleaner
    warning : str or None
        Said where the study's physics has changed since the training.

    Raises
    ------
    WeightsError
        If the file is none of ours, of another layout, damaged, or holds a network of another kind.
    """
    tensors, metadata, card = read_file(path, study)
    if "calibration" in metadata:
        raise WeightsError(f"{path} tells models apart; cleaners come from `magnoscope train cleaner`")
    try:
        network = untrained(study, str(card["kind"]), 0, width_of(card))
        network.load_state_dict(tensors)
        if not all(bool(torch.isfinite(v).all()) for v in tensors.values()):
            raise ValueError("numbers are not finite")
        if isinstance(network, CleanerNetwork):
            bright, dim = (float(factor) for factor in card.get("spread", network.spread))
            if not (0 < bright < math.inf and 0 < dim < math.inf):
                raise ValueError("factors of the spread are not positive")
            network.spread = bright, dim
    except (RuntimeError, KeyError, TypeError, ValueError):
        raise WeightsError(f"{path} does not fit this version of the network; train it again") from None
    if not isinstance(network, CleaningNetwork):
        raise WeightsError(f"{path} cleans nothing; cleaners come from `magnoscope train cleaner`")
    network.eval()
    return Cleaner(network, card), changed(card, study, path)
