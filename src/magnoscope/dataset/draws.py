"""Parameter sets from a model's priors; those whose magnetic structure is no energy minimum are drawn again."""

from collections.abc import Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from ..errors import InstabilityError, StudyError
from ..simulate import Simulator
from ..spinwave import ModeSolver, is_stable
from ..study import Study

MOST_TRIES = 2000
"""Draws after which a prior is said to hold no stable structure."""


def candidates(solver: ModeSolver, seed: int, class_index: int, index: int) -> Iterator[NDArray[np.float64]]:
    """Uniform draws for image ``index`` of a class; they depend on (seed, class_index, index) alone."""
    low, high = solver.model.prior.T
    rng = np.random.default_rng([seed, class_index, index])
    while True:
        yield rng.uniform(low, high)


def check_priors(study: Study, seed: int) -> None:
    """Stop on a model whose priors hold no stable structure, judged by the draws for its first image.

    Raises
    ------
    StudyError
        If the first 2000 draws are all unstable.
    """
    for class_index, model in enumerate(study.models.values()):
        solver = ModeSolver(model)
        draws = islice(candidates(solver, seed, class_index, 0), MOST_TRIES)
        if not any(bool(is_stable(solver, values)) for values in draws):
            raise _no_structure(model.name)


def _no_structure(name: str) -> StudyError:
    return StudyError(
        f"{MOST_TRIES} draws from the prior of model {name} gave no stable magnetic structure; its priors must allow "
        "the given moments"
    )


def simulate_draw(
    simulator: Simulator, class_index: int, seed: int, index: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """One image of a training set: the first draw that is stable.

    A draw is stable if the boson Hamiltonian is positive on :func:`magnoscope.spinwave.zone_grid` and on the finer
    grid of the simulation itself.

    Returns
    -------
    signal : (runs, slices, x, y)
    values : (n_parameters,) meV
    rejected : int
        Draws thrown away before this one.

    Raises
    ------
    StudyError
        If the first 2000 draws are all unstable.
    """
    name = simulator.study.classes[class_index]
    solver = simulator.solver(name)
    draws = candidates(solver, seed, class_index, index)
    for rejected, values in zip(range(MOST_TRIES), draws, strict=False):
        if bool(is_stable(solver, values)):
            try:
                return simulator.signal(name, values), values, rejected
            except InstabilityError:
                continue
    raise _no_structure(name)
