"""Which part of the priors the magnetic structure forbids: the rejected draws of a training set, by parameter.

A set stores how many draws each image threw away; since the draws follow from (seed, class, index), they are drawn
again here instead of being stored.
"""

from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from ..spinwave import ModeSolver
from ..study import Study
from .draws import UNIFORM, Law, candidates, reach

BINS = 10


@dataclass(frozen=True)
class Rejections:
    """Draws of one model, and those of them that gave no stable structure.

    Attributes
    ----------
    model : str
    parameters : tuple of str
    edges : (n_parameters, bins + 1) meV
        Equal bins over what is drawn from.
    drawn, rejected : (n_parameters, bins)
        Numbers of draws.
    """

    model: str
    parameters: tuple[str, ...]
    edges: NDArray[np.float64]
    drawn: NDArray[np.int64]
    rejected: NDArray[np.int64]

    @property
    def share(self) -> float:
        """Rejected draws among all."""
        return float(self.rejected[0].sum() / max(1, self.drawn[0].sum()))

    @property
    def shares(self) -> NDArray[np.float64]:
        """The same in each bin, NaN where nothing was drawn."""
        return np.where(self.drawn > 0, self.rejected / np.maximum(1, self.drawn), np.nan)


def rejections(
    study: Study, class_index: int, seed: int, rejected: NDArray[np.int32], done: NDArray[np.bool_], law: Law = UNIFORM
) -> Rejections:
    """Draw the parameter sets of a class again and sort them.

    Parameters
    ----------
    rejected : (n,)
        Draws thrown away before each image.
    done : (n,) bool
        Images that are there.
    """
    model = study.models[study.classes[class_index]]
    solver = ModeSolver(model)
    kept, thrown = [], []
    for index in np.flatnonzero(done):
        draws = candidates(solver, seed, class_index, int(index), law, study.overlaps)
        values = list(islice(draws, int(rejected[index]) + 1))
        kept.append(values[-1])
        thrown += values[:-1]
    edges = np.linspace(*reach(model, law), BINS + 1, axis=1)

    def count(sets: list[NDArray[np.float64]]) -> NDArray[np.int64]:
        columns = np.array(sets).reshape(-1, len(edges)).T
        return np.stack([np.histogram(column, e)[0] for column, e in zip(columns, edges, strict=True)])

    bad = count(thrown)
    return Rejections(model.name, tuple(p.name for p in model.parameters), edges, count(kept) + bad, bad)
