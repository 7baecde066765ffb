"""What is measured on an input to tell whether it is like the training data."""

import numpy as np
import torch
from numpy.typing import NDArray

from ..dataset.noise import Nuisance
from ..dataset.parts import Part
from ..networks.base import Output, SpectrumNetwork
from ..networks.training import Evaluation, evaluate
from ..spectrum import Spectrum
from .calibration import Calibration
from .weights import Weights


def run_network(weights: Weights, spectrum: Spectrum) -> Output:
    """The network's output for one spectrum."""
    measured = torch.as_tensor(np.where(spectrum.valid, spectrum.signal, 0.0), dtype=torch.float32)
    with torch.no_grad():
        valid = torch.as_tensor(np.ascontiguousarray(spectrum.valid))
        return weights.network(weights.network.prepare(measured[None], valid[None]))


def signal_values(
    calibration: Calibration, output: Output, measured: NDArray[np.float64], valid: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """The signals of being unlike the training data, (n, n_signals), columns as ``calibration.signals``.

    Parameters
    ----------
    output : Output
        Of the network on these measurements.
    measured, valid : (n, runs, slices, x, y)
    """
    unexplained = None
    if calibration.reconstruction is not None:
        unexplained = [calibration.reconstruction.unexplained(*pair) for pair in zip(measured, valid, strict=True)]
    return _columns(calibration, output, unexplained)


def _columns(calibration: Calibration, output: Output, unexplained: list[float] | None) -> NDArray[np.float64]:
    found = {
        "feature_distance": calibration.feature_distance(output.features.numpy().astype(float)),
        "centroid_distance": 1 - output.scores.numpy().astype(float).max(1),
    }
    if unexplained is not None:
        found["unexplained_structure"] = np.array(unexplained)
    if output.disagreement is not None:
        found["disagreement"] = output.disagreement.numpy().astype(float)
    return np.stack([found[name] for name in calibration.signals], 1)


def observe(
    network: SpectrumNetwork,
    calibration: Calibration,
    part: Part,
    coverages: torch.Tensor,
    nuisance: Nuisance,
    seed: int,
) -> tuple[Evaluation, NDArray[np.float64]]:
    """What a network says of a part, and the signals of each of its images, (n, n_signals)."""
    unexplained: list[float] = []

    def watch(measured: torch.Tensor, valid: torch.Tensor) -> None:
        if calibration.reconstruction is not None:
            pairs = zip(measured.numpy().astype(float), valid.numpy(), strict=True)
            unexplained.extend(calibration.reconstruction.unexplained(*pair) for pair in pairs)

    found = evaluate(network, part, coverages, nuisance, seed, watch)
    return found, _columns(calibration, found.output, unexplained or None)
