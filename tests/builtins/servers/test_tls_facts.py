"""What handlers see of TLS: certificates, versions and agreed protocols."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from certificates import authority
from secured import (
    STRATEGIES,
    connect,
    outcomes,
)

from plugport import BaseRequestHandler
from plugport.errors import OptionError, TargetError
from plugport_testing.serving import serve


class TellsOfTLS(BaseRequestHandler):
    def handle(self) -> None:
        request = self.request
        subject = dict(pair[0] for pair in (request.getpeercert() or {}).get("subject", ()))
        told = (request.version(), request.selected_alpn_protocol(), request.server_side, sorted(subject))
        assert request.cipher()
        request.sendall(repr(told).encode())


class ProtocolTellsOfTLS(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        tls = transport.get_extra_info("ssl_object")
        subject = dict(pair[0] for pair in (transport.get_extra_info("peercert") or {}).get("subject", ()))
        assert transport.get_extra_info("cipher") == tls.cipher()
        assert transport.get_extra_info("sslcontext") is not None
        assert not transport.can_write_eof()
        told = (tls.version(), tls.selected_alpn_protocol(), tls.server_side, sorted(subject))
        transport.write(repr(told).encode())
        transport.close()


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("handler", [TellsOfTLS, ProtocolTellsOfTLS])
def test_what_a_handler_sees(handler: Any, strategy: str, start: Callable[..., Any], tmp_path: Path) -> None:
    root = authority().write_root(tmp_path / "root.pem")
    served = start(handler, strategy, alpn="h2, echo/1", client_ca=str(root))
    context = authority().client()
    context.set_alpn_protocols(["other", "echo/1"])
    authority().issue("client.example").configure_cert(context)
    with connect(served, context=context) as client:
        told = b"".join(iter(lambda: client.recv(1000), b"")).decode()
        assert client.selected_alpn_protocol() == "echo/1"
    assert told == "('TLSv1.3', 'echo/1', True, ['commonName', 'organizationName'])" or told == (
        "('TLSv1.3', 'echo/1', True, ['organizationName', 'organizationalUnitName'])"
    )
    # Without a certificate: under TLS 1.3 the client hears of it when it reads.
    with contextlib.suppress(ssl.SSLError, ConnectionError), connect(served) as client:
        assert client.recv(100) == b"", "a client without a certificate is answered"
    assert outcomes(served, 2) == ["completed", "aborted"]


class Speaks(TellsOfTLS):
    alpn_protocols = ("echo/2", "echo/1")


@pytest.mark.parametrize(
    ("option", "offered", "agreed"),
    [
        ("", ["other", "echo/1", "echo/2"], "echo/2"),
        ("", ["other"], None),
        ("", [], None),
        ("echo/1", ["echo/2", "echo/1"], "echo/1"),
    ],
)
def test_what_a_handler_speaks_is_agreed_on(
    option: str, offered: list[str], agreed: str | None, start: Callable[..., Any]
) -> None:
    served = start(functools.partial(Speaks), "threading", alpn=option)
    context = authority().client()
    context.set_alpn_protocols(offered)
    with connect(served, context=context) as client:
        assert client.selected_alpn_protocol() == agreed


def test_what_a_handler_does_not_speak_is_refused(start: Callable[..., Any], no_leaks: None) -> None:
    expected = "alpn: the handler does not speak h2; name echo/2 or echo/1, or drop the option"
    with pytest.raises(OptionError, match=f"^{expected}$"):
        start(Speaks, "threading", alpn="echo/1,h2")


@pytest.mark.parametrize("names", ["echo/1", {"echo/1"}, 7, (b"echo/1",), ("",), ("x" * 256,), ("\u0141",)])
def test_what_a_handler_says_must_be_names(names: Any, start: Callable[..., Any], no_leaks: None) -> None:
    handler = type("Careless", (TellsOfTLS,), {"alpn_protocols": names})
    with pytest.raises(
        TargetError, match=r"Careless.*: its alpn_protocols must be a tuple of names, .*, not "
    ):
        start(handler, "threading")


def test_a_plain_connection_has_nothing_of_tls() -> None:
    class Plain(BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(str(hasattr(self.request, "getpeercert")).encode())

    served = serve(Plain, "tcp", "select")
    try:
        assert served.exchange(b"") == b"False"
    finally:
        served.stop()
