"""Single-k structures in the frame that turns with the spins.

With R(x) the turn by x about the axis n, a spin at r is S = R(2 pi k . r) S'. The turned spins S' are the same in every
cell, and if the Hamiltonian does not change when all spins turn about n, theirs is that of an ordinary magnet with
J'_ij = J_ij R(2 pi k . d). Its waves appear at Q through the projections of R (S. Toth and B. Lake, J. Phys.: Condens.
Matter 27, 166002 (2015)):

    R(x) = R2 + exp(i x) R1 + exp(-i x) R1*,   R1 = (1 - i [n]x - n n^T) / 2,   R2 = n n^T,

so that of what a neutron creates at Q, through sum exp(i Q . r) S, the waves at Q carry R2, those at Q + k carry R1 and
those at Q - k carry R1*.
"""

import numpy as np
from numpy.typing import NDArray

from ..errors import StudyError
from ..hamiltonian import Bond, SpinModel

TOLERANCE = 1e-9
"""How far (relative to its size) a term may change under the turn."""


def generator(model: SpinModel) -> NDArray[np.float64]:
    """[n]x of the rotation axis, (3, 3): ``generator @ s = n x s``."""
    n = np.asarray(model.rotation_axis, float)
    x, y, z = n / np.linalg.norm(n)
    return np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])


def turn(model: SpinModel, turns: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """Right-handed turns about the rotation axis by 2 pi ``turns``: (..., 3, 3)."""
    k = generator(model)
    angle = 2 * np.pi * np.asarray(turns, float)[..., None, None]
    return np.asarray(np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * (k @ k))


def projections(model: SpinModel) -> NDArray[np.complex128]:
    """R2, R1* and R1, (3, 3, 3): what waves at Q, Q - k and Q + k carry."""
    k = generator(model)
    along = np.eye(3) + k @ k
    r1 = (np.eye(3) - 1j * k - along) / 2
    return np.stack([along.astype(complex), r1.conj(), r1])


def _wave(model: SpinModel) -> NDArray[np.float64]:
    """Propagation vector in r.l.u. of the magnetic cell, (3,)."""
    return np.asarray(model.propagation, float) * np.array(model.supercell)


def rotating_moments(model: SpinModel) -> NDArray[np.float64]:
    """Directions of the spins in the rotating frame, (n_sites, 3); as they are where there is no propagation vector."""
    if model.propagation is None:
        return model.moments
    positions = np.array([s.position for s in model.sites], float)
    return np.asarray(np.einsum("iab,ib->ia", turn(model, -positions @ _wave(model)), model.moments))


def turned_exchange(model: SpinModel, bond: Bond) -> NDArray[np.float64]:
    """Exchange of a bond between spins of the rotating frame, (n_parameters + 1, 3, 3)."""
    if model.propagation is None:
        return bond.exchange
    return np.asarray(bond.exchange @ turn(model, float(np.array(bond.vector) @ _wave(model))))


def check_invariant(model: SpinModel) -> None:
    """Stop where the rotating frame does not apply.

    Raises
    ------
    StudyError
        If a term of the Hamiltonian changes when all spins turn about the axis, or if 2 k is a reciprocal lattice
        vector of the magnetic cell: then waves at Q - k and Q + k are the same and interfere.
    """
    if model.propagation is None:
        return
    name, k = f"model {model.name}", generator(model)

    def changes(matrix: NDArray[np.float64]) -> bool:
        return bool(np.abs(k @ matrix - matrix @ k).max() > TOLERANCE * (1 + np.abs(matrix).max()))

    twice = 2 * _wave(model)
    if np.abs(twice - np.round(twice)).max() < 1e-6:
        raise StudyError(
            f"{name}: twice its propagation vector is a reciprocal lattice vector of the magnetic cell; give the "
            "structure on a magnetic cell that holds it whole, without a propagation vector"
        )
    instead = "give the structure on a commensurate magnetic cell, without a propagation vector"
    for bond in model.bonds:
        if changes(bond.exchange):
            raise StudyError(
                f"{name}: the exchange {bond.label or 'of a bond'} from {model.sites[bond.start].name} along "
                f"{tuple(float(x) for x in bond.vector)} changes when the spins turn about the rotation axis; {instead}"
            )
    for site, single, pull in zip(model.sites, model.anisotropy, model.zeeman, strict=True):
        if changes(single):
            raise StudyError(
                f"{name}: the anisotropy of site {site.name} changes when its spin turns about the rotation axis; "
                f"{instead}"
            )
        if np.abs(pull @ k).max() > TOLERANCE:
            raise StudyError(f"{name}: the field at site {site.name} is not along the rotation axis; {instead}")
