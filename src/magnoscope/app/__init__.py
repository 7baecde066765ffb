"""The web page, and its panels: each shows one frozen :class:`State`, on the page and in a notebook alike."""

from typing import TYPE_CHECKING

from ..lazy import import_when_used

if TYPE_CHECKING:
    from .state import Origin, State, examine, explained, moved, unmoved

# the server and the page's shell are there before PyTorch
import_when_used(__name__, dict.fromkeys(("Origin", "State", "examine", "explained", "moved", "unmoved"), "state"))

__all__ = ["Origin", "State", "examine", "explained", "moved", "unmoved"]
