"""Request: the head of a request, as the engine has read it."""

from __future__ import annotations

__all__ = ["Request"]


class Request:
    """The head of a request. Do not change it: the engine may return it again, and share its fields.

    ``method``           the method: "GET"
    ``target``           the request target as received: b"/a%20b?c=d", b"http://host/a", b"*"
    ``path``             the path of the target, percent-encoded: b"/a%20b", or b"*"
    ``query``            the query of the target, without the question mark; b"" if there is none
    ``version``          "1.1" or "1.0"
    ``headers``          pairs (name in lower case, value without surrounding white space), in their order;
                         Host is the host of the target if that names one
    ``fields``           the same by name; the values of a repeated field are joined (RFC 9110, 5.2)
    ``content_length``   bytes of the body; 0 if there is none, None if it is chunked
    ``keep_alive``       whether the client keeps the connection open
    ``expect_continue``  whether the client waits for "100 Continue" before it sends the body
    ``upgrade``          the protocols that the client offers, such as b"websocket"; b"" for none
    ``plain``            HTTP/1.1 and not HEAD: the request does not change the framing of the response
    """

    __slots__ = (
        "content_length",
        "expect_continue",
        "fields",
        "headers",
        "keep_alive",
        "method",
        "path",
        "plain",
        "query",
        "target",
        "upgrade",
        "version",
    )

    method: str
    target: bytes
    path: bytes
    query: bytes
    version: str
    headers: list[tuple[bytes, bytes]]
    fields: dict[bytes, bytes]
    content_length: int | None
    keep_alive: bool
    expect_continue: bool
    upgrade: bytes
    plain: bool

    @property
    def has_body(self) -> bool:
        """Whether a body follows; a chunked one may be empty."""
        return self.content_length != 0

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.target!r}>"
