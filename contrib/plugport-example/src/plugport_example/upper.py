"""UpperHandler: sends back what comes, in capitals."""

from plugport import BaseRequestHandler


class UpperHandler(BaseRequestHandler):
    """Sends back what comes, in capitals: on a connection until the client is done, or a datagram."""

    def handle(self) -> None:
        """Serve one connection or one datagram."""
        if isinstance(self.request, tuple):
            datagram, socket = self.request
            socket.sendto(datagram.upper(), self.client_address)
        else:
            while data := self.request.recv(65536):
                self.request.sendall(data.upper())
