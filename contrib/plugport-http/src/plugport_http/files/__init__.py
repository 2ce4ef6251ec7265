"""http-files: the files of a directory, by HTTP."""

from plugport_http.files.handler import HTTPFiles

__all__ = ["HTTPFiles"]
