"""Request records under every strategy: begin, fail, end, and the table of active requests.

Loops and sockets are not known here; they are in :mod:`plugport.serving.running` and the servers.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from time import monotonic
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Self, TypeVar

from plugport.contracts.hooks import NO_HOOKS, ServerHooks
from plugport.contracts.interfaces import ClientAddress, Request
from plugport.contracts.members import Help
from plugport.contracts.requests import RequestContext, RequestHandedOver, outcome_of, traffic
from plugport.errors import PlugportError
from plugport.serving.url import format_client

__all__ = ["RequestAccounting", "is_record_keeping", "record_keeping"]

if TYPE_CHECKING:  # what the server class, of which this is a part, has besides
    from plugport.serving.interface import LoopServer as _LoopServer
else:
    _LoopServer = object

logger = logging.getLogger("plugport.request")
#: A logger of its own, so that an access log, which tells more of rejections, can replace it.
rejections = logging.getLogger("plugport.request.rejected")


_Method = TypeVar("_Method", bound="Callable[..., object]")

_RECORD_KEEPING = "_plugport_record_keeping"


def record_keeping(method: _Method) -> _Method:
    """Mark a method that does nothing with a request but keep its record.

    A strategy may leave it out where no record is wanted. A method that overrides it is not marked.
    """
    setattr(method, _RECORD_KEEPING, True)
    return method


def is_record_keeping(method: Callable[..., object]) -> bool:
    """Return whether *method* is marked by record_keeping()."""
    return getattr(method, _RECORD_KEEPING, False)


class RequestAccounting(_LoopServer):
    """Begins and ends requests: limits, verification, the table of active requests, the request hooks.

    A strategy's ``process_request`` is called for a request that has begun, and has :meth:`run_request` run
    in a thread or process of its choice; a strategy that runs handlers in another way calls
    :meth:`fail_request` and :meth:`end_request` itself.
    """

    max_active_requests: Annotated[
        int, Help("requests served at once; at the limit the server stops accepting (0: no limit)", ge=0)
    ] = 0

    request_timeout: Annotated[
        float | None, Help("seconds that a request may take before it is aborted (null: no limit)", gt=0)
    ] = None
    idle_timeout: Annotated[
        float | None,
        Help("seconds without traffic before a connection is closed (null: never)", gt=0),
    ] = None

    #: The hooks of the service that runs this server; NO_HOOKS for a server that no service runs.
    hooks: ServerHooks = NO_HOOKS
    #: The handler's name, for logs and hooks.
    handler_name: str = ""
    #: The strategy's, "" where there is none.
    concurrency_name: str = ""
    #: The records of requests that have begun and not ended, by the id() of the request object.
    active_requests: dict[int, RequestContext]
    #: Memory that requests share, where the strategy lets them; hold ``lock`` to change it.
    state: SimpleNamespace
    #: Guards ``state``. Re-entrant.
    lock: threading.RLock

    #: Whether the serving loop waits for a request to end; end_request() then wakes it.
    wakes_at_end: bool = False

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        """Make what requests need."""
        # Here and not in __init__: a subclass written for socketserver may never call ours.
        self = super().__new__(cls)
        self.active_requests = {}
        self.state = SimpleNamespace()
        self.lock = threading.RLock()
        return self

    def has_room(self) -> bool:
        """Return whether one more request may begin. Strategies add limits of their own."""
        limit = self.max_active_requests
        return not limit or len(self.active_requests) < limit

    @record_keeping
    def begin_request(self, request: Request, client_address: ClientAddress) -> RequestContext | None:
        """Open and return the record of *request*; return None if it is rejected.

        Asks verify_request() of the server, then the hook of that name. Calls the hook request_started, or
        request_rejected.
        """
        refusal = ""
        try:
            if not self.has_room():
                refusal = "the limit of active requests is reached"
            elif not self.verify_request(request, client_address):
                refusal = "the server's verify_request returned False"
            elif (verify := self.hooks.verify_request) is not None and (
                answer := verify(server=self, request=request, client_address=client_address)
            ) is not True:
                refusal = answer or "a verify_request hook returned False"
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

    def reject_request(self, client_address: ClientAddress, reason: str) -> None:
        """Report that a request of *client_address* is rejected: log it, call the hook request_rejected."""
        hooks = self.hooks
        if hooks is not NO_HOOKS:
            rejections.info("rejected %s: %s", format_client(client_address), reason)
        if hooks.request_rejected is not None:
            hooks.request_rejected(server=self, client_address=client_address, reason=reason)

    def fail_request(self, request: Request | None, error: BaseException) -> None:
        """Note the *error* that a request's handler raised; call the hook request_failed, once a request."""
        context = self.active_requests.get(id(request))
        if context is None or context.error is not None:
            return
        context.error = error
        if context.outcome is None:
            context.outcome = outcome_of(error)
        if self.hooks.request_failed is not None:
            self.hooks.request_failed(context=context, error=error)

    def expire_request(self, context: RequestContext, reason: str) -> None:
        """Abort a request that has run into a timeout. Its outcome is "timed-out"."""
        error = TimeoutError(reason)
        context.outcome = context.outcome or "timed-out"
        self.fail_request(context.request, error)
        self._log_abort(context, f"timed out: {reason}")
        self.abort_request(context)

    def cancel_request(self, context: RequestContext, *, force: bool = False) -> None:
        """Abort a request that a stopping server waits for no longer. Its outcome is "aborted".

        *force*: it was aborted before, and has not ended.
        """
        context.outcome = context.outcome or "aborted"
        if context.aborted_at is None:
            self._log_abort(context, "aborted: the server stops and waits for it no longer")
        self.abort_request(context, force=force)

    def _log_abort(self, context: RequestContext, what: str) -> None:
        """Log that a request is aborted. report_error() adds no second line."""
        context.aborted_at = context.aborted_at or monotonic()
        if self.hooks is not NO_HOOKS:
            logger.info("request %s from %s %s", context.id, format_client(context.client_address), what)

    @record_keeping
    def end_request(self, request: Request) -> None:
        """Close the record of *request*, and call the hook request_finished. May be called again."""
        context = self.active_requests.get(id(request))
        if context is None or context.held:
            return
        if self.active_requests.pop(id(request), None) is None:
            return  # another thread has closed it
        context.duration = monotonic() - context.started
        if context.outcome is None:
            context.outcome = "completed"
        finished = self.hooks.request_finished
        if finished is not None:
            if context.bytes_received is None:
                context.bytes_received, context.bytes_sent = traffic(request)
            finished(context=context)
        if self.wakes_at_end:
            self.wake()

    def notify_room(self) -> None:
        """Have the serving loop ask has_room() again, if it waits for room."""
        if self.wakes_at_end:
            self.wake()

    def run_request(self, request: Request, client_address: ClientAddress) -> None:
        """Run the handler on a request that has begun, and close it: the body of most strategies.

        An Exception of the handler ends this request alone. SystemExit, KeyboardInterrupt and the like reach
        the caller, after the request is closed.
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

    def handle_failure(
        self, request: Request | None, client_address: ClientAddress, error: Exception
    ) -> None:
        """Note what a request's handler raised, and have handle_error() report it.

        *request* is None where there is none, for a datagram that was too long for example.
        """
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

    def conclude_request(self, request: Request) -> None:
        """Close the record of the request, then shut down and close the request."""
        try:
            self.end_request(request)
        finally:
            self.shutdown_request(request)

    def report_error(self, request: Request | None, client_address: ClientAddress) -> None:
        """Report the exception that is being handled: the default of handle_error().

        In a service it is logged with the request's id: the failure of a handler as an error with its
        traceback, a connection that broke or timed out as information. The end of a request that was aborted
        is not reported: the abort was. A server that no service runs prints to sys.stderr, as socketserver
        does.
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
            # plugport's own errors, for a client that breaks a framing for example, need no traceback.
            trace = None if isinstance(error, PlugportError) else error
            what = f": {error}" if trace is None else ""
            logger.error("request %s from %s failed%s", context.id, client, what, exc_info=trace)
        elif context.aborted_at is None:
            logger.info("request %s from %s %s: %r", context.id, client, context.outcome, error)


def _print_error(client_address: ClientAddress) -> None:
    import traceback

    rule = "-" * 40
    print(rule, file=sys.stderr)
    print("Exception occurred during processing of request from", client_address, file=sys.stderr)
    traceback.print_exc()
    print(rule, file=sys.stderr)
