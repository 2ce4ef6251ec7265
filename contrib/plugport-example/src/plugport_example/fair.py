"""FairServer: TCP with a limit of connections for each client."""

from typing import Annotated, Any

from plugport import Help
from plugport_builtins.servers.tcp import TCPServer


class FairServer(TCPServer):
    """Rejects a connection of a client that has reached its limit."""

    max_per_client: Annotated[int, Help("connections that one address may have at once", gt=0)] = 8

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Return whether the client has fewer connections open than it may have."""
        active = list(self.active_requests.values())  # a copy: other threads end theirs meanwhile
        same = [one for one in active if one.client_address[0] == client_address[0]]
        return len(same) < self.max_per_client
