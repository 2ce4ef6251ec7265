"""The plugin: what this package registers. It imports none of it."""

from collections.abc import Iterator

from plugport import Component, hookimpl


@hookimpl
def plugport_register_handlers() -> Iterator[Component]:
    """The handlers."""
    yield Component("http-files", "plugport_http.files:HTTPFiles", "Serve the files of a directory by HTTP")
    yield Component("wsgi", "plugport_http.wsgi.handler:WSGIHandler", "Serve a WSGI application by HTTP")
    yield Component("asgi", "plugport_http.asgi.handler:ASGIProtocol", "Serve an ASGI application by HTTP")
