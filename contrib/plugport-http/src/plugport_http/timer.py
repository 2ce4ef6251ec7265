"""LazyTimer: one timer for all that a connection's protocol waits for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from plugport.transports import call_later, clock_of

__all__ = ["LazyTimer"]


class LazyTimer:
    """The part of a protocol that looks at the clock.

    A deadline that moves costs no more than to note it: the timer, where it was too early, is set again.
    """

    transport: Any
    #: When the client's time is up, by the transport's clock; None: it is our turn.
    _deadline: float | None = None
    _timer: Any = None
    _timer_at: float = 0.0
    _lost: bool = False
    _clock: Callable[[], float]

    def _start_clock(self, transport: Any) -> None:
        self.transport = transport
        self._clock = clock_of(transport)

    def _stop_clock(self) -> None:
        """The connection is lost."""
        self._lost = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_deadline(self, seconds: float) -> None:
        """It is the client's turn for so long; then _deadline_passed() is called."""
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
        left = deadline - self._clock()
        if left > 0.0:
            self._set_timer(left, deadline)
        else:
            self._deadline_passed()

    def _deadline_passed(self) -> None:
        """The client's time is up. To be overridden."""
