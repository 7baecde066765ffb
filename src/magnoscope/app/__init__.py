"""The web page, and its panels: each shows one frozen :class:`State`, on the page and in a notebook alike."""

from .state import Origin, State, examine, explained, moved, unmoved

__all__ = ["Origin", "State", "examine", "explained", "moved", "unmoved"]
