"""SlipFraming: messages as SLIP packets (RFC 1055)."""

from typing import Annotated

from plugport import Help
from plugport.handlers import FramingError

END, ESC, ESC_END, ESC_ESC = b"\xc0", b"\xdb", b"\xdc", b"\xdd"


class SlipFraming:
    """A packet ends with the byte END, which is escaped inside it. Empty packets are skipped."""

    max_message_size: Annotated[int, Help("longest message in bytes", gt=0)] = 65536
    flush: Annotated[bool, Help("begin each packet with END, which ends noise on the line")] = False

    def __init__(self, max_message_size: int, flush: bool) -> None:
        self._max_message_size = max_message_size
        self._prefix = END if flush else b""
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the messages whose END has come. Raises FramingError for one that is too long."""
        *packets, self._rest = (self._rest + data).split(END)
        messages = [self._unescaped(packet) for packet in packets if packet]
        self._unescaped(self._rest)
        return messages

    def finish(self) -> list[bytes]:
        """Return no message. Raises FramingError if a packet has no END."""
        if self._rest:
            raise FramingError(f"the stream ended inside a packet, after {len(self._rest)} bytes of it")
        return []

    def frame(self, message: bytes) -> bytes:
        """Return the packet of *message*."""
        return self._prefix + message.replace(ESC, ESC + ESC_ESC).replace(END, ESC + ESC_END) + END

    def _unescaped(self, packet: bytes) -> bytes:
        message = packet.replace(ESC + ESC_END, END).replace(ESC + ESC_ESC, ESC)
        if len(message) > self._max_message_size:
            raise FramingError(f"a packet is longer than {self._max_message_size} bytes")
        return message
