"""Service: servers that run together in this process, until signals stop them."""

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

from plugport.contracts.hooks import ServerHooks
from plugport.contracts.interfaces import Handler
from plugport.contracts.loops import ABORT_GRACE
from plugport.contracts.members import configure
from plugport.errors import AddressError, ListenError
from plugport.handlers.styles import style_of
from plugport.serving.server import BaseServer
from plugport.serving.url import Url

__all__ = ["Service", "build_server"]

logger = logging.getLogger("plugport.service")

#: Seconds by which the alarm comes after the deadline, which the serving loop keeps as a rule.
_ALARM_LAG = 0.1


def build_server(
    server_class: type[BaseServer], url: Url, handler: Handler, *, handler_name: str, hooks: ServerHooks
) -> BaseServer:
    """Return a server of *server_class* that is bound to *url* and listens; call the hook server_bound.

    Raises AddressError for a URL that makes no sense, ListenError if the system refuses it, and the
    PlugportError of a server_bound hookimpl; the server is closed then.
    """
    address, members = server_class.resolve_url(url)
    try:
        server: BaseServer = configure(server_class, members)(address, handler)
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
        return str(error.strerror)  # the server's own reason
    if error.errno == errno.EADDRINUSE:
        return "the address is in use; stop what listens there, or choose another"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "permission denied; ports below 1024 and other users' folders take privileges"
    if error.errno == errno.EADDRNOTAVAIL:
        return "no interface of this machine has that address"
    if error.errno == errno.ENOENT:
        return "the folder of the socket file does not exist"
    return error.strerror or str(error)


def _announce(server: BaseServer) -> None:
    if sys.stderr is not None:
        print(f"listening on {server.listening_url()}", file=sys.stderr, flush=True)


class _Abandoned(BaseException):
    """Unwinds a handler that holds the serving thread after the last deadline."""


class Service:
    """Runs servers until SIGINT or SIGTERM, then drains them.

    *servers*: what build_server() returned. *grace*: seconds that active requests have to finish after the
    first signal; what is left is aborted. A second signal aborts at once. *announce*: called with each server
    when it begins to serve. *last*: whether the process ends after run(), so that further signals are ignored
    then and their handlers not restored.
    """

    def __init__(
        self,
        servers: Sequence[BaseServer],
        grace: float = 30.0,
        announce: Callable[[BaseServer], None] = _announce,
        *,
        last: bool = False,
    ) -> None:
        self.servers = servers
        self.grace = grace
        self._announce = announce
        self._last = last
        #: Whether requests were left that could not be ended. Their threads may still run, and would keep the
        #: interpreter from exiting.
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
            logger.error("a handler that held the serving thread did not end and was abandoned")
        finally:
            self.close()
        return 1 if self.abandoned else 0

    def stop(self) -> None:
        """Drain all servers; a second call aborts. Safe from any thread and from a signal handler."""
        grace = 0.0 if self._stopping else self.grace
        self._stopping = True
        for server in self.servers:
            server.drain(grace)
        # Not threading.current_thread(): where gevent has patched it, it returns greenlets.
        if self._has_alarm and threading.get_native_id() == self._thread:
            _set_alarm(grace + _ALARM_LAG)

    def close(self) -> None:
        """Close all servers, and call the hook server_stopped for each."""
        for server in self.servers:
            left = tuple(server.active_requests.values())
            if left:
                self.abandoned = True
                server.block_on_close = False
                ids = ", ".join(str(context.id) for context in left)
                logger.error("%s: requests %s did not end and are abandoned", server.listening_url(), ids)
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
        if not any(server.has_own_loop for server in self.servers):
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
        """Install the signal handlers, in the main thread; in another thread there are none to install."""
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
            # In a forked child: unwind its handler, which may have something to clean up. A SIGINT from the
            # terminal reaches children too, and is ignored there: the parent drains them.
            raise SystemExit(128 + number)

    def _on_alarm(self, number: int, frame: FrameType | None) -> None:
        """Abort requests at the deadline, when a handler keeps the serving loop from doing it."""
        self._aborts += 1
        if self._aborts > 2:
            _set_alarm(ABORT_GRACE)  # clean-up after that may hang too
            raise _Abandoned
        for server in self.servers:
            for context in tuple(server.active_requests.values()):
                # Transports belong to the loop, which may be inside a call of one.
                if context.transport is None:
                    server.cancel_request(context, force=self._aborts == 2)
        _set_alarm(ABORT_GRACE)


def _set_alarm(seconds: float) -> None:
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)
