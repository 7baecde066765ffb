"""Magnets that are no candidate of a study, simulated as if they had been measured in its place."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ..crystal import Lattice
from ..hamiltonian import Bond, Parameter, Site, SpinModel
from ..study import Study

SUPERCELL = (2, 2, 1)
Vectors = Sequence[tuple[float, float, float]]


def third_hamiltonian(study: Study) -> Study | None:
    """The first candidate's bonds with all exchange ferromagnetic and all spins parallel; None if they are already."""
    model = next(iter(study.models.values()))
    if model.propagation is not None or np.allclose(model.moments, model.moments[0]):
        return None
    exchanged = {n for bond in model.bonds for n in np.flatnonzero(np.abs(bond.exchange[:-1]).sum((1, 2)))}
    parameters = []
    for n, p in enumerate(model.parameters):
        most = max(map(abs, p.prior))
        parameters.append(replace(p, prior=(-most, -0.1 * most)) if n in exchanged else p)
    sites = tuple(replace(site, moment=model.sites[0].moment) for site in model.sites)
    changed = replace(model, name="ferromagnet", parameters=tuple(parameters), sites=sites)
    return replace(study, models={changed.name: changed})


@dataclass(frozen=True)
class _Exchange:
    """One exchange of a material: from which sites of its cell along which vectors, and its range (units of E / S)."""

    starts: tuple[int, ...]
    vectors: Vectors
    prior: tuple[float, float]


ALONG, ACROSS, DIAGONALS = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), ((1.0, 1.0, 0.0), (1.0, -1.0, 0.0))
HALVES = ((0.5, 0.5, 0.0), (0.5, -0.5, 0.0), (-0.5, 0.5, 0.0), (-0.5, -0.5, 0.0))
WEAK, STRONG, ANTI = (-0.03, -0.001), (-0.11, -0.03), (0.06, 0.22)


def other_materials(study: Study) -> Study:
    """Four textbook magnets on the study's lattice, with bands within the energies of its runs.

    A ferromagnet with two exchanges, a chain ferromagnet, a centred antiferromagnet, and antiferromagnetic stripes;
    spins along Cartesian z with a small easy axis, the ion of the study's first site.
    """
    site = next(iter(study.models.values())).sites[0]
    lattice, top = study.lattice, float(study.energy_edges.max())

    def material(name: str, basis: Vectors, down: str, *exchanges: _Exchange) -> SpinModel:
        return _material(name, site, lattice, basis, down, exchanges, top / site.spin)

    here, centre, chain = (0.0, 0.0, 0.0), (0.5, 0.5, 0.0), (-0.22, -0.06)
    found = (
        material("square", [here], "none", _Exchange((0,), (ALONG, ACROSS), STRONG), _Exchange((0,), DIAGONALS, WEAK)),
        material("chains", [here], "none", _Exchange((0,), (ALONG,), chain), _Exchange((0,), (ACROSS,), WEAK)),
        material(
            "centred", [here, centre], "centres",
            _Exchange((0,), HALVES, ANTI), _Exchange((0, 1), (ALONG, ACROSS), WEAK),
        ),
        material("stripes", [here], "columns", _Exchange((0,), (ALONG,), ANTI), _Exchange((0,), (ACROSS,), STRONG)),
    )  # fmt: skip
    return replace(study, models={model.name: model for model in found})


def _material(
    name: str, site: Site, lattice: Lattice, basis: Vectors, down: str, exchanges: Sequence[_Exchange], unit: float
) -> SpinModel:
    """A magnet of cells of the lattice, in a magnetic cell of SUPERCELL; its exchanges are its parameters."""
    size = np.array(SUPERCELL, float)
    cells = [np.array(cell, float) for cell in product(*map(range, SUPERCELL))]
    places = [(b, (np.array(place) + cell) / size, cell) for cell in cells for b, place in enumerate(basis)]
    sites = []
    for n, (b, place, cell) in enumerate(places):
        turned = {"none": False, "centres": b == 1, "columns": cell[0] % 2 == 1}[down]
        moment = (0.0, 0.0, -1.0 if turned else 1.0)
        sites.append(replace(site, name=f"{name}.{n}", moment=moment, position=_triple(place)))
    priors = {f"J{n + 1}": e.prior for n, e in enumerate(exchanges)} | {"D": (-0.01, -0.001)}
    parameters = [Parameter(n, unit * (low + high) / 2, (unit * low, unit * high)) for n, (low, high) in priors.items()]
    bonds = []
    for n, exchange in enumerate(exchanges):
        matrices = np.zeros((len(parameters) + 1, 3, 3))
        matrices[n] = np.eye(3)
        for start, (b, place, _) in enumerate(places):
            if b not in exchange.starts:
                continue
            for vector in exchange.vectors:
                step = np.array(vector) / size
                end = next(i for i, (_, other, _) in enumerate(places) if _same(place + step, other))
                bonds.append(Bond(start, end, _triple(step), matrices))
    single = np.zeros((len(sites), len(parameters) + 1, 3, 3))
    single[:, -2, 2, 2] = 1
    return SpinModel(name, tuple(parameters), tuple(sites), tuple(bonds), single, lattice, SUPERCELL)


def _triple(vector: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(vector[0]), float(vector[1]), float(vector[2])


def _same(one: NDArray[np.float64], two: NDArray[np.float64]) -> bool:
    """Whether two places are one modulo the magnetic cell."""
    return bool(np.abs((one - two) - np.round(one - two)).max() < 1e-6)
