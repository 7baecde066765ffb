"""Which pixels have a detector: coverages such as instruments have, drawn at random in scattering angle."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..resolution.coverage import coverage
from ..resolution.setting import pixel_wave_vectors
from ..study import Study
from ..units import wavevector
from ..views import MapView


@dataclass(frozen=True)
class CoverageLaw:
    """How coverages are drawn.

    Attributes
    ----------
    limit : (low, high)
        Largest horizontal and vertical angle, as a share of the largest in the view.
    stop : (low, high)
        Half width of the beam stop, degrees.
    gaps : int
        At most so many gaps between banks.
    gap : (low, high)
        Half width of a gap, degrees.
    bank : float
        Share of coverages in which a bank is missing.
    complete : float
        Share of coverages without anything missing.
    """

    limit: tuple[float, float] = (0.3, 0.9)
    stop: tuple[float, float] = (1.0, 4.5)
    gaps: int = 16
    gap: tuple[float, float] = (0.2, 1.3)
    bank: float = 0.3
    complete: float = 0.05

    def settings(self) -> dict[str, Any]:
        """What the card of weights records of it."""
        return asdict(self)

    @classmethod
    def from_settings(cls, settings: dict[str, Any] | None) -> "CoverageLaw":
        """From what a card recorded; cards that recorded nothing are of weights that saw :data:`MILD` coverages."""
        if settings is None:
            return MILD
        found: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
        return cls(**found)


MILD = CoverageLaw((0.45, 1.1), (1.0, 3.5), 6, (0.15, 0.8), 0.15, 0.1)
"""Of the first weights: fewer gaps than measurements have."""


def detector_angles(study: Study) -> NDArray[np.float32]:
    """Horizontal and vertical scattering angles of every pixel, (2, runs, slices, x, y) degrees; NaN out of reach."""
    out = np.empty((2, *study.shape), np.float32)
    for r, run in enumerate(study.runs):
        edges = study.energy_edges[r]
        q = pixel_wave_vectors(study, r, (edges[1:] + edges[:-1]) / 2)
        along = wavevector(run.ei) - q[..., 0]
        out[:, r] = np.degrees(np.arctan2(-np.moveaxis(q[..., 1:], -1, 0), along))
    return out


def random_coverage(study: Study, number: int, seed: int, law: CoverageLaw | None = None) -> torch.Tensor:
    """Detector coverages such as instruments have, (number, runs, slices, x, y) bool.

    Each has a limit of angle, a beam stop, gaps between banks and now and then a bank missing, all fixed in angle, so
    that they fall on different wave vectors in every run and slice. Where a study asks for its instrument's own banks,
    nothing is seen outside them. A path is measured by turning the crystal; see :func:`_of_a_scan`.
    """
    law = law or CoverageLaw()
    angles = detector_angles(study)
    across, up = angles
    if not isinstance(study.view, MapView):
        return _of_a_scan(across, law, number, seed)
    reach = float(np.nanmax(np.abs(angles)))
    finite = np.isfinite(across)
    if study.coverage:
        finite &= np.stack([coverage(study, run) for run in range(len(study.runs))])
    rng = np.random.default_rng([seed, 77])
    out = np.empty((number, *study.shape), bool)
    for i in range(number):
        seen = finite.copy()
        if rng.uniform() > law.complete:
            limit = rng.uniform(*law.limit, 2) * reach
            seen &= (np.abs(across) < limit[0]) & (np.abs(up) < limit[1])
            stop = rng.uniform(*law.stop, 2)
            seen &= (np.abs(across) > stop[0]) | (np.abs(up) > stop[1])
            for _ in range(rng.integers(0, law.gaps + 1)):
                along, other = (across, up) if rng.uniform() < 0.5 else (up, across)
                half = rng.uniform(*law.gap)
                start = rng.uniform(-reach, reach)
                gap = np.abs(along - rng.uniform(-0.7, 0.7) * reach) < half
                seen &= ~(gap & (other > start) & (other < start + rng.uniform(0.2, 2) * reach))
            if rng.uniform() < law.bank:
                low = rng.uniform(-reach, reach * 0.6, 2)
                high = low + rng.uniform(0.1, 0.5, 2) * reach
                seen &= ~((across > low[0]) & (across < high[0]) & (up > low[1]) & (up < high[1]))
        out[i] = seen
    return torch.as_tensor(out)


def _of_a_scan(across: NDArray[np.float32], law: CoverageLaw, number: int, seed: int) -> torch.Tensor:
    """Coverages of a crystal that turns, from the horizontal angle at which each pixel is seen, degrees.

    The view says itself how far detectors reach, so that there is no further limit. A pixel averages over heights, and
    what is missing is missing at a horizontal angle: gaps, a bank and the beam stop, with the same sizes as for maps.
    """
    reach = float(np.nanmax(np.abs(across)))
    rng = np.random.default_rng([seed, 78])
    out = np.repeat(np.isfinite(across)[None], number, 0)
    for seen in out:
        if rng.uniform() <= law.complete:
            continue
        seen &= np.abs(across) > rng.uniform(*law.stop)
        for _ in range(rng.integers(0, law.gaps + 1)):
            seen &= ~(np.abs(across - rng.uniform(-reach, reach)) < rng.uniform(*law.gap))
        if rng.uniform() < law.bank:
            low = rng.uniform(-reach, 0.6 * reach)
            seen &= ~((across > low) & (across < low + rng.uniform(0.1, 0.5) * reach))
    return torch.as_tensor(out)
