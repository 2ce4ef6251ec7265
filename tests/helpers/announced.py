"""``plugport serve`` on the packages of a test, and the URLs that it announces."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from fakes import SitePackages

__all__ = ["ask", "serving", "url_of"]


@contextmanager
def serving(
    site: SitePackages, count: int, *arguments: str
) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Run ``plugport serve`` and yield the process and the *count* URLs that it listens on."""
    process = subprocess.Popen(
        [sys.executable, "-m", "plugport", "serve", *arguments],
        env={**os.environ, "PYTHONPATH": site.python_path},
        cwd=site.path,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        yield process, [url_of(process.stderr) for _ in range(count)]
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def url_of(stream: IO[str]) -> str:
    for line in stream:
        if line.startswith("listening on "):
            return line.removeprefix("listening on ").strip()
        assert line.startswith("plugport: warning: "), line
    raise AssertionError("it does not listen")


def ask(address: tuple[str, int] | str, question: bytes) -> bytes:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as client:
        client.settimeout(30)
        client.connect(address)
        client.sendall(question)
        client.shutdown(socket.SHUT_WR)
        with client.makefile("rb") as answer:
            return answer.read()
