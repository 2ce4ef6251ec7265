"""Rendering: the texts of the files of a project, from templates. Writes no file."""

from __future__ import annotations

import re
import time
from importlib.resources import files
from string import Template

from plugport.contracts import PARTS, Kind
from plugport.errors import ScaffoldError
from plugport.plugin import installed_version
from plugport_tools.new.names import Names
from plugport_tools.new.shapes import Shape

__all__ = ["render", "serve_arguments"]

#: One template for each file. The suffix .in keeps tools from reading them as code.
_TEMPLATES = files(__package__) / "templates"

#: The templates of the files that every project has.
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


def render(shape: Shape, names: Names) -> dict[str, str]:
    """Return the texts of a project's files by their paths.

    Raises ScaffoldError if the class of the component would have the name of a class that it uses, or
    if the options of the plugin would have the prefix of a combination's part.
    """
    if shape.kind is None and names.plugin in PARTS:
        raise ScaffoldError(
            f"the options of a plugin {names.plugin!r} would have the prefix that those of a combination's "
            f"{names.plugin} have; choose another name"
        )
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
        # A local version is unknown to installers elsewhere (PEP 440).
        "version": (installed_version("plugport") or "0").partition("+")[0],
        "year": str(time.gmtime().tm_year),
    }
    templates = {path: _template(name) for path, name in {**_COMMON, **shape.templates}.items()}
    # A plugin of hooks has no suffix, and no class.
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
    """Return the arguments of ``plugport serve`` that serve the project."""
    return Template(shape.serve).substitute(name=names.component)


def _template(name: str) -> Template:
    return Template((_TEMPLATES / f"{name}.in").read_text(encoding="utf-8"))
