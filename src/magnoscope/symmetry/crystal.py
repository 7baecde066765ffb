"""Magnetic sites of a crystal, the bonds between them, and what symmetry makes of one bond or one site."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import scipy
from numpy.typing import NDArray

from ..crystal import Lattice
from ..errors import StudyError
from .space_group import SpaceGroup
from .tensors import AllowedForm

NEAR = 0.02
"""Positions closer than this (Å) are one site: coordinates are often given to three digits."""
EQUAL = 1e-3
"""Bonds whose lengths differ by less (Å) are in one shell."""
MOST_SITES = 256
"""Magnetic sites a cell may have."""
MOST_CANDIDATES = 4_000_000
"""Pairs of sites looked at in one search for bonds."""


@dataclass(frozen=True)
class CrystalBond:
    """From site ``start`` in the cell at the origin to site ``end`` in the cell ``cell`` lattice vectors away."""

    start: int
    end: int
    cell: tuple[int, int, int]

    @property
    def reversed(self) -> "CrystalBond":
        """The same bond seen from its other end."""
        n = self.cell
        return CrystalBond(self.end, self.start, (-n[0], -n[1], -n[2]))

    @property
    def canonical(self) -> "CrystalBond":
        """Of the bond and its reverse the one that starts at the lower site, or leads along the rising axis."""
        return max(self, self.reversed, key=lambda b: (-b.start, -b.end, b.cell))


@dataclass(frozen=True)
class Orbit:
    """A bond and all that symmetry makes of it.

    Attributes
    ----------
    bond : CrystalBond
        The one that stands for all.
    bonds : tuple of CrystalBond
        Every bond of a cell once, this one first, each in the sense in which an operation makes it of the first.
    rotations : (n, 3, 3)
        Cartesian rotation (a mirror or inversion included) that makes each bond of the first: its exchange is
        R J R^T.
    length : float, Å
    shell : int
        Number of its shell, the nearest neighbours being 1; 0 if not counted.
    letter : str
        ``"a"``, ``"b"`` .. where a shell holds several orbits, else empty.
    """

    bond: CrystalBond
    bonds: tuple[CrystalBond, ...]
    rotations: NDArray[np.float64]
    length: float
    shell: int = 0
    letter: str = ""

    @property
    def label(self) -> str:
        """Such as ``"2"`` or ``"3a"``."""
        return f"{self.shell}{self.letter}"

    def exchange(self, tensors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Exchange of every bond from that of the first: (..., 3, 3) to (n_bonds, ..., 3, 3)."""
        return np.stack([r @ tensors @ r.T for r in self.rotations])


@dataclass(frozen=True)
class Crystal:
    """A lattice, its space group, and the magnetic sites of a cell.

    Attributes
    ----------
    lattice : Lattice
    group : SpaceGroup
    names : tuple of str
        ``kind.1``, ``kind.2`` ..; sites that symmetry makes of one another share their kind.
    positions : (n_sites, 3)
        Fractions of the cell.
    """

    lattice: Lattice
    group: SpaceGroup
    names: tuple[str, ...]
    positions: NDArray[np.float64]
    _orbits: dict[int, tuple[Orbit, ...]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def generate(cls, lattice: Lattice, group: SpaceGroup, kinds: Sequence[tuple[str, Sequence[float]]]) -> "Crystal":
        """All sites of a cell from one position of each kind, the one given first.

        Raises
        ------
        StudyError
            If the lattice does not have the symmetry, or two kinds are on one place.
        """
        group.cartesian(lattice)
        names: list[str] = []
        positions: list[NDArray[np.float64]] = []
        for kind, position in kinds:
            own = site_images(lattice, group, np.array(position, float))
            for there, name in zip(positions, names, strict=True):
                if _apart(lattice, own[0], there) < NEAR:
                    raise StudyError(f"{kind} at {_show(position)} sits on {name}, which symmetry puts there")
            if len(names) + len(own) > MOST_SITES:
                raise StudyError(f"there are more than {MOST_SITES} magnetic sites in a cell")
            names += [f"{kind}.{number}" for number in range(1, len(own) + 1)]
            positions += list(own)
        return cls(lattice, group, tuple(names), np.array(positions))

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def rotations(self) -> NDArray[np.float64]:
        """Cartesian rotations of the group, (n_operations, 3, 3)."""
        return self.group.cartesian(self.lattice)

    @cached_property
    def images(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """What each operation makes of each site: its number (n_operations, n_sites), and the cell it is in (.., 3)."""
        moved = np.einsum("gab,ib->gia", self.group.rotations, self.positions) + self.group.translations[:, None]
        tree = scipy.spatial.KDTree(self.positions % 1.0 % 1.0, boxsize=1.0)  # twice: -1e-17 % 1 is 1
        number = tree.query(moved % 1.0 % 1.0)[1]
        step = moved - self.positions[number]
        if np.linalg.norm((step - np.round(step)) @ self.lattice.direct, axis=-1).max() > NEAR:
            raise StudyError("the magnetic sites do not have the symmetry of the space group")
        return number, np.round(moved - self.positions[number]).astype(int)

    # ---- sites -----------------------------------------------------------------------------------------------------

    def site_rotations(self, site: int) -> NDArray[np.float64]:
        """Cartesian rotations of the operations that keep a site in place, (n, 3, 3)."""
        return self.rotations[self.images[0][:, site] == site]

    def site_form(self, site: int, symbol: str = "K") -> AllowedForm:
        """Tensors that the symmetry of a site allows: symmetric ones for an anisotropy, all for a g-tensor."""
        return AllowedForm.under(self.site_rotations(site), symbol=symbol)

    def site_orbit(self, site: int) -> dict[int, NDArray[np.float64]]:
        """Sites that symmetry makes of one, with a Cartesian rotation (3, 3) that does."""
        first = {int(image): g for g, image in reversed(list(enumerate(self.images[0][:, site])))}
        return {image: self.rotations[g] for image, g in sorted(first.items())}

    # ---- bonds -----------------------------------------------------------------------------------------------------

    def vector(self, bond: CrystalBond) -> NDArray[np.float64]:
        """Displacement along a bond, (3,) fractions of the cell."""
        return np.asarray(self.positions[bond.end] + bond.cell - self.positions[bond.start], float)

    def length(self, bond: CrystalBond) -> float:
        """Length of a bond, Å."""
        return float(np.linalg.norm(self.vector(bond) @ self.lattice.direct))

    def _bond_images(self, bond: CrystalBond) -> list[CrystalBond]:
        """What each operation makes of a bond."""
        number, cells = self.images
        turned = cells[:, bond.end] + self.group.rotations @ np.array(bond.cell) - cells[:, bond.start]
        starts, ends = number[:, bond.start].tolist(), number[:, bond.end].tolist()
        return [CrystalBond(i, j, tuple(n)) for i, j, n in zip(starts, ends, turned.tolist(), strict=True)]

    def bond_form(self, bond: CrystalBond) -> AllowedForm:
        """Exchange tensors that symmetry allows on a bond."""
        images, back = self._bond_images(bond), bond.reversed
        keeping = [r for image, r in zip(images, self.rotations, strict=True) if image == bond]
        reversing = [r for image, r in zip(images, self.rotations, strict=True) if image == back]
        return AllowedForm.under(keeping, reversing)

    def orbit(self, bond: CrystalBond) -> Orbit:
        """A bond with all that symmetry makes of it, each once."""
        made: dict[CrystalBond, tuple[CrystalBond, NDArray[np.float64]]] = {bond.canonical: (bond, np.eye(3))}
        for image, rotation in zip(self._bond_images(bond), self.rotations, strict=True):
            made.setdefault(image.canonical, (image, rotation))
        bonds, rotations = zip(*made.values(), strict=True)
        return Orbit(bond, bonds, np.array(rotations), self.length(bond))

    def bonds_within(self, length: float) -> list[CrystalBond]:
        """All bonds of a cell up to a length (Å), each once, by length.

        Raises
        ------
        StudyError
            If there are too many to look at.
        """
        cell = self.lattice.direct
        span = np.abs(self.positions[:, None] - self.positions).max(axis=(0, 1))
        reach = np.floor(length * np.linalg.norm(np.linalg.inv(cell), axis=0) + span + 1e-9).astype(int)
        if np.prod(2 * reach + 1.0) * len(self) ** 2 > MOST_CANDIDATES:
            raise StudyError(f"there are too many bonds up to {length:.4g} Å; ask for a shorter distance")
        offsets = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), -1).reshape(-1, 3)
        steps = self.positions[None, :, None] - self.positions[:, None, None] + offsets
        distance = np.linalg.norm(steps @ cell, axis=-1)
        found: dict[CrystalBond, float] = {}
        for i, j, n in np.argwhere((distance <= length + EQUAL) & (distance > NEAR)).tolist():
            bond = CrystalBond(i, j, tuple(offsets[n].tolist())).canonical
            found.setdefault(bond, float(distance[i, j, n]))
        return sorted(found, key=lambda b: (round(found[b] / EQUAL), _preference(b)))

    def orbits_within(self, length: float) -> tuple[Orbit, ...]:
        """All orbits of bonds up to a length (Å), numbered by shell and, within a shell, by letter."""
        orbits: list[Orbit] = []
        known: set[CrystalBond] = set()
        for bond in self.bonds_within(length):
            if bond not in known:
                orbits.append(self.orbit(bond))
                known.update(b.canonical for b in orbits[-1].bonds)
        return _numbered(sorted(orbits, key=lambda o: o.length))

    def shells(self, number: int) -> tuple[Orbit, ...]:
        """The orbits of the nearest ``number`` shells, a shell being the bonds of one length.

        Raises
        ------
        StudyError
            If the search would grow out of bounds.
        """
        if number not in self._orbits:
            volume = abs(np.linalg.det(self.lattice.direct))
            length = 1.2 * (volume / len(self)) ** (1 / 3)
            while True:
                found = self.orbits_within(length)
                if found and found[-1].shell > number:
                    break
                length *= 1.3
            self._orbits[number] = tuple(o for o in found if o.shell <= number)
        return self._orbits[number]

    def at_distance(self, length: float, tolerance: float = 0.005) -> tuple[Orbit, ...]:
        """Orbits of bonds at a length (Å, within a relative tolerance).

        Raises
        ------
        StudyError
            If bonds of several lengths are that near, and none much nearer than the others, or there is none.
        """
        all_found = self.orbits_within(length * (1 + tolerance))
        found = [o for o in all_found if abs(o.length - length) <= tolerance * length]
        if not found:
            others = sorted({f"{o.length:.4f}" for o in all_found[-3:]})
            raise StudyError(f"no bond is {length:g} Å long; shorter ones are {', '.join(others) or 'none'}")
        if len({o.shell for o in found}) > 1:
            exact = [o for o in found if abs(o.length - length) <= EQUAL]
            if len({o.shell for o in exact}) != 1:
                near = " and ".join(f"{x:.4f}" for x in sorted({round(o.length, 4) for o in found}))
                raise StudyError(f"bonds of {near} Å are all about {length:g} Å long; name the shell by its number")
            found = exact
        return tuple(found)

    def neighbours(self, orbit: Orbit, site: int) -> int:
        """How many bonds of an orbit a site has."""
        return sum((b.start == site) + (b.end == site) for b in orbit.bonds)


def site_images(lattice: Lattice, group: SpaceGroup, position: NDArray[np.float64]) -> NDArray[np.float64]:
    """All equivalents of a position in a cell, (n, 3) within [0, 1) but for the first, which stays where it is.

    A position near a special one is moved onto it: the mean over the operations that keep it in place.
    """
    moved = group.rotations @ position + group.translations
    step = moved - position
    offset = np.round(step)
    own = np.linalg.norm((step - offset) @ lattice.direct, axis=1) < NEAR
    exact = (moved - offset)[own].mean(axis=0)
    images = [exact]
    for image in group.rotations @ exact + group.translations:
        if all(_apart(lattice, image, other) >= NEAR for other in images):
            images.append((image + 1e-9) % 1.0 - 1e-9)
    return np.round(np.array(images), 12) + 0.0


def _apart(lattice: Lattice, a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Distance (Å) between positions up to lattice vectors, of those near each other."""
    step = np.asarray(a) - b
    return float(np.linalg.norm((step - np.round(step)) @ lattice.direct))


def _preference(bond: CrystalBond) -> tuple[object, ...]:
    """Which of several bonds stands for all: few lattice vectors away, along rising axes, the first axis first."""
    n = bond.cell
    return bond.start, bond.end, sum(map(abs, n)), sum(x < 0 for x in n), tuple(-x for x in n)


def _numbered(orbits: Iterable[Orbit]) -> tuple[Orbit, ...]:
    """Orbits of rising length with their shells counted."""
    shells: list[list[Orbit]] = []
    for orbit in orbits:
        if shells and orbit.length - shells[-1][0].length < EQUAL:
            shells[-1].append(orbit)
        else:
            shells.append([orbit])
    return tuple(
        Orbit(o.bond, o.bonds, o.rotations, o.length, number, _letter(place) if len(shell) > 1 else "")
        for number, shell in enumerate(shells, 1)
        for place, o in enumerate(sorted(shell, key=lambda o: _preference(o.bond)))
    )


def _letter(place: int) -> str:
    """``a`` to ``z``, then ``aa`` .."""
    return chr(97 + place) if place < 26 else _letter(place // 26 - 1) + _letter(place % 26)


def _show(vector: Iterable[float]) -> str:
    return "(" + ", ".join(f"{x:g}" for x in vector) + ")"
