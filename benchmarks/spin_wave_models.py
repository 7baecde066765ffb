"""Magnets that spin wave programs are compared on, and how to hand them to another program."""

import json
import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from magnoscope.crystal import Lattice
from magnoscope.hamiltonian import Bond, Site, SpinModel
from magnoscope.studies import load_study
from magnoscope.units import BOHR_MAGNETON

TRIPOD = (1 / np.sqrt(3),) * 3


def dm(x: float, y: float, z: float) -> np.ndarray:
    """Matrix of D . (S_i x S_j)."""
    return np.array([[0, z, -y], [-z, 0, x], [y, -x, 0]], float)


def build(name, lattice, sites, bonds, spins=1.0, anisotropy=None, field=None, **more) -> SpinModel:
    """A model of numbers: sites (position, moment), bonds (start, end, vector, J or 3 x 3), one K for all sites."""
    spins = np.broadcast_to(spins, len(sites))
    single = np.zeros((len(sites), 1, 3, 3))
    if anisotropy is not None:
        single[:] = anisotropy
    return SpinModel(
        name,
        (),
        tuple(
            Site(f"a.{i}", "Mn3+", float(s), tuple(m), tuple(p))
            for i, ((p, m), s) in enumerate(zip(sites, spins, strict=True))
        ),
        tuple(Bond(i, j, tuple(d), np.array([J * np.eye(3) if np.ndim(J) == 0 else J], float)) for i, j, d, J in bonds),
        single,
        lattice,
        field=None if field is None else np.array([field], float),
        **more,
    )


def kitaev_honeycomb() -> SpinModel:
    """J, K and Gamma on a honeycomb, ferromagnetic along [111] of the cubic axes that the three bonds are named by."""
    bonds = []
    for axis, d in enumerate([(1 / 3, 2 / 3, 0), (1 / 3, -1 / 3, 0), (-2 / 3, -1 / 3, 0)]):
        matrix = -1.0 * np.eye(3)
        matrix[axis, axis] -= 2.0
        one, two = (x for x in range(3) if x != axis)
        matrix[one, two] = matrix[two, one] = -0.3
        bonds.append((0, 1, d, matrix))
    sites = [((1 / 3, 1 / 3, 0), TRIPOD), ((2 / 3, 0, 0), TRIPOD)]
    return build(
        "Kitaev, Gamma, field [111]", Lattice(5, 5, 9, 90, 90, 120), sites, bonds, 0.5, field=np.multiply(TRIPOD, 3)
    )


def dm_honeycomb() -> SpinModel:
    """A ferromagnet with Dzyaloshinskii-Moriya coupling of second neighbours along the moments: full-size problem."""
    sites = [((1 / 3, 2 / 3, 0), (0, 0, 1)), ((2 / 3, 1 / 3, 0), (0, 0, 1))]
    bonds = [(0, 1, d, -2.0) for d in ((1 / 3, -1 / 3, 0), (1 / 3, 2 / 3, 0), (-2 / 3, -1 / 3, 0))]
    for site, sign in ((0, 1), (1, -1)):
        bonds += [(site, site, d, -0.2 * np.eye(3) + dm(0, 0, 0.3 * sign)) for d in ((1, 0, 0), (0, 1, 0), (-1, -1, 0))]
    single = np.diag([0, 0, -0.2])
    return build("DM honeycomb", Lattice(6.9, 6.9, 20, 90, 90, 120), sites, bonds, 1.5, single, (0, 0, 2.0))


def canted_square() -> SpinModel:
    """XXZ antiferromagnet, easy plane, that a field across the plane cants: 8 J S sin t = g mu_B B, and 4 K S more."""
    spin, coupling, plane, along, field = 2.5, 1.0, 0.1, 0.9, 30.0
    # energy of a cell: 4 S^2 (-J cos^2 t + Jz sin^2 t) + 2 K S^2 sin^2 t - 2 g mu_B B S sin t
    tilt = np.arcsin(2 * BOHR_MAGNETON * field / (4 * spin * (coupling + along) + 2 * plane * spin))
    moments = [(np.cos(tilt), 0, np.sin(tilt)), (-np.cos(tilt), 0, np.sin(tilt))]
    steps = [(0.5, 0.5, 0), (-0.5, 0.5, 0), (0.5, -0.5, 0), (-0.5, -0.5, 0)]
    sites = list(zip([(0, 0, 0), (0.5, 0.5, 0)], moments, strict=True))
    bonds = [(0, 1, d, np.diag([coupling, coupling, along])) for d in steps]
    return build("canted XXZ, easy plane", Lattice(5, 5, 7), sites, bonds, spin, np.diag([0, 0, plane]), (0, 0, field))


def triclinic(name: str = "triclinic, S = 3/2 and 2", spins: tuple[float, float] = (1.5, 2.0)) -> SpinModel:
    """Two sites on a triclinic cell, full exchange matrices, moments along their common axis z."""
    rng = np.random.default_rng(3)
    bonds = []
    for start, end, d in [
        (0, 1, (0.5, 0.2, 0.3)),
        (1, 0, (0.5, 0.8, -0.3)),
        (0, 0, (1, 0, 0)),
        (1, 1, (0, 1, 0)),
        (0, 1, (0.5, 0.2, 1.3)),
    ]:
        matrix = np.diag([0, 0, -1.5])
        matrix[:2, :2] = rng.uniform(-0.5, 0.5, (2, 2))  # symmetric and Dzyaloshinskii-Moriya parts, both along z
        bonds.append((start, end, d, matrix))
    sites = [((0.1, 0.2, 0), (0, 0, 1)), ((0.6, 0.4, 0.3), (0, 0, 1))]
    single = np.array([[0.1, 0.05, 0], [0.05, 0, 0], [0, 0, -0.3]])
    return build(name, Lattice(3.2, 4.1, 7.3, 80, 97, 112), sites, bonds, spins, single)


def triangular() -> SpinModel:
    """XXZ triangular antiferromagnet, 120 degrees on the sqrt(3) x sqrt(3) cell."""
    positions = [(0, 0, 0), (1 / 3, 2 / 3, 0), (2 / 3, 1 / 3, 0)]
    moments = [(np.cos(a), np.sin(a), 0) for a in 2 * np.pi / 3 * np.arange(3)]
    steps = [(1 / 3, -1 / 3, 0), (1 / 3, 2 / 3, 0), (-2 / 3, -1 / 3, 0)]
    bonds = [(i, (i + 1) % 3, d, np.diag([1, 1, 0.7])) for i in range(3) for d in steps]
    sites = list(zip(positions, moments, strict=True))
    return build("XXZ triangular, 120 degrees", Lattice(5.2, 5.2, 8, 90, 90, 120), sites, bonds)


def spiral(field: float = 0.0) -> SpinModel:
    """Dzyaloshinskii-Moriya spiral of an easy-plane chain; a field along its axis makes it a cone."""
    j, d, plane, spin = -1.0, 0.35, 0.2, 1.0
    k = np.arctan2(-d, -j) / (2 * np.pi) % 1
    stiff = np.hypot(j, d)
    # E = -C S^2 cos^2 t + (J + K) S^2 sin^2 t - g mu_B B S sin t
    sine = 2 * BOHR_MAGNETON * field / (2 * spin * (stiff + j + plane))
    moment = (np.sqrt(1 - sine**2), 0, sine)
    return build(
        "incommensurate cone" if field else "incommensurate spiral",
        Lattice(3, 8, 8),
        [((0, 0, 0), moment)],
        [(0, 0, (1, 0, 0), j * np.eye(3) + dm(0, 0, d))],
        spin,
        np.diag([0, 0, plane]),
        (0, 0, field) if field else None,
        propagation=(k, 0, 0),
        rotation_axis=(0, 0, 1.0),
    )


def compared() -> list[tuple[SpinModel, np.ndarray]]:
    """Models and parameter values."""
    study = load_study("pcsmo")
    own = [kitaev_honeycomb(), dm_honeycomb(), canted_square()]
    # alike but for the spin lengths: pyspinw agrees on the second only
    own += [triclinic(), triclinic("triclinic, S = 3/2", (1.5, 1.5)), triangular(), spiral(), spiral(2.0)]
    return [(m, np.zeros(0)) for m in own] + [(m, m.reference) for m in study.models.values()]


def document(model: SpinModel, values: np.ndarray, q: np.ndarray) -> dict:
    """A model on its magnetic cell in plain numbers; q in r.l.u. of the model's lattice."""
    weights = np.append(values, 1)
    positions = np.array([s.position for s in model.sites])
    bonds = []
    for bond in model.bonds:
        cell = np.round(positions[bond.start] + bond.vector - positions[bond.end]).astype(int)
        bonds.append([bond.start, bond.end, cell.tolist(), np.tensordot(weights, bond.exchange, 1).tolist()])
    spins = model.moments * np.array([[s.spin] for s in model.sites])
    return {
        "cell": model.cell.tolist(),
        "positions": positions.tolist(),
        "spins": spins.tolist(),
        "g": [np.array(s.g).tolist() for s in model.sites],
        "bonds": bonds,
        "anisotropy": np.einsum("p,ipab->iab", weights, model.anisotropy).tolist(),
        "field": None if model.field is None else (weights @ model.field).tolist(),
        "propagation": None if model.propagation is None else (np.array(model.propagation) * model.supercell).tolist(),
        "rotation_axis": model.rotation_axis,
        "q": (np.asarray(q) * model.supercell).tolist(),
    }


def versions(python: str) -> str:
    """Names and versions of the other programs, as installed beside that Python."""
    code = (
        "from importlib.metadata import version as v; print(', '.join(f'{n} {v(n)}' for n in ('pyspinw', 'magnopy')))"
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    run = subprocess.run([python, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return run.stdout.strip()


def elsewhere(
    python: str, program: str, model: SpinModel, values: np.ndarray, q: np.ndarray, repeat: int = 1, threads: int = 1
) -> dict[str, np.ndarray]:
    """What another program says, run by its Python: energies, intensities (none: empty), seconds.

    Raises
    ------
    RuntimeError
        With the last line that the program printed.
    """
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | dict.fromkeys(names, str(threads))
    with TemporaryDirectory() as folder:
        given, result = Path(folder) / "model.json", Path(folder) / "result.npz"
        given.write_text(json.dumps(document(model, values, q)))
        script = Path(__file__).with_name("foreign_spin_waves.py")
        command = [python, str(script), program, str(given), str(result), "--repeat", str(repeat)]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if run.returncode:
            raise RuntimeError((run.stderr.strip().splitlines() or ["no message"])[-1])
        with np.load(result, allow_pickle=False) as file:
            return dict(file)
