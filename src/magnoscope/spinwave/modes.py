"""Modes of a model at wave vectors: energies, eigenvectors, and whether the state is stable there."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike

from ..errors import InstabilityError, StudyError
from ..hamiltonian import SpinModel
from .bogoliubov import DEFAULT_SHIFT, halves, solve_full, solve_half
from .boson import BosonHamiltonian, boson_hamiltonian, local_frames
from .equilibrium import TILT_TOLERANCE, LinearTerms, where_it_pulls
from .form_factor import form_factor
from .rotating_frame import projections

CACHE = 2**22
"""Bytes of matrices that are worked on at a time."""


@dataclass(frozen=True)
class Modes:
    """Spin waves of one model.

    Attributes
    ----------
    q : (n_q, 3) r.l.u.
    energies : (..., n_q, n_modes) meV, falling
    u, v : (..., n_q, n_sites, n_modes)
        Eigenvectors: b_q = u beta_q + .., b_-q^H = v beta_q + .. (phases by full position).
    stable : (..., n_q) bool
    channel : (..., n_q, n_modes) int or None
        Of a structure with a propagation vector k, where each mode's wave vector is: 0 at q, 1 at q - k, 2 at q + k.
    """

    model: SpinModel
    q: torch.Tensor
    energies: torch.Tensor
    u: torch.Tensor
    v: torch.Tensor
    stable: torch.Tensor
    channel: torch.Tensor | None = None


class ModeSolver:
    """A model made ready to be solved again and again; the boson form and the choice of method are kept.

    Parameters
    ----------
    model : SpinModel
    device : torch.device or str
        Where arrays live and work is done; results come back there.
    shift : float
        Added to the diagonal of the boson Hamiltonian, meV, so that Goldstone modes can be solved.
    tilt_tolerance : float
        How far (radian) a spin may stand from the nearest stationary state; see :mod:`.equilibrium`.
    """

    def __init__(
        self,
        model: SpinModel,
        device: torch.device | str = "cpu",
        shift: float = DEFAULT_SHIFT,
        tilt_tolerance: float = TILT_TOLERANCE,
    ) -> None:
        self.model = model
        self.device = torch.device(device)
        self.shift = shift
        self.tilt_tolerance = tilt_tolerance
        self.boson: BosonHamiltonian = boson_hamiltonian(model, device)
        self.linear = LinearTerms(model, self.boson)
        self.reduced: BosonHamiltonian = boson_hamiltonian(model, device, reduce=True)
        self.reciprocal = torch.as_tensor(model.lattice.reciprocal, device=self.device)
        probe = torch.as_tensor(np.random.default_rng(0).uniform(-1, 1, (5, 3)), device=self.device) @ self.reciprocal
        weights = torch.linspace(0.5, 1.5, len(model.parameters), dtype=torch.float64, device=self.device)
        a, b = self.boson.blocks(weights, probe)
        self.half_size = halves(a, b, self.boson.blocks(weights, -probe)[0])

    def solve(self, values: ArrayLike | torch.Tensor, q: ArrayLike | torch.Tensor, in_order: bool = True) -> Modes:
        """Modes at wave vectors, for one or many parameter sets.

        Parameters
        ----------
        values : (..., n_parameters) meV
        q : (n_q, 3) r.l.u. of the study's lattice
        in_order : bool
            Without, the modes of a model that splits into blocks (:mod:`.reduction`) stay in the order of the blocks,
            which saves time where the order does not matter.

        Returns
        -------
        Modes
            With ``stable`` False (and NaN energies) where the state is no energy minimum: at single q where the
            boson Hamiltonian is not positive, at all q of a parameter set for which spins feel a torque. A structure
            with a propagation vector k has three times as many modes as sites: those at q, q - k and q + k.

        Raises
        ------
        StudyError
            If q or the values have the wrong shape.
        """
        values = self.check_values(values)
        q = self.check_wave_vectors(q)
        if self.model.propagation is None:
            return self._stationary(values, self._solve(values, q, in_order))
        k = q.new_tensor(self.model.propagation)
        return self._stationary(values, _joined(q, [self._solve(values, q + sign * k) for sign in (0, -1, 1)]))

    def _stationary(self, values: torch.Tensor, modes: Modes) -> Modes:
        """Modes without those of parameter sets for which the structure is not stationary."""
        off = (self.linear.tilts(values) > self.tilt_tolerance).any(-1)
        if not bool(off.any()):
            return modes
        nan = float("nan")
        return replace(
            modes,
            energies=modes.energies.masked_fill(off[..., None, None], nan),
            u=modes.u.masked_fill(off[..., None, None, None], nan),
            v=modes.v.masked_fill(off[..., None, None, None], nan),
            stable=modes.stable & ~off[..., None],
        )

    def solve_in_chunks(
        self, values: ArrayLike | torch.Tensor, q: ArrayLike | torch.Tensor, chunk: int | None = None
    ) -> Iterator[Modes]:
        """As :meth:`solve`, for ``chunk`` wave vectors at a time: the memory does not grow with their number.

        Yields
        ------
        Modes
            Of consecutive wave vectors.
        """
        q = self.check_wave_vectors(q)
        for part in q.split(chunk or self.chunk):
            yield self.solve(values, part)

    @property
    def chunk(self) -> int:
        """Number of wave vectors whose matrices stay in a processor's cache, by which many are best split."""
        bytes_each = 16 * len(self.model.sites) * self.reduced.shape[-1] * (10 if self.half_size else 40)
        return max(8, min(1024, CACHE // bytes_each))

    def _solve(self, values: torch.Tensor, q: torch.Tensor, in_order: bool = True) -> Modes:
        """Modes of the boson Hamiltonian at q, and only there."""
        cartesian = q @ self.reciprocal
        if self.half_size:
            energies, u, v, stable = solve_half(*self.reduced.blocks(values, cartesian), self.shift)
        else:
            energies, u, v, stable = solve_full(self.reduced.matrix(values, cartesian), self.shift)
        u, v = self.reduced.at_sites(u, cartesian), self.reduced.at_sites(v, cartesian)
        if energies.shape != u.shape[:-1]:
            energies = energies.flatten(-2)
            if in_order:
                energies, order = energies.sort(-1, descending=True)
                u, v = (x.take_along_dim(order[..., None, :], -1) for x in (u, v))
            stable = stable.all(-1)
            if not bool(stable.all()):
                energies = energies.masked_fill(~stable[..., None], float("nan"))
                u, v = (x.masked_fill(~stable[..., None, None], float("nan")) for x in (u, v))
        return Modes(self.model, q, energies, u, v, stable)

    def check_wave_vectors(self, q: ArrayLike | torch.Tensor) -> torch.Tensor:
        """Wave vectors as a (n_q, 3) tensor."""
        if not isinstance(q, torch.Tensor):
            q = torch.as_tensor(np.asarray(q, float))
        if q.shape[-1:] != (3,) or q.ndim > 2:
            raise StudyError(f"wave vectors have shape {tuple(q.shape)}; give (n_q, 3), in r.l.u.")
        q = q.to(self.device, torch.float64).reshape(-1, 3)
        if not len(q) or not bool(q.isfinite().all()):
            raise StudyError("there are no wave vectors" if not len(q) else "a wave vector is not finite")
        return q

    def check_values(self, values: ArrayLike | torch.Tensor) -> torch.Tensor:
        """Parameter values as a (..., n_parameters) tensor."""
        values = torch.as_tensor(values, dtype=torch.float64, device=self.device)
        names = [p.name for p in self.model.parameters]
        if values.shape[-1:] != (len(names),):
            raise StudyError(
                f"parameter values have shape {tuple(values.shape)}; model {self.model.name} needs "
                f"(..., {len(names)}): {', '.join(names) or 'no parameters'}"
            )
        return values

    def lowest_eigenvalue(self, values: ArrayLike, q: ArrayLike) -> torch.Tensor:
        """Lowest eigenvalue (meV) of the full boson matrix at each q: negative where the state is no minimum."""
        values = self.check_values(values)
        q = self.check_wave_vectors(q)
        return torch.linalg.eigvalsh(self.boson.matrix(values, q @ self.reciprocal))[..., 0]


def _joined(q: torch.Tensor, channels: list[Modes]) -> Modes:
    """Modes of the three channels of a rotating frame as one, by falling energy; unstable where one of them is."""
    energies = torch.cat([m.energies for m in channels], -1)
    channel = torch.arange(len(channels), device=q.device).repeat_interleave(channels[0].energies.shape[-1])
    stable = torch.stack([m.stable for m in channels]).all(0)
    energies, order = energies.masked_fill(~stable[..., None], float("nan")).sort(-1, descending=True)
    u, v = (
        torch.cat([getattr(m, half) for m in channels], -1)
        .masked_fill(~stable[..., None, None], float("nan"))
        .take_along_dim(order[..., None, :], -1)
        for half in ("u", "v")
    )
    return Modes(channels[0].model, q, energies, u, v, stable, channel[order])


def check_stable(solver: ModeSolver, values: ArrayLike, modes: Modes) -> None:
    """Stop on a state that is no energy minimum.

    Raises
    ------
    InstabilityError
        Naming the first such q and the lowest eigenvalue of the boson Hamiltonian there; or the spin that feels the
        largest torque, where the structure is not even stationary.
    """
    if bool(modes.stable.all()):
        return
    index = tuple((~modes.stable).nonzero()[0].tolist())
    q = modes.q[index[-1]]
    values = torch.as_tensor(values, dtype=torch.float64).expand(*modes.stable.shape[:-1], -1)[index[:-1]]
    tilts = solver.linear.tilts(values.to(solver.device)).cpu()
    if bool((tilts > solver.tilt_tolerance).any()):
        raise InstabilityError(
            f"the magnetic structure of model {modes.model.name} is not stationary for these parameters: "
            f"{where_it_pulls(modes.model, values.cpu(), tilts)}; give the moments of the lowest energy"
        )
    if modes.channel is not None:  # of the three waves seen at q, the one that gives way
        k = q.new_tensor(modes.model.propagation)
        waves = torch.stack([q, q - k, q + k])
        q = waves[int(solver.lowest_eigenvalue(values, waves).argmin())]
    lowest = float(solver.lowest_eigenvalue(values, q)[0])
    at = ", ".join(f"{x:.4g}" for x in q.tolist())
    raise InstabilityError(
        f"the magnetic structure of model {modes.model.name} is not an energy minimum for these parameters: at "
        f"q = ({at}) the lowest eigenvalue of the boson Hamiltonian is {lowest:.4g} meV; change the parameters or "
        "the moments"
    )


def amplitudes(modes: Modes, include_form_factor: bool = True) -> torch.Tensor:
    """Amplitude vector of creating each mode with momentum transfer q.

    W_n = sum_i F_i(Q) sqrt(S_i / 2) (u_i conj(U_in) + u_i* conj(V_in)), so that S^ab_n = conj(W^a) W^b.

    Returns
    -------
    (..., n_q, n_modes, 3) complex, in the crystal's Cartesian frame
    """
    model = modes.model
    frames, _ = local_frames(model)
    frames = frames.to(modes.u.device)
    scale = torch.as_tensor([(s.spin / 2) ** 0.5 for s in model.sites], dtype=torch.float64, device=modes.u.device)
    weight = scale.expand(len(modes.q), -1)
    if include_form_factor:
        length = (modes.q @ torch.as_tensor(model.lattice.reciprocal, device=modes.q.device)).norm(dim=-1)
        kinds = sorted({(s.ion, s.orbital) for s in model.sites})
        factors = torch.stack([form_factor(ion, length, orbital) for ion, orbital in kinds], -1)
        weight = weight * factors[:, [kinds.index((s.ion, s.orbital)) for s in model.sites]]
    # conj(W) = sum_i F_i sqrt(S_i / 2) (u_i* U_in + u_i V_in): small matrices (3, n_sites) on the left
    left = weight[:, None] * frames.T
    w = (left.conj() @ modes.u + left @ modes.v).mT.conj()
    if modes.channel is None:
        return w
    turns = torch.as_tensor(projections(model), device=modes.u.device)
    return torch.einsum("...qnab,...qnb->...qna", turns[modes.channel], w)


def s_perp(modes: Modes, include_form_factor: bool = True) -> torch.Tensor:
    """Neutron intensity sum_ab (delta_ab - Qa Qb / Q^2) S_ab of each mode, per magnetic cell, spin squared.

    At Q = 0, where the direction of Q is undefined, the full trace is returned.

    Returns
    -------
    (..., n_q, n_modes)
    """
    w = amplitudes(modes, include_form_factor)
    q = modes.q @ torch.as_tensor(modes.model.lattice.reciprocal, device=modes.q.device)
    unit = torch.nn.functional.normalize(q, dim=-1, eps=1e-12).to(w.dtype)
    along = torch.einsum("qa,...qna->...qn", unit, w)
    return (w.real**2 + w.imag**2).sum(-1) - (along.real**2 + along.imag**2)
