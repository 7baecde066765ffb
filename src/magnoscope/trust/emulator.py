"""A simulator in milliseconds: what training spectra look like as a function of the parameters that made them.

Every tile of a spectrum (binned as in :mod:`.reconstruction`) is a combination of a few principal components of the
training spectra's, and a small network for each candidate says how much of each there is at given parameters. With
scale and background of every tile free, as in :mod:`.match`, a measurement is compared through its projections on the
components alone, so that thousands of parameter sets are tried in a second. Four things come of it that no network
asks (:class:`Comparison`): the best parameters of each candidate, how much of the measurement they leave, whether
every run by itself asks for the same parameters, and whether parameters beyond the priors would do better. Spectra
whose runs could each be a candidate's, but not together, show in nothing else as well as in the third.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..dataset.draws import WIDENED
from ..dataset.parts import Part
from ..views import View
from .reconstruction import binned_spectra, coarse, grid_of

FEWEST_IMAGES = 200
"""Training spectra of each class below which nothing can be learnt of them."""
MOST_IMAGES = 10000
LEFT, MOST_COMPONENTS = 0.01, 48
"""Share of the training spectra's power that components may leave, and their largest number in a tile."""
WIDTH = 192
EPOCHS, BATCH, LEARNING_RATE, WEIGHT_DECAY = 400, 128, 3e-3, 1e-4
LIBRARY = 512
"""Parameter sets of each candidate from which fits start."""
STARTS, STARTS_OF_RUN = 9, 3
"""How many of them are followed, for all runs together and for each run."""
FIRST_STEPS, KEPT, STEPS = 4, 3, 10
"""Steps of all starts, how many are followed further, and by how many steps."""
DAMPING = 0.01
"""Of the first step, as a share of the bend."""
RIDGE = 1e-4
"""Of a tile's own components, as a share of their mean power."""
NEAR = 0.05
"""How far from an end of its prior a parameter is seen on a stretched scale, as a share of the prior's width."""


class Coefficients(nn.Module):
    """How much of each component of each tile there is in a candidate's spectrum.

    Parameters
    ----------
    free : (n_parameters,) bool
        Which of the scaled parameters differ between spectra.
    shape : (runs, tiles, components)
    width : int
        Of the hidden layers.
    """

    free: torch.Tensor
    mean: torch.Tensor
    size: torch.Tensor
    library: torch.Tensor

    def __init__(self, free: torch.Tensor, shape: tuple[int, ...], starts: int, width: int = WIDTH) -> None:
        super().__init__()
        number = int(free.sum())
        sizes = (3 * number, width, width, width)
        self.hidden = nn.Sequential(*(layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.SiLU())))
        self.last = nn.Parameter(torch.randn(*shape, width) / width**0.5)
        self.register_buffer("free", free)
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("size", torch.ones(()))
        self.register_buffer("library", torch.zeros(starts, number))

    def forward(self, scaled: torch.Tensor) -> torch.Tensor:
        """From free parameters (n, n_free), 0..1, or those of each run (runs, n, n_free), to (runs, n, tiles, k)."""
        hidden = self.hidden(_stretched(scaled)[0])
        which = "nh,rtkh->rntk" if hidden.ndim == 2 else "rnh,rtkh->rntk"
        return torch.einsum(which, hidden, self.last) * self.size + self.mean[:, None]

    def with_slopes(self, scaled: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What :meth:`forward` gives, and its derivatives (runs, n, tiles, k, n_free)."""
        value, each = _stretched(scaled)
        slope = torch.cat([torch.diag_embed(part) for part in each.chunk(3, -1)], -1)
        for layer in self.hidden:
            if isinstance(layer, nn.Linear):
                value, slope = layer(value), slope @ layer.weight.T
            else:
                gate = torch.sigmoid(value)
                slope = slope * (gate * (1 + value * (1 - gate)))[..., None, :]
                value = value * gate
        which = ("nh,rtkh->rntk", "nph,rtkh->rntkp") if value.ndim == 2 else ("rnh,rtkh->rntk", "rnph,rtkh->rntkp")
        made, turned = (torch.einsum(w, x, self.last) * self.size for w, x in zip(which, (value, slope), strict=True))
        return made + self.mean[:, None], turned

    def padded(self, scaled: torch.Tensor) -> NDArray[np.float64]:
        """Free parameters (n_free,) among all, the others in the middle of their priors."""
        out = torch.full((len(self.free),), 0.5)
        out[self.free] = scaled
        return out.numpy().astype(float)


def _stretched(scaled: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What is shown of parameters (..., n_free), 0..1 over their priors, and its slopes, (..., 3 n_free) both.

    As they are, and with the lower and the upper ends of the priors stretched: spectra change fastest where an
    exchange goes to zero, which is where priors end.
    """
    low, high = scaled, 1 - scaled
    size = math.log1p(1 / NEAR)

    def stretch(x: torch.Tensor) -> torch.Tensor:
        return x.sign() * (x.abs() / NEAR).log1p() / size

    value = torch.cat([2 * scaled - 1, 2 * stretch(low) - 1, 1 - 2 * stretch(high)], -1)
    slopes = [2 / (size * (NEAR + end.abs())) for end in (low, high)]
    return value, torch.cat([torch.full_like(scaled, 2.0), *slopes], -1)


@dataclass(frozen=True)
class Fitted:
    """The best parameters of one candidate for a spectrum, by an emulator.

    Attributes
    ----------
    scaled : (most parameters,)
        0..1 over the prior.
    explained : (runs,)
        Chi-square that the candidate explains there, beyond the mean of every tile.
    alone : (runs,)
        The same at the best parameters of each run by itself.
    beyond : float
        Chi-square that it would explain in all runs if its priors were wider.
    """

    scaled: NDArray[np.float64]
    explained: NDArray[np.float64]
    alone: NDArray[np.float64]
    beyond: float


@dataclass(frozen=True)
class Comparison:
    """A spectrum against all candidates.

    Attributes
    ----------
    fitted : tuple of Fitted
        One for each candidate.
    explicable : float
        Chi-square that the components of every tile could explain by themselves.
    tiles : int
        Tiles that were compared: those whose noise can be told. Where there is none, nothing here says anything, and
        no signal raises doubt.
    """

    fitted: tuple[Fitted, ...]
    explicable: float
    tiles: int

    @property
    def scaled(self) -> NDArray[np.float64]:
        """Best parameters of every candidate, (classes, most parameters), 0..1 over the prior."""
        return np.stack([found.scaled for found in self.fitted])

    @property
    def _together(self) -> float:
        return max(float(found.explained.sum()) for found in self.fitted)

    @property
    def nearest(self) -> int:
        """The candidate that explains most."""
        return int(np.argmax([found.explained.sum() for found in self.fitted]))

    @property
    def contradiction(self) -> float:
        """Share of what runs explain one by one that they give away by having the parameters of one candidate."""
        alone = float(np.max([found.alone for found in self.fitted], 0).sum())
        return 1 - self._together / alone if alone > 0 else 0.0

    @property
    def beyond_priors(self) -> float:
        """Share of what the best candidate leaves that it would explain with parameters beyond its priors."""
        gain, left = max(found.beyond for found in self.fitted) - self._together, self.explicable - self._together
        return max(0.0, gain) / left if left > 0 else 0.0

    @property
    def unexplained(self) -> float:
        """Share of what could be explained that the best candidate leaves."""
        if not self.tiles:
            return 0.0
        return 1 - self._together / self.explicable if self.explicable > 0 else 1.0


@dataclass(frozen=True)
class _Projected:
    """A spectrum on the components.

    Attributes
    ----------
    gram : (runs, tiles, k, k)
        Of the components where pixels are valid.
    product : (runs, tiles, k)
        Of the spectrum with them.
    weight : (runs, tiles)
        One over the noise of a pixel, squared; zero where a tile is not used.
    """

    gram: torch.Tensor
    product: torch.Tensor
    weight: torch.Tensor

    def explained(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Chi-square explained in each run (runs, n), by coefficients (runs, n, tiles, k)."""
        along = torch.einsum("rntk,rtk->rnt", coefficients, self.product).clamp_min(0)
        power = torch.einsum("rntk,rtkl,rntl->rnt", coefficients, self.gram, coefficients)
        return (self.weight[:, None] * along**2 / power.clamp_min(1e-12)).sum(2)

    def explicable(self) -> float:
        """By any coefficients."""
        ridge = RIDGE * self.gram.diagonal(dim1=2, dim2=3).mean(2).clamp_min(1e-12)
        damped = self.gram + ridge[..., None, None] * torch.eye(self.gram.shape[2])
        best = torch.linalg.solve(damped, self.product[..., None])[..., 0]
        return float((self.weight * (best * self.product).sum(2)).sum())


@dataclass(frozen=True)
class Emulator:
    """Components of tiles, and the coefficients of each candidate.

    Attributes
    ----------
    view : View
        Whose tiles these are.
    components : (runs, tiles, k, bins) float32
        Orthonormal in each tile.
    candidates : tuple of Coefficients
        In evaluation mode.
    """

    view: View
    components: torch.Tensor
    candidates: tuple[Coefficients, ...]

    @property
    def sound(self) -> bool:
        """Whether the components are of the view's tiles, and all numbers are finite."""
        if self.components.ndim != 4 or not self.candidates:
            return False
        runs, tiles, k, bins = self.components.shape
        rows, columns = grid_of(self.view, runs)[2:]
        fits = grid_of(self.view, runs)[:2] == (runs, tiles) and bins == rows * columns
        shapes = all(c.last.shape[:3] == (runs, tiles, k) and len(c.library) > 0 for c in self.candidates)
        numbers = [self.components, *(v for c in self.candidates for v in c.state_dict().values())]
        return fits and shapes and all(bool(torch.isfinite(v).all()) for v in numbers)

    def compare(self, signal: NDArray, valid: NDArray[np.bool_]) -> Comparison:
        """The best parameters of every candidate for a spectrum (runs, slices, x, y)."""
        seen = self._project(signal, valid)
        fitted, tiles = tuple(_fit(c, seen) for c in self.candidates), int((seen.weight > 0).sum())
        return Comparison(fitted, seen.explicable(), tiles)

    def _project(self, signal: NDArray, valid: NDArray[np.bool_]) -> _Projected:
        y, count, noise = (torch.as_tensor(a, dtype=torch.float32) for a in coarse(self.view, signal, valid))
        y, count = y.flatten(2), count.flatten(2)
        used = torch.isfinite(noise) & (noise > 0)
        total = count.sum(2).clamp_min(1)
        y = torch.where(count > 0, y - ((count * y).sum(2) / total)[..., None], 0.0)
        level = torch.einsum("rtkb,rtb->rtk", self.components, count) / total[..., None]
        own = self.components - level[..., None]
        weighted = own * count[:, :, None]
        return _Projected(
            torch.einsum("rtkb,rtlb->rtkl", weighted, own),
            torch.einsum("rtkb,rtb->rtk", weighted, y),
            torch.where(used, 1 / torch.where(used, noise, 1.0) ** 2, 0.0),
        )


def _climb(
    candidate: Coefficients, seen: _Projected, start: torch.Tensor, steps: int, widened: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Parameters (..., n, n_free) further up by damped Gauss-Newton steps, and what they explain, (runs, n).

    Parameters of each run (runs, n, n_free) climb by themselves, those of all runs (n, n_free) by the sum. At an end of
    its prior, widened by so many widths, a parameter that would leave it stays.
    """
    low, high = -widened, 1 + widened
    here = start.clamp(low, high)
    explained, force, bend = _slopes(candidate, seen, here)
    damping = torch.full(here.shape[:-1], DAMPING)
    for _ in range(steps):
        held = ((here <= low) & (force < 0)) | ((here >= high) & (force > 0))
        diagonal = bend.diagonal(dim1=-2, dim2=-1)
        matrix = bend + torch.diag_embed(damping[..., None] * diagonal + 1e-6 * diagonal.amax(-1, keepdim=True) + 1e-12)
        matrix = torch.where(held[..., None] | held[..., None, :], torch.eye(here.shape[-1]), matrix)
        there = (here + torch.linalg.solve(matrix, torch.where(held, 0.0, force))).clamp(low, high)
        new = _slopes(candidate, seen, there)
        better = (new[0] > explained) if here.ndim == 3 else (new[0].sum(0) > explained.sum(0))
        here = torch.where(better[..., None], there, here)
        explained = torch.where(better, new[0], explained)
        force, bend = torch.where(better[..., None], new[1], force), torch.where(better[..., None, None], new[2], bend)
        damping = torch.where(better, damping / 5, damping * 8).clamp(1e-5, 1e5)
    return here, explained


def _slopes(
    candidate: Coefficients, seen: _Projected, scaled: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What parameters explain in each run (runs, n), its slope (..., n, n_free) and its bend (Gauss and Newton's).

    With the scale s = b.c / c.G.c of a tile, b.c^2 / c.G.c has the slope 2 s (b - s G c) in its coefficients c, and
    bends by 2 s^2 (G - G c c.G / c.G.c) where the residual is small.
    """
    made, turned = candidate.with_slopes(scaled)
    power_of = torch.einsum("rtkl,rntl->rntk", seen.gram, made)
    power = (made * power_of).sum(3).clamp_min(1e-12)
    scale = torch.einsum("rntk,rtk->rnt", made, seen.product).clamp_min(0) / power
    weight = seen.weight[:, None]
    explained = (weight * scale**2 * power).sum(2)
    pull = (weight * scale)[..., None] * (seen.product[:, None] - scale[..., None] * power_of)
    force = torch.einsum("rntk,rntkp->rnp", pull, turned)
    along = torch.einsum("rntk,rntkp->rntp", power_of, turned)
    across = torch.einsum("rtkl,rntlp->rntkp", seen.gram, turned)
    each = torch.einsum("rntkp,rntkq->rntpq", turned, across)
    each = each - along[..., None] * along[..., None, :] / power[..., None, None]
    bend = torch.einsum("rnt,rntpq->rnpq", weight * scale**2, each)
    return (explained, force, bend) if scaled.ndim == 3 else (explained, force.sum(0), bend.sum(0))


def _fit(candidate: Coefficients, seen: _Projected) -> Fitted:
    """The best parameters for all runs together, and for each by itself, from several starts."""
    library = candidate.library
    with torch.no_grad():
        first = seen.explained(candidate(library))
    starts = library[first.sum(0).topk(min(STARTS, len(library))).indices]
    points, found = _climb(candidate, seen, starts, FIRST_STEPS)
    points = points[found.sum(0).topk(min(KEPT, len(points))).indices]
    points, found = _climb(candidate, seen, points, STEPS)
    best = int(found.sum(0).argmax())
    together = points[best]
    own = library[first.topk(min(STARTS_OF_RUN, len(library)), 1).indices]
    own = torch.cat([own, together.expand(len(own), 1, -1)], 1)
    # a run by itself is never worse off than with the others
    alone = torch.maximum(_climb(candidate, seen, own, STEPS)[1].amax(1), found[:, best])
    beyond = float(_climb(candidate, seen, together[None], STEPS, WIDENED)[1].sum())
    explained = found[:, best].numpy().astype(float)
    return Fitted(candidate.padded(together), explained, alone.numpy().astype(float), beyond)


def fit_emulator(view: View, train: Part, classes: int, seed: int, beyond: Part | None = None) -> Emulator | None:
    """What emulates the training spectra; None where there are too few of a class.

    Parameters
    ----------
    train : Part
    classes : int
    seed : int
    beyond : Part, optional
        Further spectra, of parameters beyond the priors: what is followed there is then known and not guessed.
    """
    if np.bincount(train.labels, minlength=classes).min() < FEWEST_IMAGES:
        return None
    torch.manual_seed(seed)
    index = np.unique(np.linspace(0, len(train.labels) - 1, MOST_IMAGES).astype(int))
    parts = [(train, index)] + ([] if beyond is None else [(beyond, np.arange(len(beyond.labels)))])
    spectra = torch.as_tensor(np.concatenate([binned_spectra(view, p.images, i) for p, i in parts])).flatten(3)
    labels = np.concatenate([p.labels[i] for p, i in parts])
    parameters = torch.as_tensor(np.concatenate([p.parameters[i] for p, i in parts]))
    components = _components(spectra).half().float()
    amounts = torch.einsum("nrtb,rtkb->nrtk", spectra, components)
    candidates = [_learnt(parameters[labels == c], amounts[labels == c]) for c in range(classes)]
    return Emulator(view, components, tuple(candidates))


def _components(spectra: torch.Tensor) -> torch.Tensor:
    """Principal components of every tile, (runs, tiles, k, bins), as many in all as leave little of the power."""
    runs, tiles, bins = spectra.shape[1:]
    most = min(MOST_COMPONENTS, len(spectra), bins)
    vectors, powers = torch.empty(runs, tiles, most, bins), torch.empty(runs, tiles, most)
    for r in range(runs):
        for t in range(tiles):
            size, found = torch.svd_lowrank(spectra[:, r, t], q=most, niter=3)[1:]
            vectors[r, t], powers[r, t] = found.T, size**2
    left = 1 - powers.sum((0, 1)).cumsum(0) / (spectra**2).sum()
    number = int((left > LEFT).sum()) + 1
    return vectors[:, :, :number].contiguous()


def _learnt(parameters: torch.Tensor, amounts: torch.Tensor) -> Coefficients:
    """Coefficients (n, runs, tiles, k) learnt as functions of the parameters, rounded to half precision."""
    free = parameters.std(0) > 0
    scaled = parameters[:, free]
    own = scaled[((scaled >= 0) & (scaled <= 1)).all(1)]
    found = Coefficients(free, tuple(amounts.shape[1:]), min(LIBRARY, len(own)))
    found.mean.copy_(amounts.mean(0))
    found.size.copy_((amounts - found.mean).std())
    found.library.copy_(own[torch.linspace(0, len(own) - 1, len(found.library)).long()])
    target = (amounts - found.mean) / found.size
    optimiser = torch.optim.AdamW(found.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    steps = EPOCHS * -(-len(scaled) // BATCH)
    slower = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=steps)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(scaled)).split(BATCH):
            made = (found(scaled[chosen]) - found.mean[:, None]) / found.size
            loss = ((made.transpose(0, 1) - target[chosen]) ** 2).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            slower.step()
    return frozen(found)


def frozen(candidate: Coefficients) -> Coefficients:
    """In evaluation mode, without gradients, with the numbers that are stored, in half precision."""
    state = candidate.state_dict()
    candidate.load_state_dict({k: v.half().float() if v.is_floating_point() else v for k, v in state.items()})
    return candidate.requires_grad_(False).eval()
