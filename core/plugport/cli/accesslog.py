"""The access log: one line for each request that ended or was rejected, written by hookimpls."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from plugport.contracts.requests import RequestContext
from plugport.plugin.manager import PluginRecord, Plugins
from plugport.plugin.specs import hookimpl
from plugport.serving.url import format_client

if TYPE_CHECKING:
    from plugport.contracts.interfaces import ClientAddress
    from plugport.serving.server import BaseServer

__all__ = ["add_access_log"]

logger = logging.getLogger("plugport.access")


class AccessLog:
    """The hookimpls of the access log."""

    @hookimpl
    def plugport_request_finished(self, context: RequestContext) -> None:
        """Log one request."""
        logger.info(
            "%d %s %s %s %s in %.3f s, received %s, sent %s",
            context.id,
            context.server.scheme,
            context.handler,
            format_client(context.client_address),
            context.outcome,
            context.duration,
            _bytes(context.bytes_received),
            _bytes(context.bytes_sent),
        )

    @hookimpl
    def plugport_request_rejected(
        self, server: BaseServer, client_address: ClientAddress, reason: str
    ) -> None:
        """Log one rejected request."""
        logger.info(
            "- %s %s %s rejected: %s",
            server.scheme,
            server.handler_name,
            format_client(client_address),
            reason,
        )


def add_access_log(plugins: Plugins) -> None:
    """Log each request, whatever the level of other loggers. A rejected request is logged only here."""
    logger.setLevel(logging.INFO)
    logging.getLogger("plugport.request.rejected").setLevel(logging.WARNING)
    plugins.add(AccessLog(), PluginRecord("access-log", "plugport", ""))


def _bytes(count: int | None) -> str:
    return "? bytes" if count is None else f"{count} bytes"
