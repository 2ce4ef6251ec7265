"""Finding: the result of one check of ``plugport doctor``."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

__all__ = ["STATUSES", "Finding", "Status"]

Status = Literal["ok", "warning", "problem"]
STATUSES: tuple[Status, ...] = get_args(Status)


class Finding(NamedTuple):
    """The result of a check.

    ``status`` is "ok"; "warning" if a service can run nevertheless; "problem" if it can't, or fails
    sometimes. ``message`` is the observation, ``remedy`` what to do about it, in a line each; for "ok"
    the remedy is "". ``check`` is the name of the check; "" stands for that of the plugin.
    """

    status: Status
    message: str
    remedy: str = ""
    check: str = ""
