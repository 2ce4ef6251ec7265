"""TLSTransport: TLS between a protocol and the transport of any loop, by ssl.MemoryBIO.

It does no input or output: bytes come by data_received() and leave by the write() of the
transport below, which may be plugport's or asyncio's.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any

from plugport.bridges.tls.failures import as_connection_error, handshake_failed, handshake_timed_out
from plugport.bridges.tls.upper import UpperTransport

__all__ = ["TLSTransport"]

Bytes = bytes | bytearray | memoryview

#: Bytes asked of a record; the longest has 16 KiB.
_READ_SIZE = 65536
#: Bytes encrypted before they are given to the transport below: of more, there is no second copy.
_WRITE_SIZE = 262144
#: What get_extra_info() knows besides what the transport below does, and the ssl.SSLObject's method for it.
_EXTRA = {"peercert": "getpeercert", "cipher": "cipher", "compression": "compression"}


class TLSTransport(UpperTransport):
    """The transport of a connection over TLS, which is the protocol of the transport below.

    The protocol above is made by *make_protocol* when the handshake is done, within
    *handshake_timeout* seconds; what a client that gets no further sees is an alert, or nothing.
    *failed* hears of what the protocol raised or what broke the connection, once.

    Has the interface of asyncio.Transport, with one addition: write_eof() ends the stream of what
    is sent by close_notify, and reading goes on (RFC 8446, 6.1), although can_write_eof() says no, as
    asyncio's does. The end of what is received is close_notify, or that of the connection
    below; if the protocol's eof_received() returns true, writing goes on.

    There is no second buffer: what is written is encrypted at once and waits, if it must, in
    the transport below, whose limits and whose calls of pause_writing() are those of this one.
    """

    __slots__ = (
        "_deliver",
        "_ended",
        "_eof_written",
        "_error",
        "_failed",
        "_incoming",
        "_kept_open",
        "_limit",
        "_make_protocol",
        "_outgoing",
        "_paused",
        "_protocol",
        "_ssl",
        "_taken",
        "_timer",
    )

    def __init__(
        self,
        make_protocol: Callable[[], Any],
        context: ssl.SSLContext,
        handshake_timeout: float,
        failed: Callable[[Exception], object],
    ) -> None:
        super().__init__()
        self._make_protocol: Callable[[], Any] | None = make_protocol
        self._limit = handshake_timeout
        self._failed = failed
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        #: Decrypted bytes that the protocol has not had yet: what stood in the way of a goodbye.
        self._taken = b""
        self._protocol: Any = None  # until the handshake is done
        self._deliver: Callable[[], None] | None = None
        self._timer: Any = None
        self._paused = False
        self._ended = False  # the client has ended its stream
        self._kept_open = False  # and the protocol wants to go on
        self._eof_written = False
        self._error: Exception | None = None

    # The protocol of the transport below ------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """Wait for the client's handshake."""
        self._below = transport
        self._timer = self.call_later(self._limit, self._expire)

    def data_received(self, data: bytes) -> None:
        """Go on with the handshake, or decrypt *data* for the protocol."""
        if self._ended or self._closing:
            return  # after close_notify nothing counts
        self._incoming.write(data)
        if self._protocol is None and not self._do_handshake():
            return
        if self._deliver is not None and self._incoming.pending and not self._paused:
            self._deliver()

    def eof_received(self) -> bool:
        """Take the end of the connection for the end of the stream; return whether to keep it open."""
        if self._protocol is None:
            self._fail(ConnectionAbortedError("the client went away in the TLS handshake"))
        elif not self._ended:
            self._end()
        return self._kept_open

    def pause_writing(self) -> None:
        """Have the protocol pause."""
        if self._protocol is not None:
            self._call(self._protocol.pause_writing)

    def resume_writing(self) -> None:
        """Have the protocol go on."""
        if self._protocol is not None and not self._closing:
            self._call(self._protocol.resume_writing)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the protocol, if it has heard of the connection."""
        self._closing = True
        self._cancel_timer()
        protocol, self._protocol = self._protocol, None
        self._deliver = self._make_protocol = None  # nothing is left that leads round in a circle
        if protocol is not None:
            protocol.connection_lost(self._error or (None if error is None else as_connection_error(error)))

    # The handshake ----------------------------------------------------------------------------------

    def _do_handshake(self) -> bool:
        """Go on with the handshake; return whether it is done and the protocol listens."""
        try:
            self._ssl.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except (ssl.SSLError, ValueError) as error:
            self._flush()  # the alert that says why
            self._fail(handshake_failed(error, self._ssl))
            return False
        self._flush()
        self._cancel_timer()
        return self._call(self._open) is True

    def _open(self) -> bool:
        assert self._make_protocol is not None
        protocol, self._make_protocol = self._make_protocol(), None
        self.set_protocol(protocol)
        protocol.connection_made(self)
        return True

    def _expire(self) -> None:
        self._timer = None
        self._fail(handshake_timed_out(self._limit))

    def _cancel_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    # Reading ----------------------------------------------------------------------------------------

    def _deliver_bytes(self) -> None:
        """Give the protocol all that can be decrypted, in one piece."""
        pieces = [self._taken] if self._taken else []
        self._taken = b""
        incoming, read, pending = self._incoming, self._ssl.read, self._ssl.pending
        error: Exception | None = None
        ended = False
        try:
            # An attempt in vain costs an exception, so none is made where there is nothing.
            while incoming.pending or pending():
                piece = read(_READ_SIZE)
                if not piece:
                    ended = True
                    break
                pieces.append(piece)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            ended = True
        except ssl.SSLError as failure:
            error = failure
        if pieces:
            self._call(self._protocol.data_received, pieces[0] if len(pieces) == 1 else b"".join(pieces))
        self._after_reading(ended, error)

    def _deliver_into(self) -> None:
        """Have the protocol's own buffer filled, until there is no more or it pauses."""
        protocol = self._protocol
        error: Exception | None = None
        ended = False
        try:
            while not (self._paused or self._closing) and self._has_more():
                if self._protocol is not protocol:  # it has switched to another
                    if self._deliver is not None:
                        self._deliver()
                    return
                buffer = self._call(protocol.get_buffer, -1)
                if self._closing:
                    return
                if not len(buffer):
                    self._fail(RuntimeError("get_buffer() returned an empty buffer"))
                    return
                if self._taken:
                    count: Any = BytesIO(self._taken).readinto(buffer)
                    self._taken = self._taken[count:]
                else:
                    count = self._ssl.read(len(buffer), buffer)
                if not count:
                    ended = True
                    break
                self._call(protocol.buffer_updated, count)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            ended = True
        except ssl.SSLError as failure:
            error = failure
        self._after_reading(ended, error)

    def _has_more(self) -> bool:
        return bool(self._taken or self._incoming.pending or self._ssl.pending())

    def _after_reading(self, ended: bool, error: Exception | None) -> None:
        if self._outgoing.pending and not self._closing:
            self._flush()  # an alert, or a new key
        if error is not None:
            self._fail(as_connection_error(error))
        elif ended and not self._closing:
            self._end()

    def _end(self) -> None:
        """Tell the protocol of the stream's end; close, unless it has more to say."""
        self._ended = True
        self._kept_open = bool(self._call(self._protocol.eof_received)) and not self._closing
        if not self._kept_open:
            self.close()

    def is_reading(self) -> bool:
        """Whether data is taken from the connection."""
        return not (self._paused or self._closing or self._ended)

    def pause_reading(self) -> None:
        """Take no more data, until resume_reading()."""
        if not self._paused:
            self._paused = True
            self._below.pause_reading()

    def resume_reading(self) -> None:
        """Go on after pause_reading()."""
        if self._paused:
            self._paused = False
            if self._has_more():
                self.call_soon(self._deliver_rest)
            else:
                self._below.resume_reading()

    def _deliver_rest(self) -> None:
        """Deliver what had come before the protocol paused; then let more come."""
        if self._deliver is not None and not (self._paused or self._closing or self._ended):
            self._deliver()
        if not (self._paused or self._closing):
            self._below.resume_reading()

    # Writing ----------------------------------------------------------------------------------------

    def write(self, data: Bytes) -> None:
        """Encrypt and send *data*. Never blocks.

        Raises TypeError if it is not bytes-like, RuntimeError after write_eof().
        """
        if type(data) is not bytes:
            data = memoryview(data).cast("B")
        if self._eof_written:
            raise RuntimeError("write() after write_eof()")
        if self._closing or not data:
            return
        try:
            if len(data) <= _WRITE_SIZE:
                self._ssl.write(data)
                self._below.write(self._outgoing.read())
            else:
                rest = memoryview(data)
                for start in range(0, len(rest), _WRITE_SIZE):
                    self._ssl.write(rest[start : start + _WRITE_SIZE])
                    self._below.write(self._outgoing.read())
        except ssl.SSLError as error:
            self._fail(as_connection_error(error))

    def writelines(self, list_of_data: Iterable[Bytes]) -> None:
        """Send the pieces, joined."""
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        """Return False, as asyncio's transport over TLS does."""
        return False

    def write_eof(self) -> None:
        """End the stream of what is sent by close_notify. Reading goes on."""
        if not (self._closing or self._eof_written):
            self._eof_written = True
            self._send_close_notify()

    def _send_close_notify(self) -> None:
        """Send close_notify, and don't wait for the client's."""
        # What has come stays for the protocol: OpenSSL would look among it for the client's own, and take
        # anything else for an error.
        unread = self._incoming.read()
        try:
            while pending := self._ssl.pending():
                self._taken += self._ssl.read(pending)
            self._ssl.unwrap()
        except ssl.SSLError:
            pass  # it is sent, and the client's is not there
        if unread:
            self._incoming.write(unread)
        self._flush()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._below.write(self._outgoing.read())

    # Ending -----------------------------------------------------------------------------------------

    def close(self) -> None:
        """Send what is unsent and close_notify, then close. connection_lost(None) is called after that."""
        if self._closing:
            return
        if not self._eof_written:
            self._send_close_notify()
        self._closing = True
        self._below.close()

    def abort(self) -> None:
        """Close now; what is unsent is lost."""
        self._closing = True
        self._below.abort()

    def _call(self, method: Callable[..., Any], *args: Any) -> Any:
        """Call the protocol; what it raises ends this connection and no other."""
        try:
            return method(*args)
        except Exception as error:
            self._fail(error)
            return None

    def _fail(self, error: Exception) -> None:
        if self._error is None and not self._closing:
            self._error = error
            self._closing = True
            self._failed(error)
            self._below.abort()

    # The rest of a transport ------------------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return "ssl_object", "sslcontext", "peercert", "cipher", "compression", or what is known below."""
        if name == "ssl_object":
            return self._ssl
        if name == "sslcontext":
            return self._ssl.context
        if name in _EXTRA:
            return getattr(self._ssl, _EXTRA[name])()
        return self._below.get_extra_info(name, default)

    def get_protocol(self) -> Any:
        """Return the protocol; None before and after the connection."""
        return self._protocol

    def set_protocol(self, protocol: Any) -> None:
        """Switch to another protocol."""
        self._protocol = protocol
        self._deliver = self._deliver_into if hasattr(protocol, "get_buffer") else self._deliver_bytes
