"""Where a direct-geometry spectrometer looks, and the l that (h, k, energy) leaves no choice of."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..units import ENERGY_PER_K2, wavevector


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

        |k_i - Q|^2 = k_f^2 is solved for the forward root; with the beam along c this is
        l = (c / 2 pi) (k_i - sqrt(k_f^2 - q_h^2 - q_k^2)).
        """
        ex, ey, el = self.view
        ki = float(wavevector(self.ei))
        # k_f = r - l e_l with r = k_i - x e_x - y e_y
        r = [(ki if axis == 0 else 0.0) - x * float(ex[axis]) - y * float(ey[axis]) for axis in range(3)]
        along = r[0] * float(el[0]) + r[1] * float(el[1]) + r[2] * float(el[2])
        square = float(el @ el)
        rest = r[0] ** 2 + r[1] ** 2 + r[2] ** 2 - (self.ei - energy) / ENERGY_PER_K2
        root = along**2 - square * rest
        return (along - torch.where(root >= 0, root, torch.nan).sqrt()) / square

    def q_spectrometer(self, x: ArrayLike, y: ArrayLike, energy: ArrayLike) -> NDArray[np.float64]:
        """Wave vectors (..., 3) in the spectrometer frame, 1/Å; NaN out of reach."""
        x, y, energy = np.broadcast_arrays(*(np.asarray(a, float) for a in (x, y, energy)))
        ell = self.hidden(*(torch.as_tensor(a.copy()) for a in (x, y, energy))).numpy()
        return np.stack([x, y, ell], -1) @ self.view
