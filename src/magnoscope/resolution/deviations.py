"""Tobyfit's linear model: from deviations in the spectrometer to deviations of Q and energy transfer.

T. G. Perring, PhD thesis, Cambridge (1991), as implemented in Horace. Eleven independent deviations, in this order:
emission time at the moderator, aperture y and z, chopper time, sample x, y, z, detector depth, width and height,
and the time bin; where the sample has a mosaic, three rotations of the crystal come before the time bin. Spectrometer
frame: x along k_i, y horizontal, z up.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ..errors import InstrumentError
from ..instrument import Sample, Spectrometer
from ..units import ENERGY_PER_K2, SPEED_PER_SQRT_ENERGY, wavevector

NAMES = (
    "moderator time",
    "aperture y",
    "aperture z",
    "chopper time",
    "sample x",
    "sample y",
    "sample z",
    "detector depth",
    "detector width",
    "detector height",
    "time bin",
)
MOSAIC = ("mosaic x", "mosaic y", "mosaic z")
SAMPLE = slice(4, 7)
"""The sample's deviations among :data:`NAMES`."""


@dataclass(frozen=True)
class Setting:
    """A spectrometer at one incident energy and chopper frequency, with a sample in it.

    ``energy_bin`` (meV) is the width of the histogram bin the run was reduced with, not of a slice. The moderator's
    time constant may belong to another energy than ``ei`` (``moderator_energy``); ``sample_turn`` (degrees) is psi.
    """

    spectrometer: Spectrometer
    sample: Sample
    package: str
    ei: float
    frequency: float
    energy_bin: float = 0.0
    moderator_energy: float | None = None
    sample_turn: float = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the deviations: :data:`NAMES`, with :data:`MOSAIC` before the last where there is one."""
        return (*NAMES[:-1], *MOSAIC, NAMES[-1]) if any(self.sample.mosaic) else NAMES

    def mount(self) -> NDArray[np.float64]:
        """Axes of the sample's mount in the spectrometer frame, one per row: turned by psi about the vertical."""
        cos, sin = np.cos(np.radians(self.sample_turn)), np.sin(np.radians(self.sample_turn))
        return np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])

    def sample_axes(self) -> NDArray[np.float64]:
        """Extents of the sample in the spectrometer frame, one per row (m)."""
        return np.array(self.sample.size)[:, None] * (np.array(self.sample.axes) @ self.mount())

    def variances(self) -> NDArray[np.float64]:
        """Variances of the deviations, (n,): s^2, m^2 and rad^2; those of the sample and time bin have no unit.

        The sample's deviations are counted in its extents and the time bin in bins, so that the same shape of unit
        size serves any sample and bin.
        """
        s = self.spectrometer
        box = 1 / 12
        aperture = s.aperture_at(self.ei)
        return np.array(
            [
                s.moderator.variance(self.moderator_energy or self.ei),
                aperture[0] ** 2 * box,
                aperture[1] ** 2 * box,
                s.chopper(self.package).variance(self.ei, self.frequency),
                *self.sample.variances,
                s.detectors.depth**2 * box,
                s.detectors.width**2 * box,
                s.detectors.height**2 * box,
                *(self.sample.mosaic_variances if any(self.sample.mosaic) else ()),
                box,
            ]
        )


def linear_map(setting: Setting, q: NDArray[np.float64], energy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Matrix M of (dQ, dE) = M . deviations at each point.

    Parameters
    ----------
    setting : Setting
    q : (n, 3) spectrometer frame, 1/Å
    energy : (n,) meV
        Energy transfer; below ``ei``.

    Returns
    -------
    (n, 4, n_deviations)
        Rows dQx, dQy, dQz (1/Å, spectrometer frame), dE (meV); columns as ``setting.names``.

    Raises
    ------
    InstrumentError
        If an energy transfer leaves the neutron nothing, or the chopper transmits nothing.
    """
    q, energy = np.atleast_2d(q), np.atleast_1d(np.asarray(energy, float))
    if (energy >= setting.ei).any():
        given = f"energy transfer {energy.max():g} meV is not below Ei = {setting.ei:g} meV"
        raise InstrumentError(f"{given}; the neutron has no more to give")
    ki, kf = wavevector(setting.ei), wavevector(setting.ei - energy)
    # the scattered beam's frame: along k_f, horizontal, up
    along = np.stack([ki - q[:, 0], -q[:, 1], -q[:, 2]], -1) / kf[:, None]
    flat = np.stack([-along[:, 1], along[:, 0], np.zeros(len(q))], -1)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    frame = np.stack([along, flat, np.cross(along, flat)], 1)  # (n, 3 axes, 3)

    dki, dkf = _incident(setting), _scattered(setting, frame, energy)
    matrix = np.empty((len(q), 4, len(NAMES)))
    matrix[:, :3] = dki - np.swapaxes(frame, 1, 2) @ dkf
    matrix[:, 3] = 2 * ENERGY_PER_K2 * (ki * dki[0] - kf[:, None] * dkf[:, 0])
    if not any(setting.sample.mosaic):
        return matrix
    # a crystallite turned by theta shows at Q what the crystal has at Q less theta x Q; energy is not touched
    turned = np.zeros((len(q), 4, 3))
    turned[:, :3] = np.swapaxes(np.cross(setting.mount()[None], q[:, None, :]), 1, 2)
    return np.concatenate([matrix[..., :-1], turned, matrix[..., -1:]], axis=2)


def _delays(setting: Setting) -> tuple[float, float, float, float]:
    """g1 / d, g2 / d (s/m) and the same of f1, f2: how aperture and sample shift the time at the chopper.

    The moderator's tilt and the turning chopper make neutrons off the axis come late.
    """
    s = setting.spectrometer
    x0, xa, x1 = s.moderator_chopper, s.aperture_chopper, s.chopper_sample
    w, tan = 2 * np.pi * setting.frequency, np.tan(np.radians(s.moderator.tilt))
    vi, d = SPEED_PER_SQRT_ENERGY * np.sqrt(setting.ei), w * (xa + x1)
    g1, g2 = 1 - w * (x0 + x1) * tan / vi, 1 - w * (x0 - xa) * tan / vi
    return g1 / d, g2 / d, (1 + x1 / x0 * g1) / d, (1 + x1 / x0 * g2) / d


def _incident(setting: Setting) -> NDArray[np.float64]:
    """Deviations of k_i, (3, n_deviations without mosaic), along it, horizontal and up."""
    s, ki = setting.spectrometer, wavevector(setting.ei)
    ti = s.moderator_chopper / (SPEED_PER_SQRT_ENERGY * np.sqrt(setting.ei))
    length = s.aperture_chopper + s.chopper_sample
    g1, g2, _, _ = _delays(setting)
    body = setting.sample_axes().T  # columns: a unit of each sample deviation, m
    dki = np.zeros((3, len(NAMES)))
    dki[0, [0, 1, 3]] = ki / ti * np.array([1, -g1, -1])
    dki[0, SAMPLE] = ki / ti * g2 * body[1]
    dki[1, 1] = dki[2, 2] = -ki / length
    dki[1, SAMPLE], dki[2, SAMPLE] = ki / length * body[1], ki / length * body[2]
    return dki


def _scattered(setting: Setting, frame: NDArray[np.float64], energy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Deviations of k_f, (n, 3, n_deviations without mosaic), in the scattered beam's frame (n, 3 axes, 3)."""
    s, kf = setting.spectrometer, wavevector(setting.ei - energy)
    vi, vf = SPEED_PER_SQRT_ENERGY * np.sqrt(setting.ei), SPEED_PER_SQRT_ENERGY * np.sqrt(setting.ei - energy)
    x0, x1, x2 = s.moderator_chopper, s.chopper_sample, s.detectors.distance
    _, _, f1, f2 = _delays(setting)
    body = setting.sample_axes().T
    turned = frame @ body  # sample deviations in the scattered beam's frame, (n, 3, 3)
    tf = x2 / vf
    rate = kf / tf
    dkf = np.zeros((len(kf), 3, len(NAMES)))
    dkf[:, 0, 0] = -rate * x1 / x0
    dkf[:, 0, 1] = rate * f1
    dkf[:, 0, 3] = rate * (x0 + x1) / x0
    dkf[:, 0, SAMPLE] = rate[:, None] * (body[0] / vi - f2 * body[1] - turned[:, 0] / vf[:, None])
    dkf[:, 0, 7] = rate / vf
    # a bin of the histogram, in time: dE = 2 E_f t / t_f
    dkf[:, 0, 10] = -rate * setting.energy_bin * tf / (2 * (setting.ei - energy))
    dkf[:, 1:, SAMPLE] = -(kf / x2)[:, None, None] * turned[:, 1:]
    dkf[:, 1, 8] = dkf[:, 2, 9] = kf / x2
    return dkf


def covariance(setting: Setting, q: NDArray[np.float64], energy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariance of (Q, energy), (n, 4, 4), 1/Å and meV, in the spectrometer frame: M V M^T."""
    m = linear_map(setting, q, energy)
    return (m * setting.variances()) @ np.swapaxes(m, 1, 2)


def dimensions(setting: Setting) -> int:
    """Coordinates of the unit cube that :func:`true_deviations` needs: one a deviation, two for the moderator."""
    return len(setting.names) + 1


def true_deviations(setting: Setting, u: NDArray[np.float64]) -> NDArray[np.float64]:
    """Deviations with their true shapes from points (..., dimensions) of the unit cube, (..., n) as ``setting.names``.

    The moderator's and the chopper's pulses, the shape of the sample, a Gaussian mosaic; boxes otherwise.
    """
    s = setting.spectrometer
    deviations = np.sqrt(12 * setting.variances()) * (u[..., :-1] - 0.5)
    deviations[..., 0] = s.moderator.deviation(setting.moderator_energy or setting.ei, u[..., 0], u[..., -1])
    deviations[..., 3] = s.chopper(setting.package).quantile(setting.ei, setting.frequency, u[..., 3])
    deviations[..., SAMPLE] = setting.sample.points(u[..., SAMPLE])
    if any(setting.sample.mosaic):
        deviations[..., -4:-1] = np.sqrt(setting.sample.mosaic_variances) * special.ndtri(u[..., -5:-2])
    return deviations
