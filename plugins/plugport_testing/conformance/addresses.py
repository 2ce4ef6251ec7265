"""AddressCases: where a server listens, and what becomes of the address."""

from __future__ import annotations

import socket
from pathlib import Path

from plugport.errors import AddressError, ListenError
from plugport.serving import Url, parse_url
from plugport_testing.conformance.base import case
from plugport_testing.conformance.server_base import ServerCases
from plugport_testing.conformance.trial import Trial

__all__ = ["AddressCases"]


class AddressCases(ServerCases):
    """A server is where it says, alone, and lets go of its address in the end."""

    def test_address(self) -> None:
        """``server_address`` is the real one: for port 0 that of the port that was free."""
        with self.binding() as trial:
            server = trial.server
            assert server.fileno() >= 0
            assert server.server_address == server.socket.getsockname()
            if isinstance(server.server_address, tuple):
                assert server.server_address[1] > 0, server.server_address

    def test_url(self) -> None:
        """The URL that it reports leads to the same address."""
        with self.binding() as trial:
            address, _ = type(trial.server).resolve_url(parse_url(trial.url))
            assert address == trial.address, f"{trial.url} leads to {address!r}, not {trial.address!r}"

    def test_invalid_urls(self) -> None:
        """resolve_url() of what can't be understood raises AddressError, which names the URL."""
        with self.binding() as trial:
            for rest in ("", "nobody:nowhere:0:\0", "[::1", "\udcff"):
                try:
                    type(trial.server).resolve_url(Url("this", rest))
                    told = "this is fine"
                except AddressError as error:
                    told = str(error)
                except Exception as error:
                    raise AssertionError(f"resolve_url() of {rest!r} raises {error!r}") from error
                assert "this" in told, f"the error says nothing of the URL: {told}"

    def test_address_in_use(self) -> None:
        """A second server at the same address is refused, and the first stays as it is."""
        with self.binding() as trial:
            self._assert_not_to_be_had(trial, trial.url)
            trial.start()
            self.assert_answers(trial)

    @case(port=True, member="allow_reuse_port")
    def test_allow_reuse_port(self) -> None:
        """With the option ``allow_reuse_port`` several servers share a port, where the system lets them."""
        with self.binding(allow_reuse_port=hasattr(socket, "SO_REUSEPORT")) as trial:
            second = self.add(trial, url=trial.url, allow_reuse_port=True)
            assert second.server_address == trial.address

    def test_address_is_free_again(self) -> None:
        """When a server has been closed another can have its address, although connections linger."""
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
                self.assert_answers(second)

    @case(transport="stream", member="request_queue_size")
    def test_request_queue_size(self) -> None:
        """The option ``request_queue_size`` is the backlog: what comes beyond it has to wait."""
        with self.binding(request_queue_size=2) as trial:
            assert self._connections(trial, 12) < 12, "the backlog is longer than request_queue_size"
        with self.binding(request_queue_size=20) as trial:
            assert self._connections(trial, 12) == 12, "the backlog is shorter than request_queue_size"

    def _connections(self, trial: Trial, limit: int) -> int:
        """Return how many connections the system takes, *limit* at most."""
        clients: list[socket.socket] = []
        try:
            for _ in range(limit):
                clients.append(socket.socket(trial.server.socket.family, trial.server.socket.type))
                clients[-1].settimeout(self.patience / 50)
                clients[-1].connect(trial.address)
        except (TimeoutError, BlockingIOError):
            return len(clients) - 1
        finally:
            for client in clients:
                client.close()
        return limit

    # Socket files -----------------------------------------------------------------------------------

    @case(file=True)
    def test_socket_file(self) -> None:
        """The socket file is there while the server listens, and no longer."""
        with self.binding() as trial:
            path = Path(trial.address)
            assert path.is_socket()
            trial.server.server_close()
            assert not path.exists(), "server_close() leaves the socket file"

    @case(file=True, transport="stream")
    def test_socket_file_after_stop_listening(self) -> None:
        """stop_listening() removes the socket file: who comes then finds none, and not one that is deaf."""
        with self.binding() as trial:
            path = Path(trial.address)
            trial.server.stop_listening()
            assert not path.exists(), "stop_listening() leaves the socket file"

    @case(file=True)
    def test_stale_socket_file(self) -> None:
        """A socket file that a server left behind, which was killed say, is replaced."""
        with self.open_trial() as trial:
            path = trial.folder / "stale"
            with socket.socket(self._class.address_family, self._class.socket_type) as dead:
                dead.bind(str(path))
            self.add(trial, url=self._url_of(path))
            trial.start()
            self.assert_answers(trial)

    @case(file=True)
    def test_file_of_another_kind(self) -> None:
        """A file that is no socket is never replaced."""
        with self.open_trial() as trial:
            path = trial.folder / "precious"
            path.write_text("contents")
            self._assert_not_to_be_had(trial, self._url_of(path))
            assert path.read_text() == "contents"

    @case(file=True)
    def test_socket_file_of_another_server(self) -> None:
        """A socket file that has taken the place of its own is not removed: it is somebody else's."""
        with self.binding() as trial:
            path = Path(trial.address)
            path.unlink()
            with socket.socket(self._class.address_family, self._class.socket_type) as other:
                other.bind(str(path))
                trial.server.server_close()
                assert path.is_socket(), "server_close() removes the socket file of another server"
                path.unlink()

    def _url_of(self, path: Path) -> str:
        return f"{self.scheme()}://{path}"

    def _assert_not_to_be_had(self, trial: Trial, url: str) -> None:
        try:
            self.add(trial, url=url)
        except ListenError:
            return
        raise AssertionError(f"a server is bound to {url}, which was taken")
