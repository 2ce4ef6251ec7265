"""UnixStreamServer and UnixDatagramServer: servers on unix sockets, which make and remove the socket file."""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
import struct
from typing import Annotated, ClassVar, cast

from plugport import Help
from plugport.contracts import ServerAddress
from plugport_builtins.servers.tcp import TCPServer
from plugport_builtins.servers.udp import UDPServer

__all__ = ["UnixDatagramServer", "UnixStreamServer", "limit_reply_time"]


logger = logging.getLogger("plugport.server")

_AF_UNIX = cast("socket.AddressFamily", getattr(socket, "AF_UNIX", -1))

#: Seconds that a reply may wait for a client that does not read its datagrams.
_SEND_TIMEOUT = 1


class SocketFile:
    """The file of a bound unix socket, which only the process that made it removes."""

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)
        self._owner = os.getpid()
        self._inode = _inode(self._path)

    def remove(self) -> None:
        """Remove the file, unless another file has replaced it or this process is a forked child.

        To be called while the socket is open: no other file can have the same inode until it is closed.
        """
        if os.getpid() == self._owner and self._inode is not None and _inode(self._path) == self._inode:
            self._inode = None
            try:
                os.unlink(self._path)
            except OSError as error:  # the process has dropped its privileges, for example
                logger.warning("can't remove the socket file %s: %s", self._path, error)


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISSOCK(found.st_mode) else None


def limit_reply_time(sock: socket.socket) -> None:
    """Limit the time that a reply waits for a client that does not read its datagrams.

    sendto() waits while the queue of the client is full, and the server serves no other client meanwhile. A
    reply that can't be sent in time is an error of its request.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _SEND_TIMEOUT, 0))


def bind(sock: socket.socket, server_address: ServerAddress, mode: int | None) -> SocketFile | None:
    """Bind *sock* to a path or an abstract name; return the socket file, None for an abstract name.

    A socket file on which no process listens is replaced. Any other file is an OSError (EADDRINUSE).
    """
    address = cast("str | bytes", server_address)
    path = os.fsdecode(address)
    if not path or path.startswith("\0"):
        sock.bind(address)
        return None
    if mode is not None and hasattr(os, "fchmod"):
        # Linux makes the file with this mode less the umask, so that it never has a wider one.
        try:
            os.fchmod(sock.fileno(), mode)
        except OSError:
            pass  # on other systems chmod() below sets the mode
    try:
        sock.bind(address)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        if _inode(path) is None and os.path.lexists(path):
            raise OSError(error.errno, f"{error.strerror}: a file that is not a socket is there") from None
        if not _remove_stale(path, sock.type):
            raise
        sock.bind(address)
    file = SocketFile(path)
    if mode is not None:
        os.chmod(path, mode)
    return file


def _remove_stale(path: str, kind: int) -> bool:
    inode = _inode(path)
    if inode is None:
        return False
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.setblocking(False)  # with a full backlog connect() would wait
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            pass
        except OSError:
            return False
        else:
            return False
    if _inode(path) != inode:
        return False  # another process has replaced it
    os.unlink(path)
    return True


class UnixStreamServer(TCPServer):
    """A server of connections on a unix socket. (socketserver.UnixStreamServer)"""

    address_family = _AF_UNIX

    allow_reuse_address: bool = False
    # The mode of the socket file decides which processes may connect.
    hidden_options: ClassVar[frozenset[str]] = frozenset({"proxy_trusted"})

    socket_mode: Annotated[
        int | None, Help("mode of the socket file, as 0660 (null: set by the umask)", octal=True)
    ] = None
    _file: SocketFile | None = None

    def server_bind(self) -> None:
        """Bind. A stale socket file is replaced."""
        self._file = bind(self.socket, self.server_address, self.socket_mode)
        self.server_address = self.socket.getsockname()

    def stop_listening(self) -> None:
        """Remove the file and close the listening socket."""
        self._remove_file()
        super().stop_listening()

    def server_close(self) -> None:
        """Remove the file and close the socket."""
        self._remove_file()
        super().server_close()

    def _remove_file(self) -> None:
        if self._file is not None:
            self._file.remove()


class UnixDatagramServer(UDPServer):
    """A server of datagrams on a unix socket. (socketserver.UnixDatagramServer)

    A client that wants a reply binds its own socket to a name.
    """

    address_family = _AF_UNIX

    # Above Linux's default limit for one (net.core.wmem_default is 212992).
    max_packet_size: Annotated[int, Help("longest datagram in bytes; longer ones are rejected", gt=0)] = (
        262144
    )
    socket_mode: Annotated[
        int | None, Help("mode of the socket file, as 0660 (null: set by the umask)", octal=True)
    ] = None
    _file: SocketFile | None = None

    def server_bind(self) -> None:
        """Bind. A stale socket file is replaced."""
        limit_reply_time(self.socket)
        self._file = bind(self.socket, self.server_address, self.socket_mode)
        self.server_address = self.socket.getsockname()

    def server_close(self) -> None:
        """Remove the file and close the socket."""
        if self._file is not None:
            self._file.remove()
        super().server_close()
