"""The device is carried through: nothing is made on the processor by the way.

Shapes alone are worked out, on torch's device of that kind, so that no GPU is needed: an operation on tensors of two
devices fails all the same.
"""

from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest
import torch

from magnoscope.crystal import Lattice
from magnoscope.spinwave import Modes, ModeSolver, correlation_tensor, s_perp
from magnoscope.spinwave.bogoliubov import solve_full, solve_half
from magnoscope.spinwave.gradients import _all_columns, _divided, _operators, _sets
from magnoscope.spinwave.thermal import detailed_balance, occupation


def elsewhere(thing):
    """A copy whose tensors are on another device."""
    if isinstance(thing, torch.Tensor):
        return torch.empty(thing.shape, dtype=thing.dtype, device="meta")
    if is_dataclass(thing):
        return replace(thing, **{f.name: elsewhere(getattr(thing, f.name)) for f in fields(thing)})
    return thing


@pytest.fixture(scope="module")
def spiral(make_model):
    model = make_model(Lattice(3, 8, 8), [((0, 0, 0), (1, 0, 0)), ((0.5, 0, 0), (1, 1, 0))], [(0, 1, (0.5, 0, 0), 1.0)])
    return replace(model, propagation=(0.3, 0, 0), rotation_axis=(0, 0, 1))


@pytest.mark.parametrize("name", ["goodenough", "spiral"])
@pytest.mark.parametrize("answer", [True, False])
def test_everything_stays_on_the_device(pcsmo, spiral, name, answer, monkeypatch):
    # what depends on values, such as whether all is stable, is answered both ways
    model = spiral if name == "spiral" else pcsmo.models[name]
    solver = ModeSolver(model)
    n, channels = len(model.sites), 3 if name == "spiral" else 1
    monkeypatch.setattr(torch.Tensor, "__bool__", lambda self: answer)
    for attribute in ("boson", "reduced", "reciprocal"):
        setattr(solver, attribute, elsewhere(getattr(solver, attribute)))
    values = torch.empty(2, len(model.parameters), dtype=torch.float64, device="meta")
    q = torch.empty(5, 3, dtype=torch.float64, device="meta")
    h = solver.boson.matrix(values, q @ solver.reciprocal)
    found = [h, *solve_full(h), *_all_columns(h, 1e-8), *solve_half(*solver.reduced.blocks(values, q))]
    energies, u, v, stable = solve_half(*solver.boson.blocks(values, q))
    wide = [torch.cat([x] * channels, -1) for x in (energies, u, v)]
    channel = None if channels == 1 else torch.zeros(wide[0].shape, dtype=torch.long, device="meta")
    modes = Modes(model, q, *wide, stable, channel)
    assert modes.energies.shape == (2, 5, n * channels)
    found += [s_perp(modes), correlation_tensor(modes), occupation(wide[0], 10.0), detailed_balance(wide[0], 10.0)]
    found += [*_operators(solver, q, True), _sets(energies), _divided(energies, energies, energies)]
    assert {x.device.type for x in found} == {"meta"}
    assert {x.dtype for x in found if x.is_complex()} == {torch.complex128}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_gives_what_the_processor_gives(pcsmo):
    model = pcsmo.models["goodenough"]
    q = np.random.default_rng(0).uniform(-1, 1, (20, 3))
    here, there = (ModeSolver(model, device).solve(model.reference, q) for device in ("cpu", "cuda"))
    assert there.energies.device.type == "cuda"
    np.testing.assert_allclose(there.energies.cpu(), here.energies, rtol=1e-9)
    np.testing.assert_allclose(s_perp(there).sum(-1).cpu(), s_perp(here).sum(-1), rtol=1e-8)
