"""Bosonic Bogoliubov problem: mode energies and eigenvectors of H = 1/2 x^H h x, x = (b_q, b_-q^H).

Colpa, Physica A 93, 327 (1978): Cholesky of h, then a Hermitian eigenproblem. Where B = B^H and A(-q)* = A(q) the
problem halves: w^2 are the eigenvalues of L^H (A - B) L with A + B = L L^H.
"""

import torch

DEFAULT_SHIFT = 1e-8
"""Added to the diagonal of h (meV), so that a Goldstone mode does not stop the Cholesky factorisation (as in Sunny)."""

STABILITY_TOLERANCE = 1e-6
"""How far below zero an eigenvalue (meV^2) of the half-size problem may fall by rounding before a state is unstable."""


def halves(a: torch.Tensor, b: torch.Tensor, a_minus: torch.Tensor, tolerance: float = 1e-9) -> bool:
    """Whether the half-size problem applies: B = B^H and A(-q)* = A(q) at every q given."""
    return bool(
        (b - b.mH).abs().max() <= tolerance * (1 + b.abs().max())
        and (a_minus.conj() - a).abs().max() <= tolerance * (1 + a.abs().max())
    )


def solve_half(
    a: torch.Tensor, b: torch.Tensor, shift: float = DEFAULT_SHIFT
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Energies and eigenvectors where the half-size problem applies.

    Parameters
    ----------
    a, b : (..., n, n) complex, meV
    shift : float
        Diagonal shift in meV.

    Returns
    -------
    energies : (..., n) meV, falling
    u, v : (..., n, n)
        Upper and lower halves of the eigenvectors, one mode per column: b = u beta + .., b_-^H = v beta + ..
    stable : (...,) bool
        False where the classical state is no energy minimum; energies and vectors there are NaN.
    """
    eye = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    low, fault = torch.linalg.cholesky_ex(a + b + shift * eye)
    positive = fault == 0
    low = torch.where(positive[..., None, None], low, eye)
    square, y = torch.linalg.eigh(low.mH @ (a - b + shift * eye) @ low)
    stable = positive & (square[..., 0] >= -STABILITY_TOLERANCE)
    energies = square.clamp_min(shift**2).sqrt().flip(-1)
    y = y.flip(-1)
    root = energies.sqrt()[..., None, :]
    total = torch.linalg.solve_triangular(low.mH, y * root, upper=True)  # u + v
    difference = low @ (y / root)  # u - v
    u, v = (total + difference) / 2, (total - difference) / 2
    nan = torch.full((), float("nan"), dtype=energies.dtype, device=a.device)
    energies = torch.where(stable[..., None], energies, nan)
    u, v = (torch.where(stable[..., None, None], x, nan.to(x.dtype)) for x in (u, v))
    return energies, u, v, stable


def solve_full(
    h: torch.Tensor, shift: float = DEFAULT_SHIFT
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Energies and eigenvectors of the full problem; as :func:`solve_half`, from h (..., 2n, 2n)."""
    n = h.shape[-1] // 2
    eye = torch.eye(2 * n, dtype=h.dtype, device=h.device)
    low, fault = torch.linalg.cholesky_ex(h + shift * eye)
    stable = fault == 0
    low = torch.where(stable[..., None, None], low, eye)
    metric = torch.cat([torch.ones(n), -torch.ones(n)]).to(h)
    energies, y = torch.linalg.eigh(low.mH @ (metric[:, None] * low))
    energies, y = energies[..., n:].flip(-1), y[..., n:].flip(-1)
    vectors = torch.linalg.solve_triangular(low.mH, y * energies.clamp_min(0).sqrt()[..., None, :], upper=True)
    nan = torch.full((), float("nan"), dtype=energies.dtype, device=h.device)
    energies = torch.where(stable[..., None], energies, nan)
    vectors = torch.where(stable[..., None, None], vectors, nan.to(vectors.dtype))
    return energies, vectors[..., :n, :], vectors[..., n:, :], stable
