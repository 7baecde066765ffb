"""What may be wrong with the instrument and the sample as a study states them, as nuisances of a fit.

An error is counted in units of the standard deviation of its prior, so that its prior is a unit normal; that of what is
never negative is the half of one above zero. Of such an error the most likely value often is zero, which is typical of
nothing: with it features are sharper, and parameters surer, than on average over all that the data allow. The fit
therefore climbs the density of its logarithm, in which the peak is nearer to the mean (D. J. C. MacKay, Choice of basis
for Laplace approximation, Machine Learning 33, 77 (1998)). Spectra are
simulated with their errors (:class:`Spectra`): what an energy zero does depends on where the modes are. How a spectrum
changes with each (:class:`Response`), of which steps are made, is a parabola through simulations of the study changed
by it: of all runs at once, because no run depends on another's.
Sizes of the priors, and where they are from:

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
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from ..instrument import ScaledPulse
from ..resolution.spread import Method
from ..simulate import Sampling, Simulator
from ..study import Run, Study
from ..views import MapView
from .crew import ALONE, Crew

ENERGY_ZERO = 0.016
"""Of Ei."""
MODERATOR = 0.2
MOSAIC = 2.0
"""Degrees, full width at half maximum."""
MODE_WIDTH = 0.02
"""Of a run's highest energy transfer, full width at half maximum."""
PIXELS = 0.5
LEAST = 0.02
"""Size down to which a fit takes what is never negative."""
PLACE = "place along "
COARSE = Sampling(zone_points=10)
"""For searches."""
CLOSE = Sampling(zone_points=14)
"""For differences from a default simulation, and for those that errors of the instrument make."""
PREPARED = 3
"""Sets of errors for which a simulator is kept."""


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


class Simulators:
    """A study made ready to be simulated as it stands, finely and coarsely, and changed by errors of its instrument."""

    def __init__(self, study: Study, resolution: Method = "gaussian") -> None:
        self.study, self.resolution = study, resolution
        self.fine = Simulator(study, resolution)
        self._about_zero: dict[bytes, Simulator] = {}

    @cached_property
    def coarse(self) -> Simulator:
        """As it stands, coarsely."""
        return Simulator(self.study, self.resolution, COARSE)

    @cached_property
    def close(self) -> Simulator:
        """As it stands, for differences."""
        return Simulator(self.study, self.resolution, CLOSE)

    def about(self, amounts: NDArray[np.float64]) -> Simulator:
        """Finely, each run changed by errors of its own."""
        return self.fine.with_runs(run_by_run(self.study, amounts)) if amounts.any() else self.fine

    def changed(self, amounts: NDArray[np.float64], keep: bool = False) -> Simulator:
        """For differences, each run changed by errors of its own; kept for good where it will be asked for again."""
        key = amounts.tobytes()
        found = self._about_zero.get(key) or self.close.with_runs(run_by_run(self.study, amounts))
        if keep:
            self._about_zero[key] = found
        return found


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


@dataclass(frozen=True)
class Response:
    """How one model's spectrum changes with errors of the instrument, about errors that it has already.

    Attributes
    ----------
    errors : tuple of Error
    centre : (n_errors,)
        Sizes at which the spectrum was simulated.
    linear, square : (n_kinds, runs, slices, x, y)
        What a size beyond the centre, and its square, add.
    member : (n_errors, n_kinds, runs)
        1 where an error is of a kind and in a run.
    """

    errors: tuple[Error, ...]
    centre: NDArray[np.float64]
    linear: NDArray[np.float64]
    square: NDArray[np.float64]
    member: NDArray[np.float64]

    @cached_property
    def bounds(self) -> NDArray[np.float64]:
        """Sizes that a fit may take each to, (n_errors, 2)."""
        low, high = np.array([error.bounds for error in self.errors]).T
        return np.stack([np.where(self.positive, LEAST, low), high], 1)

    @cached_property
    def positive(self) -> NDArray[np.bool_]:
        """Which are never negative, (n_errors,)."""
        return np.array([error.bounds[0] == 0 for error in self.errors])

    @cached_property
    def usual(self) -> NDArray[np.float64]:
        """As :func:`usual_sizes`, (n_errors,)."""
        return usual_sizes(self.errors)

    def prior(self, sizes: NDArray[np.float64]) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        """Log-density of errors (n_errors,) up to a constant, its slope by each, and how much that bends, (n_errors,).

        That of one that is never negative is the density of its logarithm.
        """
        inverse = np.where(self.positive, 1 / np.maximum(sizes, LEAST), 0.0)
        height = float(np.log(np.maximum(sizes[self.positive], LEAST)).sum()) - 0.5 * float(sizes @ sizes)
        return height, inverse - sizes, 1 + inverse**2

    def amounts(self, sizes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sizes (n_errors,) by kind and run, (n_kinds, runs)."""
        return np.einsum("e,ekr->kr", sizes, self.member)

    def change(self, sizes: NDArray[np.float64]) -> NDArray[np.float64]:
        """What errors (n_errors,) add to a spectrum simulated at the centre, (runs, slices, x, y)."""
        beyond = self.amounts(sizes - self.centre)[..., None, None, None]
        return (beyond * self.linear + beyond**2 * self.square).sum(0)

    def slope(self, number: int, sizes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Derivative of :meth:`change` by one of them."""
        beyond = self.amounts(sizes - self.centre)[..., None, None, None]
        own = self.member[number][..., None, None, None]
        kinds = np.flatnonzero(self.member[number].any(1))
        return (own[kinds] * (self.linear[kinds] + 2 * beyond[kinds] * self.square[kinds])).sum(0)


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


class Spectra:
    """Spectra of one model, simulated with errors of the instrument.

    Parameters
    ----------
    prepare : callable
        From sizes by kind and run to what simulates with these errors.
    """

    def __init__(self, study: Study, model: str, prepare: Callable[[NDArray[np.float64]], Simulator]) -> None:
        self.model, self.prepare = model, prepare
        self.errors, self.member = errors_of(study)
        self.ready: dict[bytes, Simulator] = {}

    def __call__(self, values: NDArray[np.float64], sizes: NDArray[np.float64]) -> NDArray[np.float64]:
        """The spectrum at parameters (n_parameters,) meV and errors (n_errors,) or none, (runs, slices, x, y)."""
        sizes = sizes if len(sizes) else np.zeros(len(self.errors))
        amounts = np.ascontiguousarray(np.einsum("e,ekr->kr", sizes, self.member))
        key = amounts.tobytes()
        simulator = self.ready.get(key) or self.prepare(amounts)
        self.ready = dict([*self.ready.items(), (key, simulator)][-PREPARED:])
        return simulator.signal(self.model, values)


def response(
    simulators: Simulators,
    model: str,
    values: NDArray[np.float64],
    centre: NDArray[np.float64],
    step: float,
    crew: Crew = ALONE,
) -> tuple[Response, int]:
    """The response of a model's spectrum at a parameter set, and how many simulations it took.

    Parameters
    ----------
    values : (n_parameters,) meV
    centre : (n_errors,) or empty
        Errors to begin with; none unless given.
    step : float
        Half of the range in which the response should hold.
    crew : Crew
        What simulates side by side.

    Raises
    ------
    InstabilityError
        If the magnetic structure is no energy minimum there.
    """
    kinds, (errors, member) = kinds_of(simulators.study), errors_of(simulators.study)
    centre = centre if len(centre) else np.zeros(len(errors))
    amounts = np.einsum("e,ekr->kr", centre, member)
    # where every model begins
    keep = np.array_equal(centre, usual_sizes(errors))
    # steps to the one side of a bound for all runs if for any
    nodes = [kind.nodes(float(amounts[number].min()), step) for number, kind in enumerate(kinds)]
    moves = [np.zeros_like(amounts)]
    moves += [x * np.eye(len(kinds))[number][:, None] for number, pair in enumerate(nodes) for x in pair]
    base, *others = crew.map(lambda move: simulators.changed(amounts + move, keep).signal(model, values), moves)
    rows = []
    for number, (a, b) in enumerate(nodes):
        one, two = others[2 * number] - base, others[2 * number + 1] - base
        # the parabola through zero at 0, `one` at a and `two` at b
        square = (one / a - two / b) / (a - b)
        rows.append((one / a - a * square, square))
    linear, square = (np.stack(arrays) for arrays in zip(*rows, strict=True))
    return Response(errors, centre, linear, square, member), len(moves)
