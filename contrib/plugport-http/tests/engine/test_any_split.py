"""A stream gives the same requests however its bytes are split, with both parsers."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from plugport_http.engine import (
    CLOSED,
    END_OF_MESSAGE,
    NEED_DATA,
    PAUSED,
    HTTPError,
    Limits,
    Request,
    ServerConnection,
)
from plugport_http.engine.parsers import parser_factory

LIMITS = Limits(max_line_size=60, max_head_size=200, max_headers=4, max_body_size=40, max_requests=5)

tokens = st.text("abcXYZ-_19", min_size=1, max_size=8).map(str.encode)
values = st.binary(max_size=12).map(lambda raw: bytes(byte for byte in raw if byte >= 32 and byte != 127))
targets = st.text("abc/%2?=&.", max_size=12).map(lambda text: b"/" + text.encode())
bodies = st.binary(max_size=45)
fields = st.lists(st.tuples(tokens, values), max_size=3)


@st.composite
def requests(draw: Any) -> bytes:
    """A request that is mostly well-formed."""
    method = draw(st.sampled_from([b"GET", b"POST", b"HEAD", b"OPTIONS", b"BREW"]))
    version = draw(st.sampled_from([b"1.1", b"1.1", b"1.1", b"1.0", b"2.0"]))
    lines = [b"%b %b HTTP/%b" % (method, draw(targets), version), b"Host: a"]
    if draw(st.booleans()):  # else the header may be that of the request before
        lines += [b"%b: %b" % field for field in draw(fields)]
    body = b""
    match draw(st.integers(0, 3)):
        case 0:
            body = draw(bodies)
            lines.append(b"Content-Length: %d" % len(body))
        case 1:
            pieces = [piece for piece in draw(st.lists(bodies, max_size=3)) if piece]
            body = (
                b"".join(b"%x;e=f\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\nT: u\r\n\r\n"
            )
            lines.append(b"Transfer-Encoding: chunked")
        case 2:
            lines.append(b"Connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


#: What is put in the place of a piece of a stream, to break it.
faults = st.sampled_from([b"", b"\r", b"\n", b"\r\n", b"\0", b" ", b":", b"\t", b"5", b"\xff", b"a" * 80])


@st.composite
def streams(draw: Any) -> bytes:
    """Several requests, with or without an error."""
    stream = b"".join(draw(st.lists(requests(), min_size=1, max_size=4)))
    if draw(st.booleans()):
        start = draw(st.integers(0, len(stream)))
        end = min(len(stream), start + draw(st.integers(0, 3)))
        stream = stream[:start] + draw(faults) + stream[end:]
    return stream


def told(parser: Any, pieces: list[bytes], *, answer_early: bool = False) -> list[Any]:
    """Return what the application sees, with each body in one piece."""
    http = ServerConnection(LIMITS, parser_factory(parser))
    story: list[Any] = []

    def take() -> bool:
        while True:
            try:
                event = http.next_event()
            except HTTPError as error:
                if story and isinstance(story[-1], bytes):
                    story[-1] = b""  # the part of a body before an error depends on the split
                story.append(error.status)
                http.error_response(error)
                return False
            if isinstance(event, Request):
                story.append((event.method, event.target, event.version, event.headers, event.keep_alive))
                story.append(b"")
                if answer_early:
                    http.respond(200, [])
            elif isinstance(event, bytes):
                assert event
                story[-1] += event
            elif event is END_OF_MESSAGE:
                story.append("end")
                if not answer_early:
                    http.respond(200, [])
            elif event is CLOSED:
                story.append("closed")
                return False
            else:
                assert event is NEED_DATA or event is PAUSED
                return True

    if all(http.receive_data(piece) is None and take() for piece in pieces if piece):
        http.receive_data(b"")
        take()
    return story


@settings(max_examples=300, deadline=None)
@given(streams(), st.lists(st.integers(0, 1000), max_size=12))
def test_any_split_gives_the_same_requests(stream: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    pieces = [stream[start:end] for start, end in itertools.pairwise(places)]
    whole = told("httptools", [stream])
    assert told("httptools", pieces) == whole
    assert told("h11", pieces) == whole
    assert told("h11", [stream]) == whole


@settings(max_examples=100, deadline=None)
@given(streams())
def test_single_bytes_give_same_requests(stream: bytes) -> None:
    single = [stream[index : index + 1] for index in range(len(stream))]
    assert told("httptools", single) == told("h11", [stream])


@settings(max_examples=100, deadline=None)
@given(streams(), st.integers(1, 50))
def test_unread_bodies_are_skipped(stream: bytes, step: int) -> None:
    pieces = [stream[start : start + step] for start in range(0, len(stream), step)]
    assert told("httptools", pieces, answer_early=True) == told("h11", [stream], answer_early=True)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.integers(1, 50))
def test_random_bytes_are_rejected_by_both_parsers(noise: bytes, step: int) -> None:
    pieces = [noise[start : start + step] for start in range(0, len(noise), step)]
    assert told("httptools", pieces) == told("h11", [noise])
