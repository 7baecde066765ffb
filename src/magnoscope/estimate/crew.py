"""Simulations side by side, one thread of this process for each: most of a simulation leaves Python's lock free."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST = 4
"""Threads that are used unless told otherwise, where a machine has so many cores."""


@dataclass(frozen=True)
class Crew:
    """What runs a function on several things at a time.

    Attributes
    ----------
    pool : ThreadPoolExecutor or None
        None for one after the other.
    """

    pool: ThreadPoolExecutor | None = None

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Results in the order of the items; must not be called from a function that it runs."""
        return [function(item) for item in items] if self.pool is None else list(self.pool.map(function, items))


ALONE = Crew()
"""One after the other."""


def workers_of(asked: int | None) -> int:
    """So many as asked for, else one for each core, up to :data:`MOST`."""
    return asked or min(os.cpu_count() or 1, MOST)


@contextmanager
def crew_of(workers: int) -> Iterator[Crew]:
    """A crew of so many threads, each with one of PyTorch's."""
    if workers == 1:
        yield ALONE
        return
    with ThreadPoolExecutor(workers, "simulate", torch.set_num_threads, (1,)) as pool:
        yield Crew(pool)
