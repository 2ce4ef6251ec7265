"""SecuredConnection: a connection over TLS whose waits let other greenlets run."""

from __future__ import annotations

import errno
from typing import Any, ClassVar

import gevent.ssl
from gevent.socket import timeout_default
from plugport.contracts import Poller
from plugport.serving import SecuredSocketMixIn, suppress_ragged_eof

from plugport_gevent.poller import HubPoller
from plugport_gevent.sockets import take_turns

__all__ = ["SecuredConnection", "wrap_connection"]


class SecuredConnection(SecuredSocketMixIn, gevent.ssl.SSLSocket):  # type: ignore[misc]
    """gevent's SSLSocket, with the errors of a plain socket, and turns as ConnectionSocket has them."""

    poller_class: ClassVar[type[Poller] | None] = HubPoller

    def read(self, *args: Any) -> Any:
        """Read what there is; recv() and recv_into() do it by this."""
        take_turns(self)
        return super().read(*args)

    def send(self, data: Any, flags: int = 0, timeout: Any = timeout_default) -> int:
        """Send *data* as far as it goes; return how many bytes have gone."""
        take_turns(self)
        sent = super().send(data, flags, timeout)
        if not sent and len(data):  # which is gevent's word for it
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        return sent


def wrap_connection(request: Any, context: Any) -> SecuredConnection:
    """Return *request* behind TLS, before the handshake, on a descriptor of its own; it stays as it is."""
    suppress_ragged_eof(context)
    copy = request.dup()
    try:
        # Not by the wrap_socket() of the context, which may be one of the standard library.
        secured = SecuredConnection(
            sock=copy, server_side=True, do_handshake_on_connect=False, _context=context
        )
    except BaseException:
        copy.close()
        raise
    secured.accepted = request
    return secured
