"""What all users of a page share: the study, its simulator and weights, and threads that work for them.

What needs PyTorch is imported where it is first used, in one of the threads: the page is there before.
"""

import os
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import panel as pn

from ..errors import DataError, WeightsError
from ..study import Study
from .dropper import LARGEST_MB

if TYPE_CHECKING:
    from ..cleaning import Cleaner
    from ..simulate import Simulator
    from ..spectrum import Spectrum
    from ..trust.weights import Weights
    from .state import Origin, State

RESOLUTION = "gaussian"
"""Of simulations on the page: quick, and what the shipped networks' best matches are compared with."""
KEPT = 8
"""States that are kept, so that a spectrum seen before is there at once."""


@dataclass
class Service:
    """One study, ready for many users.

    Attributes
    ----------
    study : Study
    study_name : str
        As it is named on the command line.
    weights_path : Path or None
        None: those that ship, if any.
    first : (Path, Path or None) or None
        Image and mask that are opened at once; the measurement or the example of the study if None.
    largest_mb : int
        Limit of an upload.
    cleaner_path : Path or None
        None: the cleaning network that ships, if any.
    """

    study: Study
    study_name: str
    weights_path: Path | None = None
    first: tuple[Path, Path | None] | None = None
    largest_mb: int = LARGEST_MB
    cleaner_path: Path | None = None
    _lock: Lock = field(default_factory=Lock, repr=False)
    _preparing: Lock = field(default_factory=Lock, repr=False)
    _simulator: "Simulator | None" = field(default=None, repr=False)
    _states: "OrderedDict[tuple[str, str | None], State]" = field(default_factory=OrderedDict, repr=False)

    @cached_property
    def pool(self) -> ThreadPoolExecutor:
        """Threads for the work of all users, on every core; each core works on one thing at a time."""
        return ThreadPoolExecutor(max(2, os.cpu_count() or 2), "magnoscope", _one_core)

    @property
    def simulator(self) -> "Simulator":
        """The simulator, once it is ready."""
        with self._preparing:  # by whoever comes first; threads that wait for one another's tasks could all be waiting
            if self._simulator is None:
                self._simulator = self._prepared()
            return self._simulator

    def warm(self) -> None:
        """Begin to make the simulator ready."""
        self.pool.submit(lambda: self.simulator)

    def _prepared(self) -> "Simulator":
        from ..simulate import Simulator

        simulator = Simulator(self.study, RESOLUTION)  # type: ignore[arg-type]
        for name in self.study.classes:
            try:
                simulator.reference(name)
            except Exception:  # noqa: BLE001, S112 - said where a user asks for it
                continue
        return simulator

    @cached_property
    def weights(self) -> "tuple[Weights | None, str | None]":
        """The weights, and what must be said of them or of their absence.

        Raises
        ------
        WeightsError
            If those that were named cannot be used.
        """
        from ..trust.weights import load_weights, shipped_weights

        if self.weights_path is not None:
            return load_weights(self.weights_path, self.study)
        try:
            return load_weights(shipped_weights(self.study), self.study)
        except WeightsError as error:
            return None, str(error)

    @cached_property
    def cleaner(self) -> "tuple[Cleaner | None, str | None]":
        """The cleaning network, and what must be said of it; or how to make one.

        Raises
        ------
        WeightsError
            If one that was named cannot be used.
        """
        from .cleaned import cleaner_of

        return cleaner_of(self.study, self.cleaner_path)

    def open_first(self) -> "tuple[Spectrum, Origin]":
        """The spectrum that a page begins with.

        Raises
        ------
        DataError
            If there is none.
        """
        from ..fetch import find_measurement, shipped_example
        from .upload import read_file

        if self.first is not None:
            return read_file(self.first[0], self.study, self.first[1])
        real = find_measurement(self.study.name, self.study.downloads)
        path = real or shipped_example(self.study.name)
        if path is None:
            raise DataError(f"nothing ships to begin with for study {self.study.name}; open a measurement")
        return read_file(path, self.study, what="the real measurement" if real else "a SIMULATED example that ships")

    def judge(self, spectrum: "Spectrum", origin: "Origin") -> "State":
        """The state of a spectrum, from memory where it was judged before."""
        from .state import examine

        key = (origin.sha256, origin.mask)
        with self._lock:
            known = self._states.get(key) if origin.sha256 and origin.mask is None else None
        if known is not None:
            return replace(known, origin=origin)
        weights, warning = self.weights
        path = None if self.weights_path is None else str(self.weights_path)
        state = examine(spectrum, self.simulator, weights, origin, warning, path)
        cleaner, uncleaned = self.cleaner
        cleaned = None if cleaner is None else cleaner(spectrum)
        return self.keep(replace(state, cleaned=cleaned, uncleaned=uncleaned))

    def keep(self, state: "State") -> "State":
        """Remember a state."""
        with self._lock:
            self._states[state.origin.sha256, state.origin.mask] = state
            while len(self._states) > KEPT:
                self._states.popitem(last=False)
        return state


def _one_core() -> None:
    """Keep a thread to one core; PyTorch is imported here, by the first thread that works."""
    import torch

    torch.set_num_threads(1)


class Work:
    """Work of one user in the service's threads, one thing at a time; of what is asked meanwhile the latest is done.

    Without a server (in a notebook, in a test) work is done at once.
    """

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool, self._document = pool, pn.state.curdoc
        self._busy = False
        self._next: tuple[Callable[[], Any], Callable[[Any, BaseException | None], None]] | None = None

    def ask(self, task: Callable[[], Any], then: Callable[[Any, BaseException | None], None]) -> None:
        """Do a task; ``then`` gets its result, or what went wrong, where the page may be changed."""
        if self._document is None or not self._document.session_context:
            result, error = _tried(task)
            then(result, error)
            return
        if self._busy:
            self._next = task, then
            return
        self._busy = True

        def done(future: "Future[tuple[Any, BaseException | None]]") -> None:
            context = self._document.session_context
            if future.cancelled() or context is None or context.destroyed:
                return  # the server stops, or the user has gone
            result, error = future.result()
            with suppress(AttributeError):  # the user went just now: their document has nothing left to call back
                self._document.add_next_tick_callback(lambda: self._finish(then, result, error))

        self._pool.submit(_tried, task).add_done_callback(done)

    def soon(self, task: Callable[[], None]) -> None:
        """Change the page once what was changed before is on its way to the browser."""
        if self._document is None or not self._document.session_context:
            task()
        else:
            self._document.add_next_tick_callback(task)

    def _finish(
        self, then: Callable[[Any, BaseException | None], None], result: Any, error: BaseException | None
    ) -> None:
        self._busy = False
        following, self._next = self._next, None
        then(result, error)
        if following is not None:
            self.ask(*following)


def _tried(task: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return task(), None
    except Exception as error:  # noqa: BLE001 - told to the user by the page
        return None, error
