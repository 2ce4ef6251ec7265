"""The handler of messages, the framing and the command."""

import socket
import threading
from collections.abc import Iterator

import pytest
from plugport import compose
from plugport.cli import main
from plugport.handlers import FramingError

from plugport_example.reverse import ReverseHandler
from plugport_example.slip import SlipFraming

TRICKY = [b"hello", b"\xc0", b"\xdb", b"\xdb\xdc\xdd\xc0", b"\xdc\xdb"]


class SlipHandler(ReverseHandler):
    """The handler with the framing, selected in code."""

    framing = SlipFraming


@pytest.fixture(params=[ReverseHandler, SlipHandler], ids=["lines", "slip"])
def service(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """The URL of a service, and the framing that it has."""
    with compose("tcp", "threading")(("127.0.0.1", 0), request.param) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"tcp://127.0.0.1:{server.server_address[1]}", request.node.callspec.id
        server.shutdown()


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("flush", [True, False])
def test_messages_come_out_as_they_went_in(size: int, flush: bool) -> None:
    framing = SlipFraming(100, flush)
    stream = b"".join(map(framing.frame, TRICKY))
    pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
    assert [message for piece in pieces for message in framing.feed(piece)] == TRICKY
    assert framing.finish() == []


@pytest.mark.parametrize("stream", [b"123456\xc0", b"123456", b"\xdb\xdd" * 6])
def test_a_packet_that_is_too_long_is_refused(stream: bytes) -> None:
    with pytest.raises(FramingError, match="longer than 5 bytes"):
        SlipFraming(5, False).feed(stream)


def test_a_packet_without_an_end_is_refused() -> None:
    framing = SlipFraming(5, False)
    assert framing.feed(b"\xc0123") == []
    with pytest.raises(FramingError, match="after 3 bytes"):
        framing.finish()


def test_the_command_asks(service: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    url, framing = service
    assert main(["ask", url, "hello", "--framing", framing]) == 0
    assert capsys.readouterr().out == "olleh\n"


def test_the_command_reports_a_service_that_does_not_reply(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"tcp://127.0.0.1:{listening.getsockname()[1]}"

        def close() -> None:
            client, _ = listening.accept()
            with client:
                client.recv(100)

        closing = threading.Thread(target=close)
        closing.start()
        assert main(["ask", url, "hello"]) == 2
        closing.join()
    assert capsys.readouterr().err == (
        f"plugport: {url} closed the connection without a reply; is --framing lines right?\n"
    )


def test_the_command_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "\n  ask         Send a message to a service, print its reply\n" in capsys.readouterr().out
