"""TLSTransport: TLS between a protocol and the transport of any loop, by ssl.MemoryBIO.

It does no input or output: bytes arrive in data_received() and leave by write() of the transport
below, which may be plugport's or asyncio's.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any, TypeVar, TypeVarTuple

from plugport.bridges.tls.failures import as_connection_error, handshake_failed, handshake_timed_out
from plugport.bridges.tls.upper import UpperTransport
from plugport.contracts.interfaces import AnyProtocol, Buffer, Transport
from plugport.contracts.loops import TimerHandle

__all__ = ["TLSTransport"]

_Arguments = TypeVarTuple("_Arguments")
_Result = TypeVar("_Result")

#: Bytes to read of a record at most; the longest record has 16 KiB.
_READ_SIZE = 65536
#: Bytes that are encrypted at once: longer data is passed to the transport below in pieces, to save memory.
_WRITE_SIZE = 262144
#: Names for get_extra_info(), and the ssl.SSLObject's method for each.
_EXTRA = {"peercert": "getpeercert", "cipher": "cipher", "compression": "compression"}


class TLSTransport(UpperTransport):
    """The transport of a connection over TLS, which is the protocol of the transport below.

    *make_protocol* makes the protocol above when the handshake is done, within *handshake_timeout* seconds.
    A client whose handshake fails gets an alert, or nothing. *failed* is called once, with the exception of
    the protocol or the error of the connection.

    Has the interface of asyncio.Transport, with one addition: write_eof() sends close_notify, and reading
    continues (RFC 8446, 6.1), although can_write_eof() returns False, as asyncio's does. The received stream
    ends by close_notify, or by the end of the connection below; if the protocol's eof_received() returns
    true, writing continues.

    There is no second buffer: data is encrypted when it is written, and waits in the transport below, whose
    limits and calls of pause_writing() apply to this one.
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
        make_protocol: Callable[[], AnyProtocol],
        context: ssl.SSLContext,
        handshake_timeout: float,
        failed: Callable[[Exception], object],
    ) -> None:
        super().__init__()
        self._make_protocol: Callable[[], AnyProtocol] | None = make_protocol
        self._limit = handshake_timeout
        self._failed = failed
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        #: Decrypted bytes for the protocol, which were read in order to send close_notify.
        self._taken = b""
        self._protocol: Any = None  # until the handshake is done
        self._deliver: Callable[[], None] | None = None
        self._timer: TimerHandle | None = None
        self._paused = False
        self._ended = False  # the client has ended its stream
        self._kept_open = False  # and the protocol continues to write
        self._eof_written = False
        self._error: Exception | None = None

    # The protocol of the transport below ------------------------------------------------------------

    def connection_made(self, transport: Transport) -> None:
        """Wait for the client's handshake."""
        self._below = transport
        self._timer = self.call_later(self._limit, self._expire)

    def data_received(self, data: bytes) -> None:
        """Continue the handshake, or decrypt *data* for the protocol."""
        if self._ended or self._closing:
            return  # data after close_notify is ignored
        self._incoming.write(data)
        if self._protocol is None and not self._do_handshake():
            return
        if self._deliver is not None and self._incoming.pending and not self._paused:
            self._deliver()

    def eof_received(self) -> bool:
        """Handle the end of the connection as that of the stream; return whether it stays open."""
        if self._protocol is None:
            self._fail(ConnectionAbortedError("the client went away in the TLS handshake"))
        elif not self._ended:
            self._end()
        return self._kept_open

    def pause_writing(self) -> None:
        """Pass the call on, after the handshake."""
        if self._protocol is not None:
            self._call(self._protocol.pause_writing)

    def resume_writing(self) -> None:
        """Pass the call on, after the handshake."""
        if self._protocol is not None and not self._closing:
            self._call(self._protocol.resume_writing)

    def connection_lost(self, error: Exception | None) -> None:
        """Pass the call on, if the protocol's connection_made() was called."""
        self._closing = True
        self._cancel_timer()
        protocol, self._protocol = self._protocol, None
        self._deliver = self._make_protocol = None  # break the reference cycles
        if protocol is not None:
            protocol.connection_lost(self._error or (None if error is None else as_connection_error(error)))

    # The handshake ----------------------------------------------------------------------------------

    def _do_handshake(self) -> bool:
        """Continue the handshake; return whether it is done and the protocol has been started."""
        try:
            self._ssl.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except (ssl.SSLError, ValueError) as error:
            self._flush()  # the alert
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
        """Pass all data that can be decrypted to the protocol, in one piece."""
        pieces = [self._taken] if self._taken else []
        self._taken = b""
        incoming, read, pending = self._incoming, self._ssl.read, self._ssl.pending
        error: Exception | None = None
        ended = False
        try:
            # A read without data costs an exception.
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
        """Fill the protocol's own buffer until there is no more data, or the protocol pauses reading."""
        protocol = self._protocol
        error: Exception | None = None
        ended = False
        try:
            while not (self._paused or self._closing) and self._has_more():
                if self._protocol is not protocol:  # set_protocol() was called
                    if self._deliver is not None:
                        self._deliver()
                    return
                buffer: Any = self._call(protocol.get_buffer, -1)
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
            self._flush()  # an alert, or a key update
        if error is not None:
            self._fail(as_connection_error(error))
        elif ended and not self._closing:
            self._end()

    def _end(self) -> None:
        """Call the protocol's eof_received(); close, unless it returns true."""
        self._ended = True
        self._kept_open = bool(self._call(self._protocol.eof_received)) and not self._closing
        if not self._kept_open:
            self.close()

    def is_reading(self) -> bool:
        """Return whether data is read from the connection."""
        return not (self._paused or self._closing or self._ended)

    def pause_reading(self) -> None:
        """Stop reading until resume_reading()."""
        if not self._paused:
            self._paused = True
            self._below.pause_reading()

    def resume_reading(self) -> None:
        """Read again after pause_reading()."""
        if self._paused:
            self._paused = False
            if self._has_more():
                self.call_soon(self._deliver_rest)
            else:
                self._below.resume_reading()

    def _deliver_rest(self) -> None:
        """Pass on the data that arrived before the pause, then resume reading below."""
        if self._deliver is not None and not (self._paused or self._closing or self._ended):
            self._deliver()
        if not (self._paused or self._closing):
            self._below.resume_reading()

    # Writing ----------------------------------------------------------------------------------------

    def write(self, data: Buffer) -> None:
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

    def writelines(self, list_of_data: Iterable[Buffer]) -> None:
        """Send the pieces, joined."""
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        """Return False, as asyncio's transport over TLS does."""
        return False

    def write_eof(self) -> None:
        """Send close_notify, which ends the stream that is sent. Reading continues."""
        if not (self._closing or self._eof_written):
            self._eof_written = True
            self._send_close_notify()

    def _send_close_notify(self) -> None:
        """Send close_notify without waiting for the client's."""
        # Received data is set aside for the protocol: OpenSSL would look for the client's close_notify in it,
        # and report an error for anything else.
        unread = self._incoming.read()
        try:
            while pending := self._ssl.pending():
                self._taken += self._ssl.read(pending)
            self._ssl.unwrap()
        except ssl.SSLError:
            pass  # it is sent; the client's has not arrived
        if unread:
            self._incoming.write(unread)
        self._flush()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._below.write(self._outgoing.read())

    # Ending -----------------------------------------------------------------------------------------

    def close(self) -> None:
        """Send the unsent data and close_notify, then close and call connection_lost(None)."""
        if self._closing:
            return
        if not self._eof_written:
            self._send_close_notify()
        self._closing = True
        self._below.close()

    def abort(self) -> None:
        """Close at once; unsent data is lost."""
        self._closing = True
        self._below.abort()

    def _call(self, method: Callable[[*_Arguments], _Result], *args: *_Arguments) -> _Result | None:
        """Call a method of the protocol; an exception that it raises ends this connection and no other."""
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

    def get_extra_info(self, name: str, default: object = None) -> Any:
        """Return "ssl_object", "sslcontext", "peercert", "cipher", "compression", or what is known below."""
        if name == "ssl_object":
            return self._ssl
        if name == "sslcontext":
            return self._ssl.context
        if name in _EXTRA:
            return getattr(self._ssl, _EXTRA[name])()
        return self._below.get_extra_info(name, default)

    def get_protocol(self) -> Any:
        """Return the protocol; None before the handshake is done and after the connection was lost."""
        return self._protocol

    def set_protocol(self, protocol: AnyProtocol) -> None:
        """Switch to another protocol."""
        self._protocol = protocol
        self._deliver = self._deliver_into if hasattr(protocol, "get_buffer") else self._deliver_bytes
