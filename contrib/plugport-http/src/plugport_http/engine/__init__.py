"""The engine: the server side of one HTTP/1.1 connection, without I/O.

Bytes in, requests out; responses in, bytes out. Its driver reads and writes the connection and enforces the
timeouts; plugport_http.protocol is a driver in the style of asyncio.Protocol.
"""

from plugport_http.engine.connection import ServerConnection
from plugport_http.engine.errors import HTTPError, ResponseError
from plugport_http.engine.limits import Limits
from plugport_http.engine.reading import CLOSED, END_OF_MESSAGE, NEED_DATA, PAUSED, Event, Signal
from plugport_http.engine.request import Request
from plugport_http.engine.response import ResponseHead, error_head

__all__ = [
    "CLOSED",
    "END_OF_MESSAGE",
    "NEED_DATA",
    "PAUSED",
    "Event",
    "HTTPError",
    "Limits",
    "Request",
    "ResponseError",
    "ResponseHead",
    "ServerConnection",
    "Signal",
    "error_head",
]
