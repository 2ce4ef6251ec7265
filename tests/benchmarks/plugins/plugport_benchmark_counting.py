"""A plugin that counts requests as they finish: the least that a hook can do."""

from __future__ import annotations

from typing import Any

from plugport import hookimpl

finished = 0


@hookimpl
def plugport_request_finished(context: Any) -> None:
    global finished
    finished += 1
