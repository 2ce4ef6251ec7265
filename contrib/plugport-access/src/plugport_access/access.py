"""Access: what this package puts into a service; its options, and its hookimpls."""

from __future__ import annotations

import logging
from collections import Counter
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

from plugport import Help, hookimpl
from plugport.errors import OptionError

from plugport_access.addresses import address_of, group_of
from plugport_access.lists import AddressList
from plugport_access.rates import Rates

if TYPE_CHECKING:
    from plugport import RequestContext

__all__ = ["DENIED", "NOT_ALLOWED", "TOO_MANY", "TOO_OFTEN", "Access"]

logger = logging.getLogger("plugport.access-control")

#: The reasons, and all there are: they serve as labels.
DENIED = "the address is denied"
NOT_ALLOWED = "the address is not allowed"
TOO_MANY = "the peer has too many requests at once"
TOO_OFTEN = "the peer comes too often"


class Access:
    """Turns requests away: connections, and datagrams, by the address that they come from.

    Who is on the list ``deny`` is turned away, also if on the list ``allow``. If there is a list
    ``allow``, so is everybody who is not on it. The limits are for each peer: an IPv4 address, or
    the IPv6 addresses of one network. Peers without an address, as those of unix sockets, pass.
    """

    allow: Annotated[list[str], Help("addresses and networks that may come (none: all)")] = []
    deny: Annotated[list[str], Help("addresses and networks that may not; goes before allow")] = []
    allow_file: Annotated[
        str | None, Help("a file with more of them, one a line; read again when it changes")
    ] = None
    deny_file: Annotated[str | None, Help("the same for deny")] = None
    max_per_peer: Annotated[
        int, Help("connections, or datagrams, of a peer that are served at once (0: no limit)", ge=0)
    ] = 0
    rate: Annotated[
        float | None, Help("requests a second that a peer may begin in the long run (null: no limit)", gt=0)
    ] = None
    burst: Annotated[int, Help("requests that a peer may begin at once, within its rate", ge=1)] = 10
    max_peers: Annotated[int, Help("peers whose rate is remembered", ge=16)] = 10_000
    ipv6_prefix: Annotated[
        int, Help("bits that IPv6 addresses have in common that count as one peer", ge=1, le=128)
    ] = 64

    @classmethod
    def check_options(cls) -> None:
        """Read the lists, and see that nobody counts on a limit that is none. Raises OptionError."""
        cls._lists()
        if cls.rate is None and cls is not Access and "burst" in vars(cls):
            raise OptionError(
                "access.burst: it is of no effect without access.rate; "
                "say how many a second a peer may begin, as -o access.rate=5"
            )

    @classmethod
    def _lists(cls) -> tuple[AddressList | None, AddressList | None]:
        """The lists allow and deny; None for one that nobody wants."""
        allow = AddressList("allow", cls.allow, cls.allow_file) if cls.allow or cls.allow_file else None
        deny = AddressList("deny", cls.deny, cls.deny_file) if cls.deny or cls.deny_file else None
        return allow, deny

    def __init__(self) -> None:
        self._allow, self._deny = self._lists()
        self._rates = None if self.rate is None else Rates(self.rate, self.burst, self.max_peers)
        self._active: dict[bytes, int] = {}
        self._refused: Counter[str] = Counter()
        self._lock = Lock()  # requests end in the threads that served them
        self._servers = 0
        if not self.max_per_peer:
            self._do_without("request_started", "request_finished")
        if not (self.allow_file or self.deny_file):
            self._do_without("service_actions")
        if not self.max_per_peer and all(each is None for each in (self._allow, self._deny, self._rates)):
            self._do_without("verify_request", "server_bound", "server_stopped")

    def _do_without(self, *hooks: str) -> None:
        # A hookimpl that is not there costs nothing.
        vars(self).update({f"plugport_{hook}": None for hook in hooks})

    # Requests -------------------------------------------------------------------------------------

    @hookimpl
    def plugport_verify_request(self, client_address: Any) -> str | None:
        """Return why the request is turned away, or None."""
        address = address_of(client_address)
        if address is None:
            return None
        if self._deny is not None and address in self._deny.networks:
            return self._refuse(DENIED)
        if self._allow is not None and address not in self._allow.networks:
            return self._refuse(NOT_ALLOWED)
        peer = group_of(address, self.ipv6_prefix)
        if self.max_per_peer and self._active.get(peer, 0) >= self.max_per_peer:
            return self._refuse(TOO_MANY)
        if self._rates is not None and not self._rates.take(peer, monotonic()):
            return self._refuse(TOO_OFTEN)
        return None

    def _refuse(self, reason: str) -> str:
        with self._lock:
            self._refused[reason] += 1
        return reason

    @hookimpl
    def plugport_request_started(self, context: RequestContext) -> None:
        """Count one of the peer's."""
        address = address_of(context.client_address)
        if address is not None:
            peer = group_of(address, self.ipv6_prefix)
            with self._lock:
                self._active[peer] = self._active.get(peer, 0) + 1

    @hookimpl
    def plugport_request_finished(self, context: RequestContext) -> None:
        """Count one of the peer's less; forget a peer that has none."""
        address = address_of(context.client_address)
        if address is not None:
            peer = group_of(address, self.ipv6_prefix)
            with self._lock:
                if self._active[peer] > 1:
                    self._active[peer] -= 1
                else:
                    del self._active[peer]

    # Servers --------------------------------------------------------------------------------------

    @hookimpl
    def plugport_service_actions(self) -> None:
        """Look whether the files have changed."""
        for each in (self._allow, self._deny):
            if each is not None:
                each.refresh()

    @hookimpl
    def plugport_server_bound(self) -> None:
        """Count the servers."""
        self._servers += 1

    @hookimpl
    def plugport_server_stopped(self) -> None:
        """Log how many were turned away, and why, when the last server has stopped."""
        self._servers -= 1
        if self._servers <= 0 and self._refused:
            counts = ", ".join(f"{reason}: {count}" for reason, count in self._refused.most_common())
            logger.info("turned away: %d (%s)", self._refused.total(), counts)
