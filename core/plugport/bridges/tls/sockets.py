"""A connection over TLS as a blocking handler sees it, and the handler that is given one."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from plugport.bridges.tls.failures import as_connection_error, handshake_failed, handshake_timed_out
from plugport.contracts.loops import READ, WRITE, Poller
from plugport.contracts.requests import RequestHandedOver
from plugport.loop.poller import blocking_poller

if TYPE_CHECKING:
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


#: What dup() says when there are no descriptors.
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE})
#: How often what comes after a handshake that has failed is taken, 64 KiB at most each time.
_DISCARDED = 16


class SecuredSocketMixIn(_SSLSocket):
    """Put before a class of TLS sockets, ssl.SSLSocket say: its errors become those of a plain socket.

    A handler need not know that it talks over TLS: where a plain socket would block it gets
    BlockingIOError, and ConnectionAbortedError from a client that breaks the protocol.
    shutdown(SHUT_WR) sends close_notify, and reading goes on.

    ``accepted`` is the plain connection, by which the server knows the request.
    """

    accepted: Any = None
    #: How to wait for room to say goodbye in; None: as the platform does it.
    poller_class: ClassVar[type[Poller] | None] = None
    #: No more can be sent.
    _ended = False
    #: The client was told so, by close_notify.
    _said = False
    #: Nor received: the client's has come, too.
    _over = False

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Return up to *buflen* bytes, b"" at the end."""
        if self._over:
            return b""
        if self._ended and not self._said:
            self._end()
        try:
            return super().recv(buflen, flags)
        except ssl.SSLError as error:
            raise _as_plain(error) from None

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        """Read into *buffer*; return the number of bytes."""
        if self._over:
            return 0
        if self._ended and not self._said:
            self._end()
        try:
            return super().recv_into(buffer, nbytes, flags)
        except ssl.SSLError as error:
            raise _as_plain(error) from None

    def send(self, data: Any, flags: int = 0, *more: Any, **named: Any) -> int:
        """Send *data* as far as it goes; return how many bytes have gone."""
        if self._ended:
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
            self._ended = True
            self._end()
        if how == socket.SHUT_RD and self.accepted is not None:
            # Of the connection alone: TLS goes on, for what has come and for what is sent.
            self.accepted.shutdown(how)
        elif how != socket.SHUT_WR:
            self._over = True
            super().shutdown(how)

    def _end(self) -> None:
        """Say goodbye, but not before the handler has read what is there.

        OpenSSL looks for the client's own goodbye then, and would take anything else for an error.
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
        self._ended = self._said = self._over = True
        return plain


class SecuredSocket(SecuredSocketMixIn, ssl.SSLSocket):
    """That of the standard library."""


def _as_plain(error: ssl.SSLError) -> Exception:
    """Return what a plain socket would raise."""
    if isinstance(error, (ssl.SSLWantReadError, ssl.SSLWantWriteError)):
        return BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
    return as_connection_error(error)


def wrap_connection(request: socket.socket, context: ssl.SSLContext) -> SecuredSocket:
    """Return *request* behind TLS, before the handshake, on a descriptor of its own.

    *request* stays as it is: shutdown() of it cuts the connection, whoever waits on which.
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
    """Let a client end the connection and read on, as it may on a plain one: OpenSSL would send an alert."""
    wanted = getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    if not context.options & wanted:
        context.options |= wanted


def do_handshake(secured: ssl.SSLSocket, limit: float) -> None:
    """Do the server's side of the handshake, in *limit* seconds altogether.

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
    """Take what has come besides, a request mostly: closed with that unread, the alert might be lost."""
    try:
        secured.settimeout(0.0)
        for _ in range(_DISCARDED):
            if not socket.socket.recv(secured, 65536):
                return
    except OSError:
        pass


def send_close_notify(secured: ssl.SSLSocket) -> None:
    """Send close_notify, unless it has been, and don't wait for the client's.

    Waits for room to send it in as long as any send() may wait. A connection that has broken is no error.
    """
    if isinstance(secured, SecuredSocketMixIn):
        if secured._said:
            return
        secured._ended = secured._said = True
    timeout = secured.gettimeout()
    try:
        secured.settimeout(0.0)
        while True:
            try:
                secured.unwrap()
            except ssl.SSLWantWriteError:
                if not _wait_for_room(secured, timeout):
                    return
            except ssl.SSLWantReadError:
                break  # it is sent, and the client's is not there
            else:
                break
        secured.settimeout(timeout)
    except (OSError, ValueError):
        pass


def _wait_for_room(secured: ssl.SSLSocket, timeout: float | None) -> bool:
    poller = (getattr(secured, "poller_class", None) or blocking_poller)()
    try:
        poller.register(secured.fileno(), WRITE, lambda events: None)
        return bool(poller.dispatch(timeout))
    finally:
        poller.close()


class _Forks(threading.local):
    """How often this thread has forked: a handler may, and leave the connection to the child."""

    count = 0

    def note(self) -> None:
        self.count += 1


_forks = _Forks()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_parent=_forks.note)


class SecuredHandler:
    """A blocking handler that is given its connections behind TLS, after the handshake."""

    def __init__(self, handler: Callable[[Any, Any, Any], Any]) -> None:
        self._handler = handler

    def __call__(self, request: Any, client_address: Any, server: Any) -> None:
        """Shake hands, run the handler, and say goodbye, unless a forked child has the connection."""
        try:
            secured = server.wrap_connection(request)
        except (OSError, ValueError) as error:
            if getattr(error, "errno", None) in _EXHAUSTED:
                raise  # that is nothing of the client's
            raise handshake_failed(error) from None
        try:
            do_handshake(secured, server.handshake_timeout)
            forks = _forks.count
            try:
                self._handler(secured, client_address, server)
            except (OSError, RequestHandedOver):
                raise  # the connection is of no use any more, or it is the child's
            except BaseException:
                if _forks.count == forks:
                    send_close_notify(secured)
                raise
            if _forks.count == forks:
                send_close_notify(secured)
        finally:
            secured.close()


def secured_handler(handler: Callable[[Any, Any, Any], Any]) -> SecuredHandler:
    """Return a blocking handler of plain connections, from one of those over TLS."""
    return SecuredHandler(handler)
