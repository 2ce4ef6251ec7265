"""Uploads of a gigabyte by curl, in constant memory."""

from __future__ import annotations

import subprocess

import pytest
from served import APPLICATIONS, command

GIGABYTE = 2**30
#: KiB that serving one such body may take more than serving a small one.
MOST = 16_384


@pytest.mark.slow
@pytest.mark.tools("curl")
@pytest.mark.parametrize(
    ("handler", "app", "strategy", "framing"),
    [
        ("wsgi", "wsgi_cases.py:app", "threading", "length"),
        ("wsgi", "wsgi_cases.py:app", "select", "chunked"),
        ("asgi", "asgi_cases.py:app", "asyncio", "length"),
    ],
)
def test_gigabyte_upload_needs_constant_memory(
    handler: str, app: str, strategy: str, framing: str, tmp_path: object
) -> None:
    sparse = f"{tmp_path}/sparse"
    with open(sparse, "wb") as file:
        file.truncate(GIGABYTE)
    option = f"app={APPLICATIONS}/{app}"
    with command(handler, "tcp://127.0.0.1:0", "-c", strategy, "-o", option) as service:
        url = service.wait_for_url() + "/size"
        assert upload(url, "-d", "x" * 100_000) == "100000"
        before = service.peak_memory
        more = ["-H", "Transfer-Encoding: chunked"] if framing == "chunked" else []
        assert upload(url, "-T", sparse, "-X", "POST", *more) == str(GIGABYTE)
        assert service.peak_memory - before < MOST


def upload(url: str, *arguments: str) -> str:
    done = subprocess.run(
        ["curl", "-s", "-S", "--http1.1", "--max-time", "120", *arguments, url],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
