"""S_perp straight from the blocks of the boson problem, without eigenvectors of sites.

A neutron sees, of each mode, W = sum_i F_i(Q) sqrt(S_i / 2) (u_i conj(U_i) + u_i* conj(V_i)): two vectors in a
collinear magnet, three otherwise. They are carried into the blocks as rows, which meet the small eigenvectors there.
"""

import numpy as np
import torch

from .bogoliubov import project_full, project_half
from .boson import local_frames
from .form_factor import form_factor
from .modes import ModeSolver


class Projection:
    """What turns the blocks of a model's boson problem into energies and S_perp.

    Sites of one ion (form factor) and one phase (:attr:`.boson.BosonHamiltonian.offsets`) make one class. Rows of
    all blocks are linear in the factors of the classes.

    Parameters
    ----------
    solver : ModeSolver
        Of a model without a propagation vector.
    include_form_factor : bool
    """

    def __init__(self, solver: ModeSolver, include_form_factor: bool = True) -> None:
        self.solver = solver
        sites, boson = solver.model.sites, solver.reduced
        offsets = boson.offsets.cpu().numpy()
        keys = [(s.ion, s.orbital, *np.round(d, 9)) for s, d in zip(sites, offsets, strict=True)]
        found = sorted(set(keys))
        first = [keys.index(k) for k in found]
        self.offsets = boson.offsets[first]
        self.ions = [(sites[i].ion, sites[i].orbital) for i in first] if include_form_factor else []
        frames = local_frames(solver.model)[0].numpy()
        _, sizes, axes = np.linalg.svd(np.concatenate([frames.real, frames.imag]), full_matrices=False)
        axes = axes[sizes > 1e-9 * sizes[0]]
        n_blocks, size = len(boson.weights), boson.shape[-1]
        along = frames.conj() @ axes.T * np.sqrt([[s.spin / 2] for s in sites])
        weights, orbit = boson.weights.cpu().numpy(), boson.orbit.cpu().numpy()
        # per class: left and right rows (component, orbit) of every block
        table = np.zeros((len(found), 2, n_blocks, len(axes), size), complex)
        for i, key in enumerate(keys):
            for side, vector in enumerate((along[i], along[i].conj())):
                table[found.index(key), side, :, :, orbit[i]] += weights[:, i, None] * vector
        self.axes = torch.as_tensor(axes, device=solver.device)
        self.shape = table.shape[1:]
        self.table = torch.as_tensor(table.reshape(len(found), -1), device=solver.device)

    def solve(self, values: torch.Tensor, q: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Energies, S_perp and whether the state is stable.

        Parameters
        ----------
        values : (n_parameters,) meV
        q : (n_q, 3) r.l.u.

        Returns
        -------
        energies, intensities : (n_q, n_modes)
            meV, and per magnetic cell in spin squared; in the order of the blocks. They mean nothing where the
            state is not stable.
        stable : (n_q,) bool
        """
        solver = self.solver
        cartesian = q @ solver.reciprocal
        left, right = self._rows(cartesian)
        shape = (len(q), *self.shape[1:2], -1)
        if solver.half_size:
            a, b = (x.reshape(*shape, x.shape[-1]) for x in solver.reduced.blocks(values, cartesian))
            energies, w, stable = project_half(a, b, left, right, solver.shift)
        else:
            h = solver.reduced.matrix(values, cartesian)
            energies, w, stable = project_full(h.reshape(*shape, h.shape[-1]), left, right, solver.shift)
        unit = torch.nn.functional.normalize(cartesian, dim=-1, eps=1e-12) @ self.axes.T
        # component by component: sums over short axes are slow
        parts = torch.view_as_real(w).unbind(2)
        along = sum(x * part for x, part in zip(unit.T[:, :, None, None, None], parts, strict=True))
        strength = sum(part.square() for part in parts) - along.square()
        return energies.flatten(1), strength.sum(-1).flatten(1), stable.all(-1)

    def _rows(self, cartesian: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows that U and V of the blocks are multiplied by, each (n_q, n_blocks, n_components, size)."""
        turns = cartesian @ self.offsets.T
        factors = torch.complex(turns.cos(), -turns.sin())
        if self.ions:
            length = cartesian.norm(dim=-1)
            known = {kind: form_factor(kind[0], length, kind[1]) for kind in set(self.ions)}
            factors = factors * torch.stack([known[kind] for kind in self.ions], -1)
        left, right = (factors @ self.table).unflatten(-1, self.shape).unbind(1)
        return left, right
