"""Whether the moments of a model are where their fields leave them: no torque, no terms linear in the bosons.

Spin waves are an expansion about a stationary state. Where a structure is not one, bosons enter the Hamiltonian
linearly; leaving those terms out gives numbers that look right and belong to no state, even where the quadratic part is
positive. How far a structure is off is measured by how far its spins would turn to the nearest stationary state, to
first order: the Newton step of the classical energy, from the linear terms and the boson Hamiltonian at q = 0,

    h x = - 1/2 (gamma, gamma*),  gamma_i = (2 / S_i)^1/2 u_i . dE/dv_i,  x = (b, b*),  theta_i = (2 / S_i)^1/2 b_i.
"""

import numpy as np
import torch
from numpy.typing import ArrayLike

from ..hamiltonian import SpinModel
from .boson import BosonHamiltonian, local_frames
from .energy import ClassicalEnergy

TILT_TOLERANCE = np.radians(0.1)
"""How far (radian) a spin may stand from the nearest stationary state: moments typed to three digits are within it."""

ROUNDING = 1e-9
"""Linear terms below this share of the largest that could be are rounding."""


def where_it_pulls(model: SpinModel, values: ArrayLike, tilts: ArrayLike) -> str:
    """Which spin of a structure that is not stationary feels which torque, in words."""
    number = int(np.argmax(np.asarray(tilts)))
    torque = float(np.linalg.norm(ClassicalEnergy(model).torques(values), axis=1)[number])
    angle = float(np.degrees(np.asarray(tilts)[number]))
    turn = "far" if angle > 30 else f"by about {angle:.2g} degrees"
    return f"the spin of site {model.sites[number].name} feels a torque of {torque:.3g} meV and would turn {turn}"


class LinearTerms:
    """The terms of a model's Hamiltonian that are linear in its bosons, for any batch of parameters.

    Attributes
    ----------
    coefficients : (n_parameters + 1, n_sites) complex
        gamma per unit of each parameter, and the constant.
    scales : (n_parameters + 1,) meV
        What each could amount to, per unit.
    """

    def __init__(self, model: SpinModel, boson: BosonHamiltonian) -> None:
        self.model = model
        self.boson = boson
        device = boson.phases.device
        classical = ClassicalEnergy(model)
        frames, _ = local_frames(model)
        self.lengths = torch.as_tensor([s.spin for s in model.sites], dtype=torch.float64, device=device)
        count = len(model.parameters)
        constant = classical.slopes(np.zeros(count))
        slopes = [classical.slopes(unit) - constant for unit in np.eye(count)] + [constant]
        gamma = torch.einsum("pia,ia->pi", torch.as_tensor(np.stack(slopes)).to(frames.dtype), frames).to(device)
        self.coefficients = gamma * (2 / self.lengths).sqrt()
        self.scales = torch.as_tensor(classical.scales, dtype=torch.float64, device=device)

    @torch.no_grad()
    def tilts(self, values: torch.Tensor) -> torch.Tensor:
        """Angles by which each spin would turn to the nearest stationary state, to first order.

        Parameters
        ----------
        values : (..., n_parameters) meV

        Returns
        -------
        (..., n_sites) radian
            Exactly zero where there are no linear terms beyond rounding; at most pi.
        """
        weights = torch.cat([values, values.new_ones((*values.shape[:-1], 1))], -1)
        gamma = weights.to(self.coefficients.dtype) @ self.coefficients
        floor = ROUNDING * (weights.abs() @ self.scales)[..., None]
        tilts = torch.zeros(gamma.shape, dtype=torch.float64, device=gamma.device)
        off = (gamma.abs() > floor).any(-1)
        if not bool(off.any()):
            return tilts
        gamma, floor = gamma[off], floor[off]
        origin = torch.zeros(1, 3, dtype=torch.float64, device=gamma.device)
        level, vectors = torch.linalg.eigh(self.boson.matrix(values[off], origin)[..., 0, :, :])
        push = (vectors.mH @ torch.cat([gamma, gamma.conj()], -1)[..., None])[..., 0] / 2
        # along a Goldstone mode there is no push: neither numerator nor denominator beyond rounding
        step = torch.where(push.abs() > floor, push / level.abs().clamp_min(1e-300), torch.zeros_like(push))
        turned = (vectors @ step[..., None])[..., : self.lengths.numel(), 0].abs() * (2 / self.lengths).sqrt()
        tilts[off] = turned.clamp_max(torch.pi)
        return tilts
