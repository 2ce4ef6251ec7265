"""A service: servers that run together in this process, from their binding to their orderly end."""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from plugport.contracts.hooks import ServerHooks
from plugport.contracts.loops import ABORT_GRACE
from plugport.contracts.members import configure
from plugport.errors import AddressError, ListenError
from plugport.handlers.styles import style_of
from plugport.serving.running import Serving
from plugport.serving.url import Url

__all__ = ["Service", "build_server"]

logger = logging.getLogger("plugport.service")

#: Seconds by which the alarm leaves precedence to the serving loop, which keeps the same deadline.
_ALARM_LAG = 0.1


def build_server(
    server_class: type, url: Url, handler: Callable[..., Any], *, handler_name: str, hooks: ServerHooks
) -> Any:
    """Make a server of *server_class* that is bound to *url* and listens, and fire server_bound.

    Raises AddressError for a URL that makes no sense, ListenError if the system refuses it, and the
    PlugportError of a server_bound that wants no service; the server is closed then.
    """
    resolve: Callable[[Url], tuple[Any, dict[str, Any]]] = server_class.resolve_url  # type: ignore[attr-defined]
    address, members = resolve(url)
    try:
        server = configure(server_class, members)(address, handler)
    except OSError as error:
        raise ListenError(f"can't listen on {url}: {_reason(error)}") from error
    except (OverflowError, ValueError) as error:
        raise AddressError(f"can't listen on {url}: {error}") from error
    server.scheme = url.scheme
    server.handler_name = handler_name
    server.adapt_handler(style_of(handler))
    server.hooks = hooks
    if hooks.server_bound is not None:
        try:
            hooks.server_bound(server=server)
        except BaseException:
            Service([server]).close()
            raise
    return server


def _reason(error: OSError) -> str:
    if error.errno is not None and error.strerror != os.strerror(error.errno):
        return str(error.strerror)  # the server knows better
    if error.errno == errno.EADDRINUSE:
        return "the address is in use; stop what listens there, or choose another"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "permission denied; ports below 1024 and other users' folders take privileges"
    if error.errno == errno.EADDRNOTAVAIL:
        return "no interface of this machine has that address"
    if error.errno == errno.ENOENT:
        return "the folder of the socket file does not exist"
    return error.strerror or str(error)


def _announce(server: Any) -> None:
    if sys.stderr is not None:
        print(f"listening on {server.listening_url()}", file=sys.stderr, flush=True)


class _Abandoned(BaseException):
    """Breaks off a handler that holds the serving thread after the last deadline."""


class Service:
    """Runs servers until SIGINT or SIGTERM, then drains them.

    *servers*: what build_server() made. *grace*: seconds that active requests have to finish
    once the service was told to stop; what is left is cut. A second signal cuts at once.
    *announce*: called with each server when it begins to serve. *last*: whether the process ends
    after run(), and no further signal need stop it: they are ignored then, not handed back.
    """

    def __init__(
        self,
        servers: Sequence[Any],
        grace: float = 30.0,
        announce: Callable[[Any], None] = _announce,
        *,
        last: bool = False,
    ) -> None:
        self.servers = servers
        self.grace = grace
        self._announce = announce
        self._last = last
        #: Whether requests were left that neither ended nor could be ended. Threads of theirs may
        #: still run, and would keep the interpreter from exiting.
        self.abandoned = False
        self._stopping = False
        self._aborts = 0
        self._has_alarm = False
        self._pid = os.getpid()
        self._thread = 0
        for server in servers[1:]:
            server.state, server.lock = servers[0].state, servers[0].lock

    def run(self) -> int:
        """Serve until stopped. Return the exit status: 0, or 1 if requests had to be abandoned."""
        self._pid = os.getpid()
        self._thread = threading.get_native_id()
        try:
            with self._signals():
                for server in self.servers:
                    server.announce = self._announce
                self._serve()
        except _Abandoned:
            self.abandoned = True
            logger.error("a handler that held the serving thread would not end and was broken off")
        finally:
            self.close()
        return 1 if self.abandoned else 0

    def stop(self) -> None:
        """Drain all servers; the second time, at once. Safe from any thread and from a signal handler."""
        grace = 0.0 if self._stopping else self.grace
        self._stopping = True
        for server in self.servers:
            server.drain(grace)
        # Not asked of threading.current_thread(): where greenlets pass for threads it knows only these.
        if self._has_alarm and threading.get_native_id() == self._thread:
            _set_alarm(grace + _ALARM_LAG)

    def close(self) -> None:
        """Close all servers, and fire server_stopped for each."""
        for server in self.servers:
            left = tuple(server.active_requests.values())
            if left:
                self.abandoned = True
                server.block_on_close = False
                ids = ", ".join(str(context.id) for context in left)
                logger.error("%s: would not end, and are abandoned: requests %s", server.listening_url(), ids)
            for context in left:
                context.outcome = context.outcome or "aborted"
                context.held = False
                server.end_request(context.request)
            try:
                server.server_close()
            except Exception:
                logger.exception("%s could not be closed", server.listening_url())
            if server.hooks.server_stopped is not None:
                server.hooks.server_stopped(server=server)

    def _serve(self) -> None:
        if all(type(server).serve_forever is Serving.serve_forever for server in self.servers):
            self.servers[0].serve_together(self.servers)
        elif len(self.servers) == 1:
            self.servers[0].serve_forever()
        else:
            threads = [threading.Thread(target=server.serve_forever) for server in self.servers]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Install the signal handlers, in the main thread; elsewhere signals are not ours."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers = {signal.SIGINT: self._on_stop, signal.SIGTERM: self._on_stop}
        if hasattr(signal, "SIGALRM"):
            handlers[signal.SIGALRM] = self._on_alarm
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        self._has_alarm = True
        try:
            yield
        finally:
            self._has_alarm = False
            _set_alarm(0)
            if self._last:
                before |= {signal.SIGINT: signal.SIG_IGN, signal.SIGTERM: signal.SIG_IGN}
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() == self._pid:
            self.stop()
        elif number == signal.SIGTERM:
            # In a forked child: unwind its handler, which may have something to clean up. A SIGINT
            # from the terminal reaches children, too, and is left to the parent, which drains them.
            raise SystemExit(128 + number)

    def _on_alarm(self, number: int, frame: FrameType | None) -> None:
        """Do what the serving loop would do at its deadline, if a handler keeps it from that."""
        self._aborts += 1
        if self._aborts > 2:
            _set_alarm(ABORT_GRACE)  # what cleans up after that may hang as well
            raise _Abandoned
        for server in self.servers:
            for context in tuple(server.active_requests.values()):
                # Transports belong to the loop, which may be in the middle of one.
                if context.transport is None:
                    server.cancel_request(context, force=self._aborts == 2)
        _set_alarm(ABORT_GRACE)


def _set_alarm(seconds: float) -> None:
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)
