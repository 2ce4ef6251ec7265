"""The engine's exceptions: one for invalid requests, one for invalid responses."""

from __future__ import annotations

__all__ = ["HTTPError", "ResponseError"]


class HTTPError(Exception):
    """A request that must be answered with an error: ``status`` is its code, ``reason`` the explanation."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.status}: {self.reason}"


class ResponseError(Exception):
    """A response that can't be sent: out of order, of the wrong length, or with an invalid head."""
