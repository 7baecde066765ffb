"""What a spectrometer does to sharp modes near a straight segment of a path in Q, while the crystal is turned.

At each wave vector and energy transfer the crystal stands as it must for |k_i - Q| = k_f, so that Tobyfit's covariance
is known there. It is kept in the frame of the segment: along it, across it, along the normal (1/Å), and energy (meV).
What is recorded is averaged over a box across the segment; how much of a mode beside the segment falls into the box,
and what that tells of its place along the segment and of its energy, is the business of :func:`cut`.
"""

from dataclasses import dataclass

import numpy as np
import scipy
import torch
from numpy.typing import NDArray
from scipy import special

from ..study import Study
from ..units import ENERGY_PER_K2, FWHM_PER_SIGMA, wavevector
from .deviations import covariance, dimensions, linear_map, true_deviations
from .landing import FAR, ROOT_HALF, ROOT_TWO_PI
from .setting import detected, run_rotation, segment_axes, setting_of
from .spread import Method

SIDES = (1, -1)
"""The crystal brings a wave vector to the detectors on either side of the beam."""
NODES = 12
"""Energy transfers at which the covariance is worked out; in between it is interpolated."""
UPPER = ([0, 0, 0, 0, 1, 1, 1, 2, 2, 3], [0, 1, 2, 3, 1, 2, 3, 2, 3, 3])
WHOLE = [[0, 1, 2, 3], [1, 4, 5, 6], [2, 5, 7, 8], [3, 6, 8, 9]]
"""Places in a row of ten numbers of the elements of a symmetric 4 x 4 matrix."""


def cut(
    mean: torch.Tensor, covariances: torch.Tensor, axis: int, half: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The part of Gaussians that lies within ``half`` of zero along one axis.

    Parameters
    ----------
    mean : (n, d)
    covariances : (n, d, d)

    Returns
    -------
    share : (n,)
    mean : (n, d)
        Of that part.
    covariances : (n, d, d)
        Of that part.
    """
    sigma = covariances[:, axis, axis].clamp_min(1e-20).sqrt()
    low = ((-half - mean[:, axis]) / sigma).clamp(-FAR, FAR)
    high = ((half - mean[:, axis]) / sigma).clamp(-FAR, FAR)
    share = (torch.erf(high * ROOT_HALF) - torch.erf(low * ROOT_HALF)) / 2
    at_low, at_high = (torch.exp(-0.5 * z * z) / ROOT_TWO_PI for z in (low, high))
    safe = share.clamp_min(1e-6)
    # of a standard normal variable between the two; next to nothing has no moments worth passing on
    moved = ((at_low - at_high) / safe).clamp(-FAR, FAR)
    variance = (1 - (at_high * high - at_low * low) / safe - moved**2).clamp(0, 1)
    gain = covariances[:, :, axis] / sigma[:, None]
    left = covariances - (1 - variance)[:, None, None] * gain[:, :, None] * gain[:, None, :]
    return share, mean + gain * moved[:, None], left


@dataclass(frozen=True)
class PathSpread:
    """The resolution of one run near one segment.

    Attributes
    ----------
    low, step : float
        Energy transfer of the first node and distance between nodes, meV.
    full : (sides, n_along, n_normal, NODES, 10) float32
        Covariance, elements as ``UPPER``.
    reached : (sides, n_along, n_normal, NODES) float32
        One where the kinematics and the detectors allow it, or where they allow it at no point of the box.
    maps : (sides, n_along, n_normal, NODES, 4, n_deviations) float32
        From deviations to what is recorded less what is true; no deviations but in the Monte Carlo method.
    intrinsic : float
        Variance of a Gaussian mode in energy, which no draw replaces, meV^2; part of ``full``.
    """

    low: float
    step: float
    full: torch.Tensor
    reached: torch.Tensor
    maps: torch.Tensor
    intrinsic: float

    def rows(
        self, side: int, along: torch.Tensor, normal: torch.Tensor, energy: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Where a table holds the node below each of a list of modes, and how far beyond it (0 to 1) they are."""
        place = ((energy - self.low) / self.step).clamp(0, NODES - 1.001)
        node = place.floor().long()
        rows = ((side * self.full.shape[1] + along) * self.full.shape[2] + normal) * NODES + node
        return rows, place - node

    def _between(self, table: torch.Tensor, rows: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
        flat = table.flatten(0, 3)
        part = part.reshape(-1, *[1] * (flat.ndim - 1))
        return torch.lerp(flat[rows], flat[rows + 1], part)

    def covariance(self, rows: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
        """Covariance at the places of :meth:`rows`, (n, 4, 4)."""
        return self._between(self.full, rows, part)[:, WHOLE]

    def reach(self, rows: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
        """How much of what is there is seen, (n,)."""
        return self._between(self.reached, rows, part)

    def shift(self, rows: torch.Tensor, part: torch.Tensor, deviations: torch.Tensor) -> torch.Tensor:
        """Displacements (n, 4) by deviations (n, n_deviations)."""
        return (self._between(self.maps, rows, part) @ deviations[:, :, None])[:, :, 0]


def make_path_spread(
    method: Method,
    study: Study,
    run: int,
    segment: int,
    along: NDArray[np.float64],
    normal: NDArray[np.float64],
    energies: tuple[float, float],
) -> PathSpread:
    """Prepare the resolution of a run near a segment.

    Parameters
    ----------
    along, normal : (n_along,), (n_normal,) 1/Å
        Distances along the segment from where it starts, and along the normal.
    energies : (low, high)
        Range of energy transfer of modes, meV.
    """
    axes, lattice, ei = segment_axes(study, segment), study.lattice, study.runs[run].ei
    start = lattice.to_cartesian(study.path.segments[segment].start)
    cartesian = start + along[:, None, None] * axes[0] + normal[:, None] * axes[2]
    hkl = (cartesian @ np.linalg.inv(lattice.reciprocal))[:, :, None]
    nodes = np.linspace(*energies, NODES)
    rotation = run_rotation(study, run)
    q = hkl @ rotation.frame
    # the largest energy transfer at which the crystal can be turned to it
    most = ENERGY_PER_K2 * (2 * wavevector(ei) * np.hypot(q[..., 0], q[..., 1]) - (q**2).sum(-1))
    used = np.minimum(nodes, most - 1e-9 * (1 + np.abs(most)))
    intrinsic = (study.gaussian_width / FWHM_PER_SIGMA) ** 2
    full, reached, maps = [], [], []
    for side in SIDES:
        turned = rotation.q_spectrometer(hkl, used, side)
        reached.append(detected(study, run, turned) & (used == nodes))
        points = np.broadcast_to(hkl, turned.shape).reshape(-1, 3), turned.reshape(-1, 3), used.ravel()
        found = np.zeros((used.size, 4, 4)) if method == "none" else segment_covariance(study, run, axes, *points)
        found[:, 3, 3] += intrinsic
        full.append(found[:, UPPER[0], UPPER[1]].reshape(*used.shape, 10))
        found = segment_map(study, run, axes, *points) if method == "montecarlo" else np.zeros((used.size, 4, 0))
        maps.append(found.reshape(*used.shape, 4, found.shape[-1]))
    seen = np.stack(reached)
    seen |= ~seen.any((0, 2), keepdims=True)
    return PathSpread(
        float(nodes[0]),
        float(nodes[1] - nodes[0]),
        torch.as_tensor(np.stack(full), dtype=torch.float32),
        torch.as_tensor(seen, dtype=torch.float32),
        torch.as_tensor(np.stack(maps), dtype=torch.float32),
        intrinsic,
    )


def _to_segment(study: Study, run: int, axes: NDArray[np.float64], psi: NDArray[np.float64]) -> NDArray[np.float64]:
    """From (Q, energy) in the spectrometer frame to that of axes (3, 3), crystal turned by psi (n,): (n, 4, 4)."""
    mounted = axes @ np.linalg.inv(study.lattice.reciprocal) @ run_rotation(study, run).frame
    cos, sin = np.cos(np.radians(psi))[:, None], np.sin(np.radians(psi))[:, None]
    out = np.zeros((len(psi), 4, 4))
    out[:, :3, 0] = cos * mounted[:, 0] - sin * mounted[:, 1]
    out[:, :3, 1] = sin * mounted[:, 0] + cos * mounted[:, 1]
    out[:, :3, 2] = mounted[:, 2]
    out[:, 3, 3] = 1
    return out


def _by_turn(study: Study, run: int, psi: NDArray[np.float64]) -> list[tuple[NDArray[np.int64], float]]:
    """Points (indices) by the angle of the sample, to whole degrees; all at once if every side of it is alike."""
    total, sample = psi + study.runs[run].psi, study.sample
    axes = np.array(sample.axes)
    extent = axes.T @ (axes * (np.array(sample.size) ** 2 * sample.variances)[:, None])
    round_ = np.allclose(extent[:2], np.diag(np.full(3, extent[0, 0]))[:2], rtol=0, atol=1e-9 * np.trace(extent))
    if round_ and sample.mosaic[0] == sample.mosaic[1]:
        return [(np.arange(len(psi)), 0.0)]
    whole = np.round(total).astype(int)
    return [(np.flatnonzero(whole == angle), float(angle)) for angle in np.unique(whole)]


def segment_covariance(
    study: Study,
    run: int,
    axes: NDArray[np.float64],
    hkl: NDArray[np.float64],
    q: NDArray[np.float64],
    energy: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Tobyfit's covariance of (Q, energy) along axes of the crystal, (n, 4, 4), 1/Å and meV.

    Parameters
    ----------
    axes : (3, 3)
        Rows: unit vectors, Cartesian.
    hkl : (n, 3) r.l.u.
    q : (n, 3) 1/Å
        The same in the spectrometer frame, once the crystal has turned.
    energy : (n,) meV
    """
    psi = run_rotation(study, run).turn(hkl, q)
    out = np.empty((len(q), 4, 4))
    for points, angle in _by_turn(study, run, psi):
        out[points] = covariance(setting_of(study, run, angle), q[points], energy[points])
    turn = _to_segment(study, run, axes, psi)
    return np.asarray(turn @ out @ turn.transpose(0, 2, 1))


def segment_map(
    study: Study,
    run: int,
    axes: NDArray[np.float64],
    hkl: NDArray[np.float64],
    q: NDArray[np.float64],
    energy: NDArray[np.float64],
) -> NDArray[np.float64]:
    """From deviations to what is recorded less what is true, (n, 4, n_deviations); as :func:`segment_covariance`."""
    psi = run_rotation(study, run).turn(hkl, q)
    parts = [(p, linear_map(setting_of(study, run, angle), q[p], energy[p])) for p, angle in _by_turn(study, run, psi)]
    out = np.empty((len(q), 4, parts[0][1].shape[-1]))
    for points, found in parts:
        out[points] = found
    # a mode is recorded where the spectrometer believes it to be: true less deviation
    return np.asarray(-_to_segment(study, run, axes, psi) @ out)


def paired_draws(study: Study, run: int, number: int, seed: int = 0) -> torch.Tensor:
    """Deviations with their true shapes, and normal ones at the same quantiles, (2, number, n_deviations) float32.

    Consecutive ones are spread evenly: they are points of one low-discrepancy sequence.
    """
    setting = setting_of(study, run)
    exponent = int(np.ceil(np.log2(number)))
    u = scipy.stats.qmc.Sobol(dimensions(setting), seed=seed).random_base2(exponent)[:number].clip(1e-9, 1 - 1e-9)
    variances = setting.variances()
    normal = np.sqrt(variances) * special.ndtri(u[:, : len(variances)])
    return torch.as_tensor(np.stack([true_deviations(setting, u), normal]).astype(np.float32))
