"""HTTPFiles: answers GET and HEAD with the files of a directory."""

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
#: The name of an encoding, or none. (RFC 2978, 2.3)
_CHARSET = re.compile(r"[-!#$%&'+^_`{}~A-Za-z0-9]*")
_OPTIONS = ResponseHead(200, [_ALLOW, (b"content-length", b"0")])


class HTTPFiles(HTTPProtocol):
    """Serves the files of a directory by HTTP, and nothing that is not in it."""

    root: Annotated[str, Help("the directory whose files are served")] = ""
    index: Annotated[str, Help("file that is sent for a directory (empty: none)")] = "index.html"
    listing: Annotated[bool, Help("list directories that have no index")] = False
    follow_symlinks: Annotated[bool, Help("follow symbolic links, out of the root, too")] = False
    dot_files: Annotated[bool, Help("serve what has a name that begins with a dot")] = False
    precompressed: Annotated[
        bool, Help("send NAME.br or NAME.gz in the place of NAME to clients that take it")
    ] = False
    cache_control: Annotated[str, Help("value of the field Cache-Control (empty: none is sent)")] = ""
    charset: Annotated[str, Help("what text is said to be encoded in (empty: nothing is said)")] = "utf-8"
    cache_size: Annotated[int, Help("bytes of memory in which small files are kept (0: none)", ge=0)] = (
        16777216
    )

    #: GET and HEAD alone are served: bodies are of no use here.
    _site: ClassVar[Site]
    _cache: ClassVar[FileCache]

    def __init__(self) -> None:
        super().__init__()
        self._download: Download | None = None

    @classmethod
    def check_options(cls) -> None:
        """See whether there is such a directory. Raises OptionError."""
        super().check_options()
        if not cls.root:
            raise OptionError("root: no directory is given; say which one to serve: -o root=DIRECTORY")
        try:
            root = os.path.abspath(cls.root)
            is_directory = stat.S_ISDIR(os.stat(root).st_mode)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise OptionError(f"root: {cls.root} can't be served: {reason}") from error
        if not is_directory:
            raise OptionError(f"root: {cls.root} is no directory; give the one that it is in")
        if not os.access(root, os.R_OK | os.X_OK):
            raise OptionError(f"root: {cls.root} can't be read; change its permissions or the user")
        if "/" in cls.index or cls.index in (".", ".."):
            raise OptionError(f"index: {cls.index!r} is not the name of a file")
        if not (cls.cache_control.isascii() and cls.cache_control.isprintable()):
            raise OptionError(f"cache_control: {cls.cache_control!r} can't stand in a header; use ASCII")
        if not _CHARSET.fullmatch(cls.charset):
            raise OptionError(f"charset: {cls.charset!r} is no name of an encoding; write one as utf-8")
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
        """Answer a request: from memory, if it is a plain one for a file that has not changed."""
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
            self._answer(request)
        elif method == "OPTIONS":
            self.send_response(_OPTIONS)
        else:
            self._refuse(HTTPError(405, ""), _ALLOW)

    def _answer(self, request: Request) -> None:
        try:
            answer = self._site.answer(request)
        except HTTPError as error:
            self._refuse(error)
            return
        except OSError:
            self._refuse(HTTPError(500, ""))
            raise
        if answer.fd is None:
            self.send_response(answer.head, answer.content)
        elif request.method == "HEAD":
            os.close(answer.fd)
            self.send_response(answer.head)
        else:
            self._download = Download(self, answer.fd, answer.pieces, self._download_ended)
            self.start_response(answer.head)
            if not self.transport.is_closing():
                self._download.start()

    def _refuse(self, error: HTTPError, *headers: tuple[bytes, bytes]) -> None:
        """Answer with an error; the connection stays."""
        head, body = error_head(error.status, headers, detail=error.reason)
        self.send_response(head, body)

    def _download_ended(self) -> None:
        self._download = None
        self.end_response()

    def writable(self) -> None:
        """Go on with the file."""
        if self._download is not None:
            self._download.writable()

    def disconnected(self, error: Exception | None) -> None:
        """Close the file."""
        download, self._download = self._download, None
        if download is not None:
            download.cancel()
