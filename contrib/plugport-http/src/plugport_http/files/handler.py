"""HTTPFiles: serves the files of a directory to GET and HEAD requests."""

from __future__ import annotations

import os
import re
import stat
from typing import Annotated, ClassVar

from plugport import Help
from plugport.errors import OptionError

from plugport_http.engine import HTTPError, Request, ResponseHead, error_head
from plugport_http.files.cache import FileCache
from plugport_http.files.conditions import CONDITIONS
from plugport_http.files.sending import Download
from plugport_http.files.site import Site
from plugport_http.protocol import HTTPProtocol

__all__ = ["HTTPFiles"]

_ALLOW = (b"allow", b"GET, HEAD, OPTIONS")
#: The name of a charset (RFC 2978, 2.3), or nothing.
_CHARSET = re.compile(r"[-!#$%&'+^_`{}~A-Za-z0-9]*")
_OPTIONS = ResponseHead(200, [_ALLOW, (b"content-length", b"0")])


class HTTPFiles(HTTPProtocol):
    """Serves the files of a directory over HTTP, and nothing outside it."""

    root: Annotated[str, Help("directory of the files to serve")] = ""
    index: Annotated[str, Help("name of the file to send for a directory (empty: none)")] = "index.html"
    listing: Annotated[bool, Help("a list of files for directories without an index (false: 403)")] = False
    follow_symlinks: Annotated[bool, Help("symbolic links, even out of the root (false: 404)")] = False
    dot_files: Annotated[bool, Help("files whose names begin with a dot (false: 404)")] = False
    precompressed: Annotated[
        bool, Help("NAME.br or NAME.gz instead of NAME, for clients that accept the coding")
    ] = False
    cache_control: Annotated[str, Help("value of the Cache-Control field (empty: no such field)")] = ""
    charset: Annotated[str, Help("charset in the content type of text files (empty: none)")] = "utf-8"
    cache_size: Annotated[int, Help("bytes of memory for cached small files (0: no cache)", ge=0)] = 16777216

    _site: ClassVar[Site]
    _cache: ClassVar[FileCache]

    def __init__(self) -> None:
        super().__init__()
        self._download: Download | None = None

    @classmethod
    def check_options(cls) -> None:
        """Check the root directory, and prepare the site. Raises OptionError."""
        super().check_options()
        if not cls.root:
            raise OptionError("root: no directory is given; set -o root=DIRECTORY")
        try:
            root = os.path.abspath(cls.root)
            is_directory = stat.S_ISDIR(os.stat(root).st_mode)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise OptionError(f"root: {cls.root} can't be served: {reason}") from error
        if not is_directory:
            raise OptionError(f"root: {cls.root} is not a directory; name the directory that it is in")
        if not os.access(root, os.R_OK | os.X_OK):
            raise OptionError(f"root: {cls.root} can't be read; change its permissions or the user")
        if "/" in cls.index or cls.index in (".", ".."):
            raise OptionError(f"index: {cls.index!r} is not a file name; write one like index.html")
        if not (cls.cache_control.isascii() and cls.cache_control.isprintable()):
            raise OptionError(
                f"cache_control: {cls.cache_control!r} can't be a header value; use printable ASCII"
            )
        if not _CHARSET.fullmatch(cls.charset):
            raise OptionError(f"charset: {cls.charset!r} is not a charset name; write one like utf-8")
        cls._cache = FileCache(cls.cache_size)
        cls._site = Site(
            root=os.fsencode(root),
            index=os.fsencode(cls.index),
            listing=cls.listing,
            follow=cls.follow_symlinks,
            dot_files=cls.dot_files,
            precompressed=cls.precompressed,
            cache_control=cls.cache_control.encode(),
            charset=cls.charset,
            cache=cls._cache,
        )

    def request_received(self, request: Request) -> None:
        """Answer a request, from the cache if it is unconditional and the file is unchanged."""
        method = request.method
        if method == "GET" or method == "HEAD":
            fields = request.fields
            if CONDITIONS.isdisjoint(fields):
                key = self._site.key(request) if self.precompressed else request.path
                file = self._cache.get(key)
                if file is not None:
                    if file.is_current():
                        self.send_response(file.head, file.content)
                        return
                    self._cache.drop(key)
            self._respond(request)
        elif method == "OPTIONS":
            self.send_response(_OPTIONS)
        else:
            self._send_refusal(HTTPError(405, ""), _ALLOW)

    def _respond(self, request: Request) -> None:
        try:
            response = self._site.respond(request)
        except HTTPError as error:
            self._send_refusal(error)
            return
        except OSError:
            self._send_refusal(HTTPError(500, ""))
            raise
        if response.fd is None:
            self.send_response(response.head, response.content)
        elif request.method == "HEAD":
            os.close(response.fd)
            self.send_response(response.head)
        else:
            self._download = Download(self, response.fd, response.pieces, self._download_ended)
            self.start_response(response.head)
            if not self.transport.is_closing():
                self._download.start()

    def _send_refusal(self, error: HTTPError, *headers: tuple[bytes, bytes]) -> None:
        """Answer with an error and, unlike send_error(), keep the connection open."""
        head, body = error_head(error.status, headers, detail=error.reason)
        self.send_response(head, body)

    def _download_ended(self) -> None:
        self._download = None
        self.end_response()

    def writable(self) -> None:
        """Continue to send the file."""
        if self._download is not None:
            self._download.writable()

    def disconnected(self, error: Exception | None) -> None:
        """Close the file."""
        download, self._download = self._download, None
        if download is not None:
            download.cancel()
