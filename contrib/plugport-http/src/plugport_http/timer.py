"""LazyTimer: one timer for all deadlines of a connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from plugport.contracts import TimerHandle, Transport
from plugport.transports import call_later, clock_of

__all__ = ["LazyTimer"]


class LazyTimer:
    """The deadlines of a protocol, a mix-in.

    Moving the deadline only stores a number: a timer that fires too early is set again.
    """

    transport: Transport
    #: When the client must have acted, by the transport's clock; None while the server has to act.
    _deadline: float | None = None
    _timer: TimerHandle | None = None
    _timer_at: float = 0.0
    _lost: bool = False
    _clock: Callable[[], float]

    def _start_clock(self, transport: Any) -> None:
        self.transport = transport
        self._clock = clock_of(transport)

    def _stop_clock(self) -> None:
        """Cancel the timer after the connection was lost."""
        self._lost = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_deadline(self, seconds: float) -> None:
        """Have _deadline_passed() called in *seconds*, unless the deadline moves or is cleared."""
        deadline = self._deadline = self._clock() + seconds
        if self._timer is None or deadline < self._timer_at:
            self._set_timer(seconds, deadline)

    def _set_timer(self, seconds: float, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = call_later(self.transport, seconds, self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        deadline = self._deadline
        if deadline is None or self._lost:
            return
        remaining = deadline - self._clock()
        if remaining > 0.0:
            self._set_timer(remaining, deadline)
        else:
            self._deadline_passed()

    def _deadline_passed(self) -> None:
        """Act on a client that is too slow. Overridden."""
