"""What may be wrong with the instrument and the sample as a study states them.

An error is counted in units of the standard deviation of its prior, so that its prior is a unit normal; that of what is
never negative is the half of one above zero. Sizes of the priors, and where they are from:

- Energy zero of each run, 1.6 % of Ei: published resolution tables of two runs of one instrument belong to incident
  energies 1.6 % above the nominal ones (25.4 for 25, 71.1 for 70 meV).
- Width of the moderator's pulse in each run, a fifth: two published references for one instrument differ by 8 to 33 %
  in the width in energy.
- Mosaic of the sample, in variance beyond what the study states, that of 2 degrees (FWHM): seldom published, of an
  array of co-aligned crystals degrees. It stands for any broadening in Q.
- Width of a mode beyond what the study states, in variance, in each run that of 2 % of its highest energy transfer
  (FWHM), all runs sharing the factor: modes of a disordered magnet are some per cent of their energy wide, the higher
  the wider. It stands for any broadening in energy that grows so.
- Where the axes of a map are, half a pixel, as in the noise that networks are trained on.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from .instrument import ScaledPulse
from .study import Run, Study
from .views import MapView

ENERGY_ZERO = 0.016
"""Of Ei."""
MODERATOR = 0.2
MOSAIC = 2.0
"""Degrees, full width at half maximum."""
MODE_WIDTH = 0.02
"""Of a run's highest energy transfer, full width at half maximum."""
PIXELS = 0.5
PLACE = "place along "
BROADENING = 2.0
"""How much further than its prior what only broadens is drawn for training sets: networks are to know more than is
likely, for no prior of what a measurement's features are broadened by is sure."""


def _energy_zero(study: Study, run: Run, size: float) -> Study:
    """Recorded energy transfers are too high: what is recorded in a slice happened below it."""
    view = study.view
    if isinstance(view, MapView):
        moved = replace(view, energy_fractions=tuple(f - size * ENERGY_ZERO for f in view.energy_fractions))
        return replace(study, view=moved)
    shift = size * ENERGY_ZERO * run.ei
    return replace(study, view=replace(view, energies=tuple(e - shift for e in view.energies)))


def _moderator(study: Study, run: Run, size: float) -> Study:
    pulse = ScaledPulse(study.spectrometer.moderator, 1 + size * MODERATOR)
    return replace(study, spectrometer=replace(study.spectrometer, moderator=pulse))


def _mosaic(study: Study, run: Run, size: float) -> Study:
    x, y, z = (float(np.sqrt(m**2 + size * MOSAIC**2)) for m in study.sample.mosaic)
    return replace(study, sample=replace(study.sample, mosaic=(x, y, z)))


def _place(axis: int, study: Study, run: Run, size: float) -> Study:
    """What is recorded in a pixel happened before it along an axis."""
    one, two = (
        replace(a, start=a.start - shift, stop=a.stop - shift)
        for n, a in enumerate(study.maps.axes)
        for shift in [size * PIXELS * a.width * (n == axis)]
    )
    return replace(study, view=replace(study.maps, axes=(one, two)))


def _mode_width(study: Study, run: Run, size: float) -> Study:
    unit = MODE_WIDTH * float(study.view.energy_edges(run.ei)[-1])
    return replace(study, intrinsic_width=float(np.sqrt(study.intrinsic_width**2 + size * unit**2)))


@dataclass(frozen=True)
class Kind:
    """One kind of error.

    Attributes
    ----------
    change : callable
        From a study, a run and a size to the study with this error in that run.
    bounds : (low, high)
        Sizes that a fit may take it to.
    each_run : bool
        Whether every run has its own.
    """

    name: str
    change: Callable[[Study, Run, float], Study]
    bounds: tuple[float, float]
    each_run: bool

    def nodes(self, centre: float, step: float) -> tuple[float, float]:
        """Two sizes less a centre, at which to simulate what the error does about it."""
        return (-step, step) if centre - step >= self.bounds[0] else (step, 2 * step)


KINDS = (
    Kind("energy zero", _energy_zero, (-2.5, 2.5), True),
    Kind("moderator width", _moderator, (-2.5, 2.5), True),
    Kind("mosaic", _mosaic, (0.0, 6.0), False),
    Kind("width of a mode", _mode_width, (0.0, 6.0), False),
)


def kinds_of(study: Study) -> tuple[Kind, ...]:
    """Kinds of errors that a study's instrument may have: :data:`KINDS`, and the place along each axis of maps."""
    axes = study.view.axes if isinstance(study.view, MapView) else ()
    return *KINDS, *(Kind(PLACE + a.name, partial(_place, n), (-2.5, 2.5), False) for n, a in enumerate(axes))


def run_by_run(study: Study, amounts: NDArray[np.float64]) -> list[Study]:
    """Studies of one run each, changed by errors of their own: sizes (n_kinds, runs) of those of :func:`kinds_of`."""
    out, kinds = [], kinds_of(study)
    for run, sizes in zip(study.runs, amounts.T.tolist(), strict=True):
        changed = replace(study, runs=(run,))
        # what a run sees is moved last, because sizes may be shares of it
        for kind, size in reversed(list(zip(kinds, sizes, strict=True))):
            changed = kind.change(changed, run, size) if size else changed
        out.append(changed)
    return out


@dataclass(frozen=True)
class Error:
    """One nuisance: its name, and the run it belongs to, or None for all."""

    name: str
    run: int | None
    bounds: tuple[float, float]

    def physical(self, study: Study, size: float) -> tuple[float, str]:
        """A size in physical units, and what they are."""
        if self.name == "energy zero":
            return size * ENERGY_ZERO * study.runs[self.run or 0].ei, "meV"
        if self.name == "moderator width":
            return 1 + size * MODERATOR, "times the stated"
        if self.name == "mosaic":
            return float(np.sqrt(max(size, 0.0)) * MOSAIC), "degrees FWHM, beyond the stated"
        if self.name == "width of a mode":
            return float(np.sqrt(max(size, 0.0))) * 100 * MODE_WIDTH, "% of a run's highest energy transfer, FWHM"
        return size * PIXELS, "pixels"


def errors_of(study: Study) -> tuple[tuple[Error, ...], NDArray[np.float64]]:
    """All errors that a study's instrument may have, and which kind and runs each is of, (n_errors, n_kinds, runs)."""
    runs, kinds = range(len(study.runs)), kinds_of(study)
    errors = [Error(k.name, r, k.bounds) for k in kinds for r in (runs if k.each_run else [None])]
    names = [kind.name for kind in kinds]
    member = np.zeros((len(errors), len(names), len(runs)))
    for number, error in enumerate(errors):
        member[number, names.index(error.name), slice(None) if error.run is None else error.run] = 1
    return tuple(errors), member


def usual_sizes(errors: tuple[Error, ...]) -> NDArray[np.float64]:
    """Sizes that their priors make most likely, (n_errors,): 1 in the logarithm of one that is never negative."""
    return np.array([1.0 if error.bounds[0] == 0 else 0.0 for error in errors])


def drawn_amounts(study: Study, rng: np.random.Generator) -> NDArray[np.float64]:
    """Errors for one spectrum of a training set, by kind and run, (n_kinds, runs).

    Each from its prior, within what a fit may take it to; what is never negative :data:`BROADENING` times as far.
    Places along axes are left as they are: degraded images are shifted anyway.
    """
    kinds, runs = kinds_of(study), len(study.runs)
    out = np.zeros((len(kinds), runs))
    for number, kind in enumerate(kinds):
        low, high = kind.bounds
        sizes = rng.standard_normal(runs if kind.each_run else 1)
        if not kind.name.startswith(PLACE):
            out[number] = np.clip(sizes, low, high) if low < 0 else np.clip(BROADENING * np.abs(sizes), low, high)
    return out
