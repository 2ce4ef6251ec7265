"""What plugport does not bring, and which distribution does: for the errors of those who look for it."""

from __future__ import annotations

from plugport.contracts.component import Kind

__all__ = ["APPLICATIONS", "ELSEWHERE", "OPTIONS_ELSEWHERE", "SPOKEN_ON"]

#: The components of the folder contrib, without the example's. Nothing is found or loaded by it.
ELSEWHERE: dict[tuple[Kind, str], str] = {
    ("concurrency", "gevent"): "plugport-gevent",
    ("concurrency", "uvloop"): "plugport-uvloop",
    ("handler", "http-files"): "plugport-http",
    ("handler", "wsgi"): "plugport-http",
    ("handler", "asgi"): "plugport-http",
}
#: The plugins of contrib that have options of their own.
OPTIONS_ELSEWHERE: dict[str, str] = {
    "access": "plugport-access",
    "prometheus": "plugport-prometheus",
}
#: Schemes of protocols that handlers speak, and the server that they speak it on.
SPOKEN_ON: dict[str, str] = {"http": "tcp", "https": "tls", "ws": "tcp", "wss": "tls"}
#: The handlers of applications, by the last parameters that those take. (PEP 3333; ASGI 3, Applications)
APPLICATIONS: dict[tuple[str, str], str] = {
    ("environ", "start_response"): "wsgi",
    ("env", "start_response"): "wsgi",
    ("receive", "send"): "asgi",
}
