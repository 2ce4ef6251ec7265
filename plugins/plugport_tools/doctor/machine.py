"""Checks of this Python and of the limits of a process: descriptors, polling, forks, extensions, files."""

from __future__ import annotations

import importlib
import os
import platform
import selectors
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from plugport.contracts import Finding, describe_error
from plugport.serving import MAX_UNIX_PATH, EpollPoller, make_poller
from plugport_tools.doctor.deployment import Deployment

__all__ = ["descriptors", "extensions", "fork", "poller", "python", "temporary_folder"]

#: Descriptors of a service that are not of connections: standard streams, listening sockets, poller,
#: wake-up pipe, pipe of the next child.
_RESERVE = 16
#: Fewer descriptors than the first are a problem, fewer than the second a warning.
_FEW, _ENOUGH = 64, 1024
#: Bytes that a path should leave for the name of a socket file.
_NAME_ROOM = 24


def python(deployment: Deployment) -> Iterator[Finding]:
    """The interpreter and the platform."""
    implementation = platform.python_implementation()
    what = f"{implementation} {platform.python_version()} on {platform.system()} {platform.release()}"
    what += f" {platform.machine()}"
    if implementation != "CPython":
        yield Finding("warning", f"{what}: plugport is tested with CPython alone", "use CPython")
    elif os.name != "posix":
        yield Finding("warning", f"{what}: plugport is tested on POSIX systems alone", "use one of them")
    else:
        yield Finding("ok", what)


def extensions(deployment: Deployment) -> Iterator[Finding]:
    """Extension modules that plugport needs, and whether Python runs with its GIL."""
    for name in ("greenlet", "msgspec"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            yield Finding(
                "problem",
                f"{name} can't be imported: {describe_error(error)}",
                f"pip install --force-reinstall {name}",
            )
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        yield Finding("ok", "Python has a GIL: threads run its code in turns")
    elif sys._is_gil_enabled():  # type: ignore[attr-defined]
        yield Finding(
            "warning",
            "Python is a free-threaded build, but has its GIL: an extension is not made to do without",
            "upgrade that extension; python -X gil=0 keeps the GIL off at your own risk",
        )
    else:
        yield Finding("ok", "Python is a free-threaded build, and has no GIL")


def descriptors(deployment: Deployment) -> Iterator[Finding]:
    """The limit of open files: each connection is one."""
    try:
        import resource
    except ImportError:
        yield Finding("ok", "this platform has no limit of descriptors that could be asked for")
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        yield Finding("ok", "there is no limit of descriptors")
        return
    bound = "no hard limit" if hard == resource.RLIM_INFINITY else f"hard limit {hard}"
    what = f"{soft} descriptors ({bound}) do for {max(soft - _RESERVE, 0)} connections or so"
    if soft >= _ENOUGH:
        yield Finding("ok", what)
        return
    remedy = f"ulimit -n {_ENOUGH} before the start, or LimitNOFILE={_ENOUGH} in its systemd unit"
    if hard != resource.RLIM_INFINITY and hard < _ENOUGH:
        remedy = f"have the hard limit raised: limits.conf(5), or LimitNOFILE={_ENOUGH} in its systemd unit"
    yield Finding("problem" if soft < _FEW else "warning", what, remedy)


def poller(deployment: Deployment) -> Iterator[Finding]:
    """The poller for connections."""
    found = make_poller()
    found.close()
    if isinstance(found, EpollPoller):
        yield Finding("ok", "epoll waits for connections")
    elif issubclass(selectors.DefaultSelector, selectors.SelectSelector):
        yield Finding(
            "warning",
            "select() waits for connections: it is slow with many, and takes 1024 on most systems",
            "serve many connections where there is epoll or kqueue",
        )
    else:
        yield Finding("ok", f"{selectors.DefaultSelector.__name__} waits for connections")


def fork(deployment: Deployment) -> Iterator[Finding]:
    """What makes forking unsafe: threads that imports have started, and macOS."""
    if not hasattr(os, "fork"):
        yield Finding("warning", "there is no fork here", "use the strategies that don't fork")
        return
    if sys.platform == "darwin":
        yield Finding(
            "warning",
            "on macOS a forked child may crash in the system's libraries",
            "use the strategies that don't fork",
        )
    others = _other_threads()
    if others:
        yield Finding(
            "warning",
            f"imports of plugins or components have started threads ({', '.join(others)}): "
            "a lock that one of them holds when the service forks stays locked in the child",
            "find whose they are with --disable-plugin, or use the strategies that don't fork",
        )
    else:
        yield Finding("ok", "no plugin and no component has started a thread: children can be forked")


def _other_threads() -> list[str]:
    names = [each.name for each in threading.enumerate() if each is not threading.main_thread()]
    try:
        native = len(os.listdir("/proc/self/task")) - 1 - len(names)
    except OSError:
        native = 0
    return names + [f"{native} not of Python"] * (native > 0)


def temporary_folder(deployment: Deployment) -> Iterator[Finding]:
    """Whether the temporary directory takes files, and the length that it leaves for socket files."""
    wanted = os.environ.get("TMPDIR")
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError:
        yield Finding("problem", "no folder takes temporary files", "make /tmp writable, or set TMPDIR")
        return
    if wanted and Path(wanted).absolute() != Path(folder):
        yield Finding(
            "warning",
            f"TMPDIR is {wanted}, where no file can be made: temporary files go to {folder}",
            "make it writable, or set TMPDIR to another folder",
        )
    room = MAX_UNIX_PATH - len(os.fsencode(folder)) - 1
    if room < _NAME_ROOM:
        yield Finding(
            "warning",
            f"{folder} leaves {max(room, 0)} of {MAX_UNIX_PATH} bytes for the name of a socket file",
            "make socket files elsewhere, or set TMPDIR to a folder with a shorter path",
        )
    else:
        yield Finding("ok", f"{folder} takes files, and socket files with names of up to {room} bytes")
