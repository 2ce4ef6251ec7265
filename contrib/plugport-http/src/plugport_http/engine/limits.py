"""Limits: how much of a request the engine takes."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may send; sizes in bytes, None for no limit.

    ``max_line_size``   the request line; a longer one is answered with 414
    ``max_head_size``   request line and header together; 431
    ``max_headers``     fields of the header; 431
    ``max_body_size``   the body; 413
    ``max_requests``    requests of one connection; the response to the last one says that it is
    """

    max_line_size: int = 8192
    max_head_size: int = 32768
    max_headers: int = 100
    max_body_size: int | None = None
    max_requests: int | None = None
