"""Where a direct-geometry spectrometer looks, and the l that (h, k, energy) leaves no choice of."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..units import ENERGY_PER_K2, wavevector

ACROSS = 1e-6
"""Cosine of the angle to the beam below which a direction counts as across it."""


@dataclass(frozen=True)
class Scan:
    """One crystal setting seen through the two axes of Q a view shows.

    Attributes
    ----------
    ei : float
        Incident energy, meV.
    frame : (3, 3)
        Takes r.l.u. to the spectrometer frame (x along k_i), 1/Å.
    axes : (3, 3) r.l.u.
        Rows: the view's two axes, then the direction it does not show.
    """

    ei: float
    frame: NDArray[np.float64]
    axes: NDArray[np.float64]

    @property
    def view(self) -> NDArray[np.float64]:
        """Takes view coordinates (x, y, l) to the spectrometer frame, (3, 3) 1/Å."""
        return self.axes @ self.frame

    def hidden(self, x: torch.Tensor, y: torch.Tensor, energy: torch.Tensor) -> torch.Tensor:
        """The third coordinate (r.l.u.) at view coordinates and energy transfer; NaN out of reach.

        |k_i - Q|^2 = k_f^2 has two roots: a k_f and its mirror image, turned round along the hidden direction. This is
        the one scattered by the smaller angle; with the beam along c,
        l = (c / 2 pi) (k_i - sqrt(k_f^2 - q_h^2 - q_k^2)). Where the hidden direction lies across the beam both are
        scattered by the same angle, and this k_f points along that direction. :meth:`other_root` gives the other.
        """
        el = self.view[2]
        square = float(el @ el)
        # k_f = r - l e_l with r = k_i - x e_x - y e_y, a part of which lies along e_l; the rest is that of k_f too
        r = np.stack([[float(wavevector(self.ei)), 0.0, 0.0], -self.view[0], -self.view[1]])
        foot, foot_x, foot_y = (float(f) for f in r @ el / square)
        across = r - np.outer(r @ el / square, el)
        ((c, cx, cy), (_, cxx, cxy), (_, _, cyy)) = (across @ across.T / square).tolist()
        beyond = x * (x * cxx + y * (2 * cxy) + 2 * cx) + y * (y * cyy + 2 * cy)
        root = (self.ei - energy) / (ENERGY_PER_K2 * square) - c - beyond
        return foot + x * foot_x + y * foot_y - self._towards * root.sqrt()

    @property
    def _towards(self) -> float:
        """Whether the neutrons of the smaller scattering angle fly towards (1) or against (-1) the hidden direction."""
        e_l = self.view[2]
        return -1.0 if e_l[0] < -ACROSS * np.linalg.norm(e_l) else 1.0

    def other_root(self, x: ArrayLike, y: ArrayLike, energy: ArrayLike) -> NDArray[np.float64]:
        """Wave vectors (..., 3) of the other root, in the spectrometer frame, 1/Å; NaN out of reach.

        Detectors see them too where the hidden direction lies across the beam, or where they stand beyond 90 degrees.
        """
        k_i = np.array([float(wavevector(self.ei)), 0.0, 0.0])
        k_f = k_i - self.q_spectrometer(x, y, energy)
        along = self.view[2] / np.linalg.norm(self.view[2])
        return np.asarray(k_i - k_f + 2 * (k_f @ along)[..., None] * along)

    def q_spectrometer(self, x: ArrayLike, y: ArrayLike, energy: ArrayLike) -> NDArray[np.float64]:
        """Wave vectors (..., 3) in the spectrometer frame, 1/Å; NaN out of reach."""
        x, y, energy = np.broadcast_arrays(*(np.asarray(a, float) for a in (x, y, energy)))
        ell = self.hidden(*(torch.as_tensor(a.copy()) for a in (x, y, energy))).numpy()
        return np.stack([x, y, ell], -1) @ self.view


@dataclass(frozen=True)
class Rotation:
    """A scan in which the crystal turns about the vertical until each wave vector is seen.

    A wave vector Q is scattered with k_f where |k_i - Q| = k_f: its component along k_i is
    then (k_i^2 + Q^2 - k_f^2) / 2 k_i, its vertical one is as the crystal was mounted, and the horizontal one across
    the beam is what is left, to either side.

    Attributes
    ----------
    ei : float
        Incident energy, meV.
    frame : (3, 3)
        Takes r.l.u. to the spectrometer frame (x along k_i) before the crystal turns, 1/Å.
    """

    ei: float
    frame: NDArray[np.float64]

    def q_spectrometer(self, hkl: ArrayLike, energy: ArrayLike, side: int = 1) -> NDArray[np.float64]:
        """Wave vectors (..., 3) in the spectrometer frame once the crystal has turned, 1/Å; NaN out of reach.

        Parameters
        ----------
        hkl : (..., 3) r.l.u.
        energy : (...) meV
        side : {1, -1}
            Whether the wave vector points to +y or to -y.
        """
        q = np.asarray(hkl, float) @ self.frame
        kf2 = (self.ei - np.asarray(energy, float)) / ENERGY_PER_K2
        ki = float(wavevector(self.ei))
        x = (ki**2 + (q**2).sum(-1) - kf2) / (2 * ki)
        rest = (q[..., :2] ** 2).sum(-1) - x**2
        reached = (rest >= 0) & (kf2 > 0)
        y = side * np.sqrt(np.where(reached, rest, 0))
        z = np.broadcast_to(q[..., 2], x.shape)
        return np.where(reached[..., None], np.stack([x, y, z], -1), np.nan)

    def turn(self, hkl: ArrayLike, q: NDArray[np.float64]) -> NDArray[np.float64]:
        """Angle psi (degrees, -180 to 180) by which the crystal turns to bring ``hkl`` to ``q``; see Orientation."""
        start = np.asarray(hkl, float) @ self.frame
        angle = np.arctan2(q[..., 1], q[..., 0]) - np.arctan2(start[..., 1], start[..., 0])
        return np.asarray(np.degrees((angle + np.pi) % (2 * np.pi) - np.pi))
