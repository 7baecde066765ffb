"""The structure of lowest classical energy on a magnetic cell, or in a rotating frame of any k, from many starts.

Spins are moved along the slopes of the energy (L-BFGS on unconstrained vectors whose directions are the spins'), and
brought to rest by Newton steps. Nothing guarantees that the lowest energy found is the lowest there is: how many starts
reached it says how far to believe it, and :mod:`.luttinger_tisza` bounds it from below.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize

from ..errors import StudyError
from ..hamiltonian import SpinModel
from .energy import ClassicalEnergy
from .rotating_frame import turn

ALIKE = 1e-7
"""Energies closer than this share of the largest that a spin could have count as one."""


@dataclass(frozen=True)
class LowestFound:
    """The lowest of the structures that a search ended in.

    Attributes
    ----------
    model : SpinModel
        The model with the moments (and the propagation vector) found.
    energy : float
        meV per magnetic cell.
    given : float
        Energy of the structure that the search was given, meV per magnetic cell.
    ends : (n_starts,) meV
        Where each start ended; the first is the given structure, shaken a little.
    reached : int
        How many starts ended at the lowest energy.
    lower : bool
        Whether it is lower than the given one, beyond rounding.
    """

    model: SpinModel
    energy: float
    given: float
    ends: NDArray[np.float64]
    reached: int
    lower: bool


def minimise_structure(
    model: SpinModel, values: ArrayLike, starts: int = 20, seed: int = 0, free_k: bool = True
) -> LowestFound:
    """Look for the structure of lowest energy.

    Parameters
    ----------
    model : SpinModel
        Its magnetic cell is kept; with a propagation vector, its rotation axis.
    values : (n_parameters,) meV
    starts : int
        The first is the given structure, the others have random directions (and k).
    seed : int
    free_k : bool
        Whether a propagation vector is varied too.

    Raises
    ------
    StudyError
        If there are no starts, or the model has a propagation vector and is not the same in its rotating frame.
    """
    if starts < 1:
        raise StudyError(f"a search needs at least one start, not {starts}")
    energy = ClassicalEnergy(model)
    varies = model.propagation is not None and free_k
    along = np.abs(energy.steps).max(0, initial=0) > 0 if varies else np.zeros(3, bool)
    rng = np.random.default_rng(seed)
    given = energy.energy(values)
    size = float(energy.scales @ np.append(np.abs(values), 1.0)) or 1.0
    found = []
    for number in range(starts):
        if number:
            v, k = rng.normal(size=energy.directions.shape), rng.uniform(0, 1, 3) * along
        else:  # a saddle point has no slope either
            v, k = energy.directions + 1e-3 * rng.normal(size=energy.directions.shape), np.zeros(3)
            k += 0 if model.propagation is None else np.array(model.propagation) + 1e-4 * along * rng.normal(size=3)
        if number and model.propagation is not None:
            k = np.where(along, k, model.propagation)
        found.append(_descend(energy, np.asarray(values, float), v, k, along, size))
    ends = np.array([end for end, _, _ in found])
    best, v, k = min(found, key=lambda x: x[0])
    near = ALIKE * size * len(model.sites)
    lower = best < given - near
    return LowestFound(
        model=_with(model, v, k) if lower else model,
        energy=best if lower else given,
        given=given,
        ends=ends,
        reached=int((ends < (best if lower else given) + near).sum()),
        lower=lower,
    )


def _descend(
    energy: ClassicalEnergy,
    values: NDArray[np.float64],
    v: NDArray[np.float64],
    k: NDArray[np.float64],
    along: NDArray[np.bool_],
    size: float,
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Energy, directions (n_sites, 3) and k (3,) where one start ends."""
    n, rotates = v.size, energy.model.propagation is not None
    fixed = None if along.any() else energy.quadratic(values, k if rotates else None)
    pull = energy.linear(values)

    def split(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        raw = x[:n].reshape(-1, 3)
        length = np.linalg.norm(raw, axis=1, keepdims=True)
        here = k.copy()
        here[along] = x[n:]
        return raw / length, length, here

    def height(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        v, length, here = split(x)
        matrix = energy.quadratic(values, here) if fixed is None else fixed
        field = (matrix @ v.ravel()).reshape(-1, 3) - pull
        slope = (field - (field * v).sum(1, keepdims=True) * v) / length
        gradient = slope.ravel()
        if along.any():
            gradient = np.append(gradient, energy.slope_in_k(values, v, here)[along])
        return float(((field - pull) * v).sum() / 2) / size, gradient / size

    start = np.append(v.ravel(), k[along])
    options = {"maxiter": 5000, "maxfun": 20_000, "gtol": 1e-12, "ftol": 0.0, "maxcor": 30}
    x = minimize(height, start, jac=True, method="L-BFGS-B", options=options).x
    v, _, k = split(x)
    matrix = energy.quadratic(values, k if rotates else None)
    v = _rest(matrix, pull, v)
    return float((v.ravel() @ matrix @ v.ravel()) / 2 - (pull * v).sum()), v, k


def _rest(matrix: NDArray[np.float64], pull: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
    """Directions brought to rest by Newton steps across themselves; those along Goldstone modes are left out."""
    for _ in range(3):
        field = (matrix @ v.ravel()).reshape(-1, 3) - pull
        _, _, frames = np.linalg.svd(v[:, None, :])
        across = frames[:, 1:]  # two unit vectors across each spin
        slope = np.einsum("iac,ic->ia", across, field).ravel()
        n = len(v)
        curve = np.einsum("iax,ixjy,jby->iajb", across, matrix.reshape(n, 3, n, 3), across).reshape(2 * n, 2 * n)
        curve -= np.diag(np.repeat((field * v).sum(1), 2))
        step = -np.linalg.lstsq(curve, slope, rcond=1e-7)[0]
        if np.abs(step).max() > 1e-2:
            break
        v = v + np.einsum("iac,ia->ic", across, step.reshape(-1, 2))
        v /= np.linalg.norm(v, axis=1, keepdims=True)
    return v


def _with(model: SpinModel, v: NDArray[np.float64], k: NDArray[np.float64]) -> SpinModel:
    """The model with other directions (of the rotating frame where it has one) and k."""
    if model.propagation is not None:
        cell = np.array(model.supercell)
        turns = np.array([s.position for s in model.sites]) @ (k * cell)
        v = np.einsum("iab,ib->ia", turn(model, turns), v)
        k = (np.round(k * cell, 12) % 1) / cell
    moments = [(float(x), float(y), float(z)) for x, y, z in v]
    sites = tuple(replace(s, moment=moment) for s, moment in zip(model.sites, moments, strict=True))
    propagation = None if model.propagation is None else (float(k[0]), float(k[1]), float(k[2]))
    return replace(model, sites=sites, propagation=propagation)
