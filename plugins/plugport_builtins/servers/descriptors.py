"""Descriptors that another process has handed over: which there are, what they are called, what they are.

systemd says by variables of the environment which it has handed over (sd_listen_fds(3)); inetd gives
the socket as descriptors 0, 1 and 2.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from plugport.errors import AddressError
from plugport.serving import Url

__all__ = ["Socket", "find_socket"]

#: Where systemd begins to number them (SD_LISTEN_FDS_START).
_FIRST = 3
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")


@dataclass(frozen=True)
class Socket:
    """A descriptor that is a socket: ``fd`` is its number now, which is another than that by which it came
    if that was one of the standard streams.
    """

    fd: int
    family: int
    kind: int
    is_listening: bool
    is_connected: bool


@dataclass(frozen=True)
class Handed:
    """What the environment says: the descriptors by name, or why there are none."""

    names: Mapping[str, list[int]] = field(default_factory=dict)
    excuse: str = "systemd has handed over none (LISTEN_FDS is not set)"

    def __str__(self) -> str:
        told = [f"{fd} ({name})" for name, fds in self.names.items() for fd in fds]
        return "systemd has handed over " + ", ".join(told) if told else self.excuse


@cache
def handed_over() -> Handed:
    """Read the environment, and take from it what is for this process alone: its children inherit nothing."""
    pid, count, names, _ = (os.environ.pop(name, "") for name in _VARIABLES)
    if not count:
        return Handed()
    if pid != str(os.getpid()):
        return Handed(
            excuse=f"LISTEN_PID says that they are for process {pid or '?'}, and this is {os.getpid()}: "
            "start plugport itself, and from a shell by exec"
        )
    if not count.isdecimal() or int(count) > 65536:
        return Handed(excuse=f"LISTEN_FDS = {count!r} is no number of descriptors")
    called = names.split(":") if names else []
    found: dict[str, list[int]] = {}
    for number in range(int(count)):
        fd = _FIRST + number
        try:
            os.set_inheritable(fd, False)
        except OSError:
            continue  # and whoever asks for it is told
        # What has no name is "unknown" (sd_listen_fds_with_names(3)).
        found.setdefault(called[number] if number < len(called) else "unknown", []).append(fd)
    return Handed(found)


def find_socket(url: Url) -> Socket:
    """Return the socket that *url* means: ``fd://3``, or ``fd://NAME``. Raises AddressError.

    One that is also standard input, output or error is moved away from there, and these lead
    nowhere: what is printed is not for its client.
    """
    handed = handed_over()
    number = _number(url, handed)
    try:
        fd = _moved(number)
        with _opened(fd) as sock:
            is_listening = bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
            return Socket(fd, int(sock.family), int(sock.type), is_listening, _is_connected(sock))
    except OSError as error:
        if error.errno == errno.EBADF:
            raise AddressError(f"{url}: there is no descriptor {number}; {handed}") from None
        if error.errno == errno.ENOTSOCK:
            raise AddressError(f"{url}: descriptor {number} is not a socket; {handed}") from None
        raise AddressError(f"{url}: descriptor {number} can't be used: {error.strerror}") from None


def _number(url: Url, handed: Handed) -> int:
    text = url.rest
    if text.isascii() and text.isdigit():
        if len(text) > 6:
            raise AddressError(f"{url}: there is no descriptor {text}; {handed}")
        return int(text)
    if not text:
        raise AddressError(f"{url} has no descriptor; write {url.scheme}://3 or {url.scheme}://NAME")
    numbers = handed.names.get(text, [])
    if not numbers:
        raise AddressError(f"{url}: no descriptor is called {text!r}; {handed}")
    if len(numbers) > 1:
        each = " ".join(f"{url.scheme}://{number}" for number in numbers)
        raise AddressError(f"{url}: {len(numbers)} descriptors are called {text!r}; write {each}")
    return numbers[0]


def _opened(fd: int) -> socket.socket:
    """Return a socket over a copy of *fd*. Raises OSError if it is none."""
    copy = os.dup(fd)
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        raise


@cache
def _moved(number: int) -> int:
    """Move a socket away from the standard streams. Raises OSError if it is no socket."""
    if number > 2:
        return number
    with _opened(number) as sock:
        fd = os.dup(sock.fileno())  # not inheritable, and above those that are taken
    same = [stream for stream in (0, 1, 2) if _is_same(stream, fd)]
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in same:
        os.dup2(nowhere, stream)
    os.close(nowhere)
    return fd


def _is_same(fd: int, other: int) -> bool:
    try:
        return os.path.sameopenfile(fd, other)
    except OSError:
        return False  # one is closed


def _is_connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True
