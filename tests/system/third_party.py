"""Code that knows nothing of plugport, as it is, with no more around it than its own documentation has."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler
from typing import Any
from wsgiref.validate import validator

from aiosmtpd.handlers import Mailbox
from aiosmtpd.smtp import SMTP
from pythonosc.dispatcher import Dispatcher
from pythonosc.osc_server import AsyncIOOSCUDPServer


class KeepAliveHandler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"


class UploadHandler(BaseHTTPRequestHandler):
    """Answers with the checksum of what is put."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        digest = hashlib.sha256()
        left = int(self.headers["Content-Length"])
        while left and (data := self.rfile.read(min(left, 65536))):
            digest.update(data)
            left -= len(data)
        answer = digest.hexdigest().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


@validator
def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """A WSGI application: answers with the path in capitals, and the checksum of what is posted."""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["PATH_INFO"].upper().encode(), b" ", hashlib.sha256(body).hexdigest().encode()]


#: Keeps mail in the folder ``mail``.
smtp = partial(SMTP, Mailbox("mail"), hostname="localhost")


def _open_sound_control() -> Callable[[], asyncio.DatagramProtocol]:
    dispatcher = Dispatcher()
    dispatcher.map("/capitals", lambda _, text: ("/answer", text.upper()))
    return partial(AsyncIOOSCUDPServer._OSCProtocolFactory, dispatcher)


open_sound_control = _open_sound_control()


class EchoServerProtocol(asyncio.Protocol):
    """The TCP Echo Server of asyncio's documentation."""

    def connection_made(self, transport: Any) -> None:
        peername = transport.get_extra_info("peername")
        print(f"Connection from {peername}")
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        message = data.decode()
        print(f"Data received: {message!r}")

        print(f"Send: {message!r}")
        self.transport.write(data)

        print("Close the client socket")
        self.transport.close()
