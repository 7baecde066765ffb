"""Cost of gradients of a spectrum with respect to all parameters, beside finite differences: CPU seconds for each q.

python benchmarks/spinwave_gradients.py [--points 200] [--channels 60]
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from magnoscope.spinwave import ModeSolver, spectral_sum
from magnoscope.studies import load_study


def seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """Least CPU time of a few runs."""
    best = np.inf
    for _ in range(repeats):
        begin = time.process_time()
        work()
        best = min(best, time.process_time() - begin)
    return best


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--points", type=int, default=200)
    arguments.add_argument("--channels", type=int, default=60)
    options = arguments.parse_args()
    torch.set_num_threads(1)
    channels = torch.linspace(1, 95, options.channels, dtype=torch.float64)

    def line(w: torch.Tensor) -> torch.Tensor:
        return torch.exp(-((channels - w[..., None]) ** 2) / 2)

    print("       model  sites  parameters    spectrum  + gradient  ratio  differences")
    for name, model in load_study("pcsmo").models.items():
        solver = ModeSolver(model)
        q = np.random.default_rng(0).uniform(-1, 1, (options.points, 3))
        reference = torch.as_tensor(model.reference)

        def alone(solver: ModeSolver = solver, values: torch.Tensor = reference, q: np.ndarray = q) -> None:
            with torch.no_grad():
                spectral_sum(solver, values, q, line)

        def both(solver: ModeSolver = solver, values: torch.Tensor = reference, q: np.ndarray = q) -> None:
            x = values.clone().requires_grad_()
            spectral_sum(solver, x, q, line).square().sum().backward()

        one, two = (seconds(work) / options.points for work in (alone, both))
        count = len(model.parameters)
        print(
            f"{name:>12} {len(model.sites):>6} {count:>11} {1e3 * one:>7.3f} ms {1e3 * two:>8.3f} ms {two / one:>6.2f} "
            f"{1e3 * one * 2 * count:>9.3f} ms"
        )


if __name__ == "__main__":
    main()
