"""Spectra and energies with gradients with respect to the parameters that stay finite where modes are degenerate.

The eigenvectors of degenerate modes are no differentiable functions of the parameters, but sums over modes of
f(w_n) S_n with a smooth f are. With T of all columns (T^H g T = g, g = diag(1, -1), g h T = T g w), x the neutron's
operator in the boson basis and z = T^H x, the derivative along dh is that of a function of the matrix g h (Daleckii and
Krein; N. J. Higham, Functions of Matrices, SIAM 2008, theorem 3.11):

    I = sum_(n > 0) f(w_n) |z_n|^2,
    dI = sum_ij F_ij g_i g_j z_i* . z_j (T^H dh T)_ij,   F_ij = (phi_i - phi_j) / (l_i - l_j),  or phi' where l_i = l_j

with l the eigenvalues of g h (positive, then negative) and phi = f at the positive ones, 0 at the negative. No single
eigenvector is ever differentiated. Energies by themselves follow Hellmann and Feynman, dw_n = T_n^H dh T_n; modes that
cannot be told apart share their mean, which is the derivative where symmetry keeps them together.

Moments are held where the model has them: where their best directions depend on a parameter, that part of the
derivative of a measured spectrum is not in it. Gradients cannot be differentiated once more.

Costs: the eigenvectors once (the half-size problem where it applies), and a few products of 2n x 2n matrices for each
q, whatever the number of parameters and of functions f; about 4 (2n)^2 complex numbers are kept for each q and
parameter set until the gradient is taken.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from numpy.typing import ArrayLike

from .bogoliubov import solve_half
from .boson import local_frames
from .form_factor import form_factor
from .modes import ModeSolver
from .rotating_frame import projections

ALIKE = 1e-6
"""Modes closer than this share of the highest energy count as degenerate: differences are lost in rounding there."""


class ModeEnergies(NamedTuple):
    """Energies that carry gradients.

    Attributes
    ----------
    energies : (..., n_q, n_modes) meV, falling
    separated : (..., n_q, n_modes) bool
        False for modes of a degenerate set, whose gradient is the mean over the set.
    """

    energies: torch.Tensor
    separated: torch.Tensor


def spectral_sum(
    solver: ModeSolver,
    values: ArrayLike | torch.Tensor,
    q: ArrayLike | torch.Tensor,
    f: Callable[[torch.Tensor], torch.Tensor],
    include_form_factor: bool = True,
) -> torch.Tensor:
    """Sums over modes of f(energy) S_perp, differentiable in the parameters and in what f depends on.

    Parameters
    ----------
    solver : ModeSolver
    values : (..., n_parameters) meV
        With ``requires_grad`` where gradients are wanted; every leading index is a parameter set of its own.
    q : (n_q, 3) r.l.u.
    f : callable
        Smooth function of each energy by itself: takes (..., n_q, n_modes) meV and returns the same shape, or with one
        more axis at the end for as many functions as wanted (channels of energy transfer). Written in torch.
    include_form_factor : bool

    Returns
    -------
    (..., n_q) or (..., n_q, n_functions)
        Per magnetic cell, spin squared times f. NaN, with NaN gradients, where the state is no energy minimum.

    Raises
    ------
    StudyError
        If q or the values have the wrong shape.

    Examples
    --------
    Channels of a Gaussian line::

        channels = torch.linspace(0, 100, 60, dtype=torch.float64)
        f = lambda w: torch.exp(-((channels - w[..., None]) ** 2) / 2)
        loss = ((spectral_sum(solver, values, q, f) - measured) ** 2).sum()
        loss.backward()
    """
    values, q = solver.check_values(values), solver.check_wave_vectors(q)
    operators = _operators(solver, q, include_form_factor)
    total: torch.Tensor | None = None
    single = False
    for wave, operator in zip(_waves(solver, q), operators, strict=True):
        h, levels, columns = _problem(solver, values, wave)
        n = h.shape[-1] // 2
        energies = levels[..., :n].clone()
        energies.requires_grad_(h.requires_grad)
        height = f(energies)
        single = height.ndim == energies.ndim
        if single:
            height = height[..., None]
        amplitude = columns.mH @ operator
        part = _Sum.apply(h, height, _Slopes(height, energies), levels, columns, amplitude)
        total = part if total is None else total + part
    assert total is not None
    return total[..., 0] if single else total


def mode_energies(solver: ModeSolver, values: ArrayLike | torch.Tensor, q: ArrayLike | torch.Tensor) -> ModeEnergies:
    """Energies of the modes, differentiable in the parameters.

    Parameters
    ----------
    solver : ModeSolver
    values : (..., n_parameters) meV
    q : (n_q, 3) r.l.u.

    Returns
    -------
    ModeEnergies
        NaN, with NaN gradients, where the state is no energy minimum.
    """
    values, q = solver.check_values(values), solver.check_wave_vectors(q)
    energies, separated = [], []
    for wave in _waves(solver, q):
        h, levels, columns = _problem(solver, values, wave)
        n = h.shape[-1] // 2
        number = _sets(levels[..., :n])
        size = torch.zeros_like(levels[..., :n]).scatter_add_(-1, number, torch.ones_like(levels[..., :n]))
        energies.append(_Energies.apply(h, levels[..., :n], columns[..., :n], number, size))
        separated.append(size.gather(-1, number) == 1)
    joined, order = torch.cat(energies, -1).sort(-1, descending=True)
    return ModeEnergies(joined, torch.cat(separated, -1).gather(-1, order))


class _Slopes:
    """Slopes of sums over f, asked for when the weight of each f is known: (..., n_f) to (..., n_modes)."""

    def __init__(self, height: torch.Tensor, energies: torch.Tensor) -> None:
        self.height, self.energies = height, energies

    def __call__(self, weights: torch.Tensor) -> torch.Tensor:
        if not self.height.requires_grad:
            return torch.zeros_like(self.energies)
        outer = weights[..., None, :].expand_as(self.height)
        options = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
        return torch.autograd.grad(self.height, self.energies, outer, **options)[0]


class _Sum(torch.autograd.Function):
    """sum_n f(w_n) |z_n|^2 as a function of h and of the values of f."""

    @staticmethod
    def forward(ctx: Any, h, height, slopes, levels, columns, amplitude):
        n = height.shape[-2]
        strength = (amplitude[..., :n, :].abs() ** 2).sum(-1)
        ctx.slopes = slopes
        ctx.save_for_backward(height, levels, columns, amplitude, strength)
        return torch.einsum("...nf,...n->...f", height, strength)

    @staticmethod
    def backward(ctx: Any, outer):
        height, levels, columns, amplitude, strength = ctx.saved_tensors
        to_height = outer[..., None, :] * strength[..., None] if ctx.needs_input_grad[1] else None
        if not ctx.needs_input_grad[0]:
            return None, to_height, None, None, None, None
        n = height.shape[-2]
        zero = torch.zeros_like(strength)
        phi = torch.cat([torch.einsum("...nf,...f->...n", height, outer), zero], -1)
        with torch.enable_grad():
            rise = torch.cat([ctx.slopes(outer), zero], -1)
        difference = _divided(phi, rise, levels)
        sign = torch.ones_like(phi)
        sign[..., n:] = -1
        signed = sign[..., None] * amplitude
        core = difference * (signed @ signed.mH)  # conjugate of F_ij g_i g_j z_i* . z_j
        return columns @ core @ columns.mH, to_height, None, None, None, None


class _Energies(torch.autograd.Function):
    """Positive eigenvalues as functions of h; degenerate sets share their gradients."""

    @staticmethod
    def forward(ctx: Any, h, energies, columns, number, size):
        ctx.save_for_backward(columns, number, size)
        return energies.clone()

    @staticmethod
    def backward(ctx: Any, outer):
        columns, number, size = ctx.saved_tensors
        mean = torch.zeros_like(outer).scatter_add_(-1, number, outer) / size.clamp_min(1)
        shared = mean.gather(-1, number)
        return (columns * shared[..., None, :]) @ columns.mH, None, None, None, None


def _divided(phi: torch.Tensor, rise: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
    """Divided differences (phi_i - phi_j) / (l_i - l_j), (..., 2n, 2n); slopes where the levels meet."""
    gap = levels[..., :, None] - levels[..., None, :]
    meet = gap.abs() <= ALIKE * levels.abs().amax(-1)[..., None, None]
    slopes = (rise[..., :, None] + rise[..., None, :]) / 2
    return torch.where(meet, slopes, (phi[..., :, None] - phi[..., None, :]) / torch.where(meet, 1.0, gap))


def _sets(energies: torch.Tensor) -> torch.Tensor:
    """Number of the degenerate set of each mode, (..., n_modes), energies falling."""
    gap = energies[..., :-1] - energies[..., 1:]
    begins = ~(gap <= ALIKE * energies[..., :1])
    return torch.nn.functional.pad(begins.long().cumsum(-1), (1, 0))


def _waves(solver: ModeSolver, q: torch.Tensor) -> list[torch.Tensor]:
    """Wave vectors of the waves that are seen at q: q, and q -+ k of a structure with a propagation vector."""
    if solver.model.propagation is None:
        return [q]
    k = q.new_tensor(solver.model.propagation)
    return [q, q - k, q + k]


def _problem(
    solver: ModeSolver, values: torch.Tensor, q: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The matrix h with its graph; eigenvalues (positive falling, then negative) and all columns of T without one."""
    cartesian = q @ solver.reciprocal
    h = solver.boson.matrix(values, cartesian)
    with torch.no_grad():
        if solver.half_size:
            n = h.shape[-1] // 2
            energies, u, v, stable = solve_half(h[..., :n, :n], h[..., :n, n:], solver.shift)
            levels = torch.cat([energies, -energies], -1)
            columns = torch.cat([torch.cat([u, v], -1), torch.cat([v, u], -1)], -2)
        else:
            levels, columns, stable = _all_columns(h, solver.shift)
        fine = stable & (solver.linear.tilts(values) <= solver.tilt_tolerance).all(-1)[..., None]
        levels = levels.masked_fill(~fine[..., None], float("nan"))
        columns = columns.masked_fill(~fine[..., None, None], float("nan"))
    return h, levels, columns


def _all_columns(h: torch.Tensor, shift: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Eigenvalues of g h, positive ones first and falling, and the matrix T (Colpa), negative columns too."""
    n = h.shape[-1] // 2
    eye = torch.eye(2 * n, dtype=h.dtype, device=h.device)
    low, fault = torch.linalg.cholesky_ex(h + shift * eye)
    stable = fault == 0
    low = torch.where(stable[..., None, None], low, eye)
    metric = torch.ones(2 * n, dtype=h.dtype, device=h.device)
    metric[n:] = -1
    levels, y = torch.linalg.eigh(low.mH @ (metric[:, None] * low))
    levels, y = levels.flip(-1), y.flip(-1)
    columns = torch.linalg.solve_triangular(low.mH, y * levels.abs().sqrt()[..., None, :], upper=True)
    return levels, columns, stable


def _operators(solver: ModeSolver, q: torch.Tensor, include_form_factor: bool) -> list[torch.Tensor]:
    """What a neutron couples to across Q, in the boson basis: (n_q, 2 n_sites, 3), one for each of the waves."""
    model = solver.model
    frames = local_frames(model)[0].to(q.device)
    scale = torch.as_tensor([(s.spin / 2) ** 0.5 for s in model.sites], dtype=q.dtype, device=q.device)
    cartesian = q @ solver.reciprocal
    weight = scale.expand(len(q), -1)
    if include_form_factor:
        length = cartesian.norm(dim=-1)
        weight = weight * torch.stack([form_factor(s.ion, length, s.orbital) for s in model.sites], -1)
    operator = weight.to(frames.dtype)[..., None] * frames
    operator = torch.cat([operator, weight.to(frames.dtype)[..., None] * frames.conj()], -2)
    unit = torch.nn.functional.normalize(cartesian, dim=-1, eps=1e-12)
    across = torch.eye(3, dtype=q.dtype, device=q.device) - unit[:, :, None] * unit[:, None, :]
    across = across.to(frames.dtype)
    if model.propagation is None:
        return [operator @ across]
    turns = torch.as_tensor(projections(model), device=q.device)
    return [operator @ turn.T @ across for turn in turns]
