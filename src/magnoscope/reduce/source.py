"""What a reduction takes in: measured pixels with wave vector, energy transfer, intensity and its variance."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Points:
    """Measured pixels of one crystal setting.

    Attributes
    ----------
    hkl : (n, 3) r.l.u. of the study's lattice
    energy : (n,) meV
    signal, variance : (n,)
    """

    hkl: NDArray[np.float64]
    energy: NDArray[np.float64]
    signal: NDArray[np.float64]
    variance: NDArray[np.float64]


class Source(Protocol):
    """A measured run, or a file of several, in numbered parts that fit in memory."""

    @property
    def name(self) -> str:
        """What to call it."""
        ...

    @property
    def key(self) -> str:
        """Changes whenever the data do."""
        ...

    @property
    def parts(self) -> int:
        """Number of parts."""
        ...

    @property
    def size(self) -> int:
        """Number of pixels in all."""
        ...

    def part(self, number: int) -> list[tuple[int, Points]]:
        """The pixels of a part, by the study's run they belong to."""
        ...
