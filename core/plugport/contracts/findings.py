"""Finding: what one check says of one thing."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

__all__ = ["STATUSES", "Finding", "Status"]

Status = Literal["ok", "warning", "problem"]
STATUSES: tuple[Status, ...] = get_args(Status)


class Finding(NamedTuple):
    """What a check has found.

    ``status`` is "ok"; "warning" for what a service may well run with; "problem" for what it
    can't, or not as it should. ``message`` says what, ``remedy`` what to do about it, in a line
    each; for "ok" the remedy is "". ``check`` is the name of the check; "" stands for that of the plugin.
    """

    status: Status
    message: str
    remedy: str = ""
    check: str = ""
