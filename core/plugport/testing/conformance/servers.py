"""ServerConformance: what every server class must hold."""

from __future__ import annotations

from typing import Any, ClassVar

from plugport.testing.conformance.base import Conformance

__all__ = ["ServerConformance"]


class ServerConformance(Conformance):
    """The cases of a server."""

    parameter: ClassVar[str] = "strategy"

    #: The server: a class without a strategy, or the name of one that is installed.
    server: ClassVar[Any]
