"""blocking -> protocol: the handler runs in a greenlet that is switched out where it would block.

What a blocking handler is given as its request looks like the socket that it expects. What it
does besides, a sleep or a query elsewhere, blocks the loop for all: nothing is patched.
"""

from __future__ import annotations

import errno
import io
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Self

import greenlet

from plugport.context import RequestContext

__all__ = ["SwitchedProtocol", "SwitchedSocket", "switched_protocol"]

#: Unread bytes above which the transport is told to read no more.
_HIGH_WATER = 262144
_CHUNK = 65536
#: Bytes that a handler may write before the loop has its turn.
_MAX_BURST = 262144


class SwitchedSocket:
    """A connection as a blocking handler sees it: the part of socket.socket that handlers use.

    Calls that would block switch to the loop until they can go on, or raise TimeoutError after
    gettimeout() seconds. Data written is the transport's to send; writers wait while too much of
    it is unsent.
    """

    __slots__ = ("_closed", "_io_refs", "_link", "_timeout")

    def __init__(self, link: SwitchedProtocol) -> None:
        self._link = link
        self._timeout: float | None = None
        self._io_refs = 0
        self._closed = False

    # Reading ------------------------------------------------------------------------------------

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """Return up to *bufsize* bytes, b"" at the end. Honours MSG_PEEK and MSG_WAITALL."""
        self._check_open()
        link = self._link
        link.wait_for_data(bufsize if flags & socket.MSG_WAITALL else min(bufsize, 1), self._timeout)
        return link.take(bufsize, keep=bool(flags & socket.MSG_PEEK))

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Read into *buffer*; return the number of bytes."""
        with memoryview(buffer).cast("B") as view:
            data = self.recv(nbytes or len(view), flags)
            view[: len(data)] = data
            return len(data)

    def recvfrom(self, bufsize: int, flags: int = 0) -> tuple[bytes, Any]:
        """Return what recv() does, and None: a connection's data has no sender's address."""
        return self.recv(bufsize, flags), None

    # Writing ------------------------------------------------------------------------------------

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send all of *data*."""
        self._check_open()
        self._link.write(data, self._timeout)

    def send(self, data: Any, flags: int = 0) -> int:
        """Send *data*; return its length in bytes."""
        self.sendall(data, flags)
        with memoryview(data) as view:
            return view.nbytes

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Send *file* from *offset* on, to its end or *count* bytes of it; return the number of bytes."""
        if offset:
            file.seek(offset)
        total = 0
        while count is None or total < count:
            data = file.read(_CHUNK if count is None else min(_CHUNK, count - total))
            if not data:
                break
            self.sendall(data)
            total += len(data)
        return total

    # The rest of a socket -----------------------------------------------------------------------

    def makefile(
        self,
        mode: str = "r",
        buffering: int | None = None,
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> Any:
        """Return a file on the connection, as socket.makefile() does."""
        if not set(mode) <= {"r", "w", "b"}:
            raise ValueError(f"invalid mode {mode!r} (only r, w, b allowed)")
        writing = "w" in mode
        reading = "r" in mode or not writing
        raw: Any = socket.SocketIO(self, ("r" if reading else "") + ("w" if writing else ""))  # type: ignore[arg-type]
        self._io_refs += 1
        if buffering is None or buffering < 0:
            buffering = io.DEFAULT_BUFFER_SIZE
        if buffering == 0:
            if "b" not in mode:
                raise ValueError("unbuffered streams must be binary")
            return raw
        buffered: Any
        if reading and writing:
            buffered = io.BufferedRWPair(raw, raw, buffering)
        elif reading:
            buffered = io.BufferedReader(raw, buffering)
        else:
            buffered = io.BufferedWriter(raw, buffering)
        if "b" in mode:
            return buffered
        text = io.TextIOWrapper(buffered, io.text_encoding(encoding), errors, newline)
        text.mode = mode  # type: ignore[misc]
        return text

    def shutdown(self, how: int) -> None:
        """Shut down reading, writing or both."""
        if how in (socket.SHUT_RD, socket.SHUT_RDWR):
            self._link.eof = True
        if how in (socket.SHUT_WR, socket.SHUT_RDWR):
            self._link.write_eof()

    def close(self) -> None:
        """Close the connection, once the files on it are closed."""
        self._closed = True
        if self._io_refs <= 0:
            self._link.transport.close()

    def _check_open(self) -> None:
        if self._closed and self._io_refs <= 0:  # files on it keep it open
            raise OSError(errno.EBADF, "Bad file descriptor")

    def _decref_socketios(self) -> None:
        if self._io_refs > 0:
            self._io_refs -= 1
        if self._closed:
            self.close()

    def detach(self) -> int:
        """Return the descriptor, which is the caller's to use and to close from now on."""
        self._closed, self._io_refs = True, 0
        return self._link.detach()

    def fileno(self) -> int:
        """Return the descriptor, -1 once the connection is closed."""
        return -1 if self._closed and self._io_refs <= 0 else self._real().fileno()

    def gettimeout(self) -> float | None:
        """Return the seconds that calls may wait; None for ever, 0.0 not at all."""
        return self._timeout

    def settimeout(self, value: float | None) -> None:
        """Set the seconds that calls may wait."""
        if value is not None and value < 0:
            raise ValueError("Timeout value out of range")
        self._timeout = value

    def setblocking(self, flag: bool) -> None:
        """Wait for ever, or not at all."""
        self._timeout = None if flag else 0.0

    def getblocking(self) -> bool:
        """Return whether calls may wait."""
        return self._timeout != 0.0

    def getpeername(self) -> Any:
        """Return the client's address."""
        return self._real().getpeername()

    def getsockname(self) -> Any:
        """Return the server's address."""
        return self._real().getsockname()

    def setsockopt(self, *args: Any) -> None:
        """Set an option of the real socket."""
        self._real().setsockopt(*args)

    def getsockopt(self, *args: Any) -> Any:
        """Return an option of the real socket."""
        return self._real().getsockopt(*args)

    @property
    def family(self) -> Any:
        """The address family."""
        return self._real().family

    @property
    def type(self) -> Any:
        """The socket type: SOCK_STREAM."""
        return self._real().type

    @property
    def proto(self) -> int:
        """The protocol number."""
        proto: int = self._real().proto
        return proto

    def _real(self) -> Any:
        return self._link.transport.get_extra_info("socket")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class SwitchedProtocol:
    """The protocol of one connection whose handler runs in a greenlet."""

    __slots__ = (
        "_burst",
        "_chunks",
        "_context",
        "_greenlet",
        "_handler",
        "_lost",
        "_paused",
        "_reading_paused",
        "_waiting",
        "_wanted",
        "eof",
        "transport",
        "unread",
    )

    def __init__(self, handler: Callable[[Any, Any, Any], Any], context: RequestContext) -> None:
        self._handler = handler
        self._context = context
        self._chunks: deque[bytes] = deque()
        self._greenlet: greenlet.greenlet | None = None
        self._waiting = False  # the greenlet is switched out
        self._paused = False  # too much is unsent
        self._wanted = 0  # bytes that the handler has waited for last
        self._burst = 0  # bytes written since the loop had its turn
        self._reading_paused = False
        self._lost: Exception | None = None
        self.unread = 0
        self.eof = False
        self.transport: Any = None

    # Called by the loop -------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """Start the handler; it runs until it must wait."""
        self.transport = transport
        self._greenlet = greenlet.greenlet(self._run)
        self._greenlet.switch()

    def data_received(self, data: bytes) -> None:
        """Keep *data* for the handler, and switch to it if it waits."""
        self._chunks.append(data)
        self.unread += len(data)
        self._resume()
        if self.unread > max(_HIGH_WATER, self._wanted) and not self._reading_paused:
            self._reading_paused = True
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        """Let the handler see the end; the connection stays open for its reply."""
        self.eof = True
        self._resume()
        return True

    def pause_writing(self) -> None:
        """Have writers wait."""
        self._paused = True

    def resume_writing(self) -> None:
        """Let the handler write on."""
        self._paused = False
        self._resume()

    def connection_lost(self, error: Exception | None) -> None:
        """Let the handler see that the connection is gone; it does not wait any more."""
        self._lost = error or BrokenPipeError(errno.EPIPE, "Broken pipe")
        self.eof = True
        self._paused = False
        self._resume()
        self._greenlet = None

    def _run(self) -> None:
        context = self._context
        server = context.server
        try:
            self._handler(SwitchedSocket(self), context.client_address, server)
        except Exception as error:
            # What it has written before is still sent, as it would be by a blocking server.
            server.take_error(context.request, context.client_address, error)
        except (SystemExit, greenlet.GreenletExit) as error:
            server.fail_request(context.request, error)  # ends this request, as it would end a thread
        finally:
            self.transport.close()

    # Called by the handler, in its greenlet --------------------------------------------------------

    def wait_for_data(self, count: int, timeout: float | None) -> None:
        """Wait until *count* bytes are there to read, or the end of the stream.

        Raises ConnectionResetError if the connection broke and nothing is left to read.
        """
        self._wanted = count
        while self.unread < count and not self.eof:
            if self._reading_paused:
                self._reading_paused = False
                self.transport.resume_reading()
            self._wait(timeout)
        if isinstance(self._lost, ConnectionResetError) and not self.unread:
            raise self._lost

    def take(self, count: int, keep: bool) -> bytes:
        """Return up to *count* of the bytes that are there; *keep* leaves them."""
        chunks = self._chunks
        if not chunks:
            return b""
        if len(chunks) > 1 and len(chunks[0]) < count:
            joined = b"".join(chunks)
            chunks.clear()
            chunks.append(joined)
        data = chunks[0][:count]
        if not keep:
            self.unread -= len(data)
            if len(data) == len(chunks[0]):
                chunks.popleft()
            else:
                chunks[0] = chunks[0][len(data) :]
        return data

    def write(self, data: Any, timeout: float | None) -> None:
        """Give *data* to the transport, and wait while too much is unsent."""
        if self._lost is not None:
            raise self._lost
        self.transport.write(data)
        self._burst += len(data)
        if self._burst > _MAX_BURST and not self._paused:
            # A client that takes all at once must not keep the loop from the others.
            self.transport.call_soon(self._resume)
            self._wait(None)
        while self._paused:
            self._wait(timeout)
        if self._lost is not None:
            raise self._lost

    def write_eof(self) -> None:
        """End what is sent."""
        self._lost = self._lost or BrokenPipeError(errno.EPIPE, "Broken pipe")
        self.transport.write_eof()

    def detach(self) -> int:
        """Take the descriptor from the loop."""
        sock = self.transport.detach()
        sock.setblocking(True)
        fd: int = sock.detach()
        return fd

    def _resume(self) -> None:
        if self._waiting and self._greenlet is not None:
            self._greenlet.switch()

    def _wait(self, timeout: float | None) -> None:
        """Switch to the loop until something has happened. Raises TimeoutError, BlockingIOError."""
        if timeout == 0.0:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        expired = False

        def expire() -> None:
            nonlocal expired
            expired = True
            self._resume()

        timer = None if timeout is None else self.transport.call_later(timeout, expire)
        self._burst = 0
        self._waiting = True
        try:
            greenlet.getcurrent().parent.switch()  # type: ignore[union-attr]
        finally:
            self._waiting = False
            if timer is not None:
                timer.cancel()
        if expired:
            raise TimeoutError("timed out")


def switched_protocol(
    handler: Callable[[Any, Any, Any], Any],
) -> Callable[[RequestContext], SwitchedProtocol]:
    """Return what makes the protocol of a connection, from a blocking handler."""
    return lambda context: SwitchedProtocol(handler, context)
