"""Shares of the evidence by slice, by several methods.

occlusion
    What the margin loses when one slice is made neutral.
shapley
    The same averaged over what else is neutral already (L. S. Shapley, 1953; E. Strumbelj and I. Kononenko, Knowl. Inf.
    Syst. 41, 647 (2014), by random orders and their reverse): shares add up to the whole margin.
alone
    What the margin gains with one slice where all others are neutral.
gradients
    Integrated gradients from the neutral spectrum (M. Sundararajan et al., ICML 2017), which also give a map by pixel.
likelihood
    By how much the best match of the candidate describes a pixel better than that of the best other, with scale and
    background of every tile free; no network is asked.
evidence
    What an additive network says by pixel; exact, since its log-odds are the sum of it and a constant.
gradcam, hirescam
    Class activation maps (R. R. Selvaraju et al., ICCV 2017; R. L. Draelos and L. Carin, arXiv:2011.08891) of the last
    maps that keep the runs apart. On a network with pooled filters both are the exact map of B. Zhou et al., CVPR 2016;
    for networks that mix runs in their first layer they are of the image itself.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import MagnoscopeError
from ..networks.additive import AdditiveNetwork
from ..networks.published import PublishedDUQ, PublishedNetwork
from ..spectrum import Spectrum, to_tiles
from ..trust.match import CLIP, FEWEST, Match, tile_noise
from ..trust.weights import Weights, load_weights, shipped_weights
from ..verdict import Verdict
from .margin import Margin

OF_MATCHES = "likelihood"
"""The method that asks no network."""
METHODS = ("shapley", "occlusion", "alone", "gradients", OF_MATCHES, "evidence", "gradcam", "hirescam")
ORDERS = 8
"""Random orders of the slices, and as many reversed."""
STEPS = 16
"""Points of the integral of gradients."""
LEAST = 1e-3
"""Intensity, as a share of the mean, that gradients are taken at instead of zero, where a root has none."""


@dataclass(frozen=True)
class Explanation:
    """Evidence for one candidate against the next, by slice.

    Attributes
    ----------
    spectrum : Spectrum
    name : str
        The candidate.
    method : str
    shares : (runs, slices)
        Positive where a slice speaks for the candidate; sizes sum to one.
    pixels : (runs, slices, x, y) or None
        The same by pixel, where the method has it; NaN where there is no detector.
    margin, neutral : float
        Calibrated log-odds of the spectrum, and of one whose slices are all neutral.
    """

    spectrum: Spectrum
    name: str
    method: str
    shares: NDArray[np.float64]
    pixels: NDArray[np.float64] | None
    margin: float
    neutral: float

    def ordered(self) -> list[tuple[int, int]]:
        """Slices (run, slice) by falling size of their share."""
        order = np.argsort(-np.abs(self.shares), axis=None, kind="stable")
        return [(int(r), int(s)) for r, s in zip(*np.unravel_index(order, self.shares.shape), strict=True)]

    def plot(self) -> Any:
        """The figure of :func:`magnoscope.plot.plot_explanation`."""
        from ..plot import plot_explanation

        return plot_explanation(self)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        study = self.spectrum.study
        return {
            "for": self.name,
            "method": self.method,
            "margin": self.margin,
            "margin_of_neutral": self.neutral,
            "slices": [
                {
                    "ei_meV": study.runs[r].ei,
                    "energy_meV": [float(e) for e in study.energy_edges[r, s : s + 2]],
                    "share": float(self.shares[r, s]),
                }
                for r, s in self.ordered()
            ],
        }


def explain(
    verdict: Verdict, weights: Weights | None = None, name: str | None = None, method: str = "shapley", seed: int = 0
) -> Explanation:
    """Explain a verdict.

    Parameters
    ----------
    verdict : Verdict
    weights : Weights
        Those of the verdict; the shipped ones unless given.
    name : str
        The candidate whose evidence is sought; the verdict's nearest unless given.
    method : str
        One of ``METHODS``.
    seed : int
        Of the random orders.

    Raises
    ------
    MagnoscopeError
        If there is no such method, or it does not apply to this network.
    """
    study, name = verdict.spectrum.study, name or verdict.nearest
    weights = weights or load_weights(shipped_weights(study), study)[0]
    verdict.spectrum.study.model(name)
    margin = Margin.of(verdict, weights, name)
    pixels = None
    if method == "shapley":
        shares = shapley(margin, seed)
    elif method == "occlusion":
        shares = occlusion(margin)
    elif method == "alone":
        shares = alone(margin)
    elif method == "gradients":
        pixels = integrated_gradients(margin)
        shares = pixels.sum((2, 3))
    elif method == OF_MATCHES:
        pixels = likelihood_ratio(verdict, name)
        shares = pixels.sum((2, 3))
    elif method == "evidence":
        pixels = additive_evidence(margin)
        shares = pixels.sum((2, 3))
    elif method in ("gradcam", "hirescam"):
        pixels = activation_map(margin, verdict.spectrum, high_resolution=method == "hirescam")
        shares = pixels.mean((2, 3))
    else:
        raise MagnoscopeError(f"there is no method {method}; there are {', '.join(METHODS)}")
    runs, slices = margin.slices
    ends = margin(torch.stack([torch.ones(runs, slices), torch.zeros(runs, slices)]).bool())
    size = np.abs(shares).sum()
    return Explanation(
        spectrum=verdict.spectrum,
        name=name,
        method=method,
        shares=shares / size if size > 0 else shares,
        # what is said of pixels without a detector, as a network may of a gap, stays with the slice
        pixels=None if pixels is None else np.where(verdict.spectrum.valid, pixels, np.nan),
        margin=float(ends[0]),
        neutral=float(ends[1]),
    )


def occlusion(margin: Margin) -> NDArray[np.float64]:
    """What the margin loses with each slice, (runs, slices)."""
    runs, slices = margin.slices
    keep = ~torch.eye(runs * slices, dtype=torch.bool).reshape(-1, runs, slices)
    whole = margin(torch.ones(1, runs, slices, dtype=torch.bool))
    return (whole - margin(keep)).reshape(runs, slices)


def alone(margin: Margin) -> NDArray[np.float64]:
    """What the margin gains with each slice where all others are neutral, (runs, slices)."""
    runs, slices = margin.slices
    keep = torch.eye(runs * slices, dtype=torch.bool).reshape(-1, runs, slices)
    nothing = margin(torch.zeros(1, runs, slices, dtype=torch.bool))
    return (margin(keep) - nothing).reshape(runs, slices)


def shapley(margin: Margin, seed: int = 0, orders: int = ORDERS) -> NDArray[np.float64]:
    """Shapley values of the slices by random orders, (runs, slices); they sum to the margin less that of neutral."""
    runs, slices = margin.slices
    rng = np.random.default_rng(seed)
    total = np.zeros(runs * slices)
    for _ in range(orders):
        order = rng.permutation(runs * slices)
        for each in (order, order[::-1]):
            total[each] += np.diff(margin.along(each.tolist(), keep_first=True))
    return (total / (2 * orders)).reshape(runs, slices)


def integrated_gradients(margin: Margin) -> NDArray[np.float64]:
    """Integrated gradients from the neutral spectrum to the measured one, (runs, slices, x, y)."""
    total = torch.zeros_like(margin.measured)
    least = LEAST * margin.neutral[margin.valid].mean()  # without a detector too: 0 x infinity is no slope
    change = margin.measured - margin.neutral
    for share in (np.arange(STEPS) + 0.5) / STEPS:
        image = torch.maximum(margin.neutral + float(share) * change, least)[None].requires_grad_(True)
        value = margin.of_inputs(margin.network.prepare(image, margin.valid[None]))
        total += torch.autograd.grad(value.sum(), image)[0][0]
    return (total * change / STEPS).double().numpy()


def likelihood_ratio(verdict: Verdict, name: str) -> NDArray[np.float64]:
    """Log-likelihood of the candidate's best match less that of the best other, by pixel, (runs, slices, x, y).

    Residuals are counted in units of each tile's noise and clipped as in :func:`magnoscope.trust.match.match`; where a
    tile has too few pixels to be compared, nothing is said.
    """
    spectrum, view = verdict.spectrum, verdict.spectrum.study.view
    signals, valids = view.as_tiles(spectrum.signal), view.as_tiles(spectrum.valid)
    noise = np.full(signals.shape[:2], np.nan)
    for r, t in np.ndindex(*noise.shape):
        noise[r, t] = tile_noise(signals[r, t], valids[r, t])
    used = np.isfinite(noise) & (noise > 0) & (valids.sum((2, 3)) >= FEWEST)

    def squares(match: Match) -> NDArray[np.float64]:
        away = (signals - view.as_tiles(match.fitted)) / np.where(used, noise, 1.0)[:, :, None, None]
        return np.where(valids & used[:, :, None, None], np.clip(away, -CLIP, CLIP) ** 2, 0.0)

    others = [squares(best.match) for other, best in verdict.matches.items() if other != name]
    rival = min(others, key=np.sum)
    return view.from_tiles(0.5 * (rival - squares(verdict.matches[name].match)))


@torch.no_grad()
def additive_evidence(margin: Margin) -> NDArray[np.float64]:
    """Evidence for the candidate less that for the best other, (runs, slices, x, y); with the biases, the log-odds.

    Raises
    ------
    MagnoscopeError
        If the network is not additive.
    """
    network = margin.network
    if not isinstance(network, AdditiveNetwork):
        raise MagnoscopeError(
            "evidence that adds up is what additive networks have; for this one use shapley, occlusion or gradients"
        )
    inputs = network.prepare(margin.measured[None], margin.valid[None])
    logits = network(inputs).logits[0].clone()
    logits[margin.number] = -torch.inf
    found = network.evidence(inputs)[0]
    return ((found[margin.number] - found[int(logits.argmax())]) / margin.temperature).double().numpy()


def activation_map(margin: Margin, spectrum: Spectrum, high_resolution: bool) -> NDArray[np.float64]:
    """Class activation map, (runs, slices, x, y): the last maps that have a place in the image, by their gradients.

    Of a network on the flat image these are its last filters', stretched to the image's pixels. Others mix the runs in
    their first layer, after which a map has no incident energy: what is left is the image as they see it, a channel for
    each run.

    Raises
    ------
    MagnoscopeError
        If the network is an ensemble on the flat image.
    """
    network = margin.network
    filters = network.convolutions if isinstance(network, (PublishedNetwork, PublishedDUQ)) else None
    inputs = network.prepare(margin.measured[None], margin.valid[None]).requires_grad_(True)
    if filters is None and inputs.ndim != 5:
        raise MagnoscopeError(
            "the members of an ensemble on the flat image have a class activation map each; give the weights of one"
        )
    kept = [inputs]

    def keep(module: torch.nn.Module, _: Any, output: torch.Tensor) -> None:
        kept.append(output)

    hook = None if filters is None else filters.register_forward_hook(keep)
    try:
        with torch.enable_grad():
            margin_of_all = margin.of_inputs(inputs).sum()
    finally:
        if hook is not None:
            hook.remove()
    maps = kept[-1]
    gradient = torch.autograd.grad(margin_of_all, maps)[0]
    weight = gradient if high_resolution else gradient.mean(tuple(range(2, maps.ndim)), keepdim=True)
    found = (weight * maps).detach()
    if filters is None:
        return found[0, : len(margin.measured)].double().numpy()
    size = spectrum.study.image_shape
    image = torch.nn.functional.interpolate(found.sum(1, keepdim=True), size, mode="bilinear", align_corners=False)
    return to_tiles(image[0, 0].double().numpy(), spectrum.study)
