"""Access: the service plugin, with its options and its hookimpls."""

from __future__ import annotations

import logging
from collections import Counter
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Annotated

from plugport import Help, hookimpl
from plugport.errors import OptionError

from plugport_access.addresses import address_of, group_of
from plugport_access.lists import AddressList
from plugport_access.rates import Rates

if TYPE_CHECKING:
    from plugport import RequestContext
    from plugport.contracts import ClientAddress

__all__ = ["DENIED", "NOT_ALLOWED", "TOO_MANY", "TOO_OFTEN", "Access"]

logger = logging.getLogger("plugport.access-control")

#: All reasons of rejections. Metrics have them as labels.
DENIED = "the address is denied"
NOT_ALLOWED = "the address is not allowed"
TOO_MANY = "the peer has too many requests at once"
TOO_OFTEN = "the peer comes too often"


class Access:
    """Rejects requests, connections and datagrams, by the address of the client.

    An address on the list ``deny`` is rejected, even if it is on the list ``allow``. If there is a list
    ``allow``, an address that is not on it is rejected. The limits apply to each peer: an IPv4 address, or
    the IPv6 addresses of one network. Clients without an address, on unix sockets, are accepted.
    """

    allow: Annotated[list[str], Help("addresses and networks that are accepted (none: all)")] = []
    deny: Annotated[list[str], Help("addresses and networks that are rejected; it overrides allow")] = []
    allow_file: Annotated[
        str | None, Help("file with more of them, one in each line; read again when it changes (null: none)")
    ] = None
    deny_file: Annotated[str | None, Help("file with more networks for deny (null: none)")] = None
    max_per_peer: Annotated[
        int, Help("connections or datagrams of a peer that are served at once (0: no limit)", ge=0)
    ] = 0
    rate: Annotated[
        float | None, Help("requests that a peer may begin per second, on average (null: no limit)", gt=0)
    ] = None
    burst: Annotated[int, Help("requests that a peer may begin at once before the rate applies", ge=1)] = 10
    max_peers: Annotated[int, Help("peers whose rate is remembered", ge=16)] = 10_000
    ipv6_prefix: Annotated[
        int, Help("prefix length in bits: IPv6 addresses of one prefix are one peer", ge=1, le=128)
    ] = 64

    @classmethod
    def check_options(cls) -> None:
        """Read the lists, and check that each limit has an effect. Raises OptionError."""
        cls._lists()
        if cls.rate is None and cls is not Access and "burst" in vars(cls):
            raise OptionError(
                "access.burst: it has no effect without access.rate; "
                "add the requests per second of a peer, as -o access.rate=5"
            )

    @classmethod
    def _lists(cls) -> tuple[AddressList | None, AddressList | None]:
        """Return the lists allow and deny; None for one that is not set."""
        allow = AddressList("allow", cls.allow, cls.allow_file) if cls.allow or cls.allow_file else None
        deny = AddressList("deny", cls.deny, cls.deny_file) if cls.deny or cls.deny_file else None
        return allow, deny

    def __init__(self) -> None:
        self._allow, self._deny = self._lists()
        self._rates = None if self.rate is None else Rates(self.rate, self.burst, self.max_peers)
        self._active: dict[bytes, int] = {}
        self._rejected: Counter[str] = Counter()
        self._lock = Lock()  # requests end in the threads that served them
        self._servers = 0
        if not self.max_per_peer:
            self._disable("request_started", "request_finished")
        if not (self.allow_file or self.deny_file):
            self._disable("service_actions")
        if not self.max_per_peer and all(each is None for each in (self._allow, self._deny, self._rates)):
            self._disable("verify_request", "server_bound", "server_stopped")

    def _disable(self, *hooks: str) -> None:
        for hook in hooks:
            setattr(self, f"plugport_{hook}", None)  # a hookimpl that is None is not called

    # Requests -------------------------------------------------------------------------------------

    @hookimpl
    def plugport_verify_request(self, client_address: ClientAddress) -> str | None:
        """Return the reason to reject the request, or None."""
        address = address_of(client_address)
        if address is None:
            return None
        if self._deny is not None and address in self._deny.networks:
            return self._reject(DENIED)
        if self._allow is not None and address not in self._allow.networks:
            return self._reject(NOT_ALLOWED)
        peer = group_of(address, self.ipv6_prefix)
        if self.max_per_peer and self._active.get(peer, 0) >= self.max_per_peer:
            return self._reject(TOO_MANY)
        if self._rates is not None and not self._rates.take(peer, monotonic()):
            return self._reject(TOO_OFTEN)
        return None

    def _reject(self, reason: str) -> str:
        with self._lock:
            self._rejected[reason] += 1
        return reason

    @hookimpl
    def plugport_request_started(self, context: RequestContext) -> None:
        """Count an active request of the peer."""
        address = address_of(context.client_address)
        if address is not None:
            peer = group_of(address, self.ipv6_prefix)
            with self._lock:
                self._active[peer] = self._active.get(peer, 0) + 1

    @hookimpl
    def plugport_request_finished(self, context: RequestContext) -> None:
        """Count one active request of the peer less; forget a peer that has none."""
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
        """Read files again that have changed."""
        for each in (self._allow, self._deny):
            if each is not None:
                each.refresh()

    @hookimpl
    def plugport_server_bound(self) -> None:
        """Count the servers."""
        self._servers += 1

    @hookimpl
    def plugport_server_stopped(self) -> None:
        """Log the numbers of rejections by reason, when the last server has stopped."""
        self._servers -= 1
        if self._servers <= 0 and self._rejected:
            counts = ", ".join(f"{reason}: {count}" for reason, count in self._rejected.most_common())
            logger.info("rejected: %d (%s)", self._rejected.total(), counts)
