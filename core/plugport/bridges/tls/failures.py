"""The errors of TLS connections that break. Their class decides the outcome of the request."""

from __future__ import annotations

import sys

__all__ = ["as_connection_error", "handshake_failed", "handshake_timed_out", "reason_of"]


def reason_of(error: Exception) -> str:
    """Return OpenSSL's reason of *error* in words, without the line of its source."""
    reason = getattr(error, "reason", None)
    if isinstance(reason, str) and reason:
        message = getattr(error, "verify_message", None)
        return reason.replace("_", " ").lower() + (f": {message}" if message else "")
    ssl = sys.modules.get("ssl")  # if it is not imported, this is no error of TLS
    if (ssl is not None and isinstance(error, ssl.SSLEOFError)) or not str(error):
        return "the client went away"
    return getattr(error, "strerror", None) or str(error)


def handshake_failed(error: Exception, connection: object = None) -> ConnectionAbortedError:
    """Return the error of a handshake that *error* ended. The outcome is "aborted".

    A callback that refuses the *connection*, an ssl.SSLObject or SSLSocket, may store the reason in the
    attribute ``refusal`` of it: OpenSSL only reports that the callback failed.
    """
    reason = getattr(connection, "refusal", None) or reason_of(error)
    return ConnectionAbortedError(f"the TLS handshake failed: {reason}")


def handshake_timed_out(limit: float) -> TimeoutError:
    """Return the error of a handshake that took too long. The outcome is "timed-out"."""
    return TimeoutError(f"the TLS handshake took longer than handshake_timeout = {limit:g} s")


def as_connection_error(error: Exception) -> Exception:
    """Return *error*, or a ConnectionAbortedError for an error of TLS: the client broke the connection."""
    ssl = sys.modules.get("ssl")
    if ssl is None or not isinstance(error, ssl.SSLError):
        return error
    return ConnectionAbortedError(f"the TLS connection broke: {reason_of(error)}")
