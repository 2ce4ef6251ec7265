"""WSGISettings: the options of the handler "wsgi", which its protocol has as well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar

from plugport import Help

from plugport_http.applications import check_prefix, load_application
from plugport_http.settings import HTTPSettings

__all__ = ["WSGISettings"]


class WSGISettings(HTTPSettings):
    """Which application is served, and where it is mounted."""

    app: Annotated[
        str | None, Help("the WSGI application: package.module:attribute or path/to/file.py:attribute")
    ] = None
    script_name: Annotated[str, Help("path that the application is mounted at: its SCRIPT_NAME")] = ""

    application: ClassVar[Callable[..., Any] | None] = None

    @classmethod
    def check_options(cls) -> None:
        """Import the application. Raises OptionError if that fails, or another option is wrong."""
        super().check_options()
        check_prefix("script_name", cls.script_name)
        if cls.app is not None or cls.application is None:
            cls.application = staticmethod(load_application(cls.app, "WSGI"))
