"""The device is carried through: nothing is made on the processor by the way.

No GPU is needed. Of the modes, shapes alone are worked out, on torch's device of that kind: an operation on tensors of
two devices fails all the same. What an image goes through depends on values, so that its tensors are the processor's
own and only pretend to be elsewhere.
"""

from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from magnoscope.crystal import Lattice
from magnoscope.errors import StudyError
from magnoscope.simulate import Sampling, Simulator
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


ELSEWHERE = torch.device("cuda")


class Pretended(torch.Tensor):
    """A tensor of the processor that is taken to be elsewhere."""


class Pretence(TorchFunctionMode):
    """Tensors sent elsewhere become pretended ones, and an operation on tensors here and there fails."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function is torch.device:
            return function(*args, **kwargs)
        if function == torch.Tensor.device.__get__:
            return ELSEWHERE if isinstance(args[0], Pretended) else torch.device("cpu")
        asked = next((a for a in (*args, kwargs.pop("device", None)) if isinstance(a, torch.device)), None)
        if function.__name__ == "cpu":
            asked = torch.device("cpu")
        args = tuple(a for a in args if not isinstance(a, torch.device))
        given = [x for a in (*args, *kwargs.values()) for x in (a if isinstance(a, (list, tuple)) else [a])]
        there = {isinstance(x, Pretended) for x in given if isinstance(x, torch.Tensor) and x.ndim}
        if asked is None and (len(there) > 1 or (True in there and function.__name__ in ("numpy", "__array__"))):
            raise RuntimeError(f"{function.__name__} is of tensors on two devices")
        out = args[0] if function.__name__ == "to" and len(args) == 1 and not kwargs else function(*args, **kwargs)
        if asked is None:
            return out
        return out.as_subclass(Pretended if asked == ELSEWHERE else torch.Tensor)


def test_pretence_notices_what_is_mixed():
    with Pretence():
        here, there = torch.ones(3), torch.ones(3, device=ELSEWHERE)
        assert (there * 2).device == ELSEWHERE
        assert (there.cpu() + here).device.type == "cpu"
        for mixed in (lambda: here + there, lambda: torch.cat([here, there]), lambda: here[there.long()], there.numpy):
            with pytest.raises(RuntimeError, match="two devices"):
                mixed()


@pytest.mark.parametrize("method", ["gaussian", "montecarlo", "none"])
def test_an_image_is_worked_out_on_the_device(pcsmo, method):
    study, sampling = replace(pcsmo, runs=pcsmo.runs[:2]), Sampling(zone_points=6, corrections=1)
    name = study.classes[0]
    reference = study.models[name].reference
    here = Simulator(study, method, sampling).signal(name, reference)
    with Pretence():
        there = Simulator(study, method, sampling, ELSEWHERE).signal(name, reference)
    np.testing.assert_array_equal(there, here)


def test_what_is_simulated_on_the_processor_alone_is_refused_elsewhere(pcsmo):
    with Pretence(), pytest.raises(StudyError, match="cannot be simulated on cuda"):
        Simulator(replace(pcsmo, runs=pcsmo.runs[:1]), "gaussian-coarse", device=ELSEWHERE)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_gives_what_the_processor_gives(pcsmo):
    model = pcsmo.models["goodenough"]
    q = np.random.default_rng(0).uniform(-1, 1, (20, 3))
    here, there = (ModeSolver(model, device).solve(model.reference, q) for device in ("cpu", "cuda"))
    assert there.energies.device.type == "cuda"
    np.testing.assert_allclose(there.energies.cpu(), here.energies, rtol=1e-9)
    np.testing.assert_allclose(s_perp(there).sum(-1).cpu(), s_perp(here).sum(-1), rtol=1e-8)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_makes_the_image_that_the_processor_makes(pcsmo):
    name = pcsmo.classes[0]
    reference = pcsmo.models[name].reference
    here, there = (Simulator(pcsmo, "montecarlo", device=device).signal(name, reference) for device in ("cpu", "cuda"))
    assert np.linalg.norm(there - here) < 1e-5 * np.linalg.norm(here)
