"""What an instrument's numbers are, as text that stays the same when the package learns to say more."""

from dataclasses import MISSING, fields, is_dataclass
from typing import Any

LATER = {"later": True}
"""Metadata of a field that came after studies were first hashed: left out while it has its default."""

NO_PHYSICS = {"content": False}
"""Metadata of a field that changes no signal, only which of it is seen: never part of the content."""


def content(value: Any) -> str:
    """Text of a dataclass with all it holds, such as a hash is made of.

    Fields marked :data:`LATER` that have their default value are left out, so that an instrument that makes no use of
    them keeps the text, and a study its hash; so are those marked :data:`NO_PHYSICS`.
    """
    if is_dataclass(value) and not isinstance(value, type):
        told = [f for f in fields(value) if _counts(f, getattr(value, f.name))]
        return f"{type(value).__name__}({', '.join(f'{f.name}={content(getattr(value, f.name))}' for f in told)})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {content(item)}" for key, item in value.items()) + "}"
    return repr(value)


def _counts(field: Any, value: Any) -> bool:
    default = field.default_factory() if field.default_factory is not MISSING else field.default
    return bool(field.metadata.get("content", True) and not (field.metadata.get("later") and value == default))
