"""UnixStreamServer and UnixDatagramServer: the same over unix sockets, with care for the socket file."""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
import struct
from typing import Annotated, Any, ClassVar

from plugport import Help
from plugport_builtins.servers.tcp import TCPServer
from plugport_builtins.servers.udp import UDPServer

__all__ = ["UnixDatagramServer", "UnixStreamServer", "bound_replies"]


logger = logging.getLogger("plugport.server")

_AF_UNIX: Any = getattr(socket, "AF_UNIX", -1)

#: Seconds that a reply may wait for a client that does not take its datagrams.
_SEND_TIMEOUT = 1


class SocketFile:
    """The file of a bound unix socket: made with its mode, removed by the process that made it."""

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)
        self._owner = os.getpid()
        self._inode = _inode(self._path)

    def remove(self) -> None:
        """Remove the file, unless another has taken its place or this process is a forked child.

        To be called while the socket is open: until then nobody else's file has the same inode.
        """
        if os.getpid() == self._owner and self._inode is not None and _inode(self._path) == self._inode:
            self._inode = None
            try:
                os.unlink(self._path)
            except OSError as error:  # privileges were dropped, say
                logger.warning("can't remove the socket file %s: %s", self._path, error)


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISSOCK(found.st_mode) else None


def bound_replies(sock: socket.socket) -> None:
    """Have a reply wait no longer than a moment for a client that does not take its datagrams.

    A full queue makes sendto() wait; one client that does not read must not make the server deaf to
    all others. What can't be sent in time is an error of that request.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _SEND_TIMEOUT, 0))


def bind(sock: socket.socket, address: Any, mode: int | None) -> SocketFile | None:
    """Bind *sock* to *address*; the file is returned, None for an abstract name.

    A socket file behind which nothing listens is replaced; a live one, and a file of any other
    kind, is an OSError (EADDRINUSE).
    """
    path = os.fsdecode(address)
    if not path or path.startswith("\0"):
        sock.bind(address)
        return None
    if mode is not None and hasattr(os, "fchmod"):
        # Linux gives the file this mode less the umask at once, so that it is never wider open.
        try:
            os.fchmod(sock.fileno(), mode)
        except OSError:
            pass  # elsewhere the mode comes a moment later
    try:
        sock.bind(address)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        if _inode(path) is None and os.path.lexists(path):
            raise OSError(error.errno, f"{error.strerror}: a file that is no socket is there") from None
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
        probe.setblocking(False)  # a full backlog would make connect() wait: somebody is there
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            pass
        except OSError:
            return False
        else:
            return False
    if _inode(path) != inode:
        return False  # somebody else was quicker
    os.unlink(path)
    return True


class UnixStreamServer(TCPServer):
    """A server of stream connections on a unix socket. (socketserver.UnixStreamServer)"""

    address_family = _AF_UNIX

    allow_reuse_address: bool = False
    # The mode of the file decides who may connect.
    hidden_options: ClassVar[frozenset[str]] = frozenset({"proxy_trusted"})

    socket_mode: Annotated[
        int | None, Help("mode of the socket file, as 0660 (null: by the umask)", octal=True)
    ] = None
    _file: SocketFile | None = None

    def server_bind(self) -> None:
        """Bind, replacing a stale socket file."""
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

    A client that wants an answer binds its own socket to a name.
    """

    address_family = _AF_UNIX

    # Above Linux's default limit for one (net.core.wmem_default is 212992).
    max_packet_size: Annotated[int, Help("longest datagram in bytes; longer ones are refused", gt=0)] = 262144
    socket_mode: Annotated[
        int | None, Help("mode of the socket file, as 0660 (null: by the umask)", octal=True)
    ] = None
    _file: SocketFile | None = None

    def server_bind(self) -> None:
        """Bind, replacing a stale socket file."""
        bound_replies(self.socket)
        self._file = bind(self.socket, self.server_address, self.socket_mode)
        self.server_address = self.socket.getsockname()

    def server_close(self) -> None:
        """Remove the file and close the socket."""
        if self._file is not None:
            self._file.remove()
        super().server_close()
