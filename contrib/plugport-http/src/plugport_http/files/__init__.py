"""The handler "http-files": the files of a directory over HTTP."""

from plugport_http.files.handler import HTTPFiles

__all__ = ["HTTPFiles"]
