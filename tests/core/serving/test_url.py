"""URLs and addresses as they are written for people."""

from __future__ import annotations

from typing import Any

import pytest

from plugport.serving.url import format_client


@pytest.mark.parametrize(
    ("address", "written"),
    [
        (("127.0.0.1", 9000), "127.0.0.1:9000"),
        (("::1", 9000, 0, 0), "[::1]:9000"),
        ("/run/client.sock", "/run/client.sock"),
        ("", "-"),
        (None, "-"),
        (b"\x00abstract", r"b'\x00abstract'"),
        ("/tmp/a\nb", r"'/tmp/a\nb'"),
        ("/tmp/\x1b[2J", r"'/tmp/\x1b[2J'"),
    ],
)
def test_a_client_is_one_line_of_the_log(address: Any, written: str) -> None:
    assert format_client(address) == written
