"""Adoption of server classes that were written for the standard library's socketserver."""

from __future__ import annotations

import sys
from typing import Annotated, Any

from plugport.contracts.hooks import NO_HOOKS
from plugport.contracts.interfaces import ClientAddress, Request
from plugport.contracts.members import Help
from plugport.serving.running import Serving
from plugport.serving.server import BaseServer

__all__ = ["adopt", "is_foreign_server", "is_server"]


def is_foreign_server(target: type) -> bool:
    """Return whether *target* derives from the standard library's BaseServer and not from plugport's."""
    module = sys.modules.get("socketserver")  # not imported: then no class can derive from it
    base = getattr(module, "BaseServer", None)
    return base is not None and issubclass(target, base) and not issubclass(target, Serving)


def is_server(target: object) -> bool:
    """Return whether *target* is a server class, plugport's or the standard library's."""
    return isinstance(target, type) and (issubclass(target, Serving) or is_foreign_server(target))


def adopt(target: type) -> type[BaseServer]:
    """Return a subclass of *target* that is run and stopped as plugport's servers are, with request records.

    *target* keeps its template methods (server_bind, get_request, verify_request, …); what runs
    and stops a server (serve_forever, handle_request, shutdown) becomes plugport's.
    """
    adopted: type[BaseServer] = type(target.__name__, (_Adopted, target), {"__doc__": target.__doc__})
    return adopted


class _Adopted(Serving):
    """Comes before a class of the standard library in the method resolution order."""

    # The member variables of those classes, annotated so that they are options.
    request_queue_size: Annotated[int, Help("backlog of the listening socket", ge=0)]
    allow_reuse_address: Annotated[bool, Help("bind although old connections linger (SO_REUSEADDR)")]
    allow_reuse_port: Annotated[bool, Help("share the port with other processes (SO_REUSEPORT)")]
    max_packet_size: Annotated[int, Help("longest datagram in bytes", gt=0)]

    def handle_error(self, request: Request | None, client_address: ClientAddress) -> None:
        server_class: Any = super()  # of the standard library
        theirs = server_class.handle_error
        default = sys.modules["socketserver"].BaseServer.handle_error
        if self.hooks is not NO_HOOKS and theirs.__func__ is default:
            self.report_error(request, client_address)
        else:
            error = sys.exception()
            if error is not None:
                self.fail_request(request, error)
            theirs(request, client_address)

    def shutdown_request(self, request: Request) -> None:
        self.end_request(request)
        server_class: Any = super()
        server_class.shutdown_request(request)

    def close_request(self, request: Request) -> None:
        # The standard library's ForkingMixIn calls only this in the parent.
        self.end_request(request)
        server_class: Any = super()
        server_class.close_request(request)
