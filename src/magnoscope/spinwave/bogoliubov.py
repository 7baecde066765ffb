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
    energies, y, low, high, stable = _half(a, b, shift)
    energies, y = energies.flip(-1), y.flip(-1) / 2
    root = energies.sqrt()[..., None, :]
    total = torch.linalg.solve_triangular(high, y * root, upper=True)  # (u + v) / 2
    difference = low @ (y / root)  # (u - v) / 2
    return _where_stable(energies, total + difference, total - difference, stable)


def solve_full(
    h: torch.Tensor, shift: float = DEFAULT_SHIFT
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Energies and eigenvectors of the full problem; as :func:`solve_half`, from h (..., 2n, 2n)."""
    n = h.shape[-1] // 2
    energies, y, low, stable = _full(h, shift)
    vectors = torch.linalg.solve_triangular(low.mH, y * energies.clamp_min(0).sqrt()[..., None, :], upper=True)
    return _where_stable(energies, vectors[..., :n, :], vectors[..., n:, :], stable)


def project_half(
    a: torch.Tensor, b: torch.Tensor, left: torch.Tensor, right: torch.Tensor, shift: float = DEFAULT_SHIFT
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """``left @ u + right @ v`` of :func:`solve_half`, without making u and v.

    Parameters
    ----------
    a, b : (..., n, n) complex, meV
    left, right : (..., m, n) complex
        A few rows, such as the components of the magnetisation.

    Returns
    -------
    energies : (..., n) meV, rising
    rows : (..., m, n)
    stable : (...,) bool
        False where the classical state is no energy minimum; the others mean nothing there.
    """
    energies, y, low, high, stable = _half(a, b, shift)
    root = energies.sqrt()[..., None, :]
    total = torch.linalg.solve_triangular(high, (left + right) / 2, upper=True, left=False) @ y
    difference = ((left - right) / 2 @ low) @ y
    return energies, total * root + difference / root, stable


def project_full(
    h: torch.Tensor, left: torch.Tensor, right: torch.Tensor, shift: float = DEFAULT_SHIFT
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """``left @ u + right @ v`` of :func:`solve_full`; as :func:`project_half`, from h (..., 2n, 2n)."""
    energies, y, low, stable = _full(h, shift)
    rows = torch.linalg.solve_triangular(low.mH, torch.cat([left, right], -1), upper=True, left=False) @ y
    return energies, rows * energies.clamp_min(0).sqrt()[..., None, :], stable


def _half(
    a: torch.Tensor, b: torch.Tensor, shift: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Energies (rising), eigenvectors of w^2, L and L^H of A + B = L L^H, and where the state is stable."""
    raised = a + shift * torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    low, positive = _cholesky(raised + b)
    high = low.mH.resolve_conj()
    square, y = torch.linalg.eigh(high @ ((raised - b) @ low))
    stable = positive & (square[..., 0] >= -STABILITY_TOLERANCE)
    return square.clamp_min(shift**2).sqrt(), y, low, high, stable


def _full(h: torch.Tensor, shift: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Energies, eigenvectors of L^H g L with h = L L^H, L, and where the state is stable."""
    n = h.shape[-1] // 2
    low, stable = _cholesky(h + shift * torch.eye(2 * n, dtype=h.dtype, device=h.device))
    metric = torch.cat([torch.ones(n), -torch.ones(n)]).to(h)
    energies, y = torch.linalg.eigh(low.mH @ (metric[:, None] * low))
    return energies[..., n:].flip(-1), y[..., n:].flip(-1), low, stable


def _cholesky(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Lower factor, and where there is one; the unit matrix elsewhere."""
    low, fault = torch.linalg.cholesky_ex(matrix)
    positive = fault == 0
    if not bool(positive.all()):
        low = torch.where(positive[..., None, None], low, torch.eye(low.shape[-1], dtype=low.dtype, device=low.device))
    return low, positive


def _where_stable(
    energies: torch.Tensor, u: torch.Tensor, v: torch.Tensor, stable: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The same, with NaN where the state is not stable."""
    if not bool(stable.all()):
        nan = torch.full((), float("nan"), dtype=energies.dtype, device=energies.device)
        energies = torch.where(stable[..., None], energies, nan)
        u, v = (torch.where(stable[..., None, None], x, nan.to(x.dtype)) for x in (u, v))
    return energies, u, v, stable
