"""Limits: the sizes that the engine accepts of a request."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of requests. Sizes are in bytes; None means no limit.

    ``max_line_size``   the request line (status 414 above)
    ``max_head_size``   request line and header fields together (431)
    ``max_headers``     number of header fields (431)
    ``max_body_size``   the body (413)
    ``max_requests``    requests per connection; the last response has "Connection: close"
    """

    max_line_size: int = 8192
    max_head_size: int = 32768
    max_headers: int = 100
    max_body_size: int | None = None
    max_requests: int | None = None
