"""WSGISettings: the options of the handler "wsgi", shared by its blocking form and its protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from plugport import Help

from plugport_http.applications import check_prefix, load_application
from plugport_http.settings import HTTPSettings

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

__all__ = ["WSGISettings"]


class WSGISettings(HTTPSettings):
    """The application, and the path at which it is mounted."""

    app: Annotated[
        str | None, Help("the WSGI application: package.module:attribute or path/to/file.py:attribute")
    ] = None
    script_name: Annotated[str, Help("path prefix at which the application is mounted: its SCRIPT_NAME")] = ""

    application: ClassVar[WSGIApplication | None] = None

    @classmethod
    def check_options(cls) -> None:
        """Import the application. Raises OptionError if that fails, or another option is wrong."""
        super().check_options()
        check_prefix("script_name", cls.script_name)
        if cls.app is not None or cls.application is None:
            cls.application = staticmethod(load_application(cls.app, "WSGI"))
