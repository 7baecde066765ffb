"""The spin Hamiltonian: sites, bonds and exchange tensors that are linear in named parameters.

Conventions: ``H = sum over bonds (each once) S_i . J . S_j + sum over sites (S_i . K . S_i - mu_B B . g . S_i)``;
positive J is antiferromagnetic; a spin gains energy by pointing along the field; energies in meV; positions in
fractions of the magnetic cell. Spins, exchange, anisotropy, g and B share the Cartesian frame of :class:`Lattice`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .crystal import Lattice
from .errors import StudyError
from .units import BOHR_MAGNETON

FREE_SPIN = ((2.0, 0.0, 0.0), (0.0, 2.0, 0.0), (0.0, 0.0, 2.0))
"""g-tensor of a spin without orbital moment."""

REACH = 1e-3
"""How closely (fractions of the magnetic cell) a bond must reach its end."""


@dataclass(frozen=True)
class Parameter:
    """A named number of a model: its reference value, uncertainty there and uniform prior (all meV)."""

    name: str
    reference: float
    prior: tuple[float, float]
    error: float = 0.0


@dataclass(frozen=True)
class Site:
    """A magnetic ion: where it sits (fractions of the magnetic cell) and where its spin points.

    ``moment`` is the direction of the spin (any length but zero); it is also that of the magnetic moment where g is
    isotropic and positive, for the Zeeman term is ``- mu_B B . g . S``. ``g`` holds the rows of the g-tensor.
    ``orbital`` is the share c of the orbital moment in the form factor <j0> + c <j2>.
    """

    name: str
    ion: str
    spin: float
    moment: tuple[float, float, float]
    position: tuple[float, float, float]
    g: tuple[tuple[float, float, float], ...] = FREE_SPIN
    orbital: float = 0.0


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
    field : (n_parameters + 1, 3) T, Cartesian
        Applied field, linear in the parameters like ``Bond.exchange``; none if not given.
    propagation : (3,) r.l.u. of ``lattice``, or None
        Wave vector k of a single-k structure: the spins of a magnetic cell displaced by R are those given here, turned
        by 2 pi k . R (right-handed) about ``rotation_axis``. None: every magnetic cell holds the same spins.
    rotation_axis : (3,) Cartesian, or None
        Needed with ``propagation``.
    """

    name: str
    parameters: tuple[Parameter, ...]
    sites: tuple[Site, ...]
    bonds: tuple[Bond, ...]
    anisotropy: NDArray[np.float64]
    lattice: Lattice
    supercell: tuple[int, int, int] = (1, 1, 1)
    field: NDArray[np.float64] | None = None
    propagation: tuple[float, float, float] | None = None
    rotation_axis: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        _check(self)

    @cached_property
    def zeeman(self) -> NDArray[np.float64]:
        """What the field does to each spin, h_i in - h_i . S_i: (n_sites, n_parameters + 1, 3) meV."""
        if self.field is None:
            return np.zeros((len(self.sites), len(self.parameters) + 1, 3))
        return BOHR_MAGNETON * np.einsum("pa,iab->ipb", self.field, np.array([s.g for s in self.sites], float))

    @cached_property
    def moments(self) -> NDArray[np.float64]:
        """Unit vectors along the spins, (n_sites, 3)."""
        v = np.array([s.moment for s in self.sites], float)
        return v / np.linalg.norm(v, axis=1, keepdims=True)

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
        if self.propagation is not None:  # waves at q +- k: not a matter of phases alone
            return None
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


def _check(model: SpinModel) -> None:
    """Stop on a model that has no meaning.

    Raises
    ------
    StudyError
        Naming the site, bond or entry.
    """
    n_weights, n = len(model.parameters) + 1, len(model.sites)
    name = f"model {model.name}"
    if not n:
        raise StudyError(f"{name} has no magnetic site; give at least one")
    for site in model.sites:
        if not site.spin > 0 or not np.isfinite(site.spin):
            raise StudyError(f"{name}: site {site.name} has spin {site.spin:g}; it must be a positive number")
        if not np.isfinite(site.moment).all() or not np.linalg.norm(site.moment) > 0:
            raise StudyError(f"{name}: site {site.name} has a moment of no direction; give one that is not zero")
        if np.shape(site.g) != (3, 3) or not np.isfinite(site.g).all():
            raise StudyError(f"{name}: site {site.name} has no 3 x 3 g-tensor; give three rows of three numbers")
    for bond in model.bonds:
        what = f"{name}: bond {bond.label or 'from ' + str(bond.start)} along {tuple(float(x) for x in bond.vector)}"
        if not (0 <= bond.start < n and 0 <= bond.end < n):
            raise StudyError(f"{what} joins sites {bond.start} and {bond.end}; sites count from 0 to {n - 1}")
        if np.shape(bond.exchange) != (n_weights, 3, 3) or not np.isfinite(bond.exchange).all():
            raise StudyError(
                f"{what} must have {n_weights} finite 3 x 3 matrices: one for each parameter, and a constant"
            )
        miss = np.array(model.sites[bond.start].position) + bond.vector - np.array(model.sites[bond.end].position)
        if np.abs(miss - np.round(miss)).max() > REACH:
            raise StudyError(
                f"{what} does not lead from {model.sites[bond.start].name} to {model.sites[bond.end].name}"
            )
        if bond.start == bond.end and np.abs(bond.vector).max() < REACH:
            raise StudyError(f"{what} joins a site with itself; that is an anisotropy")
    single = np.asarray(model.anisotropy)
    if single.shape != (n, n_weights, 3, 3) or not np.allclose(single, single.swapaxes(-1, -2)):
        raise StudyError(f"{name}: the anisotropy must be symmetric 3 x 3 matrices of shape {(n, n_weights, 3, 3)}")
    if model.field is not None and (np.shape(model.field) != (n_weights, 3) or not np.isfinite(model.field).all()):
        raise StudyError(f"{name}: the field must be finite vectors of shape {(n_weights, 3)}, in T")
    if (model.propagation is None) != (model.rotation_axis is None):
        raise StudyError(f"{name}: a propagation vector and a rotation axis go together; give both or neither")
    if model.rotation_axis is not None and not np.linalg.norm(model.rotation_axis) > 0:
        raise StudyError(f"{name}: the rotation axis is zero; give the direction that the spins turn about")
