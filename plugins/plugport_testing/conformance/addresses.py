"""AddressCases: cases of the address that a server listens on, and of its release."""

from __future__ import annotations

import socket
from pathlib import Path

from plugport.errors import AddressError, ListenError
from plugport.serving import Url, parse_url
from plugport_testing.clients import socket_of, target_of
from plugport_testing.conformance.base import Needs
from plugport_testing.conformance.server_base import ServerCases
from plugport_testing.conformance.trial import Trial
from plugport_testing.serving import scheme_of

__all__ = ["AddressCases"]


class AddressCases(ServerCases):
    """A server listens where its URL says, shares the address with no other, and releases it at the end."""

    def test_address(self) -> None:
        """``server_address`` is the bound address: for port 0 it has the port that the system chose."""
        with self.binding() as trial:
            server = trial.servers[0]
            assert server.fileno() >= 0
            assert server.server_address == socket_of(server).getsockname()
            if isinstance(server.server_address, tuple):
                assert server.server_address[1] > 0, server.server_address

    def test_url(self) -> None:
        """The URL that the server reports resolves to its address."""
        with self.binding() as trial:
            address, _ = type(trial.servers[0]).resolve_url(parse_url(trial.url))
            assert address == trial.address, f"{trial.url} leads to {address!r}, not {trial.address!r}"

    def test_invalid_urls(self) -> None:
        """resolve_url() raises AddressError for an invalid URL, and the message names the URL."""
        with self.binding() as trial:
            for rest in ("", "nobody:nowhere:0:\0", "[::1", "\udcff"):
                try:
                    type(trial.servers[0]).resolve_url(Url("this", rest))
                    message = "no error at all for this"
                except AddressError as error:
                    message = str(error)
                except Exception as error:
                    raise AssertionError(f"resolve_url() of {rest!r} raises {error!r}") from error
                assert "this" in message, f"the error does not name the URL: {message}"

    def test_address_in_use(self) -> None:
        """A second server at the same address is refused, and the first one continues."""
        with self.binding() as trial:
            self._assert_refused_to_bind(trial, trial.url)
            trial.start()
            self.assert_replies(trial)

    @Needs(port=True, option="allow_reuse_port")
    def test_allow_reuse_port(self) -> None:
        """With ``allow_reuse_port`` several servers share a port, where the system permits it."""
        with self.binding(allow_reuse_port=hasattr(socket, "SO_REUSEPORT")) as trial:
            second = self.add(trial, url=trial.url, allow_reuse_port=True)
            assert second.server_address == trial.address

    def test_address_is_free_again(self) -> None:
        """Another server can bind the address of a closed one, although old connections linger."""
        with self.binding() as trial:
            trial.start()
            if self.is_stream():
                with self.client(trial) as client:
                    client.send(b"!close\n")
                    assert client.has_ended()
            trial.drain(self.patience)
            trial.join()
            with self.binding(url=trial.url) as second:
                second.start()
                self.assert_replies(second)

    @Needs(transport="stream", option="request_queue_size")
    def test_request_queue_size(self) -> None:
        """``request_queue_size`` is the length of the backlog: connections beyond it wait."""
        with self.binding(request_queue_size=2) as trial:
            assert self._connections(trial, 12) < 12, "the backlog is longer than request_queue_size"
        with self.binding(request_queue_size=20) as trial:
            assert self._connections(trial, 12) == 12, "the backlog is shorter than request_queue_size"

    def _connections(self, trial: Trial, limit: int) -> int:
        """Return how many connections the system accepts, *limit* at most."""
        family, kind, address = target_of(trial.servers[0])
        clients: list[socket.socket] = []
        try:
            for _ in range(limit):
                clients.append(socket.socket(family, kind))
                clients[-1].settimeout(self.patience / 50)
                clients[-1].connect(address)
        except (TimeoutError, BlockingIOError):
            return len(clients) - 1
        finally:
            for client in clients:
                client.close()
        return limit

    # Socket files ---------------------------------------------------------------------------------

    @Needs(file=True)
    def test_socket_file(self) -> None:
        """The socket file exists while the server listens, and server_close() removes it."""
        with self.binding() as trial:
            path = _file_of(trial)
            assert path.is_socket()
            trial.server.server_close()
            assert not path.exists(), "server_close() leaves the socket file"

    @Needs(file=True, transport="stream")
    def test_socket_file_after_stop_listening(self) -> None:
        """stop_listening() removes the socket file, so that no client connects to it in vain."""
        with self.binding() as trial:
            path = _file_of(trial)
            trial.server.stop_listening()
            assert not path.exists(), "stop_listening() leaves the socket file"

    @Needs(file=True)
    def test_stale_socket_file(self) -> None:
        """A socket file that a killed server left behind is replaced."""
        with self.open_trial() as trial:
            path = trial.folder / "stale"
            with self._new_socket() as stale:
                stale.bind(str(path))
            self.add(trial, url=self._url_of(path))
            trial.start()
            self.assert_replies(trial)

    @Needs(file=True)
    def test_file_of_another_kind(self) -> None:
        """A file that is no socket is never replaced."""
        with self.open_trial() as trial:
            path = trial.folder / "precious"
            path.write_text("contents")
            self._assert_refused_to_bind(trial, self._url_of(path))
            assert path.read_text() == "contents"

    @Needs(file=True)
    def test_socket_file_of_another_server(self) -> None:
        """server_close() does not remove the socket file of another server that replaced its own."""
        with self.binding() as trial:
            path = _file_of(trial)
            path.unlink()
            with self._new_socket() as other:
                other.bind(str(path))
                trial.server.server_close()
                assert path.is_socket(), "server_close() removes the socket file of another server"
                path.unlink()

    def _new_socket(self) -> socket.socket:
        return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM if self.is_stream() else socket.SOCK_DGRAM)

    def _url_of(self, path: Path) -> str:
        return f"{scheme_of(self.server)}://{path}"

    def _assert_refused_to_bind(self, trial: Trial, url: str) -> None:
        try:
            self.add(trial, url=url)
        except ListenError:
            return
        raise AssertionError(f"a server is bound to {url}, which is in use")


def _file_of(trial: Trial) -> Path:
    assert isinstance(trial.address, str), f"the address {trial.address!r} is no path of a socket file"
    return Path(trial.address)
