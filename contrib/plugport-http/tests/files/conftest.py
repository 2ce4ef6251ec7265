"""Fixtures: a directory, a service of it, and a client."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme
from plugport_testing.plugin import Serve

LONG_AGO = 1_000_000_000


class Response(NamedTuple):
    """A response: the status, the fields by their names in lower case, the body."""

    status: int
    fields: dict[str, str]
    body: bytes


class Site:
    """A served directory."""

    def __init__(self, root: Path, served: Any, authority: Path | None = None) -> None:
        self.root = root
        self.served = served
        self._authority = authority

    @property
    def curl_place(self) -> list[str]:
        """The options of curl for the address, and the beginning of a URL."""
        address = self.served.address
        if self._authority is not None:
            return ["--cacert", str(self._authority), f"https://127.0.0.1:{address[1]}"]
        if isinstance(address, tuple):
            return [f"http://127.0.0.1:{address[1]}"]
        return ["--unix-socket", os.fspath(address), "http://localhost"]

    def curl(self, path: str, *options: str) -> subprocess.CompletedProcess[bytes]:
        """Run curl on *path*."""
        *place, base = self.curl_place
        command = ["curl", "--http1.1", "-sS", "-m", "30", "--path-as-is", *place, *options, base + path]
        return subprocess.run(command, capture_output=True, check=False)

    def get(self, path: str, *headers: str, method: str = "GET") -> Response:
        """Ask for *path* on a connection of its own; return the response to the end of the connection."""
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers, "", ""]
        return parsed(self.served.exchange("\r\n".join(lines).encode()))


def parsed(data: bytes) -> Response:
    """Parse a response."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = {}
    for line in lines:
        name, _, value = line.partition(": ")
        fields[name.lower()] = value
    return Response(int(first.split()[1]), fields, body)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The served directory, with some old files."""
    root = tmp_path / "root"
    for name, content in {
        "index.html": b"<h1>home</h1>",
        "a.txt": b"0123456789" * 10,
        "empty": b"",
        "sub/b.html": b"<p>b</p>",
        "sub/deep/index.html": b"deep",
        ".secret": b"secret",
        ".git/config": b"secret",
        "large.bin": bytes(range(256)) * 4096,
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (LONG_AGO, LONG_AGO))
    (tmp_path / "outside.txt").write_bytes(b"outside")
    return root


@pytest.fixture
def site(root: Path, tmp_path: Path, plugport_serve: Serve) -> Callable[..., Site]:
    """site(strategy, scheme, **options) serves the directory."""

    def serve(strategy: str = "select", scheme: str = "tcp", **options: Any) -> Site:
        authority = None
        if scheme == "tls":
            authority, certificate = tmp_path / "authority.pem", tmp_path / "certificate.pem"
            issuer = trustme.CA()
            issuer.cert_pem.write_to_path(authority)
            issuer.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
            options["certfile"] = str(certificate)
        served = plugport_serve("http-files", scheme, strategy, root=str(root), **options)
        return Site(root, served, authority)

    return serve
