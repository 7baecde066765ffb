"""Is a magnetic structure what its model wants? Torques, the lowest spin wave, and what lies below, in words."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..hamiltonian import SpinModel
from .energy import ClassicalEnergy
from .equilibrium import TILT_TOLERANCE, where_it_pulls
from .luttinger_tisza import Bound, luttinger_tisza
from .minimise import LowestFound, minimise_structure
from .modes import ModeSolver
from .stability import zone_grid


@dataclass(frozen=True)
class StructureCheck:
    """What is known of one structure.

    Attributes
    ----------
    model : SpinModel
    values : (n_parameters,) meV
    energy : float
        Classical energy, meV per magnetic cell.
    torques : (n_sites, 3) meV, Cartesian
    tilts : (n_sites,) radian
        How far each spin would turn to the nearest stationary state, to first order.
    stationary : bool
        Whether no tilt is beyond the tolerance.
    lowest : float
        Lowest eigenvalue of the boson Hamiltonian that was found, meV.
    q : (3,) r.l.u.
        Where it lies.
    bound : Bound
        No structure on any cell has less energy than this.
    found : LowestFound or None
        What a search on this magnetic cell (or for the best k) ended in, if one was made.
    """

    model: SpinModel
    values: NDArray[np.float64]
    energy: float
    torques: NDArray[np.float64]
    tilts: NDArray[np.float64]
    stationary: bool
    lowest: float
    q: NDArray[np.float64]
    bound: Bound
    found: LowestFound | None

    @property
    def minimum(self) -> bool:
        """Whether the structure is stationary and no eigenvalue is negative beyond rounding."""
        return self.stationary and self._steady

    @property
    def sentences(self) -> list[str]:
        """The findings in words."""
        n = len(self.model.sites)
        out = [f"The classical energy is {self.energy / n:.8g} meV per site ({self.energy:.8g} per magnetic cell)."]
        if self.stationary:
            largest = float(np.linalg.norm(self.torques, axis=1).max())
            out.append(f"The structure is stationary: the largest torque on a spin is {largest:.2g} meV.")
        else:
            out.append(f"It is not stationary: {where_it_pulls(self.model, self.values, self.tilts)}.")
        at = ", ".join(f"{x:.4g}" for x in self.q)
        if not self._steady:
            out.append(
                f"It is not a minimum: at q = ({at}) the lowest eigenvalue of the boson Hamiltonian is "
                f"{self.lowest:.4g} meV, so that a spin wave there lowers the energy{self._advice}."
            )
        elif self.stationary:
            out.append(
                f"It is a minimum: the lowest eigenvalue of the boson Hamiltonian, {abs(self.lowest):.4g} meV, is not "
                f"negative anywhere on a grid of the zone (lowest at q = ({at}))."
            )
        if self.found is not None:
            out.append(self._search)
        best = self.energy if self.found is None else self.found.energy
        k = ", ".join(f"{x:.4g}" for x in self.bound.k)
        if best - self.bound.energy <= 1e-6 * max(1e-12, abs(self.bound.energy)):
            out.append("No structure on any cell lies lower (Luttinger-Tisza).")
        else:
            out.append(
                f"No structure on any cell lies below {self.bound.energy / n:.8g} meV per site; the wave vector that "
                f"is best there is k = ({k}) (Luttinger-Tisza)."
            )
        return out

    @property
    def _steady(self) -> bool:
        """Whether the lowest eigenvalue is negative by no more than rounding."""
        return self.lowest > -1e-9 * max(1.0, abs(self.energy) / len(self.model.sites)) - 1e-8

    @property
    def _advice(self) -> str:
        if np.allclose(self.q, 0, atol=1e-3):
            return " on this very cell: other moments are lower"
        if self.model.propagation is not None:
            return ": another propagation vector or a structure of more waves is lower"
        return ": a cell that holds this wave, or a propagation vector, has a lower structure"

    @property
    def _search(self) -> str:
        found, n = self.found, len(self.model.sites)
        assert found is not None
        starts = f"{found.reached} of {len(found.ends)} starts reached it"
        if not found.lower:
            return f"No lower structure was found on this magnetic cell ({starts})."
        k = found.model.propagation
        wave = "" if k is None else f" with k = ({', '.join(f'{x:.6g}' for x in k)})"
        return f"A lower structure was found{wave}, at {found.energy / n:.8g} meV per site ({starts})."


def check_structure(
    model: SpinModel,
    values: ArrayLike,
    starts: int = 0,
    seed: int = 0,
    points: int = 10,
    tilt_tolerance: float = TILT_TOLERANCE,
) -> StructureCheck:
    """Whether a model's structure is stationary and a minimum, and what lies below it.

    Parameters
    ----------
    model : SpinModel
    values : (n_parameters,) meV
    starts : int
        Starts of a search for a lower structure; none if 0.
    seed : int
        Of the search.
    points : int
        Of the grid of the zone along each axis; the lowest eigenvalue is followed from there.
    tilt_tolerance : float
        How far a spin may stand from the nearest stationary state, radian.
    """
    solver = ModeSolver(model, tilt_tolerance=tilt_tolerance)
    classical = ClassicalEnergy(model)
    values = solver.check_values(values)
    plain = values.numpy()
    tilts = solver.linear.tilts(values).numpy()
    stationary = bool((tilts <= tilt_tolerance).all())
    lowest, q = _lowest(solver, values, zone_grid(model, points), points)
    found = minimise_structure(model, plain, starts, seed) if starts else None
    return StructureCheck(
        model=model,
        values=plain,
        energy=classical.energy(plain),
        torques=classical.torques(plain),
        tilts=tilts,
        stationary=stationary,
        lowest=lowest,
        q=q,
        bound=luttinger_tisza(model, plain),
        found=found,
    )


def _lowest(
    solver: ModeSolver, values: torch.Tensor, grid: NDArray[np.float64], points: int
) -> tuple[float, NDArray[np.float64]]:
    """The lowest eigenvalue on a grid, followed downhill where it is negative, and its q in the first zone."""
    heights = torch.cat([solver.lowest_eigenvalue(values, part) for part in np.array_split(grid, -(-len(grid) // 256))])
    number = int(heights.argmin())
    best, q = float(heights[number]), grid[number]
    cell = np.array(solver.model.supercell)
    varies = np.ptp(grid, axis=0) > 0
    step = varies / (2 * points * cell)
    star = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), -1).reshape(-1, 3)
    for _ in range(40 if best < 0 else 0):
        around = np.unique(q + star * step, axis=0)
        near = solver.lowest_eigenvalue(values, around)
        number = int(near.argmin())
        if float(near[number]) < best:
            best, q = float(near[number]), around[number]
        else:
            step = step / 2
    in_cell = np.round(q * cell, 6)
    return best, (in_cell - np.ceil(in_cell - 0.5 - 1e-9)) / cell
