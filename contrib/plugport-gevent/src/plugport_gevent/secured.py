"""SecuredConnection: a connection over TLS whose waits let other greenlets run."""

from __future__ import annotations

import errno
import ssl
from typing import TYPE_CHECKING, ClassVar

import gevent.ssl
from gevent.socket import timeout_default
from plugport.contracts import Poller, StreamRequest
from plugport.serving import SecuredSocketMixIn, suppress_ragged_eof

from plugport_gevent.poller import HubPoller
from plugport_gevent.sockets import switch_sometimes

if TYPE_CHECKING:  # gevent comes without types
    from _typeshed import ReadableBuffer, WriteableBuffer

    class _GeventSSLSocket(ssl.SSLSocket):
        def __init__(
            self, *, sock: object, server_side: bool, do_handshake_on_connect: bool, _context: ssl.SSLContext
        ) -> None: ...
else:
    _GeventSSLSocket = gevent.ssl.SSLSocket

__all__ = ["SecuredConnection", "wrap_connection"]


class SecuredConnection(SecuredSocketMixIn, _GeventSSLSocket):
    """gevent's SSLSocket with the errors of a plain socket; it switches as ConnectionSocket does."""

    poller_class: ClassVar[type[Poller] | None] = HubPoller

    def read(self, size: int = 1024, buffer: WriteableBuffer | None = None) -> bytes:
        """Read up to *size* bytes; recv() and recv_into() call this."""
        switch_sometimes(self)
        return super().read(size, buffer)

    def send(self, data: ReadableBuffer, flags: int = 0, timeout: object = timeout_default) -> int:
        """Send as much of *data* as there is room for; return the number of bytes."""
        switch_sometimes(self)
        sent = super().send(data, flags, timeout)
        if not sent and memoryview(data).nbytes:  # gevent returns 0 where a plain socket raises
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        return sent


def wrap_connection(request: StreamRequest, context: ssl.SSLContext) -> SecuredConnection:
    """Return a SecuredConnection on a duplicate of *request*, before its handshake."""
    suppress_ragged_eof(context)
    copy = request.dup()
    try:
        # wrap_socket() of a context of the standard library would make a socket of that.
        secured = SecuredConnection(
            sock=copy, server_side=True, do_handshake_on_connect=False, _context=context
        )
    except BaseException:
        copy.close()
        raise
    secured.accepted = request
    return secured
