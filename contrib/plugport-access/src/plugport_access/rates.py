"""Rates: a token bucket for each peer, in a table of bounded size."""

from __future__ import annotations

from heapq import nlargest
from operator import itemgetter
from threading import Lock

__all__ = ["Rates"]


class Rates:
    """Lets each peer have *burst* requests at once, and *rate* a second in the long run.

    Of each bucket one number is kept: when it will be full again (the generic cell rate algorithm,
    ITU-T I.371). A bucket that is full is as good as none, so those are what is dropped when the
    table has *most* peers; if there are not enough of them, those that will be full soonest, down to
    three quarters. An emptied bucket is only lost to so many others that are emptier still: who
    wants his own to be forgotten needs that many addresses, and must have used each up.
    """

    def __init__(self, rate: float, burst: int, most: int) -> None:
        self._interval = 1.0 / rate
        self._slack = (burst - 1) * self._interval + 1e-9
        self._most = most
        self._full_at: dict[bytes, float] = {}
        self._lock = Lock()  # several servers may accept in threads of their own

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, peer: bytes, now: float) -> bool:
        """Take a token of the peer's at *now*, in seconds; False if there is none, and none is taken."""
        with self._lock:
            full_at = self._full_at.get(peer)
            if full_at is None:
                if len(self._full_at) >= self._most:
                    self._make_room(now)
                full_at = now
            elif full_at < now:
                full_at = now
            if full_at - now > self._slack:
                return False
            self._full_at[peer] = full_at + self._interval
            return True

    def _make_room(self, now: float) -> None:
        kept = {peer: full_at for peer, full_at in self._full_at.items() if full_at > now}
        most = self._most * 3 // 4
        if len(kept) > most:
            kept = dict(nlargest(most, kept.items(), key=itemgetter(1)))
        self._full_at = kept
