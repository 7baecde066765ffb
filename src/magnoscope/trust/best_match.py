"""The best simulated match of each candidate: what the network takes the parameters for, simulated and compared."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import InstabilityError
from ..hamiltonian import SpinModel
from ..simulate import Simulator
from ..spectrum import Spectrum
from .match import Match, match


@dataclass(frozen=True)
class BestMatch:
    """One candidate's best simulation of a measurement.

    Attributes
    ----------
    parameters : dict
        Name to meV.
    """

    model: str
    parameters: dict[str, float]
    match: Match


def best_match(
    simulator: Simulator, measured: Spectrum, model: str, scaled: NDArray[np.float64] | None, fitted: bool = False
) -> BestMatch:
    """The better of two simulations: at an estimate of the parameters, and at the study's reference values.

    Parameters
    ----------
    scaled : (at least n_parameters,) or None
        The estimate, 0..1 over the prior, if there is one. Where the structure is not stable there, it is drawn
        towards the reference in steps until it is.
    fitted : bool
        Whether the estimate is a fit, so that reference values are tried only where its structure is not stable.
    """
    spin_model = simulator.study.model(model)
    low, high = spin_model.prior.T
    reference = spin_model.reference
    tried: list[tuple[NDArray[np.float64], Match]] = []
    estimate = reference if scaled is None else low + scaled[: len(low)] * (high - low)
    for share in (0.0, 0.25, 0.5, 0.75) if scaled is not None else ():
        values = estimate + share * (reference - estimate)
        try:
            found = match(measured, simulator.signal(model, values))
            if fitted and not share:
                return BestMatch(model, _named(spin_model, values), found)
            tried.append((values, found))
            break
        except InstabilityError:
            continue
    try:
        tried.append((reference, match(measured, simulator.reference(model))))
    except InstabilityError:
        if not tried:
            raise
    values, found = min(tried, key=lambda entry: entry[1].chi_square)
    return BestMatch(model, _named(spin_model, values), found)


def match_at(simulator: Simulator, measured: Spectrum, model: str, changes: Mapping[str, float]) -> BestMatch:
    """The simulation at given parameters (meV; the others at the study's reference values).

    Raises
    ------
    StudyError
        If the model or a parameter is unknown.
    InstabilityError
        If the magnetic structure is no energy minimum for these parameters.
    """
    spin_model = simulator.study.model(model)
    values = spin_model.values(changes)
    return BestMatch(model, _named(spin_model, values), match(measured, simulator.signal(model, values)))


def _named(model: SpinModel, values: NDArray[np.float64]) -> dict[str, float]:
    return dict(zip([p.name for p in model.parameters], map(float, values), strict=True))
