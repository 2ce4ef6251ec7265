"""Rules of the source tree about names: private ones, comparisons of them, replaced methods."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache

from sources import ALL, Module, methods_of

__all__ = ["foreign_private_names", "name_comparisons", "replaced_methods"]

# Private names --------------------------------------------------------------------------------

#: Names with an underscore that are documented for everyone.
PUBLIC_ALL_THE_SAME = {
    "_asdict": "collections.namedtuple",
    "_exit": "os",
    "_field_defaults": "collections.namedtuple",
    "_fields": "collections.namedtuple",
    "_getframe": "sys",
    "_is_gil_enabled": "sys",
    "_make": "collections.namedtuple",
    "_replace": "collections.namedtuple",
}

#: Modules that may use private names of others, with the names and the reason.
ALLOWED_PRIVATE_NAMES: dict[str, tuple[str, str]] = {
    "plugport.serving.running": (
        r"_BaseServer__(is_shut_down|shutdown_request)",
        "the one module that keeps socketserver's mangled names",
    ),
    "plugport_builtins.servers.tcp": (
        "_accept",
        "socket.accept() makes two enumerations for each connection that nothing here needs",
    ),
    "plugport_gevent.sockets": ("_sock", "gevent has no other name for the socket that it wraps"),
    "plugport_testing.conformance.base": ("_needs", "the mark that its own decorator puts on functions"),
}


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and len(name) > 1


@cache
def _private_names_of(unit: str) -> frozenset[str]:
    """The private names that the modules of a unit define."""
    found: set[str] = set()
    for module in ALL.values():
        if module.unit == unit:
            found |= _defined_names(module.tree)
    return frozenset(name for name in found if _is_private(name))


def _defined_names(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_own(node.value):
            found.add(node.attr)
        elif isinstance(node, ast.alias):
            found.add(node.asname or node.name)
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__slots__":
            found |= {each.value for each in ast.walk(node.value) if isinstance(each, ast.Constant)}
    found |= {
        f"_{cls.name.lstrip('_')}{name}"
        for cls in ast.walk(tree)
        if isinstance(cls, ast.ClassDef)
        for name in _mangled(cls)
    }
    return found


def _mangled(cls: ast.ClassDef) -> set[str]:
    """The names of a class that begin with two underscores and are mangled."""
    names = {node.attr for node in ast.walk(cls) if isinstance(node, ast.Attribute)}
    names |= {
        node.name for node in ast.walk(cls) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    return {name for name in names if name.startswith("__") and not name.endswith("__")}


def _is_own(node: ast.expr) -> bool:
    """Whether an expression is the object or the class that a method belongs to."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id == "super" or (node.func.id == "type" and _is_own(node.args[0]))
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def _uses(module: Module) -> Iterator[tuple[ast.AST, ast.expr | None, str]]:
    """The attributes that a module reads or writes, also by getattr() and its like, and what it imports."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute):
            yield node, node.value, node.attr
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) > 1:
            constant = node.args[1]
            if node.func.id in ("getattr", "setattr", "hasattr", "delattr") and isinstance(
                constant, ast.Constant
            ):
                yield node, node.args[0], str(constant.value)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node, None, alias.name


def foreign_private_names(modules: Iterable[Module] = ALL.values()) -> list[str]:
    """Private names that are used where no module of the same unit defines them.

    A name that a class inherits from one of another unit is such a name, too.
    """
    found = []
    for module in modules:
        allowed, _reason = ALLOWED_PRIVATE_NAMES.get(module.name, ("(?!)", ""))
        defined = _private_names_of(module.unit)
        for node, owner, name in _uses(module):
            if not _is_private(name) or name in PUBLIC_ALL_THE_SAME or re.fullmatch(allowed, name):
                continue
            if owner is None:
                imported = getattr(node, "module", "")
                inside = f"{imported}.".startswith(f"{module.unit}.")
                if not inside and f"{imported}.{name}" not in ALL:
                    found.append(module.at(node, f"imports {imported}.{name}"))
            elif name not in defined:
                found.append(module.at(node, ast.unparse(node)))
    return sorted(set(found))


# Decisions by names ---------------------------------------------------------------------------

_NAMES = {"__qualname__", "__module__", "__name__"}
_TESTS = {"startswith", "endswith"}


def name_comparisons(modules: Iterable[Module] = ALL.values()) -> list[str]:
    """Comparisons of the names of classes, functions or modules."""
    found = []
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Compare):
                operands = [node.left, *node.comparators]
            elif (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in _TESTS
            ):
                operands = [node.func.value]
            elif isinstance(node, ast.Match):
                operands = [node.subject]
            else:
                continue
            if any(_is_name_of_something(each) for operand in operands for each in ast.walk(operand)):
                found.append(module.at(node, ast.unparse(node).partition("\n")[0]))
    return found


def _is_name_of_something(node: ast.AST) -> bool:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
        return len(node.args) > 1 and isinstance(node.args[1], ast.Constant) and node.args[1].value in _NAMES
    return isinstance(node, ast.Attribute) and node.attr in _NAMES


# Replaced methods -----------------------------------------------------------------------------


@cache
def _method_names() -> frozenset[str]:
    """The names of the methods of all classes of ours."""
    return frozenset(
        node.name
        for module in ALL.values()
        for node in methods_of(module.tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and not any("property" in ast.unparse(decorator) for decorator in node.decorator_list)
    )


@cache
def _field_names() -> frozenset[str]:
    """The names of the annotated attributes of all classes of ours."""
    return frozenset(
        node.target.id
        for module in ALL.values()
        for cls in ast.walk(module.tree)
        if isinstance(cls, ast.ClassDef)
        for node in cls.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    )


def _is_callable(value: ast.expr, functions: set[str]) -> bool:
    """Whether a value is a function, a method, or made of one."""
    if isinstance(value, ast.Lambda):
        return True
    if isinstance(value, ast.Name):
        return value.id in functions
    if isinstance(value, ast.Attribute):
        return value.attr in _method_names() - _field_names()
    if isinstance(value, ast.Call):
        maker = ast.unparse(value.func).rpartition(".")[2]
        return maker in ("partial", "MethodType", "partialmethod", "wraps", "__get__")
    if isinstance(value, ast.IfExp):
        return _is_callable(value.body, functions) or _is_callable(value.orelse, functions)
    return False


def replaced_methods(modules: Iterable[Module] = ALL.values()) -> list[str]:
    """Functions assigned to what another class or object has as a method; classes of objects replaced.

    A function that is kept in a slot for one, an attribute of which no class of ours has a method of the
    same name, is composition; so is what a class assigns to itself in its body.
    """
    found = []
    for module in modules:
        functions = {
            node.name
            for node in ast.walk(module.tree)
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        }
        for node in ast.walk(module.tree):
            if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in targets:
                    if _replaces(target, node.value, functions):
                        found.append(module.at(node, ast.unparse(node).partition("\n")[0]))
            elif (
                isinstance(node, ast.Call)
                and ast.unparse(node.func) in ("setattr", "object.__setattr__", "type.__setattr__")
                and len(node.args) == 3
                and _is_callable(node.args[2], functions)
            ) or (isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".__dict__.update")):
                found.append(module.at(node, ast.unparse(node)))
    return found


def _replaces(target: ast.expr, value: ast.expr, functions: set[str]) -> bool:
    if isinstance(target, ast.Subscript):
        owner = target.value
        return (
            isinstance(owner, ast.Call) and isinstance(owner.func, ast.Name) and owner.func.id == "vars"
        ) or (isinstance(owner, ast.Attribute) and owner.attr == "__dict__")
    if not isinstance(target, ast.Attribute):
        return False
    if target.attr == "__class__":
        return True
    # An attribute of its own may be named like a method of some other class.
    return (
        not _is_own(target.value) and target.attr in _method_names() | {"function"}
        if _is_callable(value, functions)
        else False
    )
