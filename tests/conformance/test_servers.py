"""The conformance of the built-in servers."""

from __future__ import annotations

from plugport.testing.conformance import ServerConformance


class TestTCP(ServerConformance):
    server = "tcp"


class TestTCP6(ServerConformance):
    server = "tcp"
    url = "tcp://[::1]:0"


class TestUDP(ServerConformance):
    server = "udp"


class TestUnix(ServerConformance):
    server = "unix"


class TestUnixgram(ServerConformance):
    server = "unixgram"
