"""Names of a package that are imported when they are first used: PyTorch alone takes seconds."""

import sys
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any


class _Name:
    """A name in a package that comes from one of the package's modules."""

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name

    def __get__(self, package: ModuleType | None, kind: type | None = None) -> Any:
        if package is None:
            return self
        own = vars(package)
        return own[self._name] if self._name in own else getattr(import_module(self._module), self._name)

    def __set__(self, package: ModuleType, value: object) -> None:
        # the import system puts a module into its package, where a function of the same name may be wanted
        if not isinstance(value, ModuleType):
            vars(package)[self._name] = value

    def __delete__(self, package: ModuleType) -> None:
        vars(package).pop(self._name, None)


def import_when_used(package: str, modules: Mapping[str, str]) -> None:
    """Give a package names that are imported from its modules when they are first used.

    Parameters
    ----------
    package : str
        Its ``__name__``; it is being imported.
    modules : mapping of str to str
        From each name to the module that it is in, such as ``{"simulate": "simulate"}``.
    """
    module = sys.modules[package]
    names: dict[str, Any] = {name: _Name(f"{package}.{home}", name) for name, home in modules.items()}
    module.__class__ = type("Package", (ModuleType,), names | {"__dir__": lambda self: [*vars(self), *modules]})
