"""ReverseHandler: sends each message back, reversed."""

from plugport import MessageHandler


class ReverseHandler(MessageHandler):
    """Sends each message back, reversed."""

    def respond(self, message: bytes) -> bytes:
        """Return the reply."""
        return message[::-1]
