"""receive_repeated(): a request is repeated if its bytes are identical, and in no other case."""

from __future__ import annotations

import pytest

from plugport_http.engine import CLOSED, END_OF_MESSAGE, NEED_DATA, Limits, Request, ServerConnection

GET = b"GET /a?b HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n"
UNKEPT = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def answered(http: ServerConnection, data: bytes) -> Request:
    """Receive a request in the usual way, and answer it."""
    http.receive_data(data)
    request = http.next_event()
    assert isinstance(request, Request)
    http.respond(200, [])
    return request


@pytest.fixture
def http() -> ServerConnection:
    return ServerConnection(Limits(max_requests=4))


def test_first_request_is_not_repeated(http: ServerConnection) -> None:
    assert http.receive_repeated(GET) is None
    assert http.receive_repeated(b"") is None
    assert http.next_event() is NEED_DATA


def test_identical_bytes_are_repeated_request(http: ServerConnection) -> None:
    first = answered(http, GET)
    for count in (2, 3):
        again = http.receive_repeated(GET)
        assert again is not None
        assert again is http.request
        assert (again.method, again.path, again.query) == (first.method, first.path, first.query)
        assert http.requests == count
        assert http.keep_alive
        assert not http.response_started
        assert http.next_event() is END_OF_MESSAGE
        assert http.respond(200, []).startswith(b"HTTP/1.1 200 OK\r\n")


def test_max_requests_ends_repeated_requests(http: ServerConnection) -> None:
    answered(http, GET)
    for _ in range(2):
        assert http.receive_repeated(GET)
        http.respond(200, [])
    assert http.receive_repeated(GET)
    assert b"connection: close\r\n" in http.respond(200, [])
    assert http.receive_repeated(GET) is None
    assert http.next_event() is CLOSED


def test_different_bytes_are_not_repeated_request(http: ServerConnection) -> None:
    answered(http, GET)
    for other in (GET[:-1], GET + b"G", GET + GET, b"\r\n" + GET, GET.replace(b"/a", b"/c"), b""):
        assert http.receive_repeated(other) is None
    answered(http, GET.replace(b"/a", b"/c"))
    assert http.receive_repeated(GET) is None


def test_request_is_not_repeated_before_response(http: ServerConnection) -> None:
    answered(http, GET)
    assert http.receive_repeated(GET)
    assert http.receive_repeated(GET) is None
    http.receive_data(GET)  # read ahead
    assert http.receive_repeated(GET) is None


def test_request_is_not_repeated_inside_another(http: ServerConnection) -> None:
    answered(http, GET)
    http.receive_data(b"POST / HTTP/1.1\r\nX: ")
    assert http.next_event() is NEED_DATA
    assert http.receive_repeated(GET) is None


def test_request_is_not_repeated_after_end(http: ServerConnection) -> None:
    answered(http, GET)
    http.receive_data(b"")
    assert http.receive_repeated(GET) is None
    assert http.next_event() is CLOSED


def test_body_is_not_taken_for_repeated_request(http: ServerConnection) -> None:
    answered(http, GET)
    http.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(GET))
    assert isinstance(http.next_event(), Request)
    assert http.receive_repeated(GET) is None
    http.receive_data(GET)
    assert http.next_event() == GET


def test_request_with_body_is_not_repeated(http: ServerConnection) -> None:
    for data in (POST + b"ab", POST):
        http.receive_data(data)
        assert isinstance(http.next_event(), Request)
        if data == POST:
            http.receive_data(b"ab")
        assert http.next_event() == b"ab"
        http.respond(200, [])
        assert http.receive_repeated(data) is None
        assert http.next_event() is NEED_DATA


def test_closing_client_has_no_repeated_request(http: ServerConnection) -> None:
    answered(http, UNKEPT)
    assert http.receive_repeated(UNKEPT) is None
    assert http.next_event() is CLOSED
