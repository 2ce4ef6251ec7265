"""Hints that name the distribution which provides an unknown component, or the handler of an application.

Nothing is found or loaded by them. The distributions are those in the folder contrib, without the example.
"""

from __future__ import annotations

from plugport.contracts import Hints

__all__ = ["HINTS"]

_WSGI = "wsgi, with -o app=MODULE:NAME"
_ASGI = "asgi, with -o app=MODULE:NAME"

HINTS = Hints(
    components={
        ("concurrency", "gevent"): "plugport-gevent",
        ("concurrency", "uvloop"): "plugport-uvloop",
        ("handler", "http-files"): "plugport-http",
        ("handler", "wsgi"): "plugport-http",
        ("handler", "asgi"): "plugport-http",
    },
    service_plugins={
        "access": "plugport-access",
        "prometheus": "plugport-prometheus",
    },
    schemes={"http": "tcp", "https": "tls", "ws": "tcp", "wss": "tls"},
    # PEP 3333; ASGI 3, Applications
    applications={
        ("environ", "start_response"): _WSGI,
        ("env", "start_response"): _WSGI,
        ("receive", "send"): _ASGI,
    },
)
