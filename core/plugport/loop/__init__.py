"""The serving loop: one poll over listening sockets and connections, with timers."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from plugport.loop.loop import ServerLoop
    from plugport.loop.poller import EpollPoller, SelectorPoller, blocking_poller, make_poller
    from plugport.loop.timers import Timer, Timers
else:
    from plugport._lazy import lazy

    __getattr__ = lazy(
        __name__,
        {
            "plugport.loop.loop": ("ServerLoop",),
            "plugport.loop.poller": (
                "EpollPoller",
                "SelectorPoller",
                "blocking_poller",
                "make_poller",
            ),
            "plugport.loop.timers": (
                "Timer",
                "Timers",
            ),
        },
    )

__all__ = [
    "EpollPoller",
    "SelectorPoller",
    "ServerLoop",
    "Timer",
    "Timers",
    "blocking_poller",
    "make_poller",
]
