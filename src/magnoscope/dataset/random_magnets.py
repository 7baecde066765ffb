"""Magnets that are no candidate: other orders and couplings of the spins on a candidate's own sites and bonds.

Whatever is no spectrum of a candidate should be told from all of them, and what is hardest to tell are other magnets on
the same lattice. They are drawn here without knowing a material:

- Each sublattice (the sites at one place of the lattice's cell) is ordered up and down along the candidate's axis, with
  a wave vector of the magnetic cell and a phase of its own.
- Bonds that have one exchange in the candidate have one coupling here if their two spins are parallel, another if they
  are antiparallel: log-uniform up to the largest that the priors allow, with the sign that the two spins satisfy.
- Single-ion terms and field are the candidate's, drawn from its priors.

No bond is frustrated, so that the order is a minimum of the exchange energy whatever the draw. All spins parallel and
the candidates' own orders, shifted by any vector of the lattice or turned over, are never drawn.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import StudyError
from ..hamiltonian import SpinModel
from ..study import Study

LEAST = 0.05
"""Smallest coupling, in units of the largest that the priors allow the bond."""
ALONG = 1e-3
"""How far from 1 the cosine between a spin and the axis may be."""
MOST_TRIES = 500
"""Orders that are tried before it is said that all are excluded."""
SENSES = ("parallel", "antiparallel")


@dataclass(frozen=True)
class Magnet:
    """One random magnet.

    Attributes
    ----------
    model : SpinModel
        Its exchange is constant; it has the candidate's parameters for single-ion terms and field.
    values : (n_parameters,) meV
        Of those parameters.
    record : (n_record,)
        All that matters of what was drawn: couplings and parameters of the candidate (meV), spins (1 or -1).
    """

    model: SpinModel
    values: NDArray[np.float64]
    record: NDArray[np.float64]


@dataclass(frozen=True)
class RandomMagnets:
    """Random magnets on the sites and bonds of one candidate.

    Attributes
    ----------
    model : SpinModel
        The candidate.
    axis : (3,) Cartesian
        Along its spins.
    sublattice : (n_sites,) int
    cell : (n_sites, 3) int
        The cell of the lattice in which each site lies.
    kind : (n_bonds,) int
        Bonds of one number have the same exchange in the candidate.
    strength : (n_kinds,) meV
        Largest coupling that the priors allow them.
    excluded : (n_excluded, n_sites) of 1 and -1
    """

    model: SpinModel
    axis: NDArray[np.float64]
    sublattice: NDArray[np.int64]
    cell: NDArray[np.int64]
    kind: NDArray[np.int64]
    strength: NDArray[np.float64]
    excluded: NDArray[np.int64]

    @classmethod
    def of(cls, study: Study, name: str) -> "RandomMagnets":
        """Those on a candidate's bonds.

        Raises
        ------
        StudyError
            If its spins are not collinear, or there is no order but those that are excluded.
        """
        model = study.model(name)
        own = _up_or_down(model)
        if own is None:
            raise StudyError(
                f"the spins of model {name} are not collinear; random magnets have spins up and down along one axis, "
                "so that there are none on its bonds"
            )
        sublattice, cell = _places(model)
        shifts = _shifts(model, sublattice, cell)
        orders = [np.ones(len(own), int), *(own[shift] for shift in shifts)]
        for other in study.models.values():
            theirs = _up_or_down(other)
            if theirs is not None and _same_sites(model, other):
                orders += [theirs[shift] for shift in shifts]
        kind, strength = _kinds(model)
        magnets = cls(model, model.moments[0], sublattice, cell, kind, strength, np.unique(np.stack(orders), axis=0))
        if not len(kind) or not any(magnets.allows(magnets.order(np.random.default_rng(i))) for i in range(MOST_TRIES)):
            raise StudyError(
                f"there are no random magnets on the bonds of model {name}: its magnetic cell has no order of spins up "
                "and down but all parallel and the candidates' own"
            )
        return magnets

    @property
    def names(self) -> tuple[str, ...]:
        """What the entries of a record are."""
        labels = {int(k): bond.label for k, bond in zip(self.kind, self.model.bonds, strict=True)}
        shown = [labels[k] if labels[k].isidentifier() else f"bond {k + 1}" for k in range(len(self.strength))]
        couplings = [f"{name} {sense}" for name in shown for sense in SENSES]
        spins = [f"spin {site.name}" for site in self.model.sites]
        return (*couplings, *(self.model.parameters[n].name for n in self.kept), *spins)

    @property
    def kept(self) -> list[int]:
        """Parameters of the candidate that are not of its exchange alone."""
        field = np.asarray(self.model.zeeman.any((0, 2)) | self.model.anisotropy.any((0, 2, 3)))
        return np.flatnonzero(field[:-1]).tolist()

    def allows(self, spins: NDArray[np.int64]) -> bool:
        """Whether an order is none of those that are excluded, turned over or not."""
        return bool(np.abs(self.excluded @ spins).max() < len(spins))

    def order(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Any order of the spins, (n_sites,) of 1 and -1."""
        size, number = np.array(self.model.supercell), int(self.sublattice.max()) + 1
        waves, phases = rng.integers(size, size=(number, 3)) / size, rng.uniform(size=number)
        turns = (waves[self.sublattice] * self.cell).sum(1) + phases[self.sublattice]
        return np.where(np.cos(2 * np.pi * turns) >= 0, 1, -1)

    def draw(self, rng: np.random.Generator) -> Iterator[Magnet]:
        """Magnets without end."""
        low, high = self.model.prior.T
        while True:
            spins = self.order(rng)
            if not self.allows(spins):
                continue
            share = np.exp(rng.uniform(np.log(LEAST), 0, (len(self.strength), len(SENSES))))
            values = rng.uniform(low, high)
            couplings = self.strength[:, None] * share * [-1, 1]
            record = np.concatenate([couplings.ravel(), values[self.kept], spins])
            yield Magnet(self._model(spins, couplings), values, record)

    def _model(self, spins: NDArray[np.int64], couplings: NDArray[np.float64]) -> SpinModel:
        bonds = []
        for kind, bond in zip(self.kind, self.model.bonds, strict=True):
            exchange = np.zeros_like(bond.exchange)
            exchange[-1] = couplings[kind, int(spins[bond.start] != spins[bond.end])] * np.eye(3)
            bonds.append(replace(bond, exchange=exchange))
        sites = tuple(
            replace(site, moment=tuple((sign * self.axis).tolist()))
            for site, sign in zip(self.model.sites, spins, strict=True)
        )
        return replace(self.model, sites=sites, bonds=tuple(bonds))


def magnets_of(study: Study) -> dict[str, RandomMagnets]:
    """Random magnets on the bonds of each candidate that allows them.

    Raises
    ------
    StudyError
        If none does; says why the first does not.
    """
    found, reasons = {}, []
    for name in study.classes:
        try:
            found[name] = RandomMagnets.of(study, name)
        except StudyError as error:
            reasons.append(error)
    if not found:
        raise reasons[0]
    return found


def _up_or_down(model: SpinModel) -> NDArray[np.int64] | None:
    """Each spin along (1) or against (-1) the first, None where they are not collinear."""
    cosines = model.moments @ model.moments[0]
    if model.propagation is not None or np.abs(np.abs(cosines) - 1).max() > ALONG:
        return None
    return np.where(cosines > 0, 1, -1)


def _same_sites(one: SpinModel, other: SpinModel) -> bool:
    """Whether two models have their sites in the same places and order."""
    return (
        one.supercell == other.supercell
        and one.positions.shape == other.positions.shape
        and bool(np.allclose(one.positions, other.positions, atol=1e-3))
    )


def _places(model: SpinModel) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sublattice (n_sites,) and cell of the lattice (n_sites, 3) of each site."""
    inside = np.array([site.position for site in model.sites]) * np.array(model.supercell)
    cell = np.floor(inside + 1e-3).astype(int)
    _, sublattice = np.unique((inside - cell).round(2) + 0.0, axis=0, return_inverse=True)
    return sublattice.reshape(-1), cell


def _shifts(model: SpinModel, sublattice: NDArray[np.int64], cell: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """For every shift by a vector of the lattice that takes sites to sites, the site that comes to each one's place."""
    size = np.array(model.supercell)

    def place(b: int, n: NDArray[np.int64]) -> tuple[int, ...]:
        return b, *(int(x) for x in n % size)

    known = {place(b, n): i for i, (b, n) in enumerate(zip(sublattice, cell, strict=True))}
    out = []
    for step in np.ndindex(*model.supercell):
        moved = [known.get(place(b, n + step)) for b, n in zip(sublattice, cell, strict=True)]
        if None not in moved:
            out.append(np.array(moved))
    return out


def _kinds(model: SpinModel) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Bonds (n_bonds,) by their exchange in the candidate; largest coupling of each kind that the priors allow, meV."""
    most = np.append(np.abs(model.prior).max(1, initial=0.0), 1.0)
    tensors: list[NDArray[np.float64]] = []
    kind = []
    for bond in model.bonds:
        same = [n for n, tensor in enumerate(tensors) if np.allclose(tensor, bond.exchange)]
        kind.append(same[0] if same else len(tensors))
        if not same:
            tensors.append(bond.exchange)
    strength = [float((most * np.linalg.norm(tensor, 2, (1, 2))).max()) for tensor in tensors]
    return np.array(kind, int), np.array(strength)
