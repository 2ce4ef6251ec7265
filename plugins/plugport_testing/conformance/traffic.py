"""Cases of the data on a connection: echo, large transfers, the ways to end, slow clients."""

from __future__ import annotations

import contextlib
import socket
import time
import zlib
from typing import ClassVar

from plugport.handlers import Style
from plugport_testing.clients import converse
from plugport_testing.conformance.base import Needs
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
    """Data arrives complete, and a side that does not read holds back the other."""

    #: Bytes of a large transfer in one direction.
    large: ClassVar[int] = 20 * 2**20
    #: Bytes that the system and plugport may buffer for a connection.
    buffers: ClassVar[int] = 12 * 2**20

    def test_echo(self, style: Style) -> None:
        """Lines get replies in order, however they are split; the last one may lack its end."""
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

    def test_empty_connection(self, style: Style) -> None:
        """A client that sends nothing and ends the connection completes its request."""
        with self.serving(style) as trial:
            with self.client(trial) as client:
                client.write_eof()
                assert client.read_all() == b""
            assert trial.outcomes() == ["completed"]

    def test_large_download(self, style: Style) -> None:
        """A large reply arrives complete."""
        with self.serving(style) as trial, self.client(trial) as client:
            client.send(b"!send %d\n" % self.large)
            client.write_eof()
            _assert_same(client.read_all(), BLOCK * (self.large // len(BLOCK)) + b"\n")

    def test_large_upload(self, style: Style) -> None:
        """A large request arrives complete."""
        count = self.large // len(_COUNTED)
        with self.serving(style) as trial, self.client(trial) as client:
            for _ in range(count):
                client.send(_COUNTED)
            sent = _COUNTED[:-1] * count
            assert client.ask(b"!tally") == b"%d %d" % (len(sent), zlib.crc32(sent))

    def test_large_both_ways(self, style: Style) -> None:
        """Large transfers in both directions at the same time arrive complete."""
        sent = _ECHOED * (self.large // 2 // len(_ECHOED))
        with self.serving(style) as trial, self.client(trial) as client:
            _assert_same(converse(client.sock, sent), sent)

    def test_half_close(self, style: Style) -> None:
        """A client that has ended its side still gets the complete reply."""
        with self.serving(style) as trial:
            with self.client(trial) as client:
                client.send(b"!send 2000000\nand this\n!send 2000000\nand that\n")
                client.write_eof()
                time.sleep(0.01)  # the end of the input arrives before the reply has left
                reply = client.read_all()
            assert len(reply) == 2 * 2000001 + 18
            assert reply.endswith(b"\nand that\n")
            assert trial.outcomes() == ["completed"]

    def test_client_closes_early(self, style: Style) -> None:
        """A client that disconnects during the reply aborts its own request, and no other."""
        with self.serving(style) as trial:
            send_and_close(trial.server, b"!send %d\n" % self.large, reset=False)
            assert trial.outcomes() == ["aborted"]
            with self.client(trial) as client:
                assert client.ask(b"hello") == b"hello"

    @Needs(styles=("blocking", "protocol", "async"))
    def test_server_closes_early(self, style: Style) -> None:
        """A handler may end the connection; the client gets the earlier replies, then the end."""
        with self.serving(style) as trial:
            with self.client(trial) as client:
                client.send(b"hello\n!close\n")
                assert client.read_all() == b"hello\n"
            assert trial.outcomes() == ["completed"]

    def test_reset(self, style: Style) -> None:
        """A connection reset aborts the request; its error, if there is one, is the reset."""
        with self.serving(style) as trial:
            send_and_close(trial.server, b"hello\nhello\n", reset=True)
            assert trial.outcomes() == ["aborted"]
            [error] = [context.error for context in trial.contexts("request_finished")]
            assert error is None or "ConnectionReset" in repr(error) or "BrokenPipe" in repr(error)
            with self.client(trial) as client:
                assert client.ask(b"hello") == b"hello"

    def test_slow_reader(self, style: Style) -> None:
        """A client that does not read holds back its handler and delays no other; then it gets all."""
        lines, size = 32, self.buffers // 16
        with self.serving(style) as trial:
            with self.client(trial) as client:
                client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
                client.send(b"!send %d\n" % size * lines)
                self.wait_until(lambda: trial.progress.made, "a reply")
                made = wait_until_stable(lambda: trial.progress.made, 0.05, self.patience)
                assert made <= self.buffers, f"{made} of {lines * size} bytes produced, which nobody reads"
                self._assert_others_served(trial)
                client.write_eof()
                reply = client.read_all()
            assert len(reply) == lines * (size + 1)
            assert set(trial.outcomes(1 if self.is_serial else 2)) == {"completed"}

    def test_slow_writer(self, style: Style) -> None:
        """A request that arrives byte by byte gets its reply, and delays no other."""
        with self.serving(style) as trial, self.client(trial) as client:
            with contextlib.suppress(OSError):  # not over TCP
                client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
            for byte in b"hello\nworld":
                client.send(bytes([byte]))
                time.sleep(0.001)
            self._assert_others_served(trial)
            client.write_eof()
            assert client.read_all() == b"hello\nworld\n"

    @Needs(concurrent=True)
    def test_neither_side_reads(self, style: Style) -> None:
        """If neither side reads, both sides stop writing; other clients are served."""
        with self.serving(style) as trial:
            with self.client(trial) as client:
                client.send(b"!send %d\n" % (2 * self.buffers))
                self.wait_until(lambda: trial.progress.made, "a reply")
                sent = _fill(client, 2 * self.buffers)
                assert sent <= self.buffers, f"the server accepts {sent} bytes, which nobody reads"
                self._assert_others_served(trial)
                assert trial.outcomes() == ["completed"]
                trial.drain(0.0)
                trial.join()
            assert trial.outcomes(2) == ["completed", "aborted"]

    def _assert_others_served(self, trial: Trial) -> None:
        """Assert that another client is served meanwhile, unless the strategy is serial."""
        if not self.is_serial:
            with self.client(trial) as other:
                assert other.ask(b"hello") == b"hello"


def _fill(client: Client, limit: int) -> int:
    """Send until the server accepts nothing for 0.1 s, or *limit* is reached; return the number of bytes."""
    client.sock.settimeout(0.1)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < limit:
            sent += client.sock.send(_COUNTED)
    return sent


def _assert_same(reply: bytes, expected: bytes) -> None:
    # Not by == in the assert: pytest would explain the difference of megabytes.
    same = reply == expected
    assert same, f"{len(reply)} bytes came, {len(expected)} were expected, and they differ"
