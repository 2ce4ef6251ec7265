"""Malformed requests, and requests for smuggling: the status of each, with both parsers."""

from __future__ import annotations

from typing import Any

import pytest

from plugport_http.engine import (
    CLOSED,
    END_OF_MESSAGE,
    NEED_DATA,
    HTTPError,
    Limits,
    Request,
    ServerConnection,
)
from plugport_http.engine.parsers import parser_factory

LIMITS = Limits(max_line_size=200, max_head_size=500, max_headers=5, max_body_size=100)
GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"

#: (what it is, the bytes, the status)
MALFORMED = [
    # Line ends and control characters.
    ("LF alone after the request line", b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
    ("LF alone after a field", GET + b"X: b\nY: c\r\n\r\n", 400),
    ("LF alone at the end of the head", GET + b"\n", 400),
    ("LF alone everywhere", b"GET / HTTP/1.1\nHost: a\n\n", 400),
    ("CR alone in a value", GET + b"X: b\rY: c\r\n\r\n", 400),
    ("CR alone for a line end", b"GET / HTTP/1.1\rHost: a\r\n\r\n", 400),
    ("CR alone, and then LF alone", GET + b"X: a\rb\nY: c\r\n\r\n", 400),
    ("CR alone, and then LF alone, in the request line", b"GET /\ra\n HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("CR CR LF", GET + b"X: b\r\r\n\r\n", 400),
    ("NUL in a value", GET + b"X: a\0b\r\n\r\n", 400),
    ("NUL in a name", GET + b"X\0: b\r\n\r\n", 400),
    ("NUL in the target", b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("DEL in a value", GET + b"X: a\x7fb\r\n\r\n", 400),
    ("vertical tab in a value", GET + b"X: a\x0bb\r\n\r\n", 400),
    ("five empty lines first", b"\r\n" * 5 + GET + b"\r\n", 400),
    ("LF first", b"\n" + GET + b"\r\n", 400),
    ("a TLS handshake", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40), 400),
    # The request line.
    ("no version", b"GET /\r\nHost: a\r\n\r\n", 400),
    ("two spaces", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a tab for a space", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a space in the target", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a space first", b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a space last", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
    ("a fragment in the target", b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("not ASCII in the target", b"GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a quote in the target", b'GET /" HTTP/1.1\r\nHost: a\r\n\r\n', 400),
    ("a relative target", b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("an asterisk for GET", b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("an absolute target without a host", b"GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a user in an absolute target", b"GET http://me@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("another scheme", b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("an authority for GET", b"GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a method that is no token", b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a method nobody knows", b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    ("a method in lower case", b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    ("a tunnel", b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 501),
    ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ("HTTP/1.2", b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
    ("HTTP/0.9 by name", b"GET / HTTP/0.9\r\n\r\n", 505),
    ("a version of two digits", b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400),
    ("a version in lower case", b"GET / http/1.1\r\nHost: a\r\n\r\n", 400),
    ("another protocol", b"GET / ICE/1.0\r\nHost: a\r\n\r\n", 400),
    ("a request line too long", b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"a" * 200), 414),
    ("a request line that does not end", b"GET /" + b"a" * 300, 414),
    # The header.
    ("a folded line", GET + b"X: a\r\n b\r\n\r\n", 400),
    ("a folded line, with a tab", GET + b"X: a\r\n\tb\r\n\r\n", 400),
    ("a folded line first", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    ("a space before the colon", GET + b"X : b\r\n\r\n", 400),
    ("a tab before the colon", GET + b"X\t: b\r\n\r\n", 400),
    ("Content-Length and a space", POST + b"Content-Length : 3\r\n\r\nabc", 400),
    ("Transfer-Encoding and a space", POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
    ("no colon", GET + b"X\r\n\r\n", 400),
    ("no name", GET + b": b\r\n\r\n", 400),
    ("a name that is no token", GET + b"X(: b\r\n\r\n", 400),
    ("a name that is not ASCII", GET + b"\xc3\xa4: b\r\n\r\n", 400),
    ("too many fields", GET + b"X: b\r\n" * 5 + b"\r\n", 431),
    ("too large a head", GET + b"X: " + b"b" * 500 + b"\r\n\r\n", 431),
    ("a head that does not end", GET + b"X: " + b"b" * 500, 431),
    # Host.
    ("no Host", b"GET / HTTP/1.1\r\n\r\n", 400),
    ("two Hosts", GET + b"Host: b\r\n\r\n", 400),
    ("two Hosts that are the same", GET + b"Host: a\r\n\r\n", 400),
    ("two Hosts, one in capitals", GET + b"HOST: a\r\n\r\n", 400),
    ("two Hosts in 1.0", b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    ("an empty Host", b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
    ("a list of Hosts", b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
    ("a Host with a path", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    ("a Host with a user", b"GET / HTTP/1.1\r\nHost: me@a\r\n\r\n", 400),
    ("a Host with a word for a port", b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400),
    # Content-Length.
    ("a length with a sign", POST + b"Content-Length: +3\r\n\r\nabc", 400),
    ("a negative length", POST + b"Content-Length: -3\r\n\r\nabc", 400),
    ("an empty length", POST + b"Content-Length:\r\n\r\nabc", 400),
    ("a hexadecimal length", POST + b"Content-Length: 0x3\r\n\r\nabc", 400),
    ("a length with a point", POST + b"Content-Length: 3.0\r\n\r\nabc", 400),
    ("a length with a space in it", POST + b"Content-Length: 1 2\r\n\r\nabc", 400),
    ("a length with an underscore", POST + b"Content-Length: 1_0\r\n\r\nabc", 400),
    ("a length in other digits", POST + "Content-Length: ٣\r\n\r\nabc".encode(), 400),
    ("a length beyond all bounds", POST + b"Content-Length: 99999999999999999999\r\n\r\n", 400),
    ("two lengths", POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    ("two lengths that are the same", POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
    ("a list of lengths", POST + b"Content-Length: 3, 4\r\n\r\nabcd", 400),
    ("a list of one length twice", POST + b"Content-Length: 3, 3\r\n\r\nabc", 400),
    ("too large a length", POST + b"Content-Length: 101\r\n\r\n", 413),
    # Transfer-Encoding.
    ("both framings", POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("both, the other way", POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400),
    ("chunks in 1.0", b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("no chunks", POST + b"Transfer-Encoding: gzip\r\n\r\n", 400),
    ("identity", POST + b"Transfer-Encoding: identity\r\n\r\n", 400),
    ("chunks not last", POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n", 400),
    ("chunks twice", POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n", 400),
    ("chunks in two fields", POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ("chunks and nothing", POST + b"Transfer-Encoding: chunked,\r\n\r\n", 400),
    ("no coding", POST + b"Transfer-Encoding:\r\n\r\n", 400),
    ("a quoted coding", POST + b'Transfer-Encoding: "chunked"\r\n\r\n', 400),
    ("chunks and a vertical tab", POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n", 400),
    ("chunks with a parameter", POST + b"Transfer-Encoding: chunked;q=1\r\n\r\n", 400),
    ("a coding nobody knows", POST + b"Transfer-Encoding: xchunked\r\n\r\n", 501),
    ("an unknown one before chunks", POST + b"Transfer-Encoding: cow, chunked\r\n\r\n", 501),
    ("gzip in chunks", POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
    # Chunks.
    ("a size that is no number", CHUNKED + b"x\r\n\r\n", 400),
    ("an empty size", CHUNKED + b"\r\nabc", 400),
    ("a size with a sign", CHUNKED + b"+3\r\nabc\r\n0\r\n\r\n", 400),
    ("a negative size", CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n", 400),
    ("a size with 0x", CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n", 400),
    ("a size with a space first", CHUNKED + b" 3\r\nabc\r\n0\r\n\r\n", 400),
    ("a size with a space after it", CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n", 400),
    ("a size with an underscore", CHUNKED + b"1_0\r\n", 400),
    ("a size beyond all bounds", CHUNKED + b"1" * 17 + b"\r\n", 400),
    ("LF alone after a size", CHUNKED + b"3\nabc\r\n0\r\n\r\n", 400),
    ("CR alone after a size", CHUNKED + b"3\rabc\r\n0\r\n\r\n", 400),
    ("LF alone after a chunk", CHUNKED + b"3\r\nabc\n0\r\n\r\n", 400),
    ("a chunk that is longer", CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n", 400),
    ("a chunk that is shorter", CHUNKED + b"4\r\nabc\r\n0\r\n\r\n", 400),
    ("LF alone at the end", CHUNKED + b"0\r\n\n", 400),
    ("a malformed extension", CHUNKED + b"3;(\r\nabc\r\n", 400),
    ("LF in an extension", CHUNKED + b"3;a\nb\r\nabc\r\n", 400),
    ("a control character in an extension", CHUNKED + b'3;a="\x01"\r\nabc\r\n', 400),
    ("too long an extension", CHUNKED + b"3;a=%b\r\nabc\r\n" % (b"b" * 300), 400),
    ("too many extensions", CHUNKED + b"1;%b\r\na\r\n" % (b"b" * 200) * 50, 400),
    ("a malformed trailer", CHUNKED + b"0\r\nX : b\r\n\r\n", 400),
    ("a folded trailer", CHUNKED + b"0\r\nX: a\r\n b\r\n\r\n", 400),
    ("trailers too long", CHUNKED + b"0\r\n" + b"X: %b\r\n" % (b"b" * 1000) * 10 + b"\r\n", 400),
    ("too much in chunks", CHUNKED + b"65\r\n" + b"a" * 101 + b"\r\n0\r\n\r\n", 413),
    # Expect.
    ("an expectation nobody knows", POST + b"Content-Length: 3\r\nExpect: tea\r\n\r\n", 417),
    ("two expectations", POST + b"Content-Length: 3\r\nExpect: 100-continue, tea\r\n\r\n", 417),
]

#: (what it is, the bytes)
WELL_FORMED = [
    ("what is said to another", GET + b"Proxy-Connection: close\r\n\r\n"),
    ("an empty line first", b"\r\n" + GET + b"\r\n"),
    ("a Host with a port", b"GET / HTTP/1.1\r\nHost: a:80\r\n\r\n"),
    ("an address of IPv6", b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"),
    ("no space after the colon", b"GET / HTTP/1.1\r\nHost:a\r\n\r\n"),
    ("white space around a value", b"GET / HTTP/1.1\r\nHost: \t a \t \r\n\r\n"),
    ("an empty value", GET + b"X:\r\n\r\n"),
    ("a value that is not ASCII", GET + b"X: \xc3\xa4\xff\r\n\r\n"),
    ("an odd name", GET + b"!#$%&'*+-.^_`|~: b\r\n\r\n"),
    ("1.0 without Host", b"GET / HTTP/1.0\r\n\r\n"),
    ("an absolute target", b"GET http://b/c?d HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("all servers", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a target that browsers send raw", b"GET /a?b={|}^`\\[] HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a length with zeros", POST + b"Content-Length: 003\r\n\r\nabc"),
    ("chunks in capitals", POST + b"Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n"),
    ("a chunk with extensions", CHUNKED + b'3;a;b=c ; d = "e;\\"f"\r\nabc\r\n0;g\r\nX: y\r\n\r\n'),
    ("a size with zeros", CHUNKED + b"0003\r\nabc\r\n00\r\n\r\n"),
    ("Upgrade", GET + b"Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\r\n"),
    ("an expectation in capitals", POST + b"Content-Length: 3\r\nExpect: 100-Continue\r\n\r\nabc"),
]

PARSERS = ["httptools", "h11"]


def named(table: list[Any]) -> Any:
    return [pytest.param(*row[1:], id=row[0]) for row in table]


def events_of(data: bytes, parser: Any, step: int) -> list[Any]:
    """Return the events for *data*, given in pieces of *step* bytes; the last may be an HTTPError."""
    http = ServerConnection(LIMITS, parser_factory(parser))
    found: list[Any] = []
    for start in range(0, len(data), step):
        http.receive_data(data[start : start + step])
        try:
            while (event := http.next_event()) is not NEED_DATA:
                found.append(event)
                if event is END_OF_MESSAGE:
                    http.respond(200, [])
                if event is CLOSED:
                    return found
        except HTTPError as error:
            http.error_response(error)
            http.receive_data(b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
            assert http.next_event() is CLOSED
            return [*found, error]
    return found


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("step", [1, 10**6])
@pytest.mark.parametrize(("data", "status"), named(MALFORMED))
def test_malformed_input_has_its_status(data: bytes, status: int, parser: str, step: int) -> None:
    found = events_of(data, parser, step)
    assert isinstance(found[-1], HTTPError), f"taken: {found}"
    assert found[-1].status == status, str(found[-1])


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize(("data", "status"), named(MALFORMED))
def test_malformed_request_after_valid_one_has_its_status(data: bytes, status: int, parser: str) -> None:
    found = events_of(GET + b"\r\n" + data, parser, 10**6)
    assert isinstance(found[-1], HTTPError), f"taken: {found}"
    assert found[-1].status == status, str(found[-1])


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("step", [1, 10**6])
@pytest.mark.parametrize("data", named(WELL_FORMED))
def test_well_formed_input_is_accepted_by_both_parsers(data: bytes, parser: str, step: int) -> None:
    found = events_of(data + b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n", parser, step)
    requests = [event for event in found if isinstance(event, Request)]
    if requests[0].version == "1.0":
        assert found[-1] is CLOSED
    else:
        assert [request.path for request in requests][1:] == [b"/next"]
        assert found[-1] is END_OF_MESSAGE


@pytest.mark.parametrize("parser", PARSERS)
def test_host_of_target_replaces_host_field(parser: str) -> None:
    header = b"X: y\r\nHost: a\r\n\r\n"
    lines = (b"GET http://b:80/c HTTP/1.1\r\n", b"GET /c HTTP/1.1\r\n", b"GET HTTP://B?c HTTP/1.1\r\n")
    found = events_of(header.join([*lines, b""]), parser, 10**6)
    requests = [event for event in found if isinstance(event, Request)]
    assert [request.fields[b"host"] for request in requests] == [b"b:80", b"a", b"B"]
    assert [dict(request.headers)[b"host"] for request in requests] == [b"b:80", b"a", b"B"]
    assert all(len(request.headers) == 2 for request in requests)


def drain(http: ServerConnection) -> None:
    while http.next_event() is not CLOSED:
        pass


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"GET / HT", id="in the request line"),
        pytest.param(GET, id="in the header"),
        pytest.param(POST + b"Content-Length: 3\r\n\r\nab", id="in a body"),
        pytest.param(CHUNKED + b"3\r\nab", id="in a chunk"),
        pytest.param(CHUNKED + b"3\r\nabc\r\n0\r\n", id="before the end of the trailers"),
    ],
)
def test_incomplete_request_is_rejected(data: bytes, parser: Any) -> None:
    http = ServerConnection(LIMITS, parser_factory(parser))
    http.receive_data(data)
    http.receive_data(b"")
    with pytest.raises(HTTPError, match="400"):
        drain(http)


def test_missing_parser_is_import_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "httptools", None)
    with pytest.raises(ImportError):
        parser_factory("httptools")
    assert "h11" in parser_factory("auto").__qualname__
