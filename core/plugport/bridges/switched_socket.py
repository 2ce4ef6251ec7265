"""SwitchedSocket: a connection as a blocking handler in a greenlet sees it."""

from __future__ import annotations

import errno
import io
import socket
from typing import TYPE_CHECKING, Any, Protocol, Self

from plugport.contracts.interfaces import Buffer

if TYPE_CHECKING:
    from typing import IO

    from plugport.contracts.interfaces import DetachableTransport

    class _Connection(Protocol):
        """The connection of a SwitchedSocket; its methods wait in the handler's greenlet."""

        unread: bytes | bytearray

        @property
        def transport(self) -> DetachableTransport: ...
        def wait_for_data(self, count: int, timeout: float | None) -> None: ...
        def receive(self, count: int, timeout: float | None) -> bytes: ...
        def take(self, count: int) -> bytes: ...
        def write(self, data: Buffer, timeout: float | None) -> None: ...
        def end_reading(self) -> None: ...
        def write_eof(self) -> None: ...
        def detach(self) -> int: ...


__all__ = ["SwitchedSocket"]

_CHUNK = 65536
# As plain integers: the socket module has enumerations, which are slower to test.
_PEEK, _WAITALL = int(socket.MSG_PEEK), int(getattr(socket, "MSG_WAITALL", 0))
_DONT_WAIT = int(getattr(socket, "MSG_DONTWAIT", 0))
#: The attributes of an ssl.SSLSocket that describe its connection.
_TLS_ATTRIBUTES = frozenset(
    {
        "cipher",
        "compression",
        "context",
        "get_channel_binding",
        "getpeercert",
        "selected_alpn_protocol",
        "server_hostname",
        "server_side",
        "session",
        "session_reused",
        "shared_ciphers",
        "version",
    }
)


class SwitchedSocket:
    """A connection as a blocking handler sees it: the part of socket.socket that handlers use.

    A call that would block lets the loop run until it can continue, or raises TimeoutError after gettimeout()
    seconds. The transport sends what is written; a call that writes waits while too much data is unsent.
    """

    __slots__ = ("_closed", "_connection", "_io_refs", "_timeout")

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection
        self._timeout: float | None = None
        self._io_refs = 0
        self._closed = False

    # Reading ------------------------------------------------------------------------------------

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """Return up to *bufsize* bytes, b"" at the end. Honours MSG_PEEK, MSG_WAITALL, MSG_DONTWAIT."""
        if self._closed:
            self._check_open()
        connection = self._connection
        if flags:
            timeout = 0.0 if flags & _DONT_WAIT else self._timeout
            connection.wait_for_data(bufsize if flags & _WAITALL else min(bufsize, 1), timeout)
            if flags & _PEEK:
                return bytes(connection.unread[:bufsize])
        elif bufsize:
            return connection.receive(bufsize, self._timeout)
        return connection.take(bufsize)

    def recv_into(self, buffer: bytearray | memoryview, nbytes: int = 0, flags: int = 0) -> int:
        """Read into *buffer*; return the number of bytes."""
        with memoryview(buffer).cast("B") as view:
            data = self.recv(nbytes or len(view), flags)
            view[: len(data)] = data
            return len(data)

    def recvfrom(self, bufsize: int, flags: int = 0) -> tuple[bytes, None]:
        """Return the result of recv(), and None: data of a connection has no sender's address."""
        return self.recv(bufsize, flags), None

    # Writing ------------------------------------------------------------------------------------

    def sendall(self, data: Buffer, flags: int = 0) -> None:
        """Send all of *data*."""
        if self._closed:
            self._check_open()
        self._connection.write(data, self._timeout)

    def send(self, data: Buffer, flags: int = 0) -> int:
        """Send *data*; return its length in bytes."""
        self.sendall(data, flags)
        with memoryview(data) as view:
            return view.nbytes

    def sendfile(self, file: IO[bytes], offset: int = 0, count: int | None = None) -> int:
        """Send *file* from *offset* on, all or *count* bytes of it; return the number of bytes."""
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
            self._connection.end_reading()
        if how in (socket.SHUT_WR, socket.SHUT_RDWR):
            self._connection.write_eof()

    def close(self) -> None:
        """Close the connection, once the files on it are closed."""
        self._closed = True
        if self._io_refs <= 0:
            self._connection.transport.close()

    def _check_open(self) -> None:
        if self._closed and self._io_refs <= 0:  # makefile()'s files keep it open
            raise OSError(errno.EBADF, "Bad file descriptor")

    def _decref_socketios(self) -> None:
        if self._io_refs > 0:
            self._io_refs -= 1
        if self._closed:
            self.close()

    def detach(self) -> int:
        """Return the descriptor; from now on the caller uses and closes it."""
        self._closed, self._io_refs = True, 0
        return self._connection.detach()

    def fileno(self) -> int:
        """Return the descriptor, -1 once the connection is closed."""
        return -1 if self._closed and self._io_refs <= 0 else self._real().fileno()

    def gettimeout(self) -> float | None:
        """Return the seconds that a call may wait; None: no limit, 0.0: no wait."""
        return self._timeout

    def settimeout(self, value: float | None) -> None:
        """Set the seconds that a call may wait; None: no limit, 0.0: no wait."""
        if value is not None and value < 0.0:
            raise ValueError("Timeout value out of range")
        self._timeout = value

    def setblocking(self, flag: bool) -> None:
        """Set whether calls may wait, without a limit."""
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

    def setsockopt(self, *args: int | bytes | None) -> None:
        """Set an option of the real socket."""
        self._real().setsockopt(*args)

    def getsockopt(self, *args: int) -> Any:
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

    def __getattr__(self, name: str) -> Any:
        # Over TLS, and only there, it has the attributes of an ssl.SSLSocket.
        if name in _TLS_ATTRIBUTES:
            tls = self._connection.transport.get_extra_info("ssl_object")
            if tls is not None:
                return getattr(tls, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _real(self) -> Any:
        return self._connection.transport.get_extra_info("socket")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
