"""Download: sends pieces of an open file as the body of a response, in constant memory.

It uses sendfile(2) if the transport or the event loop allows it; else it reads and writes as fast as the
client takes the data. The file is closed at the end, and when the connection is lost.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable
from io import FileIO

from plugport.contracts import TimerHandle
from plugport.transports import call_later

from plugport_http.files.ranges import Region
from plugport_http.protocol import HTTPProtocol

__all__ = ["Download"]

#: Bytes to read and write at once.
_READ_SIZE = 65536
#: Pieces to write before other connections have their turn.
_BURST = 4
#: Bytes of one call of sendfile(2) on an event loop, before other connections have their turn.
_BLOCK = 262144


class Download:
    """Sends *pieces*, bytes and regions of the open file *fd*, then calls *ended*."""

    def __init__(
        self, protocol: HTTPProtocol, fd: int, pieces: list[bytes | Region], ended: Callable[[], None]
    ) -> None:
        self._protocol = protocol
        self._ended = ended
        self._transport = protocol.transport
        self._send_file: Callable[..., None] | None = getattr(protocol.transport, "send_file", None)
        self._file = FileIO(fd, "rb")
        self._pieces = deque(pieces)
        self._timer: TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None  # while sendfile(2) is used on an event loop
        self._socket_fd = -1  # a copy of the socket's descriptor, then
        self._watching = False

    def start(self) -> None:
        """Begin, after the head was sent."""
        if self._send_file is not None:
            self._protocol.set_direct_sending(True)
            self._send_by_transport()
        elif self._copy_descriptor():
            self._protocol.set_direct_sending(True)
            self._send_by_descriptor()
        else:
            self.go_on()

    def cancel(self) -> None:
        """Stop sending, because the connection is lost."""
        if self._timer is not None:
            self._timer.cancel()
        self._release_descriptor()
        self._file.close()

    def _end(self) -> None:
        self._file.close()
        self._protocol.set_direct_sending(False)
        self._ended()

    # With plugport's transports: send_file() --------------------------------------------------------

    def _send_by_transport(self) -> None:
        assert self._send_file is not None
        if self._file.closed:
            return
        http = self._protocol.http
        while self._pieces:
            piece = self._pieces.popleft()
            if isinstance(piece, tuple):
                http.count_body(piece[1])
                self._send_file(self._file, *piece, self._send_by_transport)
                return
            self._transport.write(http.send_body(piece))
        self._end()

    # On an event loop: sendfile(2) to a copy of the socket's descriptor -----------------------------

    def _copy_descriptor(self) -> bool:
        """Prepare for sendfile(2) on an event loop; return False if that is not possible.

        The loop reserves the socket's own descriptor for the transport, but it can watch a copy. sendfile(2)
        must not overtake the transport's unsent data, so the limit of its buffer is zero in the meantime.
        """
        transport = self._transport
        if not isinstance(transport, asyncio.Transport) or transport.get_extra_info("ssl_object") is not None:
            return False
        try:
            self._socket_fd = os.dup(transport.get_extra_info("socket").fileno())
        except (AttributeError, OSError):
            return False  # not a socket of the system, or too many open files
        self._loop = asyncio.get_running_loop()
        transport.set_write_buffer_limits(high=0)
        return True

    def _send_by_descriptor(self) -> None:
        """Send a block. Called when the copy of the descriptor, or the transport, is writable."""
        protocol, transport, pieces = self._protocol, self._transport, self._pieces
        if transport.is_closing():
            self._watch(False)  # connection_lost() follows
            return
        while pieces and protocol.can_write:
            piece = pieces.popleft()
            if isinstance(piece, bytes):
                transport.write(protocol.http.send_body(piece))
                continue
            offset, count = piece
            try:
                sent = os.sendfile(self._socket_fd, self._file.fileno(), offset, min(count, _BLOCK))
            except BlockingIOError:
                pieces.appendleft(piece)
                self._watch(True)
                return
            except ConnectionError:
                transport.abort()
                return
            except OSError:  # sendfile(2) does not support the file
                pieces.appendleft(piece)
                self._release_descriptor()
                protocol.set_direct_sending(False)
                self.go_on()
                return
            if not sent:  # the file became shorter
                transport.abort()
                return
            protocol.http.count_body(sent)
            protocol.note_progress()
            if sent < count:
                pieces.appendleft((offset + sent, count - sent))
                self._watch(True)
                return
        if pieces:
            self._watch(False)  # writable() continues when the transport has sent its data
        else:
            self._release_descriptor()
            self._end()

    def _watch(self, on: bool) -> None:
        if on is not self._watching and self._loop is not None:
            self._watching = on
            if on:
                self._loop.add_writer(self._socket_fd, self._send_by_descriptor)
            else:
                self._loop.remove_writer(self._socket_fd)

    def _release_descriptor(self) -> None:
        if self._loop is None:
            return
        self._watch(False)
        self._loop = None
        os.close(self._socket_fd)
        if not self._transport.is_closing():
            self._transport.set_write_buffer_limits()

    # With other transports: reading and writing -----------------------------------------------------

    def go_on(self) -> None:
        """Write as much as the client takes, and at most a burst."""
        self._timer = None
        protocol, transport = self._protocol, self._transport
        for _ in range(_BURST):
            if not protocol.can_write or transport.is_closing() or self._file.closed:
                return
            if not self._pieces:
                self._end()
                return
            piece = self._pieces.popleft()
            if isinstance(piece, tuple):
                offset, count = piece
                data = os.pread(self._file.fileno(), min(count, _READ_SIZE), offset)
                if not data:  # the file became shorter
                    transport.abort()
                    return
                if len(data) < count:
                    self._pieces.appendleft((offset + len(data), count - len(data)))
            else:
                data = piece
            transport.write(protocol.http.send_body(data))
        if self._timer is None:
            self._timer = call_later(transport, 0.0, self.go_on)

    def writable(self) -> None:
        """Continue after the client has taken the data that was written."""
        if self._loop is not None:
            self._send_by_descriptor()
        elif self._send_file is None and self._timer is None:
            self.go_on()
