"""Prometheus: the service plugin, with its options and its hookimpls."""

from __future__ import annotations

import logging
import math
import os
import re
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

from plugport import Help, hookimpl
from plugport.errors import AddressError, OptionError
from plugport.serving import Url, resolve_url
from prometheus_client import exposition, make_wsgi_app

from plugport_prometheus.answer import FAILED, answer
from plugport_prometheus.endpoint import Endpoint
from plugport_prometheus.metrics import make_metrics, remove_dead_gauges, shared_folder
from plugport_prometheus.tally import Tally

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from plugport import RequestContext
    from plugport.contracts import Server

__all__ = ["Prometheus"]

logger = logging.getLogger("plugport.prometheus")

#: The host is a name, an IPv4 address, an IPv6 address in brackets, or empty for all interfaces.
_HOST_AND_PORT = re.compile(r"(\[[^][/?#@\s]+\]|[^][:/?#@\s]*):[0-9]{1,5}")


class Prometheus:
    """Counts the requests of a service's servers, and serves the metrics to Prometheus.

    The endpoint listens from when the first server is bound until the last one is closed.
    """

    listen: Annotated[
        str | None, Help("HOST:PORT of the endpoint; port 0: any free one (null: no endpoint, no metrics)")
    ] = None
    path: Annotated[str, Help("path of the metrics in the endpoint's URL")] = "/metrics"
    buckets: Annotated[
        list[float], Help("upper bounds of the histogram of durations in seconds, ascending; [...] or words")
    ] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 600.0]  # fmt: skip
    process: Annotated[
        bool, Help("whether the process's own figures and metrics of handlers are included")
    ] = True
    max_names: Annotated[
        int, Help("different reasons, and errors, of a server; further ones count as 'other'", ge=1)
    ] = 50

    @classmethod
    def check_options(cls) -> None:
        """Check the options, also without an endpoint. Raises OptionError."""
        if not cls.path.startswith("/") or set(cls.path) & set("?# "):
            raise OptionError(f"prometheus.path: {cls.path!r} is no path; write one as /metrics")
        if not cls.buckets or any(each <= 0 or math.isnan(each) for each in cls.buckets):
            raise OptionError("prometheus.buckets: they must be one or more numbers above 0")
        if sorted(set(cls.buckets)) != list(cls.buckets):
            raise OptionError("prometheus.buckets: each must be greater than the one before")
        if cls.listen is None:
            return
        try:
            _address(cls.listen)
        except AddressError as error:
            raise OptionError(f"prometheus.listen: {error}") from error
        folder = shared_folder()
        if folder is not None and not (os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK)):
            raise OptionError(
                f"PROMETHEUS_MULTIPROC_DIR: {folder!r} is no folder that can be written; "
                "make one, empty, before the first process starts"
            )

    def __init__(self) -> None:
        self._tallies: dict[Server, Tally] = {}
        self._endpoint: Endpoint | None = None
        if self.listen is None:
            for name in dir(self):
                if name.startswith("plugport_"):
                    setattr(self, name, None)  # a hookimpl that is None is not called
            return
        self._folder = shared_folder()
        self._metrics = make_metrics(tuple(self.buckets), process=self.process)
        self._application = _lenient(make_wsgi_app(self._metrics.registry))

    # The life of servers --------------------------------------------------------------------------

    @hookimpl
    def plugport_server_bound(self, server: Server) -> None:
        """Open the endpoint, with the first server."""
        if self._endpoint is None:
            address, family = _address(self.listen or "")
            self._endpoint = Endpoint(address, family, self._respond, shared=self._folder is not None)
            if sys.stderr is not None:
                print(f"metrics on {self._endpoint.url}{self.path}", file=sys.stderr, flush=True)
        self._endpoint.watch_in(server)
        self._tallies[server] = Tally(server, self._metrics, self.max_names)

    @hookimpl
    def plugport_server_draining(self, server: Server) -> None:
        """Note that the server drains."""
        self._tallies[server].drain()

    @hookimpl
    def plugport_server_stopped(self, server: Server) -> None:
        """Close the endpoint, if that was the last server."""
        tally = self._tallies.pop(server, None)
        if tally is not None:
            tally.close()
        if not self._tallies and self._endpoint is not None:
            self._endpoint.close()
            self._endpoint = None

    @hookimpl
    def plugport_service_actions(self, server: Server) -> None:
        """Have a loop poll the endpoint, and write the counts where other processes read them."""
        if self._endpoint is not None:
            self._endpoint.watch_in(server)
        if self._folder is not None:
            self._tallies[server].refresh()

    @hookimpl
    def plugport_child_started(self, server: Server) -> None:
        """Leave the endpoint to the parent."""
        if self._endpoint is not None:
            self._endpoint.close()
            self._endpoint = None

    @hookimpl
    def plugport_child_exited(self, server: Server, status: int | None) -> None:
        """Count a child that has exited."""
        tally = self._tallies.get(server)
        if tally is not None:
            tally.exit(status)

    # Requests -------------------------------------------------------------------------------------

    @hookimpl
    def plugport_request_finished(self, context: RequestContext) -> None:
        """Count a request that has ended."""
        self._tallies[context.server].finish(context)

    @hookimpl
    def plugport_request_failed(self, context: RequestContext, error: BaseException) -> None:
        """Count the error of a request."""
        self._tallies[context.server].fail(error)

    @hookimpl
    def plugport_request_rejected(self, server: Server, reason: str) -> None:
        """Count a request that was rejected."""
        self._tallies[server].reject(reason)

    # Scrapes --------------------------------------------------------------------------------------

    def _respond(self, head: bytes) -> bytes:
        try:
            for tally in tuple(self._tallies.values()):
                tally.refresh()
            if self._folder is not None:
                remove_dead_gauges(self._folder)
        except Exception:  # a shared file that can't be read, for example; it must not end the loop
            logger.exception("the metrics could not be updated")
            return FAILED
        return answer(head, self.path, self._application)


def _address(listen: str) -> tuple[tuple[object, ...], int]:
    """Return the socket address that *listen* names, and its family. Raises AddressError."""
    import socket

    port = listen.rpartition(":")[2]
    if not _HOST_AND_PORT.fullmatch(listen) or int(port) > 65535:
        raise AddressError(f"{listen!r} is not HOST:PORT; write 127.0.0.1:9100, or [::1]:9100")
    address, members = resolve_url(Url("http", listen), socket.AF_INET, stream=True)
    family = members["address_family"]
    assert isinstance(address, tuple)
    assert isinstance(family, int)
    return address, family


def _lenient(application: WSGIApplication) -> WSGIApplication:
    """Return *application* so that it ignores an Accept field which prometheus_client can't parse."""

    def lenient(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            exposition.choose_encoder(environ.get("HTTP_ACCEPT", ""))
        except (TypeError, ValueError):
            environ = {**environ, "HTTP_ACCEPT": ""}
        return application(environ, start_response)

    return lenient
