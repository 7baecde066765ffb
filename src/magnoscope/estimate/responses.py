"""Errors of the instrument (:mod:`..instrument_errors`) as nuisances of a fit.

Of an error that is never negative the most likely value often is zero, which is typical of nothing: with it features
are sharper, and parameters surer, than on average over all that the data allow. The fit therefore climbs the density of
its logarithm, in which the peak is nearer to the mean (D. J. C. MacKay, Choice of basis for Laplace approximation,
Machine Learning 33, 77 (1998)). Spectra are simulated with their errors (:class:`Spectra`): what an energy zero does
depends on where the modes are. How a spectrum changes with each (:class:`Response`), of which steps are made, is a
parabola through simulations of the study changed by it: of all runs at once, because no run depends on another's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..instrument_errors import Error, errors_of, kinds_of, run_by_run, usual_sizes
from ..resolution.spread import Method
from ..simulate import Sampling, Simulator
from ..study import Study
from .crew import ALONE, Crew

LEAST = 0.02
"""Size down to which a fit takes what is never negative."""
COARSE = Sampling(zone_points=10)
"""For searches."""
CLOSE = Sampling(zone_points=14)
"""For differences from a default simulation, and for those that errors of the instrument make."""
PREPARED = 3
"""Sets of errors for which a simulator is kept."""


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
