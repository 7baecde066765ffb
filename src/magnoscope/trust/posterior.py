"""A trained posterior: its file, its draws for a spectrum, and whether its intervals hold what they promise."""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import torch
from numpy.typing import NDArray

from ..dataset.noise import Nuisance
from ..dataset.parts import Part
from ..errors import WeightsError
from ..networks.files import changed, read_file, width_of, write_file
from ..networks.posterior import KIND, PosteriorNetwork, features_of, new_posterior
from ..spectrum import Spectrum
from ..study import Study

LEVELS = (0.68, 0.90)
RANKS = 20
"""Bins of the rank statistics."""


@dataclass(frozen=True)
class Draws:
    """Draws of a candidate's parameters.

    Attributes
    ----------
    values : (n, n_parameters) meV
    log_density : (n,)
        Over the prior scaled to 0..1: zero everywhere for the prior.
    """

    values: NDArray[np.float64]
    log_density: NDArray[np.float64]


@dataclass(frozen=True)
class Posterior:
    """A trained posterior.

    Attributes
    ----------
    network : PosteriorNetwork
    card : dict
        Study and hashes, seed, commit, training set, settings, scores.
    """

    network: PosteriorNetwork
    card: dict[str, Any]

    @torch.no_grad()
    def features(self, spectrum: Spectrum) -> torch.Tensor:
        """What the flows see of a spectrum, (1, n_features)."""
        measured = torch.as_tensor(np.where(spectrum.valid, spectrum.signal, 0.0), dtype=torch.float32)
        valid = torch.as_tensor(np.ascontiguousarray(spectrum.valid))
        return self.network.features(self.network.prepare(measured[None], valid[None]))

    def draw(self, spectrum: Spectrum, model: str, number: int, seed: int = 0) -> Draws:
        """Draws of a model's parameters given a spectrum.

        Raises
        ------
        StudyError
            If the study has no such model.
        """
        low, high = spectrum.study.model(model).prior.T
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            label = spectrum.study.classes.index(model)
            scaled, log_density = self.network.draw(self.features(spectrum), label, number)
        return Draws(low + scaled[:, 0].numpy() * (high - low), log_density[:, 0].numpy())


def save_posterior(posterior: Posterior, path: Path) -> None:
    """Write a posterior, and its card beside it as JSON."""
    tensors = {f"network.{k}": v for k, v in posterior.network.state_dict().items()}
    write_file(tensors, {}, posterior.card, path)


def load_posterior(path: str | Path, study: Study) -> tuple[Posterior, str | None]:
    """Read a posterior made for a study.

    Returns
    -------
    posterior : Posterior
    warning : str or None
        Said where the study's physics has changed since the training.

    Raises
    ------
    WeightsError
        If the file is none of ours, was made for another layout, or holds another kind of network.
    """
    tensors, _, card = read_file(path, study)
    if card.get("kind") != KIND:
        raise WeightsError(f"{path} holds a network {card.get('kind')}; a fit starts from weights of `train {KIND}`")
    try:
        network = new_posterior(study, 0, width_of(card))
        network.load_state_dict({k.removeprefix("network."): v for k, v in tensors.items()})
        if not all(bool(torch.isfinite(v).all()) for v in network.state_dict().values()):
            raise ValueError("numbers are not finite")
    except (RuntimeError, KeyError, TypeError, ValueError):
        raise WeightsError(f"{path} does not fit this version of the network; train the weights again") from None
    network.eval()
    return Posterior(network, card), changed(card, study, path)


@dataclass(frozen=True)
class Checked:
    """How a posterior's draws for many spectra compare with the truth, of one candidate.

    Attributes
    ----------
    truth : (n, n_parameters)
        Scaled to 0..1 over the prior.
    ranks : (n, n_parameters)
        Share of the draws below the truth: uniform if the posterior is right (S. Talts et al., arXiv:1804.06788).
    median : (n, n_parameters)
        Of the draws.
    inside : dict of float to (n, n_parameters) bool
        Whether the central interval of this probability holds the truth.
    information : (n,) or None
        Log of posterior over prior at the truth, nats, where it is known.
    """

    truth: NDArray[np.float64]
    ranks: NDArray[np.float64]
    median: NDArray[np.float64]
    inside: dict[float, NDArray[np.bool_]]
    information: NDArray[np.float64] | None = None

    @classmethod
    def of(
        cls, truth: NDArray[np.float64], draws: NDArray[np.float64], information: NDArray[np.float64] | None = None
    ) -> "Checked":
        """Compare draws (n_draws, n, n_parameters) with the truth, both scaled to 0..1."""
        inside = {}
        for level in LEVELS:
            low, high = np.quantile(draws, [0.5 - level / 2, 0.5 + level / 2], axis=0)
            inside[level] = (low <= truth) & (truth <= high)
        return cls(truth, (draws < truth).mean(0), np.median(draws, axis=0), inside, information)

    def as_dict(self, names: list[str]) -> dict[str, Any]:
        """For the card: by parameter coverage, flatness of the ranks and how large errors are beside the prior."""
        n = len(self.truth)
        return {
            name: {
                "n": n,
                **{f"coverage_{100 * level:.0f}": float(self.inside[level][:, p].mean()) for level in LEVELS},
                **{f"binomial_{100 * level:.0f}": float(np.sqrt(level * (1 - level) / n)) for level in LEVELS},
                "ranks_p": flatness(self.ranks[:, p]),
                # over the median distance of two draws of a uniform prior from its middle, a quarter of its width
                "median_error": float(np.median(np.abs(self.median - self.truth)[:, p])),
                "prior_median_error": 0.25,
            }
            for p, name in enumerate(names)
        }


def rank_counts(ranks: NDArray[np.float64], bins: int = RANKS) -> NDArray[np.int64]:
    """How many ranks fall into each of some bins of 0..1, five or more to be expected in each."""
    return np.histogram(ranks, bins=min(bins, max(2, len(ranks) // 5)), range=(0, 1))[0]


def flatness(ranks: NDArray[np.float64], bins: int = RANKS) -> float:
    """How often ranks of a right posterior would be less even than these (chi-square test), the p-value."""
    return float(scipy.stats.chisquare(rank_counts(ranks, bins)).pvalue)


def check_posterior(
    network: PosteriorNetwork,
    part: Part,
    coverages: torch.Tensor,
    study: Study,
    nuisance: Nuisance,
    seed: int = 0,
    draws: int = 400,
) -> dict[str, Checked]:
    """Compare the posterior with the truth on a part of a training set, each image degraded once.

    Returns
    -------
    dict
        Of each candidate that the part has images of.
    """
    features = features_of(network, part, coverages, nuisance, seed + 51)
    out = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 52)
        for number, (name, model) in enumerate(study.models.items()):
            own = part.labels == number
            if own.any():
                seen, exact = features[torch.as_tensor(own)], torch.as_tensor(part.parameters[own])
                with torch.no_grad():
                    gained = network.information(seen, torch.as_tensor(part.labels[own]), exact).double().numpy()
                scaled, _ = network.draw(seen, number, draws)
                truth = part.parameters[own, : len(model.parameters)].astype(float)
                out[name] = Checked.of(truth, scaled.numpy(), gained)
    return out


@dataclass(frozen=True)
class Guide:
    """A posterior of one spectrum and model, as what a fit starts from: over the prior scaled to 0..1."""

    posterior: Posterior
    spectrum: Spectrum
    model: str

    def draw(self, number: int, seed: int) -> NDArray[np.float64]:
        """Draws (number, n_parameters), 0..1."""
        low, high = self.spectrum.study.model(self.model).prior.T
        return (self.posterior.draw(self.spectrum, self.model, number, seed).values - low) / (high - low)


def shipped_posterior(study: Study) -> Path | None:
    """The posterior that ships for a study, if one does."""
    path = Path(str(resources.files("magnoscope") / "weights" / f"{study.name}-posterior.safetensors"))
    return path if path.exists() else None
