"""Descriptors that another process has handed over: finds the socket of a URL, by number or by name.

systemd names the descriptors in environment variables (sd_listen_fds(3)). inetd passes the socket as
descriptors 0, 1 and 2.
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

#: The first descriptor from systemd (SD_LISTEN_FDS_START).
_FIRST = 3
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")


@dataclass(frozen=True)
class Socket:
    """A descriptor that is a socket.

    ``fd`` is its number now. A socket that was a standard stream was moved to another number.
    """

    fd: int
    family: int
    kind: int
    is_listening: bool
    is_connected: bool


@dataclass(frozen=True)
class HandedOver:
    """The descriptors from systemd, by name; if there are none, ``reason`` says why."""

    names: Mapping[str, list[int]] = field(default_factory=dict)
    reason: str = "systemd has handed over none (LISTEN_FDS is not set)"

    def __str__(self) -> str:
        listed = [f"{fd} ({name})" for name, fds in self.names.items() for fd in fds]
        return "systemd has handed over " + ", ".join(listed) if listed else self.reason


@cache
def handed_over() -> HandedOver:
    """Return what systemd has handed over. Removes its variables: they are not for child processes."""
    pid, count, names, _ = (os.environ.pop(name, "") for name in _VARIABLES)
    if not count:
        return HandedOver()
    if pid != str(os.getpid()):
        return HandedOver(
            reason=f"LISTEN_PID names process {pid or '?'}, and this is {os.getpid()}: "
            "start plugport without a shell, or by its exec"
        )
    if not count.isdecimal() or int(count) > 65536:
        return HandedOver(reason=f"LISTEN_FDS = {count!r} is not a number of descriptors")
    fd_names = names.split(":") if names else []
    found: dict[str, list[int]] = {}
    for number in range(int(count)):
        fd = _FIRST + number
        try:
            os.set_inheritable(fd, False)
        except OSError:
            continue  # it is closed; find_socket() reports that
        # A descriptor without a name is "unknown" (sd_listen_fds_with_names(3)).
        found.setdefault(fd_names[number] if number < len(fd_names) else "unknown", []).append(fd)
    return HandedOver(found)


def find_socket(url: Url) -> Socket:
    """Return the socket of *url*, ``fd://3`` or ``fd://NAME``. Raises AddressError.

    A socket that is a standard stream is moved to another number, and the stream becomes /dev/null: output of
    the process must not reach the client.
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


def _number(url: Url, handed: HandedOver) -> int:
    text = url.rest
    if text.isascii() and text.isdigit():
        if len(text) > 6:
            raise AddressError(f"{url}: there is no descriptor {text}; {handed}")
        return int(text)
    if not text:
        raise AddressError(f"{url} has no descriptor; write {url.scheme}://3 or {url.scheme}://NAME")
    numbers = handed.names.get(text, [])
    if not numbers:
        raise AddressError(f"{url}: no descriptor is named {text!r}; {handed}")
    if len(numbers) > 1:
        each = " ".join(f"{url.scheme}://{number}" for number in numbers)
        raise AddressError(f"{url}: {len(numbers)} descriptors are named {text!r}; write one of {each}")
    return numbers[0]


def _opened(fd: int) -> socket.socket:
    """Return a socket on a duplicate of *fd*. Raises OSError if it is not a socket."""
    copy = os.dup(fd)
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        raise


@cache
def _moved(number: int) -> int:
    """Move a socket away from the standard streams; return its number. Raises OSError if it is none."""
    if number > 2:
        return number
    with _opened(number) as sock:
        fd = os.dup(sock.fileno())  # not inheritable, and the lowest that is free
    same = [stream for stream in (0, 1, 2) if _is_same(stream, fd)]
    null = os.open(os.devnull, os.O_RDWR)
    for stream in same:
        os.dup2(null, stream)
    os.close(null)
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
