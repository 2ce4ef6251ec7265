"""The accounting of requests that every strategy shares: begin, fail, end, and the table of active ones.

It knows nothing of loops or sockets' ways; those are in :mod:`plugport.serving.running` and the servers.
"""

from __future__ import annotations

import logging
import sys
import threading
from time import monotonic
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any

from plugport.contracts.hooks import NO_HOOKS, ServerHooks
from plugport.contracts.members import Help
from plugport.contracts.requests import RequestContext, RequestHandedOver, outcome_of, traffic
from plugport.errors import PlugportError
from plugport.serving.url import format_client

__all__ = ["RequestAccounting"]

logger = logging.getLogger("plugport.request")
#: On its own, so that an access log, which tells more of them, can take its place.
rejections = logging.getLogger("plugport.request.rejected")


class RequestAccounting:
    """Begins and ends requests: limits, verification, the table of active requests, the request hooks.

    A strategy's ``process_request`` is called for a request that has begun, and sees to it that
    :meth:`run_request` runs, wherever it likes; a strategy that drives handlers in its own way
    calls :meth:`fail_request` and :meth:`end_request` itself.
    """

    max_active_requests: Annotated[
        int, Help("requests served at once; when they are, the server stops accepting (0: no limit)", ge=0)
    ] = 0

    request_timeout: Annotated[
        float | None, Help("seconds that a request may take before it is cut (null: no limit)", gt=0)
    ] = None
    idle_timeout: Annotated[
        float | None,
        Help("seconds that a connection may pass without a byte either way (null: no limit)", gt=0),
    ] = None

    #: The hooks of the service that runs this server; NO_HOOKS when it is on its own.
    hooks: ServerHooks = NO_HOOKS
    #: The handler's name, for logs and hooks.
    handler_name: str = ""
    #: The strategy's, "" where there is none.
    concurrency_name: str = ""
    #: Requests that have begun and not ended, by the id() of the request object.
    active_requests: dict[int, RequestContext]
    #: Memory that requests share, where the strategy lets them; hold ``lock`` to change it.
    state: SimpleNamespace
    #: Guards ``state``. Re-entrant.
    lock: Any

    #: Set while the serving loop waits for a request to end; end_request() then wakes it.
    _waiting: bool = False

    if TYPE_CHECKING:  # what this needs of the server class: template methods of socketserver

        def verify_request(self, request: Any, client_address: Any) -> bool: ...
        def finish_request(self, request: Any, client_address: Any) -> None: ...
        def shutdown_request(self, request: Any) -> None: ...
        def handle_error(self, request: Any, client_address: Any) -> None: ...
        def wake(self) -> None: ...
        def abort_request(self, context: RequestContext, *, force: bool = False) -> None: ...

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        # Here and not in __init__: a subclass written for socketserver may never call ours.
        self = super().__new__(cls)
        self.active_requests = {}
        self.state = SimpleNamespace()
        self.lock = threading.RLock()
        return self

    def has_room(self) -> bool:
        """Whether one more request may begin. Strategies add limits of their own."""
        limit = self.max_active_requests
        return not limit or len(self.active_requests) < limit

    def begin_request(self, request: Any, client_address: Any) -> RequestContext | None:
        """Open the account of *request*; None, and request_rejected, if it is turned away.

        Asks ``verify_request`` of the server, then that of the hooks. Fires request_started.
        """
        refusal = ""
        try:
            if not self.has_room():
                refusal = "the limit of active requests is reached"
            elif not self.verify_request(request, client_address):
                refusal = "the server's verify_request said no"
            elif (verify := self.hooks.verify_request) is not None and (
                answer := verify(server=self, request=request, client_address=client_address)
            ) is not True:
                refusal = answer or "a verify_request hook said no"
        except Exception as error:
            self.handle_failure(request, client_address, error)
            refusal = "the server's verify_request raised"
        if refusal:
            self.reject_request(client_address, refusal)
            return None
        if self.idle_timeout is not None and not isinstance(request, tuple):
            request.settimeout(self.idle_timeout)
        context = self.active_requests[id(request)] = RequestContext(self, request, client_address)
        started = self.hooks.request_started
        if started is not None:
            started(context=context)
        return context

    def reject_request(self, client_address: Any, reason: str) -> None:
        """Say that what came from *client_address* is turned away: log it, fire request_rejected."""
        hooks = self.hooks
        if hooks is not NO_HOOKS:
            rejections.info("rejected %s: %s", format_client(client_address), reason)
        if hooks.request_rejected is not None:
            hooks.request_rejected(server=self, client_address=client_address, reason=reason)

    def fail_request(self, request: Any, error: BaseException) -> None:
        """Note that *error* came out of the request's handler, and fire request_failed. Once a request."""
        context = self.active_requests.get(id(request))
        if context is None or context.error is not None:
            return
        context.error = error
        if context.outcome is None:
            context.outcome = outcome_of(error)
        if self.hooks.request_failed is not None:
            self.hooks.request_failed(context=context, error=error)

    def expire_request(self, context: RequestContext, reason: str) -> None:
        """Cut a request that has run into a timeout. Its outcome is "timed-out"."""
        error = TimeoutError(reason)
        context.outcome = context.outcome or "timed-out"
        self.fail_request(context.request, error)
        self._log_abort(context, f"timed out: {reason}")
        self.abort_request(context)

    def cancel_request(self, context: RequestContext, *, force: bool = False) -> None:
        """Cut a request that a server which stops waits for no longer. Its outcome is "aborted".

        *force*: this was tried before.
        """
        context.outcome = context.outcome or "aborted"
        if context.aborted_at is None:
            self._log_abort(context, "aborted: the server stops, and waits for it no longer")
        self.abort_request(context, force=force)

    def _log_abort(self, context: RequestContext, what: str) -> None:
        """Log that a request is cut, in the one line there is of it: see report_error()."""
        context.aborted_at = context.aborted_at or monotonic()
        if self.hooks is not NO_HOOKS:
            logger.info("request %s from %s %s", context.id, format_client(context.client_address), what)

    def end_request(self, request: Any) -> None:
        """Close the account of *request* while it is still open, and fire request_finished. Idempotent."""
        context = self.active_requests.get(id(request))
        if context is None or context.held:
            return
        if self.active_requests.pop(id(request), None) is None:
            return  # another thread was quicker
        context.duration = monotonic() - context.started
        if context.outcome is None:
            context.outcome = "completed"
        finished = self.hooks.request_finished
        if finished is not None:
            if context.bytes_received is None:
                context.bytes_received, context.bytes_sent = traffic(request)
            finished(context=context)
        if self._waiting:
            self.wake()

    def notify_room(self) -> None:
        """Have the serving loop look at has_room() again, if it waits for room."""
        if self._waiting:
            self.wake()

    def run_request(self, request: Any, client_address: Any) -> None:
        """Run the handler on a request that has begun, to its end: the body of most strategies.

        What the handler raises harms this request alone; SystemExit, KeyboardInterrupt and their
        like go on to the caller, after the request is closed.
        """
        try:
            self.finish_request(request, client_address)
        except RequestHandedOver:
            return
        except Exception as error:
            self.handle_failure(request, client_address, error)
        except BaseException as error:
            self.fail_request(request, error)
            self.conclude_request(request)
            raise
        self.conclude_request(request)

    def handle_failure(self, request: Any, client_address: Any, error: Exception) -> None:
        """Take what came out of a request's handler: note it, and have handle_error() report it."""
        self.fail_request(request, error)
        try:
            if sys.exception() is error:
                self.handle_error(request, client_address)
                return
            try:
                raise error  # handle_error() looks for an exception that is being handled
            except Exception:
                self.handle_error(request, client_address)
        except Exception:
            logger.exception("handle_error of %s raised", type(self).__name__)

    def conclude_request(self, request: Any) -> None:
        """End the account of the request, then shut down and close it."""
        try:
            self.end_request(request)
        finally:
            self.shutdown_request(request)

    def report_error(self, request: Any, client_address: Any) -> None:
        """Report the exception that is being handled: the default of handle_error().

        In a service it goes to the log with the request's id: a handler's failure as an error
        with its traceback, a connection that broke or timed out as a line of information. What
        comes of a request's being cut is not reported: that it is cut was.
        On its own a server prints to sys.stderr, as socketserver does.
        """
        error = sys.exception()
        if error is None:
            return
        self.fail_request(request, error)
        if self.hooks is NO_HOOKS:
            _print_error(client_address)
            return
        context = self.active_requests.get(id(request))
        client = format_client(client_address)
        if context is None:
            logger.error("a request from %s failed before it began: %s", client, error)
        elif context.outcome == "failed":
            # What plugport says itself, of a client that breaks a framing say, needs no traceback.
            trace = None if isinstance(error, PlugportError) else error
            what = f": {error}" if trace is None else ""
            logger.error("request %s from %s failed%s", context.id, client, what, exc_info=trace)
        elif context.aborted_at is None:
            logger.info("request %s from %s %s: %r", context.id, client, context.outcome, error)


def _print_error(client_address: Any) -> None:
    import traceback

    rule = "-" * 40
    print(rule, file=sys.stderr)
    print("Exception occurred during processing of request from", client_address, file=sys.stderr)
    traceback.print_exc()
    print(rule, file=sys.stderr)
