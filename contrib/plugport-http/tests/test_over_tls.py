"""Applications over TLS: the scheme that they are told, by curl and over a WebSocket."""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from served import APPLICATIONS, curl
from websockets.sync.client import connect

WSGI = f"{APPLICATIONS / 'wsgi_cases.py'}:app"
ASGI = f"{APPLICATIONS / 'asgi_cases.py'}:app"


@pytest.fixture
def certificates(tmp_path: Path) -> tuple[str, str]:
    """The files of an authority's certificate, and of the server's with its key."""
    authority, server = tmp_path / "authority.pem", tmp_path / "server.pem"
    issuer = trustme.CA()
    issuer.cert_pem.write_to_path(authority)
    issuer.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(server)
    return str(authority), str(server)


@pytest.mark.parametrize(
    ("handler", "strategy"),
    [
        ("wsgi", "sync"),
        ("wsgi", "threading"),
        ("wsgi", "thread-pool"),
        ("wsgi", "forking"),
        ("wsgi", "select"),
        ("wsgi", "asyncio"),
        ("asgi", "asyncio"),
        ("asgi", "sync"),
    ],
)
def test_applications_are_served_over_tls(
    plugport_serve: Any, certificates: tuple[str, str], handler: str, strategy: str, tmp_path: Path
) -> None:
    authority, server = certificates
    app = WSGI if handler == "wsgi" else ASGI
    served = plugport_serve(handler, "tls", strategy, app=app, certfile=server)
    url = f"https://127.0.0.1:{served.address[1]}"
    told = json.loads(curl("--cacert", authority, f"{url}/describe"))
    assert told.get("wsgi.url_scheme", told.get("scheme")) == "https"
    upload = tmp_path / "upload"
    upload.write_bytes(b"x" * 2_000_000)
    assert curl("--cacert", authority, "-T", str(upload), "-X", "POST", f"{url}/size") == "2000000"
    assert len(curl("--cacert", authority, f"{url}/big")) == 64 * 65536
    if handler == "wsgi":
        assert len(curl("--cacert", authority, f"{url}/file?100096", "-o", str(tmp_path / "file"))) == 0
        assert (tmp_path / "file").stat().st_size == 100096
    assert curl("--cacert", authority, f"{url}/hello", f"{url}/hello") == "Hello, world!" * 2


def test_a_websocket_over_tls(plugport_serve: Any, certificates: tuple[str, str]) -> None:
    authority, server = certificates
    served = plugport_serve("asgi", "tls", "asyncio", app=ASGI, certfile=server)
    context = ssl.create_default_context(cafile=authority)
    with connect(f"wss://127.0.0.1:{served.address[1]}/chat", ssl=context, proxy=None) as client:
        client.send("x" * 200_000)
        assert client.recv(10) == "x" * 200_000
