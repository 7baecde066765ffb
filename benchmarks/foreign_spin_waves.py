"""Spin waves of one model by another program: run by other_programs.py and spinwave.py, with that program's Python.

usage: PYTHON benchmarks/foreign_spin_waves.py pyspinw|magnopy MODEL.json RESULT.npz [--repeat N]

Nothing of magnoscope is imported here: those programs need an environment of their own and have another licence.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np


def pyspinw_solver(model: dict):
    """Energies (n_q, n_modes) and S_perp by pyspinw's compiled core, energies falling."""
    from pyspinw import Hamiltonian, Site, Structure
    from pyspinw.anisotropy import Anisotropy
    from pyspinw.exchange import Exchange
    from pyspinw.symmetry.supercell import RotationSupercell
    from pyspinw.symmetry.unitcell import UnitCell

    sites = [
        Site(*position, *spin, g=g, name=f"X{i}")
        for i, (position, spin, g) in enumerate(zip(model["positions"], model["spins"], model["g"], strict=True))
    ]
    turning = None
    if model["propagation"] is not None:
        turning = RotationSupercell(model["rotation_axis"], model["propagation"])
    a, b, c = np.array(model["cell"])
    angles = [np.degrees(np.arccos(x @ y / np.linalg.norm(x) / np.linalg.norm(y))) for x, y in ((b, c), (a, c), (a, b))]
    cell = UnitCell(*(np.linalg.norm(x) for x in (a, b, c)), *angles)
    if not np.allclose(cell._xyz, model["cell"]):
        raise SystemExit("pyspinw lays its cell out otherwise")
    structure = Structure(sites, unit_cell=cell, supercell=turning)
    bonds = [Exchange(sites[i], sites[j], tuple(cell), np.array(matrix)) for i, j, cell, matrix in model["bonds"]]
    single = [Anisotropy(site, np.array(matrix)) for site, matrix in zip(sites, model["anisotropy"], strict=True)]
    hamiltonian = Hamiltonian(structure, bonds, single)
    # its Zeeman term is + mu_B B . g . S
    field = None if model["field"] is None else -np.array(model["field"])
    q = np.array(model["q"])

    def solve():
        energies, intensities, *_ = hamiltonian._spinwave_calculation(q_vectors=q, field=field)
        return energies, intensities

    def tidy(energies, intensities):
        energies, intensities = np.real(np.array(energies)), np.real(np.array(intensities))
        order = np.argsort(-energies, 1)[:, : energies.shape[1] // 2]  # the other half is the gain side
        return np.take_along_axis(energies, order, 1), np.take_along_axis(intensities, order, 1)

    return solve, tidy


def magnopy_solver(model: dict):
    """Energies (n_q, n_modes) by magnopy; it has no intensities."""
    import magnopy

    if model["propagation"] is not None:
        raise SystemExit("magnopy has no rotating frame")
    convention = magnopy.Convention(multiple_counting=False, spin_normalized=False, c1=1, c21=1, c22=1)
    spins = np.array(model["spins"])
    number = len(spins)
    atoms = {
        "names": [f"X{i}" for i in range(number)],
        "positions": model["positions"],
        "spins": np.linalg.norm(spins, axis=1).tolist(),
        "g_factors": [g[0][0] for g in model["g"]],
    }
    hamiltonian = magnopy.SpinHamiltonian(cell=np.array(model["cell"]), atoms=atoms, convention=convention)
    for i, j, cell, matrix in model["bonds"]:
        hamiltonian.add(nus=[tuple(cell)], alphas=(i, j), parameter=np.array(matrix), when_present="sum")
    for i, matrix in enumerate(model["anisotropy"]):
        if np.any(matrix):
            hamiltonian.add(nus=[(0, 0, 0)], alphas=(i, i), parameter=np.array(matrix))
    if model["field"] is not None:  # its Zeeman term is + mu_B g B . S
        hamiltonian.set_magnetic_field(-np.array(model["field"]))
    theory = magnopy.LSWT(hamiltonian, spin_directions=spins)
    q = np.array(model["q"])

    def solve():
        return [theory.omega(k, relative=True) for k in q], None

    def tidy(energies, _):
        return -np.sort(-np.real(np.array(energies)), 1), np.zeros(0)

    return solve, tidy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", choices=["pyspinw", "magnopy"])
    parser.add_argument("model", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--repeat", type=int, default=1, help="solve that many times and keep the fastest")
    arguments = parser.parse_args()
    model = json.loads(arguments.model.read_text())
    solve, tidy = {"pyspinw": pyspinw_solver, "magnopy": magnopy_solver}[arguments.program](model)
    wall = processor = np.inf
    for _ in range(arguments.repeat):
        begun, used = time.perf_counter(), time.process_time()
        result = solve()
        wall, processor = min(wall, time.perf_counter() - begun), min(processor, time.process_time() - used)
    energies, intensities = tidy(*result)
    np.savez(arguments.result, energies=energies, intensities=intensities, wall=wall, processor=processor)


if __name__ == "__main__":
    main()
