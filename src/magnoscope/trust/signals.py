"""What is measured on an input to tell whether it is like the training data."""

import numpy as np
import torch
from numpy.typing import NDArray

from ..dataset.noise import Nuisance, run_means
from ..dataset.parts import Part
from ..networks.base import Output, SpectrumNetwork
from ..networks.training import Evaluation, evaluate
from ..spectrum import Spectrum
from ..views import View
from .calibration import OF_MATCH, Calibration
from .emulator import Comparison
from .manifold import trunk_features
from .match import FEWEST, tile_noise
from .weights import Weights


def run_network(weights: Weights, spectrum: Spectrum) -> Output:
    """The network's output for one spectrum."""
    measured = torch.as_tensor(np.where(spectrum.valid, spectrum.signal, 0.0), dtype=torch.float32)
    with torch.no_grad():
        valid = torch.as_tensor(np.ascontiguousarray(spectrum.valid))
        return weights.network(weights.network.prepare(measured[None], valid[None]))


def noise_level(view: View, signal: NDArray[np.float64], valid: NDArray[np.bool_]) -> float:
    """Noise of a pixel over the mean intensity of its run, the median over tiles; 0 where none can be told.

    Parameters
    ----------
    signal, valid : (runs, slices, x, y)
        Zero where not valid.
    """
    means = run_means(torch.as_tensor(signal)[None], torch.as_tensor(np.ascontiguousarray(valid))[None])[0].numpy()
    signals, valids = view.as_tiles(signal / means), view.as_tiles(valid)
    noise = [tile_noise(signals[tile], valids[tile]) for tile in np.ndindex(*signals.shape[:2])]
    told = np.array(noise)[(valids.sum((2, 3)) >= FEWEST).ravel() & np.isfinite(noise)]
    return float(np.median(told)) if len(told) else 0.0


def signal_values(
    calibration: Calibration,
    output: Output,
    measured: NDArray[np.float64],
    valid: NDArray[np.bool_],
    compared: list[Comparison] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """The signals of being unlike the training data, (n, n_signals), columns as ``calibration.signals``, and the noise.

    Parameters
    ----------
    output : Output
        Of the network on these measurements.
    measured, valid : (n, runs, slices, x, y)
    compared : list of Comparison, optional
        What the emulator says of them, where it has been asked already.

    Returns
    -------
    signals : (n, n_signals)
    noise : (n,) or None
        None where the calibration has no use for it.
    """
    return _columns(calibration, output, [_of_spectra(calibration, measured, valid, compared)])


def _of_spectra(
    calibration: Calibration,
    measured: NDArray[np.float64],
    valid: NDArray[np.bool_],
    compared: list[Comparison] | None = None,
) -> dict[str, NDArray]:
    """What is worked out of spectra without the network, by what it is for; a row for each of n."""
    found: dict[str, NDArray] = {}
    if calibration.reconstruction is not None:
        pairs, view = list(zip(measured, valid, strict=True)), calibration.reconstruction.view
        found["unexplained"] = np.array([calibration.reconstruction.unexplained(*pair) for pair in pairs])
        found["noise"] = np.array([noise_level(view, *pair) for pair in pairs])
    if calibration.emulator is not None:
        if compared is None:
            compared = [calibration.emulator.compare(*pair) for pair in zip(measured, valid, strict=True)]
        found["poor_match"] = np.array([one.unexplained for one in compared])
        found["beyond_priors"] = np.array([one.beyond_priors for one in compared])
        found["contradicting_runs"] = np.array([one.contradiction for one in compared])
    if calibration.manifold is not None:
        tensors = torch.as_tensor(measured, dtype=torch.float32), torch.as_tensor(np.ascontiguousarray(valid))
        found["trunk"] = trunk_features(calibration.manifold.trunk, *tensors)
    return found


def _columns(
    calibration: Calibration, output: Output, batches: list[dict[str, NDArray]]
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """All signals, and the noise; those of spectra come batch by batch."""
    features = output.features.numpy().astype(float)
    found = {
        "feature_distance": calibration.feature_distance(features),
        "centroid_distance": 1 - output.scores.numpy().astype(float).max(1),
    }
    of_spectra = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    if calibration.reconstruction is not None:
        found["unexplained_structure"] = of_spectra["unexplained"]
    found |= {name: of_spectra[name] for name in OF_MATCH if name in of_spectra}
    if calibration.manifold is not None:
        found["distance_from_simulations"] = calibration.manifold.distance(of_spectra["trunk"], features)
    if output.disagreement is not None:
        found["disagreement"] = output.disagreement.numpy().astype(float)
    return np.stack([found[name] for name in calibration.signals], 1), of_spectra.get("noise")


def observe(
    network: SpectrumNetwork,
    calibration: Calibration,
    part: Part,
    coverages: torch.Tensor,
    nuisance: Nuisance,
    seed: int,
) -> tuple[Evaluation, NDArray[np.float64], NDArray[np.float64] | None]:
    """What a network says of a part, and of each of its images the signals, (n, n_signals), and the noise, (n,)."""
    of_spectra: list[dict[str, NDArray]] = []

    def watch(measured: torch.Tensor, valid: torch.Tensor) -> None:
        of_spectra.append(_of_spectra(calibration, measured.numpy().astype(float), valid.numpy()))

    found = evaluate(network, part, coverages, nuisance, seed, watch)
    return found, *_columns(calibration, found.output, of_spectra)
