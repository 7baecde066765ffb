"""The lattice, and how the crystal stands in the spectrometer."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import StudyError


@dataclass(frozen=True)
class Lattice:
    """A unit cell: lengths in Å, angles in degrees."""

    a: float
    b: float
    c: float
    alpha: float = 90.0
    beta: float = 90.0
    gamma: float = 90.0

    @property
    def direct(self) -> NDArray[np.float64]:
        """Cell vectors as rows, (3, 3) Å: a along x, b in the xy plane.

        Raises
        ------
        StudyError
            If the angles do not close a cell.
        """
        cos_a, cos_b, cos_g = np.cos(np.radians([self.alpha, self.beta, self.gamma]))
        sin_g = np.sin(np.radians(self.gamma))
        c_y = (cos_a - cos_b * cos_g) / sin_g
        c_z2 = 1 - cos_b**2 - c_y**2
        if c_z2 <= 0:
            raise StudyError(
                f"lattice angles {self.alpha}, {self.beta}, {self.gamma} do not close a cell; "
                "each must be smaller than the sum of the other two and their sum below 360 degrees"
            )
        return np.array(
            [
                [self.a, 0, 0],
                [self.b * cos_g, self.b * sin_g, 0],
                [self.c * cos_b, self.c * c_y, self.c * np.sqrt(c_z2)],
            ]
        )

    @property
    def reciprocal(self) -> NDArray[np.float64]:
        """Reciprocal vectors as rows, (3, 3) 1/Å, so that ``q_cartesian = hkl @ reciprocal``."""
        return np.asarray(2 * np.pi * np.linalg.inv(self.direct).T, np.float64)

    def to_cartesian(self, hkl: ArrayLike) -> NDArray[np.float64]:
        """Wave vectors (..., 3) from r.l.u. to the crystal's Cartesian frame in 1/Å."""
        return np.asarray(np.asarray(hkl, float) @ self.reciprocal, float)


@dataclass(frozen=True)
class Orientation:
    """How the crystal is mounted: ``u`` along the beam and ``v`` in the horizontal plane at psi = 0 (r.l.u.).

    ``dpsi``, ``gl`` and ``gs`` (degrees) are by how much the crystal misses that: about the vertical and about the
    large and the small arc of its goniometer, whose small arc turns about an axis at ``omega`` from the nominal u, as
    in Horace.
    """

    u: tuple[float, float, float]
    v: tuple[float, float, float]
    dpsi: float = 0.0
    gl: float = 0.0
    gs: float = 0.0
    omega: float = 0.0

    def misalignment(self) -> NDArray[np.float64]:
        """Rotation (3, 3) from where u and v were meant to point to where they do, in the frame of the mount."""
        omega = _turn(self.omega, 2)
        return omega @ _turn(self.dpsi, 2) @ _turn(self.gl, 1) @ _turn(self.gs, 0) @ omega.T

    def spectrometer_frame(self, lattice: Lattice, psi: float = 0.0) -> NDArray[np.float64]:
        """Matrix (3, 3) that takes r.l.u. to the spectrometer frame: x along k_i, y horizontal, z up, 1/Å.

        Use as ``q_spectrometer = hkl @ matrix``. ``psi`` (degrees) turns the crystal about the vertical,
        positive from x towards y, as in Horace.

        Raises
        ------
        StudyError
            If u and v are parallel.
        """
        u, v = lattice.to_cartesian(self.u), lattice.to_cartesian(self.v)
        up = np.cross(u, v)
        if np.linalg.norm(up) < 1e-9 * np.linalg.norm(u) * np.linalg.norm(v) or not u.any():
            raise StudyError(f"orientation: u {self.u} and v {self.v} are parallel; they must span a plane")
        x, z = u / np.linalg.norm(u), up / np.linalg.norm(up)
        y = np.cross(z, x)
        turn = _turn(psi, 2) @ self.misalignment()
        return np.asarray(lattice.reciprocal @ np.stack([x, y, z], axis=1) @ turn.T, float)


def _turn(degrees: float, axis: int) -> NDArray[np.float64]:
    """Rotation (3, 3) of column vectors about x, y or z, right-handed."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    first, second = (axis + 1) % 3, (axis + 2) % 3
    out = np.eye(3)
    out[first, first] = out[second, second] = cos
    out[second, first], out[first, second] = sin, -sin
    return out
