"""A connection over TLS as a blocking handler sees it, and the wrapper of the handler that makes it."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any, ClassVar

from plugport.bridges.inline import BlockingHandler
from plugport.bridges.tls.failures import as_connection_error, handshake_failed, handshake_timed_out
from plugport.contracts.interfaces import ClientAddress
from plugport.contracts.loops import READ, WRITE, Poller
from plugport.contracts.requests import RequestHandedOver, Server
from plugport.loop.poller import blocking_poller

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    _SSLSocket = ssl.SSLSocket
else:
    _SSLSocket = object

__all__ = [
    "SecuredSocket",
    "SecuredSocketMixIn",
    "do_handshake",
    "secured_handler",
    "send_close_notify",
    "suppress_ragged_eof",
    "wrap_connection",
]


#: The errors of dup() when there are too many open files.
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE})
#: How many reads, of 64 KiB at most, discard data that arrives after a failed handshake.
_DISCARDING_READS = 16


class SecuredSocketMixIn(_SSLSocket):
    """A mix-in for a class of TLS sockets, as ssl.SSLSocket: it raises the errors of a plain socket.

    So a handler need not know that its connection is over TLS: it gets BlockingIOError where a plain socket
    would block, and ConnectionAbortedError from a client that breaks the protocol. shutdown(SHUT_WR) sends
    close_notify, and reading continues.

    ``accepted`` is the plain connection, which is the server's request.
    """

    accepted: socket.socket | None = None
    #: How to wait until close_notify can be sent; None: by the poller of the platform.
    poller_class: ClassVar[type[Poller] | None] = None
    #: Whether the stream that is sent has ended.
    _write_ended = False
    #: Whether close_notify was sent.
    _close_notify_sent = False
    #: Whether the stream that is received has ended.
    _read_ended = False

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Return up to *buflen* bytes, b"" at the end."""
        if self._read_ended:
            return b""
        if self._write_ended and not self._close_notify_sent:
            self._end()
        try:
            return super().recv(buflen, flags)
        except ssl.SSLError as error:
            raise _as_plain(error) from None

    def recv_into(self, buffer: WriteableBuffer, nbytes: int | None = None, flags: int = 0) -> int:
        """Read into *buffer*; return the number of bytes."""
        if self._read_ended:
            return 0
        if self._write_ended and not self._close_notify_sent:
            self._end()
        try:
            return super().recv_into(buffer, nbytes, flags)
        except ssl.SSLError as error:
            raise _as_plain(error) from None

    def send(self, data: ReadableBuffer, flags: int = 0, *more: Any, **named: Any) -> int:
        """Send as much of *data* as the socket accepts; return how many bytes."""
        if self._write_ended:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")
        try:
            return super().send(data, flags, *more, **named)
        except ssl.SSLError as error:
            raise _as_plain(error) from None

    def shutdown(self, how: int) -> None:
        """Shut down reading, writing or both; writing by close_notify."""
        if self.fileno() < 0:
            raise OSError(errno.EBADF, "Bad file descriptor")
        if how != socket.SHUT_RD:
            self._write_ended = True
            self._end()
        if how == socket.SHUT_RD and self.accepted is not None:
            # Only the plain connection is shut down: TLS still decrypts received data and encrypts sent data.
            self.accepted.shutdown(how)
        elif how != socket.SHUT_WR:
            self._read_ended = True
            super().shutdown(how)

    def _end(self) -> None:
        """Send close_notify, unless there is data that the handler has not read.

        OpenSSL would look for the client's close_notify in that data, and report an error.
        """
        poller = blocking_poller()
        try:
            poller.register(self.fileno(), READ, lambda events: None)
            if not (self.pending() or poller.dispatch(0.0)):
                send_close_notify(self)
        finally:
            poller.close()

    def unwrap(self) -> socket.socket:
        """End TLS in both directions; see ssl.SSLSocket. send_close_notify() does not wait for the client."""
        plain = super().unwrap()
        self._write_ended = self._close_notify_sent = self._read_ended = True
        return plain


class SecuredSocket(SecuredSocketMixIn, ssl.SSLSocket):
    """The TLS socket of the standard library, with the errors of a plain socket."""


def _as_plain(error: ssl.SSLError) -> Exception:
    """Return what a plain socket would raise."""
    if isinstance(error, (ssl.SSLWantReadError, ssl.SSLWantWriteError)):
        return BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
    return as_connection_error(error)


def wrap_connection(request: socket.socket, context: ssl.SSLContext) -> SecuredSocket:
    """Return a TLS socket for *request*, before the handshake, with a descriptor of its own.

    *request* stays a plain socket: its shutdown() ends the connection, whichever socket a thread waits on.
    """
    if context.sslsocket_class is not SecuredSocket:
        suppress_ragged_eof(context)
        context.sslsocket_class = SecuredSocket
    copy = request.dup()
    try:
        secured = context.wrap_socket(copy, server_side=True, do_handshake_on_connect=False)
    except BaseException:
        copy.close()
        raise
    assert isinstance(secured, SecuredSocket)
    secured.accepted = request
    return secured


def suppress_ragged_eof(context: ssl.SSLContext) -> None:
    """Have *context* accept the end of a connection without close_notify, to which OpenSSL sends an alert."""
    wanted = getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    if not context.options & wanted:
        context.options |= wanted


def do_handshake(secured: ssl.SSLSocket, limit: float) -> None:
    """Do the server's side of the handshake, within *limit* seconds in all.

    Raises TimeoutError, or ConnectionAbortedError if the handshake fails.
    """
    timeout = secured.gettimeout()
    secured.settimeout(limit)
    try:
        secured.do_handshake()
    except TimeoutError:
        raise handshake_timed_out(limit) from None
    except (OSError, ValueError) as error:
        _discard(secured)
        raise handshake_failed(error, secured) from None
    secured.settimeout(timeout)


def _discard(secured: ssl.SSLSocket) -> None:
    """Discard received data: closing a socket with unread data would lose the alert."""
    try:
        secured.settimeout(0.0)
        for _ in range(_DISCARDING_READS):
            if not socket.socket.recv(secured, 65536):
                return
    except OSError:
        pass


def send_close_notify(secured: ssl.SSLSocket) -> None:
    """Send close_notify, unless it was sent before, without waiting for the client's.

    Waits at most as long as a send() until it can be sent. A broken connection is not an error.
    """
    if isinstance(secured, SecuredSocketMixIn):
        if secured._close_notify_sent:
            return
        secured._write_ended = secured._close_notify_sent = True
    timeout = secured.gettimeout()
    try:
        secured.settimeout(0.0)
        while True:
            try:
                secured.unwrap()
            except ssl.SSLWantWriteError:
                if not _wait_until_writable(secured, timeout):
                    return
            except ssl.SSLWantReadError:
                break  # it is sent; the client's has not arrived
            else:
                break
        secured.settimeout(timeout)
    except (OSError, ValueError):
        pass


def _wait_until_writable(secured: ssl.SSLSocket, timeout: float | None) -> bool:
    poller = (getattr(secured, "poller_class", None) or blocking_poller)()
    try:
        poller.register(secured.fileno(), WRITE, lambda events: None)
        return bool(poller.dispatch(timeout))
    finally:
        poller.close()


class _Forks(threading.local):
    """Counts the forks of this thread: a handler may fork, and leave the connection to the child."""

    count = 0

    def increase(self) -> None:
        self.count += 1


_forks = _Forks()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_parent=_forks.increase)


class SecuredHandler:
    """A blocking handler of plain connections that runs *handler* on a TLS socket, after the handshake."""

    def __init__(self, handler: BlockingHandler) -> None:
        self._handler = handler

    def __call__(self, request: socket.socket, client_address: ClientAddress, server: Server) -> None:
        """Do the handshake, run the handler, and send close_notify unless a child has the connection."""
        try:
            secured = server.wrap_connection(request)
        except (OSError, ValueError) as error:
            if getattr(error, "errno", None) in _EXHAUSTED:
                raise  # the client is not the cause
            raise handshake_failed(error) from None
        try:
            do_handshake(secured, server.handshake_timeout)
            forks = _forks.count
            try:
                self._handler(secured, client_address, server)
            except (OSError, RequestHandedOver):
                raise  # the connection is broken, or a child has it
            except BaseException:
                if _forks.count == forks:
                    send_close_notify(secured)
                raise
            if _forks.count == forks:
                send_close_notify(secured)
        finally:
            secured.close()


def secured_handler(handler: BlockingHandler) -> SecuredHandler:
    """Return a blocking handler of plain connections, from one that is to have connections over TLS."""
    return SecuredHandler(handler)
