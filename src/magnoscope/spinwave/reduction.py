"""Exact reduction of the boson problem by what its couplings show of symmetry.

Two things make a boson Hamiltonian larger than it needs to be. Along directions in which no closed path of bonds leads
(a bilayer, a chain, a layer) the wave vector is no more than a phase of each site, which is taken out. And where sites
can be exchanged without a change to any coupling (a cell repeated, two sheets of a bilayer, a translation combined with
the reversal of all spins), the matrices split into one block for each character of the group of these exchanges.

The exchanges are looked for in the couplings themselves, at random wave vectors and parameters: no space group is
needed and none is believed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 1e-9
"""How far (relative to the largest) two couplings may differ and still be called equal."""

LARGEST = 256
"""Cells of more sites than this are not searched."""


@dataclass(frozen=True)
class Exchanges:
    """An abelian group of exchanges of sites that leaves no site in place.

    Attributes
    ----------
    characters : (n_group, n_group) complex
        Value of each character (rows) at each element (columns, the identity first).
    conjugate : (n_group,) int
        The row that holds the complex conjugate of each row.
    element, orbit : (n_sites,) int
        Site i is what element ``element[i]`` makes of the first site of orbit ``orbit[i]``.
    """

    characters: NDArray[np.complex128]
    conjugate: NDArray[np.int64]
    element: NDArray[np.int64]
    orbit: NDArray[np.int64]


def flat_offsets(n: int, start: NDArray[np.int64], end: NDArray[np.int64], steps: NDArray) -> NDArray[np.float64]:
    """Displacements f_i, along the directions in which modes are flat, that take the wave vector along them out.

    Parameters
    ----------
    n : int
        Number of sites.
    start, end : (n_terms,) int
    steps : (n_terms, 3) Å
        Couplings from site to site, each in both senses.

    Returns
    -------
    (n_sites, 3) Å
        A_ij(q) = exp(i q . (f_j - f_i)) A'_ij(q), where A' does not depend on q along a flat direction.
    """
    at = np.full((n, 3), np.nan)
    for seed in range(n):
        if np.isfinite(at[seed, 0]):
            continue
        at[seed], front = 0, [seed]
        while front:
            i = front.pop()
            for t in np.flatnonzero(start == i):
                if np.isnan(at[end[t], 0]):
                    at[end[t]] = at[i] + steps[t]
                    front.append(int(end[t]))
    loops = steps - (at[end] - at[start])
    _, size, axes = np.linalg.svd(np.concatenate([loops, np.zeros((3, 3))]), full_matrices=False)
    known = axes[size > 1e-6 * max(1.0, size[0])]
    return np.asarray(at - at @ known.T @ known)


def find_exchanges(couplings: NDArray[np.complex128]) -> Exchanges:
    """The exchanges of sites that leave matrices as they are.

    Parameters
    ----------
    couplings : (n_matrices, n_sites, n_sites)
        Matrices at random wave vectors and parameters.
    """
    n = couplings.shape[-1]
    group = [tuple(range(n))]
    for swap in _automorphisms(couplings) if n <= LARGEST else []:
        group = _extended(group, swap)
    return _exchanges(group)


def no_exchanges(n: int) -> Exchanges:
    """The group of the identity alone, for n sites."""
    return _exchanges([tuple(range(n))])


def _exchanges(group: list[tuple[int, ...]]) -> Exchanges:
    """A group of permutations, ready to be used."""
    n = len(group[0])
    characters = _characters(group)
    conjugate = np.abs(characters.conj()[:, None] - characters).sum(-1).argmin(1)
    element, orbit = np.zeros(n, int), np.full(n, -1)
    for i in range(n):
        if orbit[i] < 0:
            images = [g[i] for g in group]
            element[images], orbit[images] = np.arange(len(group)), orbit.max() + 1
    return Exchanges(characters, conjugate, element, orbit)


def _automorphisms(c: NDArray[np.complex128]) -> list[tuple[int, ...]]:
    """Exchanges of sites under which c[:, p, p] = c and which leave no site in place, one for each image of site 0."""
    n = c.shape[-1]
    close = TOLERANCE * (1 + np.abs(c).max())
    alike = (np.abs(c.diagonal(axis1=1, axis2=2)[:, :, None] - c.diagonal(axis1=1, axis2=2)[:, None]) < close).all(0)
    order, tied = _spanning_order((np.abs(c) > close).any(0))
    found = []
    for image in np.flatnonzero(alike[0])[1:]:
        p = np.full(n, -1)
        p[0] = image
        for site in order[1:]:
            known = tied[site]
            fits = alike[site].copy()
            fits[p[p >= 0]] = False
            for there in known:
                fits &= (np.abs(c[:, p[there]] - c[:, there, site, None]) < close).all(0)
            if not fits.any():
                break
            p[site] = fits.argmax()
        if (p >= 0).all() and (p != np.arange(n)).all() and (np.abs(c[:, p][:, :, p] - c) < close).all():
            found.append(tuple(int(x) for x in p))
    return found


def _spanning_order(tie: NDArray[np.bool_]) -> tuple[list[int], list[list[int]]]:
    """Sites from the first on, each one coupled to one before it where that can be, and what each is coupled to."""
    n = len(tie)
    order: list[int] = []
    tied: list[list[int]] = [[] for _ in range(n)]
    left = set(range(n))
    while left:
        front = [min(left)]
        left.discard(front[0])
        while front:
            site = front.pop(0)
            tied[site] = [x for x in order if tie[site, x] or tie[x, site]]
            order.append(site)
            beyond = [x for x in sorted(left) if tie[site, x] or tie[x, site]]
            left.difference_update(beyond)
            front += beyond
    return order, tied


def _extended(group: list[tuple[int, ...]], swap: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The group with one more exchange, or as it was where that is not abelian or leaves some site in place."""

    def after(p: tuple[int, ...], r: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(p[x] for x in r)

    if swap in group or any(after(g, swap) != after(swap, g) for g in group):
        return group
    powers, power = [group[0]], swap
    while power not in group:
        powers.append(power)
        power = after(swap, power)
    larger = [after(p, g) for p in powers for g in group]
    stays = any(g[i] == i for g in larger[1:] for i in range(len(swap)))
    return group if stays else larger


def _characters(group: list[tuple[int, ...]]) -> NDArray[np.complex128]:
    """Character table (n_group, n_group) of an abelian group of permutations that move every site."""
    size = len(group)
    # a free action is told by where it takes the first site
    number = {g[0]: i for i, g in enumerate(group)}
    regular = np.zeros((size, size, size))
    for i, g in enumerate(group):
        for j, h in enumerate(group):
            regular[i, number[g[h[0]]], j] = 1
    mix = np.einsum("g,gij->ij", np.random.default_rng(0).normal(size=size) * np.exp(1j * np.arange(size)), regular)
    _, vectors = np.linalg.eigh(mix + mix.conj().T)
    values = np.einsum("ic,gij,jc->cg", vectors.conj(), regular, vectors)
    turns = np.angle(values) / (2 * np.pi) * size  # characters are roots of unity
    characters = np.exp(2j * np.pi * np.round(turns) / size)
    return np.asarray(np.where(np.abs(characters.imag) < 1e-12, np.round(characters.real) + 0j, characters))
