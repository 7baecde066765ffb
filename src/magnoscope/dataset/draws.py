"""Parameter sets from a model's priors; those whose magnetic structure is no energy minimum are drawn again.

Whatever the law, the draws for image ``index`` of a class depend on (seed, class index, index) alone: any worker can
make any image, in any order, and a set can grow. A Latin hypercube cannot do that, because its strata depend on the
final number of images; Sobol points fill space as evenly and each further one refines what is there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, get_args

import numpy as np
import scipy
from numpy.typing import NDArray

from ..errors import InstabilityError, StudyError
from ..hamiltonian import SpinModel
from ..instrument_errors import drawn_amounts, run_by_run
from ..simulate import Simulator
from ..spinwave import ModeSolver, is_stable
from ..study import Overlap, Study
from .random_magnets import RandomMagnets, magnets_of

MOST_TRIES = 2000
"""Draws after which a prior is said to hold no stable structure."""
MOST_POINTS = 1 << 30
"""Points in a Sobol sequence, hence images of a class."""

Kind = Literal["uniform", "sobol", "around", "overlap", "beyond", "foreign", "instrument"]
WIDENED = 0.5
"""How far beyond both ends of a prior "beyond" draws, as a share of its width."""
OF_THE_INSTRUMENT = 1
"""What seeds the errors of the instrument of an image beside what seeds its parameters."""


@dataclass(frozen=True)
class Law:
    """How parameter sets are drawn.

    Attributes
    ----------
    kind : str
        "uniform" over the priors; "sobol", the same but spread evenly; "around" a point, normal and cut off at the
        ends of the priors; "overlap", uniform where several models are the same Hamiltonian; "beyond", uniform over
        priors widened by half, with at least one parameter outside its own; "foreign", other magnets on the models'
        bonds (:mod:`.random_magnets`); "instrument", uniform over the priors, each spectrum with errors of the
        instrument of its own (:func:`magnoscope.instrument_errors.drawn_amounts`).
    width : float
        Standard deviation of "around" as a share of each prior's width.
    centre : tuple of (model, parameter, meV)
        Of "around", where it is not the reference value.
    """

    kind: Kind = "uniform"
    width: float = 0.1
    centre: tuple[tuple[str, str, float], ...] = ()

    def settings(self) -> dict[str, Any]:
        """What a training set records of it."""
        if self.kind != "around":
            return {"kind": self.kind}
        return {"kind": self.kind, "width": self.width, "centre": [list(entry) for entry in self.centre]}

    @classmethod
    def from_settings(cls, settings: dict[str, Any] | None) -> "Law":
        """From what a training set recorded; sets that recorded nothing were drawn uniformly."""
        found = dict(settings or {"kind": "uniform"})
        return cls(**found | {"centre": tuple((m, p, float(v)) for m, p, v in found.get("centre", ()))})

    def check(self, study: Study) -> None:
        """Stop on a law that the study does not allow.

        Raises
        ------
        StudyError
            Naming the model, parameter or number.
        """
        if self.kind not in get_args(Kind):
            raise StudyError(f"there are no draws {self.kind}; there are {', '.join(get_args(Kind))}")
        if not 0 < self.width <= 10:
            raise StudyError(f"a width of {self.width:g} of the prior makes no draws; give one above 0, such as 0.1")
        for model, parameter, value in self.centre:
            found = study.model(model)
            found.values({parameter: value})
            low, high = next(p.prior for p in found.parameters if p.name == parameter)
            if not low <= value <= high:
                raise StudyError(f"{parameter} = {value:g} lies outside the prior [{low:g}, {high:g}] of model {model}")
        if self.kind == "foreign":
            magnets_of(study)
        if self.kind == "overlap" and not study.overlaps:
            raise StudyError(f"study {study.name} states no [[overlaps]] of its models; uniform draws need none")


UNIFORM = Law()


def drawn_classes(study: Study, law: Law) -> list[int]:
    """Indices of the classes that a law makes images of: all, or those that coincide with another or allow magnets."""
    if law.kind == "foreign":
        return [study.classes.index(name) for name in magnets_of(study)]
    if law.kind != "overlap":
        return list(range(len(study.classes)))
    return [n for n, name in enumerate(study.classes) if any(name in overlap.models for overlap in study.overlaps)]


def recorded(study: Study, name: str, law: Law) -> tuple[str, ...]:
    """What is recorded of each draw of a class: the model's parameters, or all that makes a random magnet."""
    if law.kind == "foreign":
        magnets = magnets_of(study)
        return magnets[name].names if name in magnets else ()
    return tuple(p.name for p in study.models[name].parameters)


def reach(model: SpinModel, law: Law) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Between what parameters are drawn, (n_parameters,) meV each."""
    low, high = model.prior.T
    more = WIDENED * (high - low) if law.kind == "beyond" else 0.0
    return low - more, high + more


def candidates(
    solver: ModeSolver,
    seed: int,
    class_index: int,
    index: int,
    law: Law = UNIFORM,
    overlaps: Sequence[Overlap] = (),
) -> Iterator[NDArray[np.float64]]:
    """Draws (n_parameters,) meV for image ``index`` of a class, without end."""
    low, high = reach(solver.model, law)
    rng = np.random.default_rng([seed, class_index, index])
    if law.kind in ("uniform", "instrument"):
        while True:
            yield rng.uniform(low, high)
    elif law.kind == "sobol":
        yield from _sobol(low, high, seed, class_index, index)
    elif law.kind == "around":
        changes = {parameter: value for model, parameter, value in law.centre if model == solver.model.name}
        centre = solver.model.values(changes)
        size = law.width * (high - low)
        while True:
            ends = (low - centre) / size, (high - centre) / size
            yield scipy.stats.truncnorm.ppf(rng.random(len(low)), *ends, centre, size)
    elif law.kind == "beyond":
        least, most = solver.model.prior.T
        while True:
            values = rng.uniform(low, high)
            if np.any((values < least) | (values > most)):
                yield values
    else:
        yield from _shared(solver.model.name, rng, index, [o for o in overlaps if solver.model.name in o.models])


def _sobol(
    low: NDArray[np.float64], high: NDArray[np.float64], seed: int, class_index: int, index: int
) -> Iterator[NDArray[np.float64]]:
    """Point ``index`` of a Sobol sequence, shifted at random anew for each try.

    The shifts (Cranley and Patterson 1976) are those of all images of the class, so that the n-th tries of all images
    are evenly spread as well.
    """
    engine = scipy.stats.qmc.Sobol(len(low), scramble=False)
    if index:  # SciPy cannot go forward by nothing
        engine.fast_forward(index)
    point = engine.random(1)[0]
    shifts = np.random.default_rng([seed, class_index])
    while True:
        yield low + (high - low) * ((point + shifts.random(len(low))) % 1)


def _shared(model: str, rng: np.random.Generator, index: int, overlaps: list[Overlap]) -> Iterator[NDArray[np.float64]]:
    """Uniform over the shared numbers that all priors allow, of the overlaps in turn."""
    overlap = overlaps[index % len(overlaps)]
    low, high = overlap.ranges.T
    while True:
        shared = rng.uniform(low, high)
        if overlap.allows(shared):
            yield overlap.values(model, shared)


def check_priors(study: Study, seed: int, law: Law = UNIFORM) -> None:
    """Stop on a model whose priors hold no stable structure, judged by the draws for its first image.

    Raises
    ------
    StudyError
        If the first 2000 draws are all unstable.
    """
    if law.kind == "foreign":  # whose exchange is satisfied
        return
    for class_index in drawn_classes(study, law):
        model = study.models[study.classes[class_index]]
        solver = ModeSolver(model)
        draws = islice(candidates(solver, seed, class_index, 0, law, study.overlaps), MOST_TRIES)
        if not any(bool(is_stable(solver, values)) for values in draws):
            raise _no_structure(model.name)


def _no_structure(name: str) -> StudyError:
    return StudyError(
        f"{MOST_TRIES} draws from the prior of model {name} gave no stable magnetic structure; its priors must allow "
        "the given moments"
    )


def simulate_draw(
    simulator: Simulator, class_index: int, seed: int, index: int, law: Law = UNIFORM
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """One image of a training set: the first draw that is stable.

    A draw is stable if the boson Hamiltonian is positive on :func:`magnoscope.spinwave.zone_grid` and on the finer
    grid of the simulation itself.

    Returns
    -------
    signal : (runs, slices, x, y)
    values : (n_parameters,) meV
        Or whatever else :func:`recorded` names.
    rejected : int
        Draws thrown away before this one.

    Raises
    ------
    StudyError
        If the first 2000 draws are all unstable.
    """
    name = simulator.study.classes[class_index]
    tries = _tries(simulator, class_index, seed, index, law)
    for rejected, (ready, values, record) in zip(range(MOST_TRIES), tries, strict=False):
        if bool(is_stable(ready.solver(name), values)):
            try:
                return ready.signal(name, values), record, rejected
            except InstabilityError:
                continue
    raise _no_structure(name)


def _tries(
    simulator: Simulator, class_index: int, seed: int, index: int, law: Law
) -> Iterator[tuple[Simulator, NDArray[np.float64], NDArray[np.float64]]]:
    """Draws without end: what simulates them, parameters, and what is recorded."""
    study = simulator.study
    name = study.classes[class_index]
    if law.kind == "instrument":
        amounts = drawn_amounts(study, np.random.default_rng([seed, class_index, index, OF_THE_INSTRUMENT]))
        simulator = simulator.with_runs(run_by_run(study, amounts))
    if law.kind != "foreign":
        for values in candidates(simulator.solver(name), seed, class_index, index, law, study.overlaps):
            yield simulator, values, values
        return
    for magnet in RandomMagnets.of(study, name).draw(np.random.default_rng([seed, class_index, index])):
        yield simulator.with_models({name: magnet.model}), magnet.values, magnet.record
