"""Request: the head of a request, as the engine has read it."""

from __future__ import annotations

__all__ = ["Request"]


class Request:
    """The head of a request. It may come again, and share what it has with others: nothing in it is changed.

    ``method``           as it came: "GET"
    ``target``           as it came: b"/a%20b?c=d", b"http://host/a", b"*"
    ``path``             the target's path, still percent-encoded: b"/a%20b"; b"*" for that target
    ``query``            what follows its question mark, without it; b"" without one
    ``version``          "1.1" or "1.0"
    ``headers``          (name in lower case, value without white space around it), in their order;
                         Host is that of the target, if it names one
    ``fields``           the same by name; values of a repeated one are joined as RFC 9110 5.2 has it
    ``content_length``   bytes of the body; 0 without one, None where it comes in chunks
    ``keep_alive``       whether the client would keep the connection
    ``expect_continue``  the client waits for "100 Continue" before it sends the body
    ``upgrade``          the protocols that it would switch to, b"websocket" say; b"" for none
    ``plain``            of version 1.1, and not HEAD: nothing of it changes how a response is sent
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
        """Whether a body follows, which may yet be empty."""
        return self.content_length != 0

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.target!r}>"
