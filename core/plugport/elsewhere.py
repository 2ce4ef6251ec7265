"""What plugport does not bring, and which distribution does: for the errors of those who look for it."""

from __future__ import annotations

from plugport.component import Kind

__all__ = ["ELSEWHERE", "OPTIONS_ELSEWHERE"]

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
