"""What a TLS connection that breaks comes to: errors by which the request's outcome is known."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["as_connection_error", "handshake_failed", "handshake_timed_out", "reason_of"]


def reason_of(error: Exception) -> str:
    """Return what OpenSSL says of *error* in words, without the line of its source."""
    reason = getattr(error, "reason", None)
    if isinstance(reason, str) and reason:
        message = getattr(error, "verify_message", None)
        return reason.replace("_", " ").lower() + (f": {message}" if message else "")
    if "SSLEOFError" in {kind.__name__ for kind in type(error).__mro__} or not str(error):
        return "the client went away"
    return getattr(error, "strerror", None) or str(error)


def handshake_failed(error: Exception, connection: Any = None) -> ConnectionAbortedError:
    """Return what a handshake that *error* ended is reported as: its outcome is "aborted".

    A callback that refuses the *connection*, an ssl.SSLObject or SSLSocket, may leave the reason in
    an attribute ``refusal`` of it: OpenSSL would only say that the callback failed.
    """
    reason = getattr(connection, "refusal", None) or reason_of(error)
    return ConnectionAbortedError(f"the TLS handshake failed: {reason}")


def handshake_timed_out(limit: float) -> TimeoutError:
    """Return what a handshake that took too long is reported as: its outcome is "timed-out"."""
    return TimeoutError(f"the TLS handshake took longer than handshake_timeout = {limit:g} s")


def as_connection_error(error: Exception) -> Exception:
    """Return what *error* of a connection is reported as: one of TLS is the client's, and aborts it."""
    ssl = sys.modules.get("ssl")  # not imported: then it is no error of TLS
    if ssl is None or not isinstance(error, ssl.SSLError):
        return error
    return ConnectionAbortedError(f"the TLS connection broke: {reason_of(error)}")
