"""Names that a package offers and imports only when they are asked for (PEP 562)."""

from __future__ import annotations

import sys

TYPE_CHECKING = (
    False  # not typing's: its import takes longer than all that runs before an interrupt is caught
)
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["lazy"]


def lazy(package: str, places: Mapping[str, tuple[str, ...]]) -> Callable[[str], object]:
    """Return the ``__getattr__`` of *package*: *places* has the names that it offers, by their modules."""
    modules = {name: module for module, names in places.items() for name in names}

    def get(name: str) -> object:
        module = modules.get(name)
        if module is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        from importlib import import_module

        value: object = getattr(import_module(module), name)
        setattr(sys.modules[package], name, value)
        return value

    return get
