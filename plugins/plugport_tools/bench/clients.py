"""The clients of a load: each sends a request, waits for the answer, and repeats. A poller calls them.

They do little for each request, because they share the machine with the service that they measure.
"""

from __future__ import annotations

import errno
import itertools
import os
import socket
from contextlib import suppress
from math import inf
from time import monotonic

from plugport.contracts import READ, WRITE, Poller
from plugport_tools.bench.exchange import Address, Exchange
from plugport_tools.bench.tally import Tally

__all__ = ["Client", "DatagramClient", "StreamClient"]

_numbers = itertools.count(1)
#: All clients read into it: bytes are counted, their values are ignored.
_buffer = bytearray(1 << 18)


class Client:
    """One client. start() is called once, check() periodically, handle_events() by the poller.

    *folder*: holds the files of unix datagram sockets. *timeout*: seconds that an answer may take.
    """

    def __init__(
        self, poller: Poller, tally: Tally, address: Address, exchange: Exchange, timeout: float, folder: str
    ) -> None:
        self._poller = poller
        self._tally = tally
        self._address = address
        self._exchange = exchange
        self._timeout = timeout
        self._folder = folder
        self._sock: socket.socket | None = None
        self._request_started = 0.0
        self._was_answered = False
        #: Whether the window has passed and the last request has ended.
        self.finished = False

    def start(self) -> None:
        """Send a request over a new socket."""
        self._request_started = monotonic()
        self._open()

    def check(self, now: float) -> None:
        """Send a new request after a failure; fail a request that takes longer than the timeout."""
        if self.finished:
            return
        if self._request_started and now - self._request_started >= self._timeout:
            self._fail(self._timeout_reason())
        elif self._sock is None:
            if not self._request_started and now >= self._tally.window.end:
                self.finished = True
            else:
                self._request_started = self._request_started or now
                self._open()

    def close(self) -> None:
        """Close the socket, if there is one."""
        sock, self._sock = self._sock, None
        if sock is not None:
            self._poller.unregister(sock.fileno())
            sock.close()

    def handle_events(self, events: int) -> None:
        """Continue: the socket is ready for *events*, of READ and WRITE."""
        raise NotImplementedError

    def _open(self) -> None:
        """Make the socket and send the request, or the part of it that the socket takes."""
        try:
            sock = self._address.make_socket(os.path.join(self._folder, f"{os.getpid()}.{next(_numbers)}"))
        except OSError as error:
            self._fail(_reason(error))
            return
        sock.setblocking(False)
        code = sock.connect_ex(self._address.address)
        if code in (0, errno.EINPROGRESS):
            self._sock = sock
            self._poller.register(sock.fileno(), READ, self.handle_events)
            self._begin_exchange(sock)
            return
        sock.close()
        if code != errno.EAGAIN:  # of a unix socket whose backlog is full: check() tries again
            self._fail(_reason(OSError(code, os.strerror(code))))

    def _begin_exchange(self, sock: socket.socket) -> None:
        """Send the first request over *sock*."""
        raise NotImplementedError

    def _timeout_reason(self) -> str:
        """Return what is missing after the timeout."""
        return f"no answer within {self._timeout:g} s"

    def _record_answer(self) -> float:
        """Record the answer; return the time, or 0.0 if the window has passed."""
        now = monotonic()
        self._tally.record(self._request_started, now)
        if not self._was_answered:
            self._was_answered = True
            self._tally.served += 1
        if now < self._tally.window.end:
            return now
        self.finished = True
        if self._sock is not None:
            self._poller.unregister(
                self._sock.fileno()
            )  # later events, the end of the connection for example, do not count
        return 0.0

    def _fail(self, reason: str) -> None:
        """Count an error, and pause until the next check(), so that an immediate failure is no busy loop."""
        self._tally.errors[reason] += 1
        self._request_started = 0.0
        self.close()


class StreamClient(Client):
    """A client of a stream server: over one connection, or a new one for each request."""

    #: Bytes that are expected, of the greeting if there is one, then of the answer; and bytes received of it.
    _expected: float = 0.0
    _received = 0
    _is_greeted = True
    _sending = False
    _unsent: bytes | memoryview = b""

    def _begin_exchange(self, sock: socket.socket) -> None:
        self._sending = False
        self._received = 0
        self._expected = self._exchange.greeting
        self._is_greeted = not self._expected
        if self._is_greeted:
            self._send_request(sock)

    def _send_request(self, sock: socket.socket) -> None:
        """Send the request."""
        exchange = self._exchange
        self._received = 0
        self._expected = inf if exchange.answer is None else exchange.answer
        payload = exchange.payload
        sent = 0
        try:
            if payload:
                sent = sock.send(payload)
            if sent == len(payload):
                if exchange.half_close:
                    sock.shutdown(socket.SHUT_WR)
                return
        except OSError as error:
            if not _is_not_ready(error):
                self._fail(_reason(error))
                return
        self._sending = True
        self._unsent = memoryview(payload)[sent:]
        self._poller.modify(sock.fileno(), READ | WRITE, self.handle_events)

    def _send_rest(self, sock: socket.socket) -> None:
        """Send the rest of the request, or the part of it that the socket takes."""
        if self._unsent:
            self._unsent = self._unsent[sock.send(self._unsent) :]
        if not self._unsent:
            if self._exchange.half_close:
                sock.shutdown(socket.SHUT_WR)
            self._sending = False
            self._poller.modify(sock.fileno(), READ, self.handle_events)

    def handle_events(self, events: int) -> None:
        """Send the rest of the request, receive."""
        sock = self._sock
        assert sock is not None
        try:
            if self._sending and events & WRITE:
                self._send_rest(sock)
            if not events & READ:
                return
            count = sock.recv_into(_buffer)
        except OSError as error:
            if not _is_not_ready(error):
                self._fail(_reason(error))
            return
        self._received += count
        if self._received > self._expected:
            self._fail(f"an answer longer than {self._expected} bytes")
        elif not count:
            self._handle_eof()
        elif self._received < self._expected:
            return
        elif self._is_greeted:
            self._next_request(sock)
        else:
            self._is_greeted = True
            self._send_request(sock)

    def _handle_eof(self) -> None:
        """Handle the end of the stream, which may be the end of the answer."""
        if self._expected == inf and self._received:
            self._next_request(None)
        elif self._received:
            self._fail("closed in the middle of an answer")
        else:
            self._fail("closed without an answer")

    def _next_request(self, sock: socket.socket | None) -> None:
        """Record the answer, and send the next request: over *sock*, or over a new connection."""
        now = self._record_answer()
        if sock is None or not self._exchange.keep_alive:
            self.close()
            if not self.finished:
                self._request_started = now
                self._open()
        elif self._sending:
            self._fail("an answer before the end of the request")
        elif not self.finished:
            self._request_started = now
            self._send_request(sock)
        # Else it stays open: the memory that it costs the service is measured after the window.

    def _timeout_reason(self) -> str:
        if self._received:
            return (
                f"an answer shorter than {self._expected} bytes, or not complete within {self._timeout:g} s"
            )
        return super()._timeout_reason()


class DatagramClient(Client):
    """A client of a datagram server, over one socket."""

    #: Datagrams of the answer that have not arrived yet.
    _missing = 0
    #: Whether the request could not be sent: the queue of a unix datagram server was full.
    _is_blocked = False

    def _begin_exchange(self, sock: socket.socket) -> None:
        assert self._exchange.answer is not None  # datagrams have no end of stream
        self._missing = self._exchange.answer
        self._is_blocked = False
        try:
            sock.send(self._exchange.payload)
        except BlockingIOError:
            self._is_blocked = True
            self._poller.modify(sock.fileno(), READ | WRITE, self.handle_events)
        except OSError as error:
            self._fail(_reason(error))

    def close(self) -> None:
        """Close the socket, and remove the file that a unix socket was bound to."""
        path = self._sock.getsockname() if self._sock is not None else None
        super().close()
        if isinstance(path, str):
            with suppress(FileNotFoundError):
                os.unlink(path)

    def handle_events(self, events: int) -> None:
        """Send a request that is blocked, or receive one datagram."""
        sock = self._sock
        assert sock is not None
        if self._is_blocked and events & WRITE:
            self._poller.modify(sock.fileno(), READ, self.handle_events)
            self._begin_exchange(sock)
            return
        try:
            sock.recv_into(_buffer)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(_reason(error))
            return
        self._missing -= 1
        if not self._missing:
            now = self._record_answer()
            if not self.finished:
                self._request_started = now
                self._begin_exchange(sock)


def _is_not_ready(error: OSError) -> bool:
    """Whether *error* means that the socket is full, or not connected yet."""
    return isinstance(error, BlockingIOError) or error.errno == errno.ENOTCONN


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRNOTAVAIL:
        return "no local port was free for one more connection"
    return (error.strerror or str(error)).lower()
