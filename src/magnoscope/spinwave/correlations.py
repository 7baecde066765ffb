"""What a neutron sees of the modes: correlations, energies and intensities of all domains, S(Q, w).

Everything is per magnetic cell and in units of spin squared; neither k_f / k_i nor (gamma r_0)^2 is in it. Long lists
of wave vectors are worked through in parts, so that memory does not grow with their number beyond what is returned.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..errors import StudyError
from ..study import Twin
from .broadening import Line
from .modes import Modes, ModeSolver, amplitudes, check_stable, s_perp
from .stability import require_minimum
from .sweep import band_intensities
from .thermal import check_temperature, occupation

ONE_DOMAIN = (Twin(np.eye(3), 1.0),)
"""A crystal without twins."""

SIGMA = 1 / np.sqrt(8 * np.log(2))
"""Standard deviation of a Gaussian of full width 1."""


@dataclass(frozen=True)
class Dispersion:
    """Energies and intensities of the modes at wave vectors.

    Attributes
    ----------
    model : str
    q : (n_q, 3) r.l.u.
    energies : (n_q, n_modes) meV
        Those of each domain in turn, falling.
    intensities : (n_q, n_modes)
        S_perp of a neutron that loses energy, times the domain's volume fraction and the temperature factor n + 1.
    domain : (n_modes,) int
    temperature : float
        K.
    """

    model: str
    q: NDArray[np.float64]
    energies: NDArray[np.float64]
    intensities: NDArray[np.float64]
    domain: NDArray[np.int64]
    temperature: float

    def spectrum(self, energy: ArrayLike, width: float) -> NDArray[np.float64]:
        """S_perp(q, energy) with Gaussians of a full width at half maximum (meV): (n_q, n_energies) per meV."""
        sigma = width * SIGMA
        grid = np.asarray(energy, float)
        out = np.zeros((len(self.q), len(grid)))
        for mode in range(self.energies.shape[1]):
            arm = (grid - self.energies[:, mode : mode + 1]) / sigma
            out += self.intensities[:, mode : mode + 1] * np.exp(-(arm**2) / 2)
        return np.asarray(out / (sigma * np.sqrt(2 * np.pi)))


@dataclass(frozen=True)
class DynamicStructureFactor:
    """S_perp(Q, w), summed over modes and domains.

    Attributes
    ----------
    model : str
    q : (n_q, 3) r.l.u.
    energy_edges : (n_energies + 1,) meV
        Bins of energy transfer; positive where the neutron loses energy.
    intensity : (n_q, n_energies) 1/meV
    temperature : float
        K.
    """

    model: str
    q: NDArray[np.float64]
    energy_edges: NDArray[np.float64]
    intensity: NDArray[np.float64]
    temperature: float

    @property
    def energies(self) -> NDArray[np.float64]:
        """Centres of the bins, (n_energies,) meV."""
        return (self.energy_edges[1:] + self.energy_edges[:-1]) / 2


def correlation_tensor(modes: Modes, include_form_factor: bool = True) -> torch.Tensor:
    """S^ab of creating each mode with momentum transfer q, in the crystal's Cartesian frame.

    Returns
    -------
    (..., n_q, n_modes, 3, 3) complex
        Hermitian; its contraction with delta_ab - Qa Qb / Q^2 is :func:`magnoscope.spinwave.s_perp`.
    """
    w = amplitudes(modes, include_form_factor)
    return w.conj().resolve_conj()[..., :, None] * w[..., None, :]


def dispersion(
    solver: ModeSolver,
    values: ArrayLike,
    q: ArrayLike,
    temperature: float = 0.0,
    domains: Sequence[Twin] = ONE_DOMAIN,
    include_form_factor: bool = True,
    threads: int = 1,
) -> Dispersion:
    """Energies and intensities of the modes of all domains at any number of wave vectors.

    Parameters
    ----------
    solver : ModeSolver
    values : (n_parameters,) meV
    q : (n_q, 3) r.l.u.
    temperature : float
        K.
    domains : sequence of Twin
        At q a domain has the modes and intensities of the crystal at ``matrix @ q``.
    include_form_factor : bool
    threads : int
        Chunks that are worked on at a time, each on one core.

    Raises
    ------
    InstabilityError
        If the structure is no energy minimum, on a grid of the zone or at one of the wave vectors.
    StudyError
        If q or the values have the wrong shape, or the temperature is negative.
    """
    check_temperature(temperature)
    q = solver.check_wave_vectors(q).cpu().numpy()
    require_minimum(solver, values)
    energies, intensities, domain = [], [], []
    for number, twin in enumerate(domains):
        bands = band_intensities(solver, values, q @ twin.matrix.T, include_form_factor, threads)
        if not bool(bands.stable.all()):
            check_stable(solver, values, solver.solve(values, bands.q[~bands.stable][:1]))
        factor = twin.fraction * (1 + occupation(bands.energies, temperature))
        energies.append(bands.energies.cpu().numpy())
        intensities.append((bands.intensities * factor).cpu().numpy())
        domain += [number] * energies[-1].shape[1]
    return Dispersion(
        model=solver.model.name,
        q=q,
        energies=np.concatenate(energies, 1),
        intensities=np.concatenate(intensities, 1),
        domain=np.array(domain),
        temperature=temperature,
    )


def structure_factor(
    solver: ModeSolver,
    values: ArrayLike,
    q: ArrayLike,
    energy_edges: ArrayLike,
    line: Line,
    temperature: float = 0.0,
    domains: Sequence[Twin] = ONE_DOMAIN,
    include_form_factor: bool = True,
    chunk: int | None = None,
) -> DynamicStructureFactor:
    """S_perp(Q, w): the sum over modes and domains, each mode with a width in energy.

    At a temperature above zero neutrons gain energy from the modes at -Q, and
    S(Q, -w) = exp(-w / kT) S(-Q, w) before a resolution is put on.

    Parameters
    ----------
    solver : ModeSolver
    values : (n_parameters,) meV
    q : (n_q, 3) r.l.u.
    energy_edges : (n_energies + 1,) meV, rising
    line : Line
        Shape and width of a mode.
    temperature : float
        K.
    domains, include_form_factor
        As for :func:`dispersion`.
    chunk : int or None
        Wave vectors that are worked on at a time; :attr:`ModeSolver.chunk` if None.

    Raises
    ------
    InstabilityError
        If the structure is no energy minimum, on a grid of the zone or at one of the wave vectors.
    StudyError
        If an argument has the wrong shape or sign.
    """
    q = solver.check_wave_vectors(q).cpu().numpy()
    edges = check_edges(energy_edges)
    require_minimum(solver, values)
    total = np.zeros((len(q), len(edges) - 1))
    for twin in domains:
        total += twin.fraction * summed_modes(
            solver, values, q @ twin.matrix.T, edges, line, temperature, include_form_factor, chunk
        )
    return DynamicStructureFactor(solver.model.name, q, edges, total, temperature)


def check_edges(energy_edges: ArrayLike) -> NDArray[np.float64]:
    """Bins of energy transfer as (n + 1,) meV.

    Raises
    ------
    StudyError
        If they are not at least two finite numbers that rise.
    """
    edges = np.asarray(energy_edges, float)
    if edges.ndim != 1 or len(edges) < 2 or not np.isfinite(edges).all() or (np.diff(edges) <= 0).any():
        raise StudyError("the edges of the energy bins must be at least two finite numbers that rise, in meV")
    return edges


def summed_modes(
    solver: ModeSolver,
    values: ArrayLike,
    q: NDArray[np.float64],
    edges: NDArray[np.float64],
    line: Line,
    temperature: float,
    include_form_factor: bool,
    chunk: int | None = None,
) -> NDArray[np.float64]:
    """Sum over modes of one domain, (n_q, n_energies) 1/meV."""
    check_temperature(temperature)
    bins = torch.as_tensor(edges, device=solver.device)
    rows = []
    for part in torch.as_tensor(q).split(chunk or solver.chunk):
        total = torch.zeros(len(part), len(edges) - 1, dtype=torch.float64, device=solver.device)
        for sign, shape in ((1, line.profile), (-1, line.gain)):
            if sign < 0 and temperature == 0:
                continue
            modes = solver.solve(values, sign * part, in_order=False)
            check_stable(solver, values, modes)
            profile = shape(bins, modes.energies, temperature)
            total += torch.einsum("qn,qne->qe", s_perp(modes, include_form_factor), profile)
        rows.append(total.cpu())
    return torch.cat(rows).numpy()
