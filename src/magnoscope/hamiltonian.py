"""The spin Hamiltonian: sites, bonds and exchange tensors that are linear in named parameters.

Conventions: ``H = sum over bonds (each once) S_i . J . S_j + sum over sites S_i . K . S_i``; positive J is
antiferromagnetic; energies in meV; positions in fractions of the magnetic cell.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .crystal import Lattice
from .errors import StudyError


@dataclass(frozen=True)
class Parameter:
    """A named number of a model: its reference value, uncertainty there and uniform prior (all meV)."""

    name: str
    reference: float
    prior: tuple[float, float]
    error: float = 0.0


@dataclass(frozen=True)
class Site:
    """A magnetic ion: where it sits (fractions of the magnetic cell) and where its moment points (unit vector)."""

    name: str
    ion: str
    spin: float
    moment: tuple[float, float, float]
    position: tuple[float, float, float]


@dataclass(frozen=True)
class Bond:
    """An exchange path from site ``start`` to site ``end`` displaced by ``vector`` (fractions of the magnetic cell).

    ``exchange`` holds one 3 x 3 matrix per parameter and, last, a constant one: (n_parameters + 1, 3, 3).
    """

    start: int
    end: int
    vector: tuple[float, float, float]
    exchange: NDArray[np.float64]
    label: str = ""


@dataclass(frozen=True)
class SpinModel:
    """One candidate Hamiltonian on one magnetic cell.

    Attributes
    ----------
    name : str
    parameters : tuple of Parameter
    sites : tuple of Site
    bonds : tuple of Bond
        Each bond once.
    anisotropy : (n_sites, n_parameters + 1, 3, 3) meV
        Single-ion matrices, linear in the parameters like ``Bond.exchange``.
    lattice : Lattice
        The cell whose r.l.u. wave vectors are given in (not the magnetic one).
    supercell : (3,) int
        Multiples of that cell that make the magnetic cell.
    """

    name: str
    parameters: tuple[Parameter, ...]
    sites: tuple[Site, ...]
    bonds: tuple[Bond, ...]
    anisotropy: NDArray[np.float64]
    lattice: Lattice
    supercell: tuple[int, int, int] = (1, 1, 1)

    @property
    def reference(self) -> NDArray[np.float64]:
        """Reference values, (n_parameters,) meV."""
        return np.array([p.reference for p in self.parameters], float)

    @property
    def prior(self) -> NDArray[np.float64]:
        """Lower and upper ends of the uniform priors, (n_parameters, 2) meV."""
        return np.array([p.prior for p in self.parameters], float).reshape(-1, 2)

    def values(self, changes: Mapping[str, float] | None = None) -> NDArray[np.float64]:
        """Reference values with some of them replaced, (n_parameters,) meV.

        Raises
        ------
        StudyError
            If a name is not a parameter of this model or a value is not finite.
        """
        names = [p.name for p in self.parameters]
        values = self.reference
        for name, value in (changes or {}).items():
            if name not in names:
                raise StudyError(f"model {self.name} has no parameter {name}; it has {', '.join(names)}")
            if not np.isfinite(value):
                raise StudyError(f"parameter {name} of model {self.name} is {value}; it must be a finite number in meV")
            values[names.index(name)] = value
        return values

    @cached_property
    def cell(self) -> NDArray[np.float64]:
        """Vectors of the magnetic cell as rows, (3, 3) Å."""
        return self.lattice.direct * np.array(self.supercell, float)[:, None]

    @cached_property
    def positions(self) -> NDArray[np.float64]:
        """Site positions, (n_sites, 3) Å."""
        return np.array([s.position for s in self.sites]) @ self.cell

    @cached_property
    def bond_vectors(self) -> NDArray[np.float64]:
        """Displacements along the bonds, (n_bonds, 3) Å."""
        return np.array([b.vector for b in self.bonds]).reshape(-1, 3) @ self.cell

    def layer_heights(self, direction: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Heights of the sites along a direction if the modes do not disperse along it, else None.

        Modes are flat along a direction exactly when heights z_i exist with ``d . n = z_j - z_i`` for every bond:
        a shift of q along n is then a change of each boson's phase, and no more.

        Parameters
        ----------
        direction : (3,) Cartesian
            Need not be normalised.

        Returns
        -------
        (n_sites,) Å or None
        """
        n = np.asarray(direction, float) / np.linalg.norm(direction)
        rises = self.bond_vectors @ n
        heights = np.full(len(self.sites), np.nan)
        for seed in range(len(self.sites)):
            if np.isfinite(heights[seed]):
                continue
            heights[seed] = self.positions[seed] @ n
            front = [seed]
            while front:
                i = front.pop()
                for bond, rise in zip(self.bonds, rises, strict=True):
                    for here, there, step in ((bond.start, bond.end, rise), (bond.end, bond.start, -rise)):
                        if here != i:
                            continue
                        if np.isnan(heights[there]):
                            heights[there] = heights[i] + step
                            front.append(there)
                        elif abs(heights[there] - heights[i] - step) > 1e-6:
                            return None
        return heights
