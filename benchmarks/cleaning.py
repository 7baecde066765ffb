"""Size and speed of the cleaner, the published autoencoder and the additive network on a study's images.

python benchmarks/cleaning.py [STUDY]
"""

import sys
import time

import torch

from magnoscope.machine import keep_memory
from magnoscope.networks.cleaner import CleaningNetwork
from magnoscope.networks.kinds import kind_of, untrained
from magnoscope.networks.training import reduced_precision
from magnoscope.studies import load_study

BATCH, BATCHES = 32, 4


def main() -> None:
    """CPU-seconds for forward and backward of 1000 images, in the precision that training takes on this processor."""
    keep_memory()
    study = load_study(sys.argv[1] if len(sys.argv) > 1 else "pcsmo")
    measured = torch.rand(BATCH, *study.shape)
    valid = torch.ones(measured.shape, dtype=torch.bool)
    print(f"{torch.get_num_threads()} threads, batches of {BATCH} images of {study.shape}")
    for kind in ("compact", "additive", "cleaner", "autoencoder-published"):
        network = untrained(study, kind, 0).train()
        numbers = sum(w.numel() for w in network.parameters())

        def step(network: torch.nn.Module = network, kind: str = kind) -> None:
            with reduced_precision(kind_of(kind).config, torch.device("cpu")):
                if isinstance(network, CleaningNetwork):
                    loss = network.loss(measured, valid, measured)
                else:
                    loss = network(network.prepare(measured, valid)).logits.sum()
            loss.backward()

        step()
        started, wall = time.process_time(), time.monotonic()
        for _ in range(BATCHES):
            step()
        each = 1000 / (BATCH * BATCHES)
        print(
            f"{kind:>22}: {numbers} weights ({4e-6 * numbers:.1f} MB), {each * (time.process_time() - started):.1f} "
            f"CPU-s and {each * (time.monotonic() - wall):.1f} s for 1000 images"
        )


if __name__ == "__main__":
    main()
