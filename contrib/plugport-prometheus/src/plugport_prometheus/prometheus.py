"""Prometheus: what this package puts into a service; its options, and its hookimpls."""

from __future__ import annotations

import logging
import math
import os
import re
import sys
from typing import TYPE_CHECKING, Annotated, Any

from plugport import Help, hookimpl
from plugport.errors import AddressError, OptionError
from plugport.serving import Url, resolve_url
from prometheus_client import exposition, make_wsgi_app

from plugport_prometheus.answer import FAILED, Application, answer
from plugport_prometheus.endpoint import Endpoint
from plugport_prometheus.metrics import make_metrics, remove_the_dead, shared_folder
from plugport_prometheus.tally import Tally

if TYPE_CHECKING:
    from plugport import BaseServer, RequestContext

__all__ = ["Prometheus"]

logger = logging.getLogger("plugport.prometheus")

#: A name, an IPv4 address, an IPv6 address in brackets, or nothing: all interfaces.
_HOST_AND_PORT = re.compile(r"(\[[^][/?#@\s]+\]|[^][:/?#@\s]*):[0-9]{1,5}")


class Prometheus:
    """Counts what the servers of a service do, and tells it on an endpoint for Prometheus to scrape.

    It listens when the first server is bound, and no longer when the last has been closed.
    """

    listen: Annotated[
        str | None, Help("HOST:PORT of the endpoint; 0 is any free port (null: none, and nothing is counted)")
    ] = None
    path: Annotated[str, Help("where on the endpoint the metrics are")] = "/metrics"
    buckets: Annotated[
        list[float], Help("upper bounds, in seconds, of what durations are sorted into; [...] or words")
    ] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 600.0]  # fmt: skip
    process: Annotated[
        bool, Help("tell also of the process itself, and of what a handler counts with prometheus_client")
    ] = True
    max_names: Annotated[
        int, Help("reasons, and errors, of a server that are told apart; the others are one", ge=1)
    ] = 50

    @classmethod
    def check_options(cls) -> None:
        """See that there can be an endpoint. Raises OptionError, for what is wrong without one, too."""
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
        self._tallies: dict[BaseServer, Tally] = {}
        self._endpoint: Endpoint | None = None
        if self.listen is None:
            for name in dir(self):
                if name.startswith("plugport_"):
                    vars(self)[name] = None  # no hookimpl, so that it costs nothing
            return
        self._folder = shared_folder()
        self._metrics = make_metrics(tuple(self.buckets), process=self.process)
        self._application = _lenient(make_wsgi_app(self._metrics.registry))

    # The life of servers --------------------------------------------------------------------------

    @hookimpl
    def plugport_server_bound(self, server: BaseServer) -> None:
        """Listen, with the first server."""
        if self._endpoint is None:
            address, family = _address(self.listen or "")
            self._endpoint = Endpoint(address, family, self._respond, shared=self._folder is not None)
            if sys.stderr is not None:
                print(f"metrics on {self._endpoint.url}{self.path}", file=sys.stderr, flush=True)
        self._endpoint.attend(server)
        self._tallies[server] = Tally(server, self._metrics, self.max_names)

    @hookimpl
    def plugport_server_draining(self, server: BaseServer) -> None:
        """Note it."""
        self._tallies[server].drain()

    @hookimpl
    def plugport_server_stopped(self, server: BaseServer) -> None:
        """Listen no longer, if that was the last."""
        tally = self._tallies.pop(server, None)
        if tally is not None:
            tally.close()
        if not self._tallies and self._endpoint is not None:
            self._endpoint.close()
            self._endpoint = None

    @hookimpl
    def plugport_service_actions(self, server: BaseServer) -> None:
        """Have a server that polls watch the endpoint, and other processes know how things are here."""
        if self._endpoint is not None:
            self._endpoint.attend(server)
        if self._folder is not None:
            self._tallies[server].refresh()

    @hookimpl
    def plugport_child_started(self, server: BaseServer) -> None:
        """Leave the endpoint to the parent."""
        if self._endpoint is not None:
            self._endpoint.close()
            self._endpoint = None

    @hookimpl
    def plugport_child_exited(self, server: BaseServer, status: int | None) -> None:
        """Count a child that is gone."""
        tally = self._tallies.get(server)
        if tally is not None:
            tally.exit(status)

    # Requests -------------------------------------------------------------------------------------

    @hookimpl
    def plugport_request_finished(self, context: RequestContext) -> None:
        """Count one that ended."""
        self._tallies[context.server].finish(context)

    @hookimpl
    def plugport_request_failed(self, context: RequestContext, error: BaseException) -> None:
        """Count what its handler raised."""
        self._tallies[context.server].fail(error)

    @hookimpl
    def plugport_request_rejected(self, server: BaseServer, reason: str) -> None:
        """Count one that was turned away."""
        self._tallies[server].reject(reason)

    # Scrapes --------------------------------------------------------------------------------------

    def _respond(self, head: bytes) -> bytes:
        try:
            for tally in tuple(self._tallies.values()):
                tally.refresh()
            if self._folder is not None:
                remove_the_dead(self._folder)
        except Exception:  # of files that others have, say: it must not end the loop, and so the service
            logger.exception("the metrics could not be brought up to date")
            return FAILED
        return answer(head, self.path, self._application)


def _address(listen: str) -> tuple[Any, int]:
    """Return the socket address that *listen* names, and its family. Raises AddressError."""
    import socket

    port = listen.rpartition(":")[2]
    if not _HOST_AND_PORT.fullmatch(listen) or int(port) > 65535:
        raise AddressError(f"{listen!r} is not HOST:PORT; write 127.0.0.1:9100, or [::1]:9100")
    address, members = resolve_url(Url("http", listen), socket.AF_INET, stream=True)
    return address, members["address_family"]


def _lenient(application: Application) -> Application:
    """Have an Accept that prometheus_client can't make sense of be none."""

    def lenient(environ: dict[str, Any], start_response: Any) -> Any:
        try:
            exposition.choose_encoder(environ.get("HTTP_ACCEPT", ""))
        except (TypeError, ValueError):
            environ = {**environ, "HTTP_ACCEPT": ""}
        return application(environ, start_response)

    return lenient
