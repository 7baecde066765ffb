"""Energies and intensities at any number of wave vectors, in chunks that fit the cache, on one core or several."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from numpy.typing import ArrayLike

from ..hamiltonian import SpinModel
from .modes import ModeSolver, s_perp
from .projection import Projection


@dataclass(frozen=True)
class BandIntensities:
    """What a neutron sees of a model's modes.

    Attributes
    ----------
    q : (n_q, 3) r.l.u.
    energies : (n_q, n_modes) meV, falling; NaN where the state is no energy minimum
    intensities : (n_q, n_modes)
        S_perp of each mode, per magnetic cell, spin squared.
    stable : (n_q,) bool
    """

    model: SpinModel
    q: torch.Tensor
    energies: torch.Tensor
    intensities: torch.Tensor
    stable: torch.Tensor


def band_intensities(
    solver: ModeSolver,
    values: ArrayLike | torch.Tensor,
    q: ArrayLike | torch.Tensor,
    include_form_factor: bool = True,
    threads: int = 1,
    chunk: int | None = None,
) -> BandIntensities:
    """Energies and S_perp at many wave vectors; eigenvectors are dropped as soon as they have been used.

    Parameters
    ----------
    values : (n_parameters,) meV
    q : (n_q, 3) r.l.u.
    threads : int
        How many chunks are worked on at a time, each on one core.
    chunk : int or None
        Wave vectors in a chunk; :attr:`ModeSolver.chunk` if None.

    Raises
    ------
    StudyError
        If q or the values have the wrong shape.
    """
    values, q = solver.check_values(values), solver.check_wave_vectors(q)
    n_modes = len(solver.model.sites) * (1 if solver.model.propagation is None else 3)
    energies = q.new_empty(len(q), n_modes)
    intensities = q.new_empty(len(q), n_modes)
    stable = torch.empty(len(q), dtype=torch.bool, device=q.device)
    size = chunk or solver.chunk

    bands = Projection(solver, include_form_factor) if solver.model.propagation is None else None

    def work(begin: int) -> None:
        here = slice(begin, begin + size)
        if bands is None:
            modes = solver.solve(values, q[here])
            found, strength, stable[here] = modes.energies, s_perp(modes, include_form_factor), modes.stable
        else:
            found, strength, stable[here] = bands.solve(values, q[here])
        energies[here], order = found.sort(-1, descending=True)
        intensities[here] = strength.gather(-1, order)

    begins = range(0, len(q), size)
    with torch.no_grad(), one_core_each():
        if threads == 1:  # a new thread's memory comes from the system page by page
            for begin in begins:
                work(begin)
        else:
            with ThreadPoolExecutor(threads) as pool:
                for _ in pool.map(work, begins):
                    pass
    if bool((solver.linear.tilts(values) > solver.tilt_tolerance).any()):
        stable[:] = False
    unstable = ~stable
    if bool(unstable.any()):
        energies[unstable] = intensities[unstable] = float("nan")
    return BandIntensities(solver.model, q, energies, intensities, stable)


@contextmanager
def one_core_each() -> Iterator[None]:
    """Let every operation run on one core: more only make batches of small matrices slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
