"""The probe: asks a service a few times, to learn how a load can tell that it has been answered."""

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
_QUIET = 0.25
#: Bytes of an answer that are kept for people, and of a payload that are shown to them.
_SAMPLE = 40
_CHUNK = 1 << 18


class ProbeError(PlugportError):
    """The service does not answer the payload, or not in a way that a load could count."""


def probe(
    address: Address, payload: bytes, folder: str, *, timeout: float = 2.0, keep_alive: bool = True
) -> Exchange:
    """Find out how the service at *address* answers *payload*.

    *timeout*: seconds that an answer may take. *keep_alive*: whether connections are to be kept
    if the service does. *folder*: for the name of a unix datagram socket. Raises ProbeError.
    """

    def connect() -> _Conversation:
        return _Conversation(address, os.path.join(folder, "probe"), timeout)

    try:
        if address.is_stream:
            return _probe_stream(connect, payload, keep_alive)
        with connect() as conversation:
            heard = _expect(conversation.ask(payload), payload)
            return Exchange(payload, heard.size, keep_alive=True, sample=heard.sample)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ProbeError(f"the probe with {_show(payload)} failed: {reason.lower()}") from error


def _probe_stream(connect: Callable[[], _Conversation], payload: bytes, keep_alive: bool) -> Exchange:
    with connect() as conversation:
        greeting = conversation.hear(_QUIET)
        if greeting.ended:
            # It waits for no request, and one that it never reads could cost the answer.
            return Exchange(b"", None, sample=_expect(greeting, b"").sample)
        heard = conversation.ask(payload)
        half_close = not heard.size and not heard.ended
        if half_close:
            heard = conversation.end()  # it may wait for the end of the input
        _expect(heard, payload)
        exchange = Exchange(payload, heard.size, greeting.size, half_close=half_close, sample=heard.sample)
        if heard.ended:
            return replace(exchange, answer=None)
        if keep_alive and not half_close:
            again = conversation.ask(payload)
            if again.size == heard.size and not again.ended:
                return replace(exchange, keep_alive=True)
    # A connection for each request, then. Has it one length there, or else an end?
    for end in (half_close, True):
        with connect() as conversation:
            if greeting.size:
                conversation.hear(_QUIET)
            again = conversation.ask(payload, end=end)
        if again.size == heard.size and end == half_close:
            return exchange
        if again.ended:
            return replace(exchange, answer=None, half_close=end)
    raise ProbeError(
        f"{_show(payload)} was answered with {heard.size} bytes, then with {again.size}, and the connection "
        "stays open: where such an answer ends can't be told; give another request with --payload"
    )


class _Heard(NamedTuple):
    """What came: bytes, or datagrams; how it began; whether the service has ended the connection."""

    size: int
    sample: bytes
    ended: bool


def _expect(heard: _Heard, payload: bytes) -> _Heard:
    if heard.size:
        return heard
    how = "the service closes the connection without an answer" if heard.ended else "nothing is answered"
    what = f" to {_show(payload)}" if payload else ""
    raise ProbeError(f"{how}{what}; give a request that is answered with --payload or --payload-file")


def _show(payload: bytes) -> str:
    return repr(payload[:_SAMPLE])[1:] + ("..." if len(payload) > _SAMPLE else "")


class _Conversation:
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

    def ask(self, payload: bytes, *, end: bool = False) -> _Heard:
        """Send *payload*, with *end* the end of the stream after it, and hear the answer."""
        if self._is_stream:
            self._unsent = memoryview(payload)
            self._end = end
        else:
            self._sock.send(payload)
        return self.hear(self._timeout)

    def end(self) -> _Heard:
        """Send the end of the stream, and hear the answer."""
        return self.ask(b"", end=True)

    def hear(self, patience: float) -> _Heard:
        """Send what is to be sent, and read until it has been quiet for a while, or is over.

        *patience*: seconds to wait for the beginning. Raises ProbeError for an answer without end.
        """
        size, sample = 0, b""
        now = time.monotonic()
        too_late, quiet = now + max(patience, self._timeout), now + patience
        while now < quiet:
            sending = [self._sock] if self._unsent or self._end else []
            readable, writable, _ = select.select([self._sock], sending, [], quiet - now)
            now = time.monotonic()
            if writable:
                self._send()
                quiet = max(quiet, now + _QUIET)
            if readable:
                data = self._receive()
                if not data and self._is_stream:
                    return _Heard(size, sample, True)
                size += len(data) if self._is_stream else 1
                sample = sample or data[:_SAMPLE]
                quiet = now + _QUIET
            if size and now > too_late:
                raise ProbeError(
                    f"the answer has no end: {size} {'bytes' if self._is_stream else 'datagrams'}, and no "
                    f"pause, in {self._timeout:g} s; what takes long needs a longer --timeout"
                )
        return _Heard(size, sample, False)

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
                return b""  # it closed without having read everything
            raise
