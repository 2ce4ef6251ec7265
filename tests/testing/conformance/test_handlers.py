"""The conformance of built-in handlers, one of each kind there is."""

from __future__ import annotations

import hashlib
import re

from plugport_testing.conformance import HandlerConformance


class TestEcho(HandlerConformance):
    handler = "echo"
    exchange = (b"hello\nworld" * 20, b"hello\nworld" * 20)


class TestDiscard(HandlerConformance):
    handler = "discard"
    exchange = (b"hello", b"")
    datagram_exchange = (b"hello", None)


class TestDaytime(HandlerConformance):
    handler = "daytime"
    exchange = (b"", re.compile(rb"[ -~]+\r\n"))


class TestChecksum(HandlerConformance):
    handler = "checksum"
    exchange = (b"hello" * 1000, hashlib.sha256(b"hello" * 1000).hexdigest().encode() + b"\n")


class TestExec(HandlerConformance):
    handler = "exec"
    options = {"argv": ["sort", "-r"]}
    exchange = (b"1\n2\n", b"2\n1\n")
