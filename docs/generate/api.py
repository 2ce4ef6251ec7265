"""The reference of the faces: the modules that authors import from, name by name."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from types import ModuleType

from components import options_table
from prose import first_paragraph, markdown, page, signature, table

from plugport import BaseServer
from plugport.combination.options import collect

__all__ = ["FACES", "api"]

#: The faces, and the authors who need each.
FACES = {
    "plugport": "for every author of a component or plugin",
    "plugport.serving": "for authors of servers and strategies",
    "plugport.handlers": "for authors of handlers and framings",
    "plugport.transports": "for authors of protocols",
    "plugport.contracts": "types and records that all parts share",
    "plugport.errors": "exceptions; [Errors](errors.md) has the tree",
    "plugport.cli": "for authors of commands",
}
#: The main caller of each public method of BaseServer.
CALLERS = {
    "the user, a handler or a plugin": """serve_forever serve_together handle_request shutdown drain
        server_close is_draining is_serving is_stream listening_url watch unwatch finish_in_child""",
    "the service, when it sets the server up": "check_options resolve_url adapt_handler",
    "the server class itself": "server_activate preludes backlog make_intake tls_context",
    "the loop": """fileno get_request has_room service_actions handle_timeout begin_and_process begin_request
        verify_request reject_request process_request enter_loop leave_loop notify_draining stop_listening
        expire_request cancel_request abort_request abort_requests complete_requests wake""",
    "a strategy, or the bridge that it uses": """run_request finish_request handle_error handle_failure
        report_error fail_request conclude_request end_request shutdown_request close_request
        notify_room serving transport_made wrap_connection after_fork_in_child""",
}


def api() -> str:
    """Return the page."""
    return page(
        "Python",
        "Authors import from these modules only. Other modules of `plugport` may change without notice.",
        table(["module", "use"], ([f"[`{face}`](#{_anchor(face)})", use] for face, use in FACES.items())),
        *(part for face in FACES for part in _face(importlib.import_module(face))),
    )


def _anchor(face: str) -> str:
    return face.replace(".", "")


def _face(module: ModuleType) -> Iterator[str]:
    yield f"## {module.__name__}"
    yield first_paragraph(module.__doc__)
    homes = {name: _home(name) for name in module.__all__}
    elsewhere = [f"[`{name}`](#{name.lower()})" for name, home in homes.items() if home != module.__name__]
    if elsewhere:
        yield f"Also here: {', '.join(elsewhere)}."
    for name, home in homes.items():
        if home == module.__name__:
            yield f"### {name}"
            yield from _described(module, name, getattr(module, name))


def _home(name: str) -> str:
    """The first face that has *name*, where it is described."""
    return next(face for face in FACES if name in importlib.import_module(face).__all__)


def _described(module: ModuleType, name: str, value: object) -> Iterator[str]:
    if inspect.isclass(value):
        yield markdown(value.__doc__ if "__doc__" in vars(value) else "")
        yield options_table(collect(value).values())
        if value is BaseServer:
            yield _callers()
        yield "\n".join(_methods(value))
    elif inspect.isfunction(value):
        yield f"`{signature(value)}`"
        yield markdown(value.__doc__)
    elif name == "hookimpl":
        yield "The marker of the functions of a plugin that implement hooks: see [hooks](hooks.md)."
    else:
        comment, code = _definition(module, name)
        yield f"`{code}`"
        yield comment


def _callers() -> str:
    """The public methods of BaseServer by their main callers. LookupError for a method that CALLERS lacks."""
    methods = {re.split(r"[`(]", line)[1] for line in _methods(BaseServer)}
    listed = {name for names in CALLERS.values() for name in names.split()}
    if methods != listed:
        raise LookupError(
            f"CALLERS in docs/generate/api.py and BaseServer differ: {sorted(methods ^ listed)}"
        )
    rows = [[caller, ", ".join(f"`{name}()`" for name in names.split())] for caller, names in CALLERS.items()]
    return f"The main caller of each method:\n\n{table(['called by', 'methods'], rows)}"


def _definition(face: ModuleType, name: str) -> tuple[str, str]:
    """Return the comment (``#: ...``) above the assignment of a constant or an alias, and the assignment."""
    for node in ast.walk(ast.parse(inspect.getsource(face))):
        if isinstance(node, ast.ImportFrom) and any(alias.name == name for alias in node.names):
            source = inspect.getsource(importlib.import_module(node.module or ""))
            break
    else:
        source = inspect.getsource(face)
    lines = source.splitlines()
    for node in ast.parse(source).body:
        if name in _assigned(node):
            above = []
            line = node.lineno - 2
            while lines[line].startswith("#:"):
                above.append(lines[line].removeprefix("#:").strip())
                line -= 1
            code = " ".join(" ".join(lines[node.lineno - 1 : node.end_lineno]).split())
            return first_paragraph(" ".join(reversed(above))), code
    raise LookupError(f"{face.__name__}.{name} is assigned in none of its modules")


def _assigned(node: ast.stmt) -> set[str]:
    """The names that a statement assigns."""
    if isinstance(node, ast.AnnAssign):
        targets: list[ast.expr] = [node.target]
    elif isinstance(node, ast.Assign):
        targets = node.targets
    else:
        return set()
    return {each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)}


def _methods(cls: type) -> Iterator[str]:
    """A line for each documented public method, in the order of the classes that define them."""
    seen = set()
    for owner in cls.__mro__:
        if owner.__module__.partition(".")[0] != "plugport":
            continue
        for name, member in vars(owner).items():
            function = member.__func__ if isinstance(member, (classmethod, staticmethod)) else member
            if (
                name.startswith("_")
                or name in seen
                or not inspect.isfunction(function)
                or not function.__doc__
            ):
                continue
            seen.add(name)
            yield f"- `{signature(function)}`  \n  {first_paragraph(function.__doc__)}"
