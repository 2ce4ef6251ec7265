"""A second plugin: a handler of messages, a framing, and a command. It imports none of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from plugport import Component, hookimpl

if TYPE_CHECKING:
    from plugport.cli import LazyCommand


@hookimpl
def plugport_register_handlers() -> Iterator[Component]:
    """One handler."""
    yield Component("reverse", "plugport_example.reverse:ReverseHandler", "Send each message back, reversed")


@hookimpl
def plugport_register_framings() -> Iterator[Component]:
    """One framing."""
    yield Component("slip", "plugport_example.slip:SlipFraming", "SLIP packets (RFC 1055)")


@hookimpl
def plugport_register_commands() -> Iterator[LazyCommand]:
    """One command."""
    from plugport.cli import LazyCommand  # late: it imports click, which only the command line needs

    yield LazyCommand("ask", "plugport_example.ask:ask", "Send a message to a service, print its reply")
