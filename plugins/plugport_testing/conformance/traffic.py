"""Cases of what goes over a connection: echo, large transfers, the ways to end, slow clients."""

from __future__ import annotations

import contextlib
import socket
import time
import zlib
from typing import ClassVar

from plugport_testing.clients import converse
from plugport_testing.conformance.base import case
from plugport_testing.conformance.clients import Client, send_and_close
from plugport_testing.conformance.jobs import BLOCK
from plugport_testing.conformance.styled import StyledConformance
from plugport_testing.conformance.trial import Trial
from plugport_testing.waiting import wait_until_stable

__all__ = ["TrafficCases"]

#: A line of 16 KiB that handlers count, and one that they send back.
_COUNTED = b"+" + BLOCK[2:] + b"\n"
_ECHOED = BLOCK[1:] + b"\n"


class TrafficCases(StyledConformance):
    """What goes over connections arrives whole, and is held back where nobody takes it."""

    #: Bytes of a large transfer in one direction.
    large: ClassVar[int] = 20 * 2**20
    #: Bytes that the system may keep for a connection in its buffers, together with plugport's.
    buffers: ClassVar[int] = 12 * 2**20

    def test_echo(self, style: str) -> None:
        """Lines are answered in their order, however they come; the last one may lack its end."""
        with self.serving(style) as trial:
            with self.client(trial) as client:
                assert client.ask(b"hello") == b"hello"
                assert client.ask(b"") == b""
                client.send(b"one\ntwo\nth")
                assert [client.read_line(), client.read_line()] == [b"one", b"two"]
                client.send(b"ree\nlast")
                client.write_eof()
                assert client.read_all() == b"three\nlast\n"
            assert trial.outcomes() == ["completed"]

    def test_empty_connection(self, style: str) -> None:
        """A client that comes and goes without a word is no failure."""
        with self.serving(style) as trial:
            with self.client(trial) as client:
                client.write_eof()
                assert client.read_all() == b""
            assert trial.outcomes() == ["completed"]

    def test_large_download(self, style: str) -> None:
        """A large answer comes whole."""
        with self.serving(style) as trial, self.client(trial) as client:
            client.send(b"!send %d\n" % self.large)
            client.write_eof()
            _assert_same(client.read_all(), BLOCK * (self.large // len(BLOCK)) + b"\n")

    def test_large_upload(self, style: str) -> None:
        """A large request comes whole."""
        count = self.large // len(_COUNTED)
        with self.serving(style) as trial, self.client(trial) as client:
            for _ in range(count):
                client.send(_COUNTED)
            sent = _COUNTED[:-1] * count
            assert client.ask(b"!tally") == b"%d %d" % (len(sent), zlib.crc32(sent))

    def test_large_both_ways(self, style: str) -> None:
        """The same in both directions at once."""
        sent = _ECHOED * (self.large // 2 // len(_ECHOED))
        with self.serving(style) as trial, self.client(trial) as client:
            _assert_same(converse(client.sock, sent), sent)

    def test_half_close(self, style: str) -> None:
        """A client that has said all that it has to say still gets the whole answer."""
        with self.serving(style) as trial:
            with self.client(trial) as client:
                client.send(b"!send 2000000\nand this\n!send 2000000\nand that\n")
                client.write_eof()
                time.sleep(0.01)  # the end is there before the answer has left
                answer = client.read_all()
            assert len(answer) == 2 * 2000001 + 18
            assert answer.endswith(b"\nand that\n")
            assert trial.outcomes() == ["completed"]

    def test_client_closes_early(self, style: str) -> None:
        """A client that leaves in the middle of its answer aborts its own request, and nothing else."""
        with self.serving(style) as trial:
            send_and_close(trial.server, b"!send %d\n" % self.large, reset=False)
            assert trial.outcomes() == ["aborted"]
            with self.client(trial) as client:
                assert client.ask(b"hello") == b"hello"

    @case(styles=("blocking", "protocol", "async"))
    def test_server_closes_early(self, style: str) -> None:
        """A handler may end the connection; the client gets what was answered before, then the end."""
        with self.serving(style) as trial:
            with self.client(trial) as client:
                client.send(b"hello\n!close\n")
                assert client.read_all() == b"hello\n"
            assert trial.outcomes() == ["completed"]

    def test_reset(self, style: str) -> None:
        """A connection that is reset ends its request as aborted, with the error that says so."""
        with self.serving(style) as trial:
            send_and_close(trial.server, b"hello\nhello\n", reset=True)
            assert trial.outcomes() == ["aborted"]
            [error] = [context.error for context in trial.contexts("request_finished")]
            assert error is None or "ConnectionReset" in repr(error) or "BrokenPipe" in repr(error)
            with self.client(trial) as client:
                assert client.ask(b"hello") == b"hello"

    def test_slow_reader(self, style: str) -> None:
        """No more is made of an answer than a client takes; others go on; it comes whole in the end."""
        lines, size = 32, self.buffers // 16
        with self.serving(style) as trial:
            with self.client(trial) as client:
                client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
                client.send(b"!send %d\n" % size * lines)
                self.wait_until(lambda: trial.progress.made, "an answer")
                made = wait_until_stable(lambda: trial.progress.made, 0.05, self.patience)
                assert made <= self.buffers, f"{made} bytes made of {lines * size} that nobody takes"
                self._assert_others_served(trial)
                client.write_eof()
                answer = client.read_all()
            assert len(answer) == lines * (size + 1)
            assert set(trial.outcomes(1 if self.is_serial else 2)) == {"completed"}

    def test_slow_writer(self, style: str) -> None:
        """A request that comes byte by byte is as good as any."""
        with self.serving(style) as trial, self.client(trial) as client:
            with contextlib.suppress(OSError):  # no TCP
                client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
            for byte in b"hello\nworld":
                client.send(bytes([byte]))
                time.sleep(0.001)
            self._assert_others_served(trial)
            client.write_eof()
            assert client.read_all() == b"hello\nworld\n"

    @case(concurrent=True)
    def test_neither_side_reads(self, style: str) -> None:
        """Where nobody reads, nobody can write for ever; others go on."""
        with self.serving(style) as trial:
            with self.client(trial) as client:
                client.send(b"!send %d\n" % (2 * self.buffers))
                self.wait_until(lambda: trial.progress.made, "an answer")
                sent = _fill(client, 2 * self.buffers)
                assert sent <= self.buffers, f"{sent} bytes taken that nobody reads"
                self._assert_others_served(trial)
                assert trial.outcomes() == ["completed"]
                trial.drain(0.0)
                trial.join()
            assert trial.outcomes(2) == ["completed", "aborted"]

    def _assert_others_served(self, trial: Trial) -> None:
        """Another client is served meanwhile, unless the strategy is serial."""
        if not self.is_serial:
            with self.client(trial) as other:
                assert other.ask(b"hello") == b"hello"


def _fill(client: Client, limit: int) -> int:
    """Send until nothing is taken for a moment, or *limit* is reached; return the number of bytes."""
    client.sock.settimeout(0.1)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < limit:
            sent += client.sock.send(_COUNTED)
    return sent


def _assert_same(answer: bytes, expected: bytes) -> None:
    # Not by == in the assert: pytest would explain the difference of megabytes.
    same = answer == expected
    assert same, f"{len(answer)} bytes came, {len(expected)} were expected, and they differ"
