"""qotd (RFC 865)."""

from pathlib import Path
from typing import Any

import pytest
from clients import datagram_client, hear

from plugport.contracts.members import configure
from plugport.errors import OptionError
from plugport_builtins.handlers.qotd import QotdHandler


@pytest.fixture
def quotes(tmp_path: Path) -> Path:
    return tmp_path / "quotes"


def test_the_built_in_ones(start: Any, stream: str) -> None:
    server = start(QotdHandler, stream)
    for _ in range(20):
        answer = hear(server)
        assert 2 < len(answer) < 512
        assert answer.endswith(b"\r\n")
        assert answer.isascii()


def test_a_datagram(start: Any, datagram: str, tmp_path: Path) -> None:
    with datagram_client(start(QotdHandler, datagram), tmp_path) as client:
        client.send(b"")
        assert 2 < len(client.recv(1000)) < 512


def test_a_file(start: Any, quotes: Path) -> None:
    quotes.write_text("One.\n%\nTwo\n\t-- lines\n%\n\n%\nDrei: ß\n")
    server = start(QotdHandler, quotes_file=str(quotes))
    expected = {b"One.\r\n", b"Two\r\n\t-- lines\r\n", "Drei: ß\r\n".encode()}
    found = set()
    for _ in range(1000):
        found.add(hear(server))
        if found == expected:
            return
    pytest.fail(f"{found}")


def test_long_ones_are_left_out(quotes: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "plugport.handlers.qotd")
    just_short_enough = "x" * 509
    quotes.write_text(f"{just_short_enough}\n%\n{just_short_enough}y\n")
    handler = configure(QotdHandler, {"quotes_file": str(quotes)})
    assert handler._quotes == (f"{just_short_enough}\r\n".encode(),)
    assert "left out 1" in caplog.text


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        (b"", "has no quotation;"),
        (b"%\n \n%\n", "has no quotation;"),
        (b"x" * 512, "at most 511 bytes"),
        (b"\xff\xfe", "can't decode"),
    ],
)
def test_a_file_that_will_not_do(quotes: Path, content: bytes | None, reason: str) -> None:
    if content is not None:
        quotes.write_bytes(content)
    with pytest.raises(OptionError, match=reason) as raised:
        configure(QotdHandler, {"quotes_file": str(quotes)})
    assert str(quotes) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_file_is_of_one_service_only(quotes: Path) -> None:
    quotes.write_text("Mine.\n")
    configure(QotdHandler, {"quotes_file": str(quotes)})
    assert b"Mine.\r\n" not in QotdHandler._quotes
