"""LoggedConnection: an engine that logs each request when its response is complete or aborted."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from time import monotonic

from plugport.serving import format_client

from plugport_http.engine import HTTPError, Request, ResponseHead, ServerConnection

__all__ = ["LoggedConnection", "enable_request_log"]

logger = logging.getLogger("plugport.http.requests")


def enable_request_log() -> None:
    """Log requests whatever the level of other log lines."""
    logger.setLevel(logging.INFO)


class LoggedConnection(ServerConnection):
    """Logs client, request line, status, bytes of the body, and the seconds since the head was complete."""

    __slots__ = ("_began", "_logged", "_sent", "_status")

    _began: float

    def receive_repeated(self, data: bytes) -> Request | None:
        """Also record the time."""
        request = super().receive_repeated(data)
        if request is not None:
            self._start_record()
        return request

    def _begin(self, request: Request) -> None:
        super()._begin(request)
        self._start_record()

    def _start_record(self) -> None:
        self._began = monotonic()
        self._status: int | None = None
        self._sent = 0
        self._logged = False

    def send(self, head: ResponseHead, body: bytes = b"") -> bytes:
        """Also log the response."""
        request = self.request
        data = super().send(head, body)
        self._status = head.status
        self._sent = 0 if head.bodiless or (request is not None and request.method == "HEAD") else len(body)
        self._log(request)
        return data

    def start_response(self, head: ResponseHead) -> bytes:
        """Also record the status."""
        data = super().start_response(head)
        self._status = head.status
        return data

    def count_body(self, size: int) -> bool:
        """Also add up the bytes that are sent."""
        is_sent = super().count_body(size)
        if is_sent:
            self._sent += size
        return is_sent

    def end_response(self) -> bytes:
        """Also log the response."""
        request = self.request
        data = super().end_response()
        self._log(request)
        return data

    def error_response(self, error: HTTPError, headers: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
        """Also log the error, or the aborted response."""
        request = self.request
        data = super().error_response(error, headers)
        if request is not None and self.response_started:
            self._log(request, ", aborted")
        else:
            self._status, self._sent = error.status, len(data.partition(b"\r\n\r\n")[2])
            self._log(request)
        return data

    def detach(self) -> bytes:
        """Also log the switch to another protocol."""
        self._status = 101
        self._log(self.request)
        return super().detach()

    def connection_lost(self) -> None:
        """Log a request whose response stays incomplete."""
        if self.request is not None and not self._logged:
            self._log(self.request, ", aborted")

    def _log(self, request: Request | None, suffix: str = "") -> None:
        self._logged = True
        if request is None:  # its head was invalid
            line, seconds = "-", 0.0
        else:
            line = f"{request.method} {request.target.decode('latin-1')} HTTP/{request.version}"
            seconds = monotonic() - self._began
        status = "-" if self._status is None else self._status
        client = format_client(self.client)
        logger.info('%s "%s" %s, %d bytes in %.3f s%s', client, line, status, self._sent, seconds, suffix)
