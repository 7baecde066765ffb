"""Where the spectrometer puts a sharp mode: displacements in the view and a width in energy.

The resolution of a spectrometer setting does not depend on the Hamiltonian. For each fine point of the view a few
low-discrepancy draws of its deviations are made once, for a handful of energy transfers, and kept as polynomials in
energy transfer: any mode that turns up there later is displaced by them. What is left in energy is integrated
analytically over the slices.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special, stats

from ..units import FWHM_PER_SIGMA
from .deviations import Setting, covariance, linear_map
from .kinematics import Scan

Method = Literal["gaussian", "montecarlo", "none"]
DEGREE = 3


@dataclass(frozen=True)
class Spread:
    """Draws of the resolution on fine points of one run.

    Attributes
    ----------
    coefficients : (n_draws, n_points, 4, DEGREE + 1) float32
        Polynomials in ``(energy - centre) / scale`` of the displacement along the view's two axes (r.l.u.), in
        energy (meV) and of the remaining standard deviation in energy (meV).
    jitter : (n_draws, n_points, 2) float32
        What of the displacement along the two axes only spreads a point over its cell of the fine grid (r.l.u.).
    widest : float
        Largest remaining standard deviation, meV.
    reach : float
        Displacement in energy that one mode in a thousand exceeds, meV.
    """

    coefficients: torch.Tensor
    jitter: torch.Tensor
    centre: float
    scale: float
    widest: float
    reach: float

    def at(self, draw: torch.Tensor, point: torch.Tensor, energy: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Displacements along axis 0, axis 1 and energy, and remaining width, at flat lists of modes."""
        t = ((energy - self.centre) / self.scale)[:, None]
        c = self.coefficients[draw, point]
        value = ((c[..., 3] * t + c[..., 2]) * t + c[..., 1]) * t + c[..., 0]
        return value[:, 0], value[:, 1], value[:, 2], value[:, 3].clamp_min(1e-3)


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
    points = stats.qmc.Sobol(dimension, seed=seed).random_base2(exponent)
    chosen = points[rank[None, :] * draws + np.arange(draws)[:, None]]
    return np.clip(chosen, 1e-9, 1 - 1e-9)


def make_spread(
    method: Method,
    setting: Setting,
    scan: Scan,
    grid: tuple[NDArray[np.float64], NDArray[np.float64]],
    energies: tuple[float, float],
    intrinsic_width: float,
    draws: int = 4,
    seed: int = 0,
) -> Spread:
    """Prepare the resolution of one run.

    Parameters
    ----------
    method : {"gaussian", "montecarlo", "none"}
        The Gaussian of Tobyfit's covariance, all deviations with their true shapes, or no resolution.
    setting, scan
        The spectrometer and how the crystal stands in it.
    grid : (x, y)
        Fine grid of the view, r.l.u.; points are numbered with y running fastest.
    energies : (low, high)
        Range of energy transfer of the run's slices, meV.
    intrinsic_width : float
        FWHM of a mode, meV.
    draws : int
        Draws kept per point.
    """
    x, y = (g.ravel() for g in np.meshgrid(*grid, indexing="ij"))
    steps = [g[1] - g[0] for g in grid]
    low, high = energies[0], min(energies[1], 0.97 * setting.ei)
    centre, scale = (low + high) / 2, (high - low) / 2
    nodes = np.cos(np.pi * (np.arange(DEGREE + 1) + 0.5) / (DEGREE + 1))
    u = sobol_on_grid(len(grid[0]), len(grid[1]), draws, {"gaussian": 4, "montecarlo": 13, "none": 2}[method], seed)
    jitter = [(u[..., axis] - 0.5) * steps[axis] for axis in (0, 1)]
    intrinsic = (intrinsic_width / FWHM_PER_SIGMA) ** 2
    to_view = np.eye(4)
    to_view[:3, :3] = np.linalg.inv(scan.view).T
    samples = np.empty((len(nodes), draws, len(x), 4))
    for number, node in enumerate(nodes):
        energy = np.full(len(x), centre + scale * node)
        samples[number, ..., 0], samples[number, ..., 1] = jitter
        if method == "none":
            samples[number, ..., 2], samples[number, ..., 3] = 0.0, np.sqrt(intrinsic)
            continue
        q = _reachable(scan, x, y, energy)
        if method == "gaussian":
            shift, width = _gaussian(to_view @ covariance(setting, q, energy) @ to_view.T, u[..., 2:])
        else:
            shift, width = _montecarlo(to_view @ linear_map(setting, q, energy), setting, u[..., 2:])
        # a mode at the true point is recorded where the spectrometer believes it: true less deviation
        samples[number, ..., :3] -= shift
        samples[number, ..., 2] = -shift[..., 2]
        samples[number, ..., 3] = np.sqrt(width**2 + intrinsic)
    inverse = np.linalg.inv(np.vander(nodes, DEGREE + 1, increasing=True))
    coefficients = np.einsum("cn,ndpk->dpkc", inverse, samples)
    return Spread(
        coefficients=torch.as_tensor(coefficients.astype(np.float32)),
        jitter=torch.as_tensor(np.stack(jitter, -1).astype(np.float32)),
        centre=centre,
        scale=scale,
        widest=float(samples[..., 3].max()),
        reach=float(np.quantile(np.abs(samples[..., 2]), 0.999)),
    )


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


def _gaussian(c: NDArray[np.float64], u: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Displacements (draws, n, 3) in the view and energy, and the width of energy given the first two, (n,)."""
    planar, cross, energy = c[:, :2, :2], c[:, :2, 3], c[:, 3, 3]
    normal = special.ndtri(u)
    shift = np.einsum("nij,dnj->dni", np.linalg.cholesky(planar), normal)
    slope = np.linalg.solve(planar, cross[..., None])[..., 0]
    width = np.sqrt(np.maximum(energy - np.einsum("ni,ni->n", slope, cross), 0))
    return np.concatenate([shift, np.einsum("ni,dni->dn", slope, shift)[..., None]], -1), width


def _montecarlo(
    m: NDArray[np.float64], setting: Setting, u: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """As :func:`_gaussian`, with the true shape of each deviation; the time bin stays as a width."""
    s = setting.spectrometer
    deviations = np.sqrt(12 * setting.variances()[:10]) * (u[..., :10] - 0.5)
    deviations[..., 0] = s.moderator.deviation(setting.moderator_energy or setting.ei, u[..., 0], u[..., 10])
    deviations[..., 3] = s.chopper(setting.package).quantile(setting.ei, setting.frequency, u[..., 3])
    shift = np.einsum("nij,dnj->dni", m[:, [0, 1, 3], :10], deviations)
    return shift, np.sqrt(m[:, 3, 10] ** 2 / 12)
