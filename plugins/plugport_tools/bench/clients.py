"""The clients of a load: each asks, waits for the answer, and asks again; a poller calls them.

They are lean, because they share the machine with the service that they measure.
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
#: Where all clients read to: what they read is counted, and not looked at.
_buffer = bytearray(1 << 18)


class Client:
    """One client. begin() sets it going; look() is to be called now and then; ready() is for the poller.

    *folder* is where unix datagram sockets get their names. *timeout*: seconds that an answer may take.
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
        self._begun = 0.0
        self._served = False
        #: Whether the window has passed and the last request has found its end.
        self.retired = False

    def begin(self) -> None:
        """Begin a request over a new socket."""
        self._begun = monotonic()
        self._open()

    def look(self, now: float) -> None:
        """Do what no event brings about: try again after a failure, give up a request that takes too long."""
        if self.retired:
            return
        if self._begun and now - self._begun >= self._timeout:
            self._fail(self._overdue())
        elif self._sock is None:
            if not self._begun and now >= self._tally.window.end:
                self.retired = True
            else:
                self._begun = self._begun or now
                self._open()

    def close(self) -> None:
        """Close the socket, if there is one."""
        sock, self._sock = self._sock, None
        if sock is not None:
            self._poller.unregister(sock.fileno())
            sock.close()

    def ready(self, events: int) -> None:
        """Go on, now that the socket is ready."""
        raise NotImplementedError

    def _open(self) -> None:
        """Make the socket and send the request, as far as that goes."""
        try:
            sock = self._address.make_socket(os.path.join(self._folder, f"{os.getpid()}.{next(_numbers)}"))
        except OSError as error:
            self._fail(_reason(error))
            return
        sock.setblocking(False)
        code = sock.connect_ex(self._address.address)
        if code in (0, errno.EINPROGRESS):
            self._sock = sock
            self._poller.register(sock.fileno(), READ, self.ready)
            self._start(sock)
            return
        sock.close()
        if code != errno.EAGAIN:  # that of a unix socket whose backlog is full: look() tries again
            self._fail(_reason(OSError(code, os.strerror(code))))

    def _start(self, sock: socket.socket) -> None:
        """Send the first request over *sock*."""
        raise NotImplementedError

    def _overdue(self) -> str:
        """Say what is missing after the timeout."""
        return f"no answer within {self._timeout:g} s"

    def _answered(self) -> float:
        """Note the answer; return what time it is, 0.0 if there is no time for another request."""
        now = monotonic()
        self._tally.note(self._begun, now)
        if not self._served:
            self._served = True
            self._tally.served += 1
        if now < self._tally.window.end:
            return now
        self.retired = True
        if self._sock is not None:
            self._poller.unregister(self._sock.fileno())  # what comes now, an end say, is no concern
        return 0.0

    def _fail(self, reason: str) -> None:
        """Count an error, and rest until the next look(): what fails at once would fail without end."""
        self._tally.errors[reason] += 1
        self._begun = 0.0
        self.close()


class StreamClient(Client):
    """A client of a stream server: over one connection, or a new one for each request."""

    #: What is expected: the greeting first, if there is one, then the answer; in bytes, and how much came.
    _wanted: float = 0.0
    _got = 0
    _greeted = True
    _sending = False
    _unsent: bytes | memoryview = b""

    def _start(self, sock: socket.socket) -> None:
        self._sending = False
        self._got = 0
        self._wanted = self._exchange.greeting
        self._greeted = not self._wanted
        if self._greeted:
            self._ask(sock)

    def _ask(self, sock: socket.socket) -> None:
        """Send the request, and expect its answer."""
        exchange = self._exchange
        self._got = 0
        self._wanted = inf if exchange.answer is None else exchange.answer
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
            if not _is_not_yet(error):
                self._fail(_reason(error))
                return
        self._sending = True
        self._unsent = memoryview(payload)[sent:]
        self._poller.modify(sock.fileno(), READ | WRITE, self.ready)

    def _send_rest(self, sock: socket.socket) -> None:
        """Send what is left of the request, as far as that goes."""
        if self._unsent:
            self._unsent = self._unsent[sock.send(self._unsent) :]
        if not self._unsent:
            if self._exchange.half_close:
                sock.shutdown(socket.SHUT_WR)
            self._sending = False
            self._poller.modify(sock.fileno(), READ, self.ready)

    def ready(self, events: int) -> None:
        """Send what is left, read what there is."""
        sock = self._sock
        assert sock is not None
        try:
            if self._sending and events & WRITE:
                self._send_rest(sock)
            if not events & READ:
                return
            count = sock.recv_into(_buffer)
        except OSError as error:
            if not _is_not_yet(error):
                self._fail(_reason(error))
            return
        self._got += count
        if self._got > self._wanted:
            self._fail(f"an answer longer than {self._wanted} bytes")
        elif not count:
            self._ended()
        elif self._got < self._wanted:
            return
        elif self._greeted:
            self._go_on(sock)
        else:
            self._greeted = True
            self._ask(sock)

    def _ended(self) -> None:
        """Take the end of the stream for the end of the answer, where it is."""
        if self._wanted == inf and self._got:
            self._go_on(None)
        elif self._got:
            self._fail("closed in the middle of an answer")
        else:
            self._fail("closed without an answer")

    def _go_on(self, sock: socket.socket | None) -> None:
        """Note the answer, and ask again: over *sock*, or a new connection."""
        now = self._answered()
        if sock is None or not self._exchange.keep_alive:
            self.close()
            if not self.retired:
                self._begun = now
                self._open()
        elif self._sending:
            self._fail("an answer before the end of the request")
        elif not self.retired:
            self._begun = now
            self._ask(sock)
        # Else it stays open: what it costs the service in memory is measured after the window.

    def _overdue(self) -> str:
        if self._got:
            return f"an answer shorter than {self._wanted} bytes, or not complete within {self._timeout:g} s"
        return super()._overdue()


class DatagramClient(Client):
    """A client of a datagram server, over one socket."""

    #: Datagrams that are still to come.
    _left = 0
    #: Whether the request could not be sent: the queue of a unix datagram server was full.
    _blocked = False

    def _start(self, sock: socket.socket) -> None:
        assert self._exchange.answer is not None  # datagrams have no end to wait for
        self._left = self._exchange.answer
        self._blocked = False
        try:
            sock.send(self._exchange.payload)
        except BlockingIOError:
            self._blocked = True
            self._poller.modify(sock.fileno(), READ | WRITE, self.ready)
        except OSError as error:
            self._fail(_reason(error))

    def close(self) -> None:
        """Close the socket, and remove the file that a unix socket was bound to."""
        path = self._sock.getsockname() if self._sock is not None else None
        super().close()
        if isinstance(path, str):
            with suppress(FileNotFoundError):
                os.unlink(path)

    def ready(self, events: int) -> None:
        """Send if that was not possible before, read one datagram."""
        sock = self._sock
        assert sock is not None
        if self._blocked and events & WRITE:
            self._poller.modify(sock.fileno(), READ, self.ready)
            self._start(sock)
            return
        try:
            sock.recv_into(_buffer)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(_reason(error))
            return
        self._left -= 1
        if not self._left:
            now = self._answered()
            if not self.retired:
                self._begun = now
                self._start(sock)


def _is_not_yet(error: OSError) -> bool:
    """Whether it only says that the socket is not ready: it is full, or still connecting."""
    return isinstance(error, BlockingIOError) or error.errno == errno.ENOTCONN


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRNOTAVAIL:
        return "no local port was free for one more connection"
    return (error.strerror or str(error)).lower()
