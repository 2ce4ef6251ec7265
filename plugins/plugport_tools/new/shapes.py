"""Shapes: the kinds of projects, with their words and the templates of their files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from plugport.contracts import Kind
from plugport.handlers import Style

__all__ = ["CONCURRENCY", "HOOKS", "SERVER", "Shape", "handler_shape"]


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of project. Texts and paths have placeholders of string.Template for names.

    ``what``       the kind, as messages call it
    ``summary``    what the new project does
    ``serve``      the arguments of ``plugport serve`` that serve it
    ``templates``  the templates of the files that not every project has, by their paths
    ``kind``       the kind of its component, None if it has none
    ``suffix``     the end of the name of its class
    """

    what: str
    summary: str
    serve: str
    templates: Mapping[str, str]
    kind: Kind | None = None
    suffix: str = ""


def handler_shape(style: Style, datagrams: bool) -> Shape:
    """Return the shape of a handler in *style*, for connections or for *datagrams*."""
    # A handler of messages has the same code and the same tests on connections and on datagrams.
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
