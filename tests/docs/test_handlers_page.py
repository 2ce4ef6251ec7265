"""The page on handlers: its code is what it says it is, and works."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from clients import read_all
from command import serving

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "handlers.md"


@pytest.fixture
def handlers(tmp_path: Path) -> Path:
    """A file with all the code of the page."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 6
    file = tmp_path / "handlers.py"
    file.write_text("\n\n".join(blocks))
    return file


@pytest.mark.parametrize(
    ("handler", "question", "answer"),
    [
        ("upper", b"one\r\ntwo\n", b"ONE\nTWO\n"),
        ("Numbered", b"1:a,1:b,", b"3:1 a,3:2 b,"),
        ("Upper", b"one\ntwo\n", b"ONE\nTWO\n"),
        ("Echo", b"one\ntwo\n", b"one\ntwo\n"),
        ("shout", b"one\ntwo\n", b"ONE\nTWO\n"),
        ("Greeting", b"", b"servus\n"),
    ],
)
def test_the_code_works(handlers: Path, handler: str, question: bytes, answer: bytes) -> None:
    options = ["-o", "greeting=servus"] if handler == "Greeting" else []
    with serving(handlers.parent, f"{handlers}:{handler}", "tcp://127.0.0.1:0", *options) as service:
        if question:
            assert service.ask(question) == answer
        else:
            with service.connect() as client:
                assert read_all(client) == answer


def test_a_coroutine_s_arguments_tell_what_it_serves(handlers: Path) -> None:
    for handler, server, verdict in (
        ("shout", "tcp", "legal"),
        ("shout", "udp", "refused"),
        ("shout_back", "udp", "legal"),
        ("shout_back", "tcp", "refused"),
    ):
        command = [sys.executable, "-m", "plugport", "check", f"{handlers}:{handler}", server, "asyncio"]
        assert subprocess.run(command, capture_output=True, text=True).stdout.startswith(verdict)
