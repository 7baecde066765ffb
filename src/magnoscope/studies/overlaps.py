"""Where candidate models are the same Hamiltonian, as a study file states it."""

import re

import numpy as np
from numpy.typing import NDArray

from ..hamiltonian import SpinModel
from ..study import Overlap
from .expressions import linear
from .sites import Mistake

SAME = 1e-9
"""Largest difference (meV) of two Hamiltonians that are said to be the same."""
TRIED = 1000
"""Sets of shared numbers that are tried for one that all priors allow."""


def build_overlaps(
    tables: list[dict[str, dict[str, float | str]]], models: dict[str, SpinModel]
) -> tuple[Overlap, ...]:
    """Overlaps from their tables: model to parameter to a number or a linear expression of shared numbers.

    Raises
    ------
    Mistake
        If a model or parameter is unknown or left out, a shared number has no range, or the Hamiltonians differ.
    """
    return tuple(_overlap(("overlaps", number), table, models) for number, table in enumerate(tables))


def _overlap(
    path: tuple[str | int, ...], table: dict[str, dict[str, float | str]], models: dict[str, SpinModel]
) -> Overlap:
    if len(table) < 2:
        raise Mistake(path, "an overlap joins two models or more")
    for name, entries in table.items():
        if name not in models:
            raise Mistake((*path, name), f"there is no model {name}; the study has {', '.join(models)}")
        names = [p.name for p in models[name].parameters]
        for parameter in entries:
            if parameter not in names:
                raise Mistake(
                    (*path, name, parameter), f"model {name} has no such parameter; it has {', '.join(names)}"
                )
        missing = [p for p in names if p not in entries]
        if missing:
            raise Mistake(
                (*path, name), f"parameter {missing[0]} is left out; say what it is where the models coincide"
            )
    texts = [e for entries in table.values() for e in entries.values() if isinstance(e, str)]
    shared = tuple(dict.fromkeys(word for text in texts for word in re.findall(r"[A-Za-z_][A-Za-z0-9_]*", text)))
    if not shared:
        raise Mistake(path, 'no number is shared; write a letter for each, as in { J1 = "a", J2 = 0 }')
    rows = {}
    for name, entries in table.items():
        found = []
        for own in models[name].parameters:
            try:
                found.append(linear(entries[own.name], shared))
            except ValueError as error:
                raise Mistake((*path, name, own.name), str(error)) from None
        rows[name] = np.stack(found)
    overlap = Overlap(shared, _ranges(path, shared, rows, models), rows, {name: models[name].prior for name in rows})
    low, high = overlap.ranges.T
    points = np.random.default_rng(0).uniform(low, high, (TRIED, len(shared)))
    if not any(overlap.allows(point) for point in points):
        raise Mistake(path, "the priors of these models do not allow the parameters anywhere there")
    _check_same(path, overlap, models)
    return overlap


def _ranges(
    path: tuple[str | int, ...], shared: tuple[str, ...], rows: dict[str, NDArray], models: dict[str, SpinModel]
) -> NDArray[np.float64]:
    """What the priors of all models allow each shared number, by the parameters that equal it, (n_shared, 2) meV."""
    out = []
    for number, name in enumerate(shared):
        plain = np.eye(len(shared) + 1)[number]
        priors = [p for m, r in rows.items() for p, row in zip(models[m].prior, r, strict=True) if np.all(row == plain)]
        if not priors:
            raise Mistake(path, f'no parameter equals "{name}" itself, so that it has no range')
        low, high = max(p[0] for p in priors), min(p[1] for p in priors)
        if not low < high:
            raise Mistake(path, f'the priors leave "{name}" no range: {low:g} to {high:g}')
        out.append((low, high))
    return np.array(out)


def _couplings(model: SpinModel, values: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Exchange and anisotropy between all sites at a wave vector (radians a cell), (n_sites, n_sites, 3, 3) meV."""
    weights = np.append(values, 1.0)
    n = len(model.sites)
    out = np.zeros((n, n, 3, 3), complex)
    for bond in model.bonds:
        exchange = np.tensordot(weights, bond.exchange, 1) * np.exp(1j * (q @ np.array(bond.vector)))
        out[bond.start, bond.end] += exchange
        out[bond.end, bond.start] += exchange.conj().T
    out[range(n), range(n)] += 2 * np.einsum("p,ipab->iab", weights, model.anisotropy)
    return out


def _check_same(path: tuple[str | int, ...], overlap: Overlap, models: dict[str, SpinModel]) -> None:
    """Stop unless the Hamiltonians are the same, judged at two sets of shared numbers and a general wave vector."""
    rng = np.random.default_rng(0)
    q = rng.uniform(-3, 3, 3)
    low, high = overlap.ranges.T
    for values in rng.uniform(low, high, (2, len(low))):
        found = {name: _couplings(models[name], overlap.values(name, values), q) for name in overlap.models}
        first, *others = found
        for other in others:
            if np.abs(found[first] - found[other]).max() > SAME:
                raise Mistake(path, f"models {first} and {other} are not the same Hamiltonian there")
