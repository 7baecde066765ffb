"""Where the spectrometer puts a sharp mode: Gaussian spots, and what the true shapes change about them.

The resolution of a spectrometer setting does not depend on the Hamiltonian, so what it does at each fine point of the
view is prepared once, for a handful of energy transfers, and kept as polynomials in energy transfer. The Gaussian
method needs one spot with Tobyfit's covariance for each mode, and no draw. The Monte Carlo method makes it a few spots,
so that the moderator's skewed pulse has its true shape (:mod:`.pulse`). What the other true shapes (triangle, boxes)
change about that is left to draws: a spot about a low-discrepancy draw of all deviations with their true shapes, less
one about the draw at the same quantiles of that mixture and of normal deviations (a control variate). The spots about
draws keep a share of the covariance (:data:`SMOOTHING`) and the draws are shrunk accordingly, so that mean and
covariance are those of Tobyfit for any number of draws, and the shape becomes exact as that share falls.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy
import torch
from numpy.typing import NDArray
from scipy import special

from ..units import FWHM_PER_SIGMA
from .deviations import Setting, dimensions, linear_map, true_deviations
from .kinematics import Scan
from .pulse import NORMAL, Mixture, pulse_mixture

Method = Literal["gaussian", "montecarlo", "none", "gaussian-coarse"]
DEGREE = 3
SHOWN = [0, 1, 3]
"""The two axes of the view and energy, of (x, y, hidden, energy)."""
TIME_BIN = -1
"""Place of the time bin among the deviations."""
SMOOTHING = 0.5
"""Share of the covariance that the spots about draws keep, unless told otherwise."""


@dataclass(frozen=True)
class Spread:
    """The resolution on the fine points of one run.

    Attributes
    ----------
    full : (6 * (DEGREE + 1), n_points) float32
        Polynomials in ``(energy - centre) / scale``, lowest power first, of the covariance, xx, xy, yy, xe, ye, ee
        (r.l.u. and meV).
    kept : same shape
        The same of the spots about draws.
    pulse : (3 * (DEGREE + 1), n_points) float32
        The same of the displacement along the view's two axes and in energy by one standard deviation of the
        moderator's emission time.
    mixture : Mixture
        The shape of the moderator's pulse.
    shifts : (n_points, n_draws, 2, 3, DEGREE + 1) float32
        The same of the displacement along the view's two axes (r.l.u.) and in energy (meV), with the true shapes and
        with those that the spots have; no draws in the Gaussian method.
    widest : (3,)
        Largest standard deviations along the two axes and in energy.
    """

    full: torch.Tensor
    kept: torch.Tensor
    pulse: torch.Tensor
    mixture: Mixture
    shifts: torch.Tensor
    centre: float
    scale: float
    widest: tuple[float, float, float]

    @property
    def draws(self) -> int:
        """Draws kept per point."""
        return self.shifts.shape[1]

    @property
    def skewed(self) -> bool:
        """Whether a spot is a mixture of several Gaussians."""
        return len(self.mixture.weights) > 1

    def _at(self, rows: torch.Tensor, energy: torch.Tensor) -> torch.Tensor:
        """Values (n_polynomials, n) of coefficients (n_polynomials * (DEGREE + 1), n)."""
        t = ((energy - self.centre) / self.scale).clamp_(-1.5, 1.5)
        c = rows.unflatten(0, (-1, DEGREE + 1))
        out = torch.addcmul(c[:, 2], c[:, 3], t)
        return torch.addcmul(c[:, 0], torch.addcmul(c[:, 1], out, t), t)

    def shift(self, point: torch.Tensor, draw: torch.Tensor, energy: torch.Tensor, shape: int) -> torch.Tensor:
        """Displacements (3, n) along axis 0, axis 1 and energy, for flat lists of modes; shape 0 is the true one."""
        rows = self.shifts.flatten(0, 2).flatten(1).index_select(0, (point * self.draws + draw) * 2 + shape)
        return self._at(rows.T.contiguous(), energy)

    def covariance(self, point: torch.Tensor, energy: torch.Tensor, drawn: bool = False) -> torch.Tensor:
        """Covariance (6, n) xx, xy, yy, xe, ye, ee, for flat lists of modes: in all, or of the spots about draws."""
        return self._at((self.kept if drawn else self.full).index_select(1, point), energy)

    def components(
        self, point: torch.Tensor, energy: torch.Tensor, covariance: torch.Tensor
    ) -> Iterator[tuple[float, torch.Tensor, torch.Tensor]]:
        """The spots that together have a covariance (6, n): weight, displacement (3, n) and covariance of each."""
        moved = self._at(self.pulse.index_select(1, point), energy)
        x, y, e = moved
        outer = torch.stack([x * x, x * y, y * y, x * e, y * e, e * e])
        for weight, mean, sigma in zip(self.mixture.weights, self.mixture.means, self.mixture.sigmas, strict=True):
            yield weight, moved * mean, torch.add(covariance, outer, alpha=sigma**2 - 1)


@dataclass(frozen=True)
class NodeMaps:
    """From deviations to those of what the view shows, on the fine points of one run at nodes of energy transfer.

    They depend on where things stand, and on no size: a pulse, a mosaic or a mode of another width has the same.

    Attributes
    ----------
    maps : (nodes, n_points, 3, n_deviations)
    names : tuple of str
        Of the deviations.
    centre, scale : float
        Nodes are those of Chebyshev's polynomials about the one, times the other, meV.
    """

    maps: NDArray[np.float64]
    names: tuple[str, ...]
    centre: float
    scale: float

    @classmethod
    def of(
        cls,
        method: Method,
        setting: Setting,
        scan: Scan,
        grid: tuple[NDArray[np.float64], NDArray[np.float64]],
        energies: tuple[float, float],
    ) -> "NodeMaps":
        """With parameters as those of :func:`make_spread`."""
        low, high = energies[0], min(energies[1], 0.97 * setting.ei)
        centre, scale = (low + high) / 2, (high - low) / 2
        if method == "none":
            maps = np.zeros((DEGREE + 1, len(grid[0]) * len(grid[1]), 3, len(setting.names)))
        else:
            maps = np.stack([_maps(setting, scan, grid, centre + scale * node) for node in _nodes()])
        return cls(maps, setting.names, centre, scale)

    def of_deviations(self, names: tuple[str, ...]) -> NDArray[np.float64]:
        """Those of some of the deviations, (nodes, n_points, 3, n)."""
        return self.maps if names == self.names else self.maps[..., [self.names.index(name) for name in names]]


def _nodes() -> NDArray[np.float64]:
    return np.cos(np.pi * (np.arange(DEGREE + 1) + 0.5) / (DEGREE + 1))


def sobol_on_grid(nx: int, ny: int, draws: int, dimension: int, seed: int) -> NDArray[np.float64]:
    """Low-discrepancy points spread over a grid so that any small neighbourhood of it is evenly filled.

    Grid points are visited in Morton order: aligned squares of 2^k points then hold consecutive Sobol points, which
    form a net.

    Returns
    -------
    (draws, nx * ny, dimension) in (0, 1)
    """
    ix, iy = np.meshgrid(np.arange(nx), np.arange(ny), indexing="ij")
    morton = np.zeros(nx * ny, int)
    for bit in range(int(max(nx, ny)).bit_length()):
        morton |= ((ix.ravel() >> bit) & 1) << (2 * bit + 1) | ((iy.ravel() >> bit) & 1) << (2 * bit)
    rank = np.empty(nx * ny, int)
    rank[np.argsort(morton)] = np.arange(nx * ny)
    exponent = int(np.ceil(np.log2(draws * nx * ny)))
    points = scipy.stats.qmc.Sobol(dimension, seed=seed).random_base2(exponent)
    chosen = points[rank[None, :] * draws + np.arange(draws)[:, None]]
    return np.clip(chosen, 1e-9, 1 - 1e-9)


def make_spread(
    method: Method,
    setting: Setting,
    scan: Scan,
    grid: tuple[NDArray[np.float64], NDArray[np.float64]],
    energies: tuple[float, float],
    intrinsic_width: float,
    draws: int = 8,
    smoothing: float = SMOOTHING,
    components: int = 1,
    seed: int = 0,
    known: NodeMaps | None = None,
) -> Spread:
    """Prepare the resolution of one run.

    Parameters
    ----------
    method : {"gaussian", "montecarlo", "none", "gaussian-coarse"}
        The Gaussian of Tobyfit's covariance, all deviations with their true shapes, or no resolution; the last is the
        first here, and differs in what is made of it (:mod:`.coarse`).
    setting, scan
        The spectrometer and how the crystal stands in it.
    grid : (x, y)
        Fine grid of the view, r.l.u.; points are numbered with y running fastest.
    energies : (low, high)
        Range of energy transfer of the run's slices, meV.
    intrinsic_width : float
        FWHM of a mode, meV.
    draws : int
        Draws kept per point (Monte Carlo only).
    smoothing : float
        Share of the covariance that the spots about draws keep, 0 to 1 (Monte Carlo only).
    components : int
        Gaussians that make up the moderator's pulse (Monte Carlo only).
    known : NodeMaps, optional
        Of the same run, worked out already, for about the same energies.
    """
    known = known or NodeMaps.of(method, setting, scan, grid, energies)
    nodes, maps = _nodes(), known.of_deviations(setting.names)
    draws = draws if method == "montecarlo" else 0
    mixture = pulse_mixture(setting, components) if method == "montecarlo" else NORMAL
    pairs = _paired_deviations(setting, mixture, (len(grid[0]), len(grid[1])), draws, seed)
    each = [_moments(setting, m, pairs, smoothing) for m in maps]
    full, kept, pulse, shifts = (np.stack(part) for part in zip(*each, strict=True))
    for covariances in (full, kept):
        covariances[:, :, 2, 2] += (intrinsic_width / FWHM_PER_SIGMA) ** 2
    widest = np.sqrt(full[..., [0, 1, 2], [0, 1, 2]].max((0, 1)))
    upper = (..., [0, 0, 1, 0, 1, 2], [0, 1, 1, 2, 2, 2])
    return Spread(
        full=_rows(nodes, full[upper]),
        kept=_rows(nodes, kept[upper]),
        pulse=_rows(nodes, pulse),
        mixture=mixture,
        shifts=_polynomials(nodes, shifts),
        centre=known.centre,
        scale=known.scale,
        widest=(float(widest[0]), float(widest[1]), float(widest[2])),
    )


def _maps(
    setting: Setting, scan: Scan, grid: tuple[NDArray[np.float64], NDArray[np.float64]], energy: float
) -> NDArray[np.float64]:
    """From deviations to those of what the view shows, (n_points, 3, n_deviations), at the points of a grid."""
    x, y = (g.ravel() for g in np.meshgrid(*grid, indexing="ij"))
    to_view = np.eye(4)
    to_view[:3, :3] = np.linalg.inv(scan.view).T
    transfer = np.full(len(x), energy)
    return (to_view @ linear_map(setting, _reachable(scan, x, y, transfer), transfer))[:, SHOWN]


def _moments(
    setting: Setting, maps: NDArray[np.float64], pairs: NDArray[np.float64], smoothing: float
) -> tuple[NDArray[np.float64], ...]:
    """At one energy transfer: covariance, that of the spots about draws, displacements by the pulse and by draws."""
    variances = setting.variances()
    full = (maps * variances) @ np.swapaxes(maps, 1, 2)
    undrawn = maps[..., TIME_BIN:]
    kept = smoothing * full
    if pairs.shape[1]:
        kept += (1 - smoothing) * (undrawn * variances[TIME_BIN:]) @ np.swapaxes(undrawn, 1, 2)
    # a mode at the true point is recorded where the spectrometer believes it: true less deviation
    pulse = -maps[:, :, 0] * np.sqrt(variances[0])
    shifts = -np.sqrt(1 - smoothing) * np.einsum("nij,sdnj->ndsi", maps[..., :TIME_BIN], pairs)
    return full, kept, pulse, shifts


def _polynomials(nodes: NDArray[np.float64], values: NDArray[np.float64]) -> torch.Tensor:
    """Coefficients (..., DEGREE + 1) float32 of the polynomials through values (n_nodes, ...) at the nodes."""
    inverse = np.linalg.inv(np.vander(nodes, DEGREE + 1, increasing=True))
    return torch.as_tensor(np.moveaxis(np.tensordot(inverse, values, 1), 0, -1).astype(np.float32)).contiguous()


def _rows(nodes: NDArray[np.float64], values: NDArray[np.float64]) -> torch.Tensor:
    """Coefficients as :func:`_polynomials`, with the points last: (n * (DEGREE + 1), n_points)."""
    return _polynomials(nodes, values).flatten(1).T.contiguous()


def _paired_deviations(
    setting: Setting, mixture: Mixture, grid: tuple[int, int], draws: int, seed: int
) -> NDArray[np.float64]:
    """Deviations with their true shapes, and those of the spots at the same quantiles.

    Returns
    -------
    (2, draws, n_points, n_deviations - 1)

    Notes
    -----
    The time bin needs no draws: all of it stays in the spots.
    """
    if not draws:
        return np.zeros((2, 0, grid[0] * grid[1], len(setting.names) - 1))
    u = sobol_on_grid(*grid, draws, dimensions(setting), seed)
    normal = special.ndtri(u[..., :-1])
    normal[..., 0] = mixture.quantile(u[..., 0])
    return np.stack([true_deviations(setting, u), np.sqrt(setting.variances()) * normal])[..., :TIME_BIN]


def _reachable(
    scan: Scan, x: NDArray[np.float64], y: NDArray[np.float64], energy: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Wave vectors (n, 3) in the spectrometer frame; at points out of reach, the nearest along the view's origin.

    Nothing is ever recorded out of reach; the polynomials of the points near the border need a finite value there.
    """
    q = scan.q_spectrometer(x, y, energy)
    for _ in range(12):
        lost = ~np.isfinite(q).all(1)
        if not lost.any():
            break
        x, y = np.where(lost, 0.85 * x, x), np.where(lost, 0.85 * y, y)
        q[lost] = scan.q_spectrometer(x[lost], y[lost], energy[lost])
    return np.nan_to_num(q)
