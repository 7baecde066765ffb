"""The sample: its shape, how it lies in the crystal, and its mosaic."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import scipy
from numpy.typing import NDArray

from ..errors import InstrumentError
from ..units import FWHM_PER_SIGMA

Shape = Literal["cuboid", "plate", "cylinder", "sphere"]
Triple = tuple[float, float, float]
UPRIGHT = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
"""A sample that stands along the axes of its mount."""
# variances of points in a shape of unit size along its three axes
_VARIANCES = {
    "cuboid": (1 / 12, 1 / 12, 1 / 12),
    "plate": (1 / 12, 1 / 12, 1 / 12),
    "cylinder": (1 / 16, 1 / 16, 1 / 12),
    "sphere": (1 / 20, 1 / 20, 1 / 20),
}


@dataclass(frozen=True)
class Sample:
    """A sample.

    The mount is the spectrometer frame (x along the beam, y horizontal, z up) as it was at psi = 0; it turns with psi.

    Attributes
    ----------
    size : (float, float, float)
        Extent along the sample's three axes, m: edges of a cuboid or plate, two diameters and the height of a cylinder,
        three diameters of a sphere.
    shape : {"cuboid", "plate", "cylinder", "sphere"}
        A plate is a thin cuboid.
    axes : (3, 3)
        Rows: the sample's axes in the mount, orthonormal.
    mosaic : (float, float, float)
        Full widths at half maximum (degrees) of the crystallites' rotations about the mount's axes.
    """

    size: Triple
    shape: Shape = "cuboid"
    axes: tuple[Triple, Triple, Triple] = UPRIGHT
    mosaic: Triple = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if self.shape not in get_args(Shape):
            raise InstrumentError(f"a sample has no shape {self.shape}; it has one of {', '.join(get_args(Shape))}")
        round_ = {"cylinder": 2, "sphere": 3}.get(self.shape, 1)
        if len(set(self.size[:round_])) > 1:
            given = ", ".join(f"{1000 * x:g}" for x in self.size)
            raise InstrumentError(
                f"a {self.shape} has the same diameter in {round_} directions; the size given, {given} mm, has not"
            )

    @property
    def variances(self) -> NDArray[np.float64]:
        """Variances of the points of the sample along its axes, in units of its size squared, (3,)."""
        return np.array(_VARIANCES[self.shape])

    @property
    def mosaic_variances(self) -> NDArray[np.float64]:
        """Variances of the crystallites' rotations about the mount's axes, (3,) rad^2."""
        return (np.radians(self.mosaic) / FWHM_PER_SIGMA) ** 2

    def points(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points that fill the shape evenly, in units of its size along its axes, from its centre.

        Each coordinate is that of its own quantile, given those before it, so that neighbours in ``u`` stay neighbours.

        Parameters
        ----------
        u : (..., 3) in (0, 1)

        Returns
        -------
        (..., 3)
        """
        out = u - 0.5
        if self.shape in ("cylinder", "sphere"):
            # marginals of a disc and of a ball: beta distributions
            order = 1.5 if self.shape == "cylinder" else 2.0
            x = scipy.stats.beta.ppf(u[..., 0], order, order) - 0.5
            left = np.sqrt(np.clip(0.25 - x**2, 0, None))
            share = scipy.stats.beta.ppf(u[..., 1], 1.5, 1.5) - 0.5 if self.shape == "sphere" else u[..., 1] - 0.5
            y = 2 * left * share
            out[..., 0], out[..., 1] = x, y
            if self.shape == "sphere":
                out[..., 2] = 2 * np.sqrt(np.clip(left**2 - y**2, 0, None)) * (u[..., 2] - 0.5)
        return out
