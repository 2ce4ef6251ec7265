"""Project: the files of a new distribution, filled in from the templates. Writes none of them."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from string import Template

from plugport.component import Kind
from plugport.distributions import installed_version
from plugport.errors import ScaffoldError
from plugport.scaffold.names import Names
from plugport.styles import Style

__all__ = ["CONCURRENCY", "HOOKS", "SERVER", "Shape", "handler", "render", "serve_arguments"]

#: One for each file; .in keeps tools from taking them for what they become.
_TEMPLATES = files(__package__) / "templates"

#: What every project has, and the templates of it.
_COMMON = {
    ".github/workflows/test.yml": "project/test.yml",
    ".gitignore": "project/gitignore",
    "LICENSE": "project/LICENSE",
    "README.md": "project/README.md",
    "pyproject.toml": "project/pyproject.toml",
    "src/$package/__init__.py": "project/__init__.py",
    "src/$package/py.typed": "project/py.typed",
}

_HOOKS: dict[Kind | None, str] = {
    "handler": "plugport_register_handlers",
    "server": "plugport_register_servers",
    "concurrency": "plugport_register_concurrency",
}


@dataclass(frozen=True, slots=True)
class Shape:
    """What sets projects of one kind apart.

    ``what``, ``summary``: the kind in words, and what the project does as it is made.
    ``kind``: that of its component, None if it has none; ``suffix``: the end of its class's name.
    ``serve``: the arguments of ``plugport serve`` that show it at work.
    ``templates``: of the files that only it has, by their paths.
    """

    what: str
    summary: str
    serve: str
    templates: Mapping[str, str]
    kind: Kind | None = None
    suffix: str = ""


def handler(style: Style, datagrams: bool) -> Shape:
    """Return the shape of a handler in *style*, for connections or for *datagrams*."""
    # A message is one wherever it comes from: the same code, and the same tests.
    unit = "message" if style == "message" else "datagram" if datagrams else "line"
    code = style if style == "message" else f"{style}_{unit}s"
    return Shape(
        what="handler",
        summary=f"Answer each {unit} with a greeting",
        serve=f"$name {'udp' if datagrams else 'tcp'}://127.0.0.1:9000",
        templates={
            "src/$package/plugin.py": "project/plugin.py",
            "src/$package/handler.py": f"handler/{code}.py",
            "tests/test_handler.py": f"handler/test_{unit}s.py",
        },
        kind="handler",
        suffix="Handler",
    )


SERVER = Shape(
    what="server",
    summary="TCP that limits the connections of a client",
    serve="echo $name://127.0.0.1:9000",
    templates={
        "src/$package/plugin.py": "project/plugin.py",
        "src/$package/server.py": "server/server.py",
        "tests/test_server.py": "server/test_server.py",
    },
    kind="server",
    suffix="Server",
)

CONCURRENCY = Shape(
    what="concurrency strategy",
    summary="A bounded number of threads",
    serve="echo tcp://127.0.0.1:9000 -c $name",
    templates={
        "src/$package/plugin.py": "project/plugin.py",
        "src/$package/concurrency.py": "concurrency/concurrency.py",
        "tests/test_concurrency.py": "concurrency/test_concurrency.py",
    },
    kind="concurrency",
    suffix="MixIn",
)

HOOKS = Shape(
    what="plugin of hooks",
    summary="Count requests, and how they end",
    serve="echo tcp://127.0.0.1:9000",
    templates={
        "src/$package/plugin.py": "hooks/plugin.py",
        "tests/test_plugin.py": "hooks/test_plugin.py",
    },
)


def render(shape: Shape, names: Names) -> dict[str, str]:
    """Return the texts of a project's files by their paths.

    Raises ScaffoldError if the component's class would have the name of one that it uses.
    """
    values = {
        "name": names.component,
        "plugin": names.plugin,
        "distribution": names.distribution,
        "package": names.package,
        "class_name": names.class_name(shape.suffix),
        "kind": shape.kind or "",
        "hook": _HOOKS.get(shape.kind, ""),
        "what": shape.what,
        "summary": shape.summary,
        "serve": serve_arguments(shape, names),
        # A build's part of a version says nothing to an installer elsewhere (PEP 440).
        "version": (installed_version("plugport") or "0").partition("+")[0],
        "year": str(time.gmtime().tm_year),
    }
    templates = {path: _template(name) for path, name in {**_COMMON, **shape.templates}.items()}
    # A plugin of hooks has no class.
    used = rf"\b{values['class_name']}\b"
    if shape.suffix and any(re.search(used, template.template) for template in templates.values()):
        raise ScaffoldError(
            f"the class of {names.component!r} would be {values['class_name']}, which is the name of "
            "one that it uses; choose another name"
        )
    return {
        Template(path).substitute(values): template.substitute(values) for path, template in templates.items()
    }


def serve_arguments(shape: Shape, names: Names) -> str:
    """Return the arguments of ``plugport serve`` that show the project at work."""
    return Template(shape.serve).substitute(name=names.component)


def _template(name: str) -> Template:
    return Template((_TEMPLATES / f"{name}.in").read_text(encoding="utf-8"))
