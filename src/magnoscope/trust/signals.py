"""What is measured on an input to tell whether it is like the training data."""

import numpy as np
import torch
from numpy.typing import NDArray

from ..networks.base import Output
from ..spectrum import Spectrum
from .calibration import Calibration
from .weights import Weights


def run_network(weights: Weights, spectrum: Spectrum) -> Output:
    """The network's output for one spectrum."""
    measured = torch.as_tensor(np.where(spectrum.valid, spectrum.signal, 0.0), dtype=torch.float32)
    with torch.no_grad():
        valid = torch.as_tensor(np.ascontiguousarray(spectrum.valid))
        return weights.network(weights.network.prepare(measured[None], valid[None]))


def signal_values(calibration: Calibration, output: Output) -> NDArray[np.float64]:
    """The signals of being unlike the training data, (n, n_signals), columns as ``calibration.SIGNALS``."""
    features, k = output.features.numpy().astype(float), output.scores.numpy().astype(float)
    return np.stack([calibration.feature_distance(features), 1 - k.max(1)], 1)
