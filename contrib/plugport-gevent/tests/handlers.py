"""Handlers that wait for more than their connection; imported by the services under test."""

from __future__ import annotations

import asyncio
import http.server
import os
import queue
import socketserver
import subprocess
import threading
import time
from typing import Any

from gevent import monkey
from plugport import BaseRequestHandler, StreamRequestHandler

PAUSE = 0.3


class Slow(StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            time.sleep(PAUSE)
            self.wfile.write(line.upper())


class SlowOfOthers(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        line = self.rfile.readline()
        time.sleep(PAUSE)
        self.wfile.write(line.upper())


class SlowProtocol(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        time.sleep(PAUSE)
        self.transport.write(data.upper())


def slow_message(message: bytes) -> bytes:
    time.sleep(PAUSE)
    return message.upper()


class SlowDatagrams(BaseRequestHandler):
    transports = frozenset({"datagram"})

    def handle(self) -> None:
        message, sock = self.request
        time.sleep(PAUSE)
        sock.sendto(message.upper(), self.client_address)


class Waits(StreamRequestHandler):
    """Waits for a thread, a queue, a program and a connection of its own."""

    def handle(self) -> None:
        answers: queue.Queue[bytes] = queue.Queue()
        thread = threading.Thread(target=lambda: (time.sleep(PAUSE), answers.put(self.rfile.readline())))
        thread.start()
        line = answers.get()
        thread.join()
        self.wfile.write(subprocess.run(["tr", "a-z", "A-Z"], input=line, capture_output=True).stdout)


class Files(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"


class Sleeper(StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(b"good night\n")
        time.sleep(1000)


class Computes(StreamRequestHandler):
    def handle(self) -> None:
        while True:
            pass


class Native(StreamRequestHandler):
    """Waits in a call that gevent knows nothing of."""

    def handle(self) -> None:
        reader, _ = os.pipe()
        monkey.get_original("os", "read")(reader, 1)


class Stubborn(StreamRequestHandler):
    def handle(self) -> None:
        while True:
            try:
                time.sleep(1000)
            except BaseException:
                pass


class Stops(StreamRequestHandler):
    def handle(self) -> None:
        self.server.shutdown()
        self.wfile.write(b"bye\n")


class TellsThread(StreamRequestHandler):
    def handle(self) -> None:
        patched = monkey.is_module_patched("socket")
        self.wfile.write(b"%s %s\n" % (str(patched).encode(), type(self.server.lock).__module__.encode()))


async def coroutine(reader: Any, writer: Any) -> None:
    pass
