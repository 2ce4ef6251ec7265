"""Handlers that take their time, or all time; served by path: ``hangs.py:Sleeping``."""

from __future__ import annotations

import signal
import time

from plugport import StreamRequestHandler


class Dozing(StreamRequestHandler):
    """Sends back a message, after a while."""

    def handle(self) -> None:
        message = self.rfile.read()
        time.sleep(0.02)
        self.wfile.write(message)


class Sleeping(StreamRequestHandler):
    """Says that it is there, and heeds its connection no more."""

    def handle(self) -> None:
        self.wfile.write(b"asleep\n")
        time.sleep(600)


class Stubborn(StreamRequestHandler):
    """The same, deaf to SIGTERM where it has a process of its own."""

    def handle(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.wfile.write(b"asleep\n")
        while True:
            time.sleep(600)
