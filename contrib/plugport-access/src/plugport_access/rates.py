"""Rates: a token bucket for each peer, in a table of bounded size."""

from __future__ import annotations

from heapq import nlargest
from operator import itemgetter
from threading import Lock

__all__ = ["Rates"]


class Rates:
    """Allows each peer *burst* requests at once, and *rate* per second on average.

    A bucket is stored as one number: the time at which it will be full again (the generic cell rate
    algorithm, ITU-T I.371). A full bucket need not be stored. So when the table has *max_peers* peers, the
    full buckets are dropped; if that leaves more than three quarters, so are those that will be full soonest.
    A client that wants its empty bucket to be dropped needs that many other addresses, and must empty the
    bucket of each even further.
    """

    def __init__(self, rate: float, burst: int, max_peers: int) -> None:
        self._interval = 1.0 / rate
        self._slack = (burst - 1) * self._interval + 1e-9
        self._max_peers = max_peers
        self._full_at: dict[bytes, float] = {}
        self._lock = Lock()  # several servers may accept in threads of their own

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, peer: bytes, now: float) -> bool:
        """Take a token of *peer* at the time *now*, in seconds. Return False if there is none."""
        with self._lock:
            full_at = self._full_at.get(peer)
            if full_at is None:
                if len(self._full_at) >= self._max_peers:
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
        limit = self._max_peers * 3 // 4
        if len(kept) > limit:
            kept = dict(nlargest(limit, kept.items(), key=itemgetter(1)))
        self._full_at = kept
