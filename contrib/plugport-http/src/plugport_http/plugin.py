"""The plugin: the handlers of this package, registered without importing them."""

from collections.abc import Iterator

from plugport import Component, hookimpl


@hookimpl
def plugport_register_handlers() -> Iterator[Component]:
    """Register the handlers."""
    yield Component("http-files", "plugport_http.files:HTTPFiles", "Serve the files of a directory over HTTP")
    yield Component("wsgi", "plugport_http.wsgi.handler:WSGIHandler", "Serve a WSGI application over HTTP")
    yield Component("asgi", "plugport_http.asgi.handler:ASGIProtocol", "Serve an ASGI application over HTTP")
