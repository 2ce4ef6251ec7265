"""StreamTransport: the transport of a connection."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, ClassVar

from plugport.contracts.interfaces import AnyProtocol, Buffer
from plugport.contracts.loops import READ, WRITE, TimerHandle, TransportLoop
from plugport.contracts.requests import RequestContext
from plugport.transports.base import HIGH_WATER, BaseTransport, TransportOwner, write_buffer_limits
from plugport.transports.regions import FileRegion, OpenFile
from plugport.transports.unsent import Unsent

__all__ = ["StreamTransport"]

#: Bytes read from a connection at once: one busy client gets no more in a turn of the loop.
_READ_SIZE = 65536
#: The same after small reads. (A bytes object of this size takes 512 bytes with its header, the largest size
#: that CPython's own allocator serves, which is fast.)
_SMALL_READ_SIZE = 479


class StreamTransport(BaseTransport):
    """A connection's transport. (asyncio.Transport)

    The socket must be non-blocking. *loop* watches it; errors and the end are reported to *owner*.
    """

    __slots__ = (
        "_buffer",
        "_clear",
        "_eof_received",
        "_eof_written",
        "_events",
        "_fd",
        "_high",
        "_low",
        "_paused",
        "_read_size",
        "_receive",
        "_small_reads",
        "_writing_paused",
    )

    #: The number of small reads in a row after which the size of a read is reduced; negative: never.
    small_reads_limit: ClassVar[int] = 8

    context: RequestContext

    def __init__(
        self,
        loop: TransportLoop | None,
        sock: socket.socket,
        protocol: AnyProtocol,
        owner: TransportOwner[StreamTransport],
        context: RequestContext,
    ) -> None:
        super().__init__(loop, sock, protocol, owner, context)
        self._fd: int = sock.fileno()
        #: Unsent data; None until there is some: most connections never have any.
        self._buffer: Unsent | None = None
        self._high, self._low = HIGH_WATER, HIGH_WATER // 4
        self._paused = False
        self._writing_paused = False
        self._eof_received = False
        self._eof_written = False
        #: Whether write() may send to the socket at once.
        self._clear = True
        #: The events that the loop watches the socket for; None while it does not watch it.
        self._events: int | None = None
        self._read_size = _READ_SIZE
        self._small_reads = 0
        self._receive: Any = self._receive_into if hasattr(protocol, "get_buffer") else self._receive_bytes

    def start(self) -> None:
        """Call connection_made(), read what has arrived already, and begin to watch the socket.

        Most clients send at once. A connection that ends here is never registered with the loop.
        """
        try:
            self._protocol.connection_made(self)
        except Exception as error:
            self._fail(error)
            return
        if not (self._paused or self._closing):
            self._receive(READ)
        self._watch()

    def set_protocol(self, protocol: AnyProtocol) -> None:
        """Switch to another protocol."""
        self._protocol = protocol
        self._receive = self._receive_into if hasattr(protocol, "get_buffer") else self._receive_bytes
        if self._events == READ and not self._closed:
            self._loop.modify(self._fd, READ, self._receive)

    # Reading ------------------------------------------------------------------------------------

    def is_reading(self) -> bool:
        """Return whether data is read from the connection."""
        return not (self._paused or self._closing or self._eof_received)

    def pause_reading(self) -> None:
        """Stop reading until resume_reading()."""
        if not self._paused:
            self._paused = True
            self._watch()

    def resume_reading(self) -> None:
        """Read again after pause_reading()."""
        if self._paused:
            self._paused = False
            self._watch()

    def _ready(self, events: int) -> None:
        """Handle *events*, while the transport is not just reading."""
        if events & WRITE and self._buffer:
            self.context.active = True
            self._flush()
        if events & READ and not self._closed:
            if self.is_reading():
                self._receive(events)
            else:
                self._check_broken()

    def _receive_bytes(self, events: int) -> None:
        size = self._read_size
        try:
            data = self._sock.recv(size)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._fail(error)
            return
        self.context.active = True
        if not data:
            self._receive_eof()
            return
        if size == _READ_SIZE:
            if len(data) >= _SMALL_READ_SIZE:
                self._small_reads = 0
            elif self._small_reads == self.small_reads_limit:
                self._read_size = _SMALL_READ_SIZE
            else:
                self._small_reads += 1
        elif len(data) == size:
            self._read_size, self._small_reads = _READ_SIZE, 0
            try:
                data += self._sock.recv(_READ_SIZE)  # data that arrived together stays in one piece
            except OSError:
                pass  # there is no more, or the connection broke: the next read shows which
        try:
            self._protocol.data_received(data)
        except Exception as error:
            self._fail(error)

    def _receive_into(self, events: int) -> None:
        self.context.active = True
        try:
            buffer = self._protocol.get_buffer(-1)
            if not len(buffer):
                raise RuntimeError("get_buffer() returned an empty buffer")
            try:
                count = self._sock.recv_into(buffer)
            except (BlockingIOError, InterruptedError):
                return
            if count:
                self._protocol.buffer_updated(count)
            else:
                self._receive_eof()
        except Exception as error:
            self._fail(error)

    def _receive_eof(self) -> None:
        self._eof_received = True
        try:
            keep_open = self._protocol.eof_received()
        except Exception as error:
            self._fail(error)
            return
        if keep_open and not self._closing:
            self._watch()
        else:
            self.close()

    def _check_broken(self) -> None:
        # The socket is not watched for reading and yet is readable: the connection is broken.
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._fail(OSError(code, "the connection broke"))
        elif self._buffer:
            self._flush()
        elif self._closing:
            self._lose(None)
        else:
            # Reading was paused after the poll; or both directions are shut down, which the poller would
            # report in each turn. The socket is not watched until reading resumes.
            self._loop.unregister(self._fd)
            self._events = None

    # Writing ------------------------------------------------------------------------------------

    def write(self, data: Buffer) -> None:
        """Send *data*: at once as much as the socket accepts, the rest later. Never blocks.

        Raises TypeError if it is not bytes-like, RuntimeError after write_eof().
        """
        if not (self._clear and data):
            self._write_later(data)
            return
        try:
            sent = self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self._fail(error)
            return
        self.context.active = True
        if sent != len(data) or type(data) is not bytes:
            rest = memoryview(data).cast("B")[sent:]
            if rest:
                self._enqueue(rest)
                self._watch()

    def _write_later(self, data: Buffer) -> None:
        """Queue data that write() can't send at once."""
        if not isinstance(data, (bytes, bytearray)):
            data = memoryview(data).cast("B")  # send() accepts any buffer, so this must as well
        if self._eof_written:
            raise RuntimeError("write() after write_eof()")
        if not self._closing and data:
            self.context.active = True
            self._enqueue(data)
            self._watch()  # a write() in resume_writing() may find the socket watched for reading alone

    def writelines(self, list_of_data: Iterable[Buffer]) -> None:
        """Send the pieces, joined."""
        self.write(b"".join(list_of_data))

    def send_file(self, file: OpenFile, offset: int, count: int, done: Callable[[], None]) -> None:
        """Send *count* bytes of *file* from *offset* on, after the unsent data, by sendfile(2) if possible.

        The loop calls *done* when the socket has accepted all of them. The file must stay open until then,
        or until the connection is lost. get_write_buffer_size() counts the unsent bytes of the file.
        """
        if self._eof_written:
            raise RuntimeError("send_file() after write_eof()")
        if self._closing:
            return
        if not count:
            self.call_soon(done)
            return
        clear = self._clear
        self.context.active = True
        self._queue().append_file(FileRegion(file, offset, count, done))
        self._queued()
        if clear:
            self._flush()
        self._watch()

    def _enqueue(self, data: Buffer) -> None:
        self._queue().append(data)
        self._queued()

    def _queue(self) -> Unsent:
        if self._buffer is None:
            self._buffer = Unsent()
        return self._buffer

    def _queued(self) -> None:
        self._clear = False
        if self.get_write_buffer_size() > self._high and not self._writing_paused:
            self._writing_paused = True
            self._call(self._protocol.pause_writing)

    def _flush(self) -> None:
        buffer = self._buffer
        if not buffer:
            return
        try:
            done = buffer.send(self._sock)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._fail(error)
            return
        if done is not None:
            self.call_soon(done)
        if self._writing_paused and buffer.size <= self._low:
            self._writing_paused = False
            self._call(self._protocol.resume_writing)
        if not self._buffer:
            if self._eof_written:
                self._shut_down_writing()
            if self._closing:
                self._lose(None)
            else:
                self._clear = not self._eof_written
                self._watch()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the sizes of unsent data in bytes at which writing pauses and resumes.

        The defaults are asyncio's. Raises ValueError unless high >= low >= 0.
        """
        self._high, self._low = write_buffer_limits(high, low)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return (low, high)."""
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        """Return how many bytes are unsent."""
        return self._buffer.size if self._buffer is not None else 0

    def can_write_eof(self) -> bool:
        """Return True: connections can be half-closed."""
        return True

    def write_eof(self) -> None:
        """End the stream that is sent, after the unsent data. Reading continues."""
        if self._closing or self._eof_written:
            return
        self._eof_written = True
        self._clear = False
        if not self._buffer:
            self._shut_down_writing()

    def _shut_down_writing(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    # Ending -------------------------------------------------------------------------------------

    def close(self) -> None:
        """Send the unsent data, then close and call connection_lost(None)."""
        if self._closing:
            return
        self._closing = True
        self._clear = False
        if self._buffer:
            self._watch()
        else:
            self._lose(None)

    def abort(self) -> None:
        """Close at once; unsent data is lost."""
        self._lose(None)

    def detach(self) -> socket.socket:
        """Close the transport and return its socket, still open and non-blocking; unsent data is lost."""
        self._lose(None)
        sock: socket.socket = self._sock
        return sock

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Have the loop run *callback* after the current one; an exception of it ends this connection."""
        self._loop.call_soon(partial(self._call, callback))

    def call_later(self, seconds: float, callback: Callable[[], None]) -> TimerHandle:
        """Have the loop run *callback* in *seconds*; an exception of it ends this connection."""
        timer: TimerHandle = self._loop.call_later(seconds, partial(self._call, callback))
        return timer

    def _lose(self, error: Exception | None) -> None:
        if self._closed:
            return
        self._closed = self._closing = True
        self._clear = False
        self._buffer = None
        if self._events is not None:
            self._loop.unregister(self._fd)
        # connection_lost() must not be called inside another call of the protocol (asyncio's rule).
        self._loop.call_soon(partial(self._lost, error))

    def _lost(self, error: Exception | None) -> None:
        try:
            self._protocol.connection_lost(error)
        except Exception as failure:
            self._owner.transport_failed(self, failure)
        finally:
            self._owner.transport_lost(self)
            # Break the reference cycle, so that memory is freed without the garbage collector.
            self._receive = self._protocol = None

    def _watch(self) -> None:
        if self._closed:
            return
        events = READ if not (self._paused or self._closing or self._eof_received) else 0
        if self._buffer:
            events |= WRITE
        if events != self._events:
            watch = self._loop.register if self._events is None else self._loop.modify
            watch(self._fd, events, self._receive if events == READ else self._ready)
            self._events = events
