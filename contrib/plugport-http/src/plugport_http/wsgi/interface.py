"""Sender: the interface between the calls of a WSGI application and the connection that they send on."""

from __future__ import annotations

from typing import BinaryIO, Protocol

__all__ = ["Sender"]


class Sender(Protocol):
    """Sends on one connection, and waits while the client does not take the data."""

    @property
    def failure(self) -> Exception | None:
        """The error that broke the connection, if there was one."""

    def send(self, data: bytes) -> None:
        """Send all of *data*."""

    def send_file(self, file: BinaryIO, offset: int, count: int) -> int:
        """Send *count* bytes of *file* from *offset* on; return the number of bytes that the file had."""

    def reset(self) -> None:
        """Reset the connection, so that an incomplete response does not look complete to the client."""
