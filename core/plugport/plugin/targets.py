"""Targets: import strings ``package.module:attribute`` and ``path/to/file.py:attribute``, and their objects.

Whether the object is a component of the right kind is checked in :mod:`plugport.plugin.registry`.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
import zlib
from types import ModuleType
from typing import Any

from plugport.contracts.wording import describe_error, nearest
from plugport.errors import TargetError

__all__ = ["is_file_target", "resolve_target"]


def is_file_target(text: str) -> bool:
    """Return whether *text* names a file, not a module: ``upper.py:Upper``, ``./lib/upper.py:Upper``."""
    module = text.rpartition(":")[0]
    return module.endswith(".py") or "/" in module or os.sep in module


def resolve_target(text: str) -> Any:
    """Import and return the object that *text* names; the attribute may be dotted.

    A file is loaded once. The name of its module in sys.modules depends on its path alone, so that its
    classes can be pickled. Raises TargetError.
    """
    place, _, attribute = text.rpartition(":")
    if not place or not attribute:
        raise TargetError(f"{text!r} is neither package.module:attribute nor path/to/file.py:attribute")
    module = _load_file(place) if is_file_target(text) else _import(place)
    found: Any = module
    for name in attribute.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise TargetError(_no_attribute(place, found, name)) from None
        except Exception as error:
            raise TargetError(f"{text!r} can't be read: {describe_error(error)}") from error
    return found


def _import(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise TargetError(f"{name!r} is not the name of a module")
    _make_current_directory_importable()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            reason = "" if error.name == name else f": there is no {error.name!r}"
            raise TargetError(f"no module named {name!r}{reason}") from None
        raise TargetError(f"module {name!r} fails to import: {describe_error(error)}") from error
    except (Exception, SystemExit) as error:
        raise TargetError(f"module {name!r} fails to import: {describe_error(error)}") from error


def _make_current_directory_importable() -> None:
    # Last, so that a file there does not hide an installed module.
    try:
        here = os.getcwd()
    except OSError:
        return
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)


def _load_file(path: str) -> ModuleType:
    path = os.path.realpath(path)
    stem = re.sub(r"\W", "_", os.path.splitext(os.path.basename(path))[0])
    name = f"plugport_file_{stem}_{zlib.crc32(os.fsencode(path)):08x}"
    if name in sys.modules:
        return sys.modules[name]
    if not os.path.isfile(path):
        raise TargetError(f"no file {path!r}")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise TargetError(f"file {path!r} is not Python source; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise TargetError(f"file {path!r} fails to import: {describe_error(error)}") from error
    return module


def _no_attribute(place: str, owner: object, name: str) -> str:
    what = f"module {place!r}" if isinstance(owner, ModuleType) else f"{owner!r}"
    if isinstance(owner, ModuleType) and is_file_target(place + ":"):
        what = f"file {place!r}"
    return f"{what} has no attribute {name!r}{nearest(name, dir(owner))}"
