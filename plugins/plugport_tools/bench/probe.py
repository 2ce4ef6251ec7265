"""The probe: a few requests that find out where the answers of a service end."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple, Self

from plugport.errors import PlugportError
from plugport_tools.bench.exchange import Address, Exchange

__all__ = ["ProbeError", "probe"]

#: Seconds without a byte after which an answer is taken to be complete.
_PAUSE = 0.25
#: Bytes of an answer or a payload that reports and errors show.
_SAMPLE = 40
_CHUNK = 1 << 18


class ProbeError(PlugportError):
    """The service does not answer the payload, or the end of its answers can't be determined."""


def probe(
    address: Address, payload: bytes, folder: str, *, timeout: float = 2.0, keep_alive: bool = True
) -> Exchange:
    """Find out how the service at *address* answers *payload*.

    *timeout*: seconds that an answer may take. *keep_alive*: whether to keep connections that the
    service keeps. *folder*: holds the file of a unix datagram socket. Raises ProbeError.
    """

    def connect() -> _Connection:
        return _Connection(address, os.path.join(folder, "probe"), timeout)

    try:
        if address.is_stream:
            return _probe_stream(connect, payload, keep_alive)
        with connect() as connection:
            answer = _require_answer(connection.request(payload), payload)
            return Exchange(payload, answer.size, keep_alive=True, sample=answer.sample)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ProbeError(f"the probe with {_quoted(payload)} failed: {reason.lower()}") from error


def _probe_stream(connect: Callable[[], _Connection], payload: bytes, keep_alive: bool) -> Exchange:
    with connect() as connection:
        greeting = connection.receive(_PAUSE)
        if greeting.ended:
            # The service reads no request. One that stays unread could reset the connection.
            return Exchange(b"", None, sample=_require_answer(greeting, b"").sample)
        answer = connection.request(payload)
        half_close = not answer.size and not answer.ended
        if half_close:
            answer = connection.end()  # the service may wait for the end of the input
        _require_answer(answer, payload)
        exchange = Exchange(payload, answer.size, greeting.size, half_close=half_close, sample=answer.sample)
        if answer.ended:
            return replace(exchange, answer=None)
        if keep_alive and not half_close:
            second = connection.request(payload)
            if second.size == answer.size and not second.ended:
                return replace(exchange, keep_alive=True)
    # A connection for each request: the end of an answer is its length, or the end of the connection.
    for end in (half_close, True):
        with connect() as connection:
            if greeting.size:
                connection.receive(_PAUSE)
            second = connection.request(payload, end=end)
        if second.size == answer.size and end == half_close:
            return exchange
        if second.ended:
            return replace(exchange, answer=None, half_close=end)
    raise ProbeError(
        f"{_quoted(payload)} was answered with {answer.size} bytes, then with {second.size}, and the "
        "connection stays open: the end of such an answer can't be determined; "
        "give another request with --payload"
    )


class _Answer(NamedTuple):
    """An answer: its size in bytes or datagrams, its beginning, whether the service ended the connection."""

    size: int
    sample: bytes
    ended: bool


def _require_answer(answer: _Answer, payload: bytes) -> _Answer:
    if answer.size:
        return answer
    how = "the service closes the connection without an answer" if answer.ended else "nothing is answered"
    what = f" to {_quoted(payload)}" if payload else ""
    raise ProbeError(f"{how}{what}; give a request that is answered with --payload or --payload-file")


def _quoted(payload: bytes) -> str:
    return repr(payload[:_SAMPLE])[1:] + ("..." if len(payload) > _SAMPLE else "")


class _Connection:
    """One connection to the service, or one datagram socket."""

    def __init__(self, address: Address, path: str, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._unsent = memoryview(b"")
        self._end = False
        self._is_stream = address.is_stream
        self._sock = address.make_socket(path)
        try:
            self._sock.settimeout(timeout)
            self._sock.connect(address.address)
            self._sock.setblocking(False)
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()
        with suppress(FileNotFoundError):
            os.unlink(self._path)

    def request(self, payload: bytes, *, end: bool = False) -> _Answer:
        """Send *payload*, and with *end* the end of the stream; return the answer."""
        if self._is_stream:
            self._unsent = memoryview(payload)
            self._end = end
        else:
            self._sock.send(payload)
        return self.receive(self._timeout)

    def end(self) -> _Answer:
        """Send the end of the stream; return the answer."""
        return self.request(b"", end=True)

    def receive(self, timeout: float) -> _Answer:
        """Send what is unsent; read until a pause, or until the service ends the connection.

        *timeout*: seconds to wait for the first byte. Raises ProbeError for an answer without end.
        """
        size, sample = 0, b""
        now = time.monotonic()
        deadline, pause_end = now + max(timeout, self._timeout), now + timeout
        while now < pause_end:
            sending = [self._sock] if self._unsent or self._end else []
            readable, writable, _ = select.select([self._sock], sending, [], pause_end - now)
            now = time.monotonic()
            if writable:
                self._send()
                pause_end = max(pause_end, now + _PAUSE)
            if readable:
                data = self._receive()
                if not data and self._is_stream:
                    return _Answer(size, sample, True)
                size += len(data) if self._is_stream else 1
                sample = sample or data[:_SAMPLE]
                pause_end = now + _PAUSE
            if size and now > deadline:
                raise ProbeError(
                    f"the answer has no end: {size} {'bytes' if self._is_stream else 'datagrams'}, and no "
                    f"pause, in {self._timeout:g} s; a slow answer needs a longer --timeout"
                )
        return _Answer(size, sample, False)

    def _send(self) -> None:
        if self._unsent:
            self._unsent = self._unsent[self._sock.send(self._unsent) :]
        if not self._unsent and self._end:
            self._end = False
            self._sock.shutdown(socket.SHUT_WR)

    def _receive(self) -> bytes:
        try:
            return self._sock.recv(_CHUNK)
        except ConnectionResetError:
            if self._is_stream:
                return b""  # it closed with unread data
            raise
