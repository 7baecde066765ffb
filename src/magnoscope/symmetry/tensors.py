"""What symmetry leaves of a tensor: on a bond, of a single ion, and of a g-tensor.

Under an operation with Cartesian rotation R a spin, an axial vector, becomes det(R) R S; in what couples two axial
vectors the determinants cancel, so that every tensor becomes R T R^T, be R a mirror or an inversion. A bond mapped onto
itself must keep its exchange, J = R J R^T; one mapped onto its reverse turns it round, J^T = R J R^T. The five rules
for the Dzyaloshinskii-Moriya vector (T. Moriya, Phys. Rev. 120, 91 (1960)) follow.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 1e-3
"""How far (relative to its size) a tensor may be from its allowed form: it may be typed with four digits."""
ENTRIES = ("xx", "yy", "zz", "xy", "xz", "yz")
PLACES = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))


def cross_matrix(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix of D . (S_i x S_j) as S_i . J . S_j: (..., 3) to (..., 3, 3)."""
    v = np.asarray(vector, float)
    out = np.zeros((*v.shape[:-1], 3, 3))
    for a, b, c in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        out[..., a, b], out[..., b, a] = v[..., c], -v[..., c]
    return out


@dataclass(frozen=True)
class AllowedForm:
    """The tensors that a group of operations leaves as they are.

    Attributes
    ----------
    symbol : str
        What free entries are called by: ``"J"`` makes Jxx, Jxy ..
    symmetric : (n, 3, 3)
        A basis of the symmetric ones, each 1 at an entry where all others are 0.
    antisymmetric : (m, 3)
        A basis of the antisymmetric ones as vectors D of D . (S_i x S_j).
    """

    symbol: str
    symmetric: NDArray[np.float64]
    antisymmetric: NDArray[np.float64]

    @classmethod
    def under(
        cls, keeping: Iterable[NDArray[np.float64]], reversing: Iterable[NDArray[np.float64]] = (), symbol: str = "J"
    ) -> "AllowedForm":
        """The tensors kept by rotations (3, 3) ``keeping`` and transposed by ``reversing``.

        Together the operations must make a group (the stabiliser of a bond or site), whose mean is the projector.
        """
        swap = np.eye(9).reshape(3, 3, 9).transpose(1, 0, 2).reshape(9, 9)
        actions = [np.kron(r, r) for r in keeping] + [swap @ np.kron(r, r) for r in reversing]
        mean = np.mean(actions, axis=0)
        symmetric = np.zeros((9, 6))
        for column, (a, b) in enumerate(PLACES):
            symmetric[3 * a + b, column] = symmetric[3 * b + a, column] = 1.0
        turned = cross_matrix(np.eye(3)).reshape(3, 9).T
        even = _reduced((np.linalg.pinv(symmetric) @ mean @ symmetric).T)
        odd = _reduced((np.linalg.pinv(turned) @ mean @ turned).T)
        return cls(symbol, (even @ symmetric.T).reshape(-1, 3, 3), odd)

    @property
    def even(self) -> "AllowedForm":
        """The symmetric ones among them, as of an anisotropy."""
        return AllowedForm(self.symbol, self.symmetric, np.zeros((0, 3)))

    @property
    def basis(self) -> NDArray[np.float64]:
        """All basis tensors, (n + m, 3, 3), symmetric ones first."""
        return np.concatenate([self.symmetric, cross_matrix(self.antisymmetric)])

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the free numbers, in the order of :attr:`basis`: the entries they stand at."""
        even = [next(i for i, p in enumerate(PLACES) if abs(b[p]) > 1e-6) for b in self.symmetric]
        odd = [int(np.argmax(np.abs(d) > 1e-6)) for d in self.antisymmetric]
        letter = "D" if self.symbol == "J" else f"{self.symbol}a"
        return (*(self.symbol + ENTRIES[i] for i in even), *(letter + "xyz"[i] for i in odd))

    def nearest(self, tensors: NDArray[np.float64]) -> NDArray[np.float64]:
        """The allowed tensors nearest to those given, (..., 3, 3)."""
        basis = self.basis.reshape(len(self.names), 9)
        flat = np.asarray(tensors, float).reshape(-1, 9)
        return (flat @ np.linalg.pinv(basis) @ basis).reshape(np.shape(tensors)) if len(basis) else 0 * tensors

    def allows(self, tensors: NDArray[np.float64]) -> bool:
        """Whether tensors (..., 3, 3) have this form, within :data:`TOLERANCE` of their size."""
        size = np.abs(tensors).max(axis=(-1, -2), keepdims=True)
        return bool(np.all(np.abs(tensors - self.nearest(tensors)) <= TOLERANCE * size))

    @property
    def matrix(self) -> list[list[str]]:
        """The general form as three rows of three expressions in :attr:`names`."""
        return [
            [_expression([b[r, c] for b in self.basis], self.names) for c in range(3)]  #
            for r in range(3)
        ]

    @property
    def vector(self) -> list[str]:
        """The antisymmetric part as the three components of a vector D."""
        names = self.names[len(self.symmetric) :]
        return [_expression(list(self.antisymmetric[:, c]), names) for c in range(3)]

    def __str__(self) -> str:
        return "[" + ", ".join("[" + ", ".join(row) + "]" for row in self.matrix) + "]"


def _reduced(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Reduced row echelon form of the space spanned by rows, zero rows left out."""
    rows = np.array(rows, float)
    done = 0
    for column in range(rows.shape[1]):
        if done == len(rows):
            break
        pivot = done + int(np.argmax(np.abs(rows[done:, column])))
        if abs(rows[pivot, column]) < 1e-6:
            continue
        rows[[done, pivot]] = rows[[pivot, done]]
        rows[done] /= rows[done, column]
        others = np.arange(len(rows)) != done
        rows[others] -= rows[others, column : column + 1] * rows[done]
        done += 1
    out = rows[:done]
    out[np.abs(out) < 1e-9] = 0
    return out


def _expression(coefficients: list[float], names: tuple[str, ...]) -> str:
    """A sum such as ``Jxy - 0.5*Dz``, or ``0``."""
    out = ""
    for value, name in zip(coefficients, names, strict=True):
        if abs(value) < 1e-6:
            continue
        size = f"{abs(value):.5g}"
        term = name if size == "1" else f"{size}*{name}"
        out += (" - " if out else "-") + term if value < 0 else (" + " if out else "") + term
    return out or "0"
