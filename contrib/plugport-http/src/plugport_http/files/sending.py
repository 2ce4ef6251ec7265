"""Download: sends pieces of an open file as the body of a response, in constant memory.

By sendfile(2) where transport and event loop can; else what is read is written as fast as the client
takes it. The file is closed in any case: at the end, or when the connection is lost.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable
from io import FileIO
from typing import Any

from plugport.transports import call_later, with_attributes

from plugport_http.files.ranges import Region
from plugport_http.protocol import HTTPProtocol

__all__ = ["Download"]

#: Bytes read and written at once.
_READ_SIZE = 65536
#: Pieces after which others have their turn, though the client takes all at once.
_BURST = 4
#: Bytes that asyncio sends before it is asked for more.
_BLOCK = 262144


class Download:
    """Sends *pieces*, bytes and regions of the open file *fd*, and calls *ended*."""

    def __init__(
        self, protocol: HTTPProtocol, fd: int, pieces: list[bytes | Region], ended: Callable[[], None]
    ) -> None:
        self._protocol = protocol
        self._ended = ended
        self._transport = protocol.transport
        self._file = FileIO(fd, "rb")
        self._pieces = deque(pieces)
        self._task: asyncio.Task[None] | None = None
        self._timer: Any = None

    def start(self) -> None:
        """Begin; the head has been sent."""
        protocol, transport = self._protocol, self._transport
        if hasattr(transport, "send_file"):
            protocol.sending(True)
            self._send_next()
        elif isinstance(transport, asyncio.Transport) and transport.get_extra_info("ssl_object") is None:
            protocol.sending(True)
            with_attributes(transport, abort=self._abort)
            self._task = asyncio.get_running_loop().create_task(self._send_by_loop())
        else:
            self.go_on()

    def _abort(self) -> None:
        """Abort the transport when the loop has let go of it: asyncio fails over one that it sends by."""
        task = self._task
        if task is None or task.done():
            self._let_go()
            self._transport.abort()
        else:
            task.add_done_callback(lambda _: self._abort())
            task.cancel()

    def _let_go(self) -> None:
        vars(self._transport).pop("abort", None)

    def cancel(self) -> None:
        """Send no more: the connection is lost."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is None:
            self._file.close()
            return
        # Until it has ended the file is the task's.
        self._task.add_done_callback(lambda _: self._file.close())
        self._task.cancel()
        try:
            # The descriptor may soon be another connection's, and the loop still watch it for this one.
            self._task.get_loop().remove_writer(self._transport.get_extra_info("socket"))
        except (RuntimeError, ValueError, OSError):
            pass  # it does not: the task was not there yet, or the socket is closed

    def _end(self) -> None:
        self._file.close()
        self._protocol.sending(False)
        self._ended()

    # By the transport -------------------------------------------------------------------------------

    def _send_next(self) -> None:
        if self._file.closed:
            return
        http, transport = self._protocol.http, self._transport
        while self._pieces:
            piece = self._pieces.popleft()
            if isinstance(piece, tuple):
                http.count_body(piece[1])
                transport.send_file(self._file, *piece, self._send_next)
                return
            transport.write(http.send_body(piece))
        self._end()

    # By asyncio's loop ------------------------------------------------------------------------------

    async def _send_by_loop(self) -> None:
        protocol, transport = self._protocol, self._transport
        loop = asyncio.get_running_loop()
        try:
            while self._pieces:
                piece = self._pieces[0]
                if isinstance(piece, tuple):
                    offset, count = piece
                    block = min(count, _BLOCK)
                    sent = await loop.sendfile(transport, self._file, offset, block, fallback=False)
                    if sent < block:
                        raise OSError("the file has become shorter while it was sent")
                    protocol.http.count_body(block)
                    protocol.note_progress()
                    piece = (offset + block, count - block)
                else:
                    transport.write(protocol.http.send_body(piece))
                    piece = (0, 0)
                if piece[1]:
                    self._pieces[0] = piece
                else:
                    self._pieces.popleft()
        except (NotImplementedError, RuntimeError):
            # uvloop has no sendfile(); nothing of this piece has been sent.
            self._task = None
            self._let_go()
            protocol.sending(False)
            self.go_on()
        except OSError:
            self._task = None
            transport.abort()
        else:
            self._task = None
            self._let_go()
            self._end()

    # By reading and writing -------------------------------------------------------------------------

    def go_on(self) -> None:
        """Write as much as the client takes, and no more than a burst of it."""
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
                if not data:  # the file has become shorter
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
        """Go on if it rested: the client has taken what was written."""
        if self._task is None and self._timer is None and not hasattr(self._transport, "send_file"):
            self.go_on()
