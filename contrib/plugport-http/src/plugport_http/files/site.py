"""Site: makes the response to a request for a file: a head, and content in memory or in an open file."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from plugport_http.engine import HTTPError, Request, ResponseHead
from plugport_http.files.cache import MAX_FILE_SIZE, CachedFile, FileCache, Signature, file_signature
from plugport_http.files.conditions import Validators, failed_precondition, is_range_applicable
from plugport_http.files.listing import render_listing
from plugport_http.files.paths import OpenedPath, error_for, open_below, open_path, quote_path, split_path
from plugport_http.files.ranges import Region, multipart_body, parse_ranges
from plugport_http.files.types import CODINGS, accepted_codings, content_type

__all__ = ["FileResponse", "Site"]

Headers = list[tuple[bytes, bytes]]
#: The paths, and their signatures, on which a response depends; see CachedFile.
Checks = list[tuple[bytes, Signature | None]]


@dataclass(slots=True)
class FileResponse:
    """A head with ``content``, or with ``pieces`` of the open file ``fd``, which the caller closes."""

    head: ResponseHead
    content: bytes = b""
    fd: int | None = None
    pieces: list[bytes | Region] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Site:
    """A directory and its settings; see the options of HTTPFiles."""

    root: bytes
    index: bytes
    listing: bool
    follow: bool
    dot_files: bool
    precompressed: bool
    cache_control: bytes
    charset: str
    cache: FileCache

    def respond(self, request: Request) -> FileResponse:
        """Return the response to a GET or HEAD. Raises HTTPError."""
        names = split_path(request.path, dot_files=self.dot_files)
        found = open_path(self.root, names, follow=self.follow)
        try:
            if not found.is_directory:
                return self._file(request, found, names)
            if names[-1]:
                return self._redirect(request, names)
            return self._directory(request, found, names)
        finally:
            if found.fd >= 0:
                os.close(found.fd)

    # Directories ------------------------------------------------------------------------------------

    def _redirect(self, request: Request, names: list[bytes]) -> FileResponse:
        place = quote_path(names) + b"/"
        if request.query:
            place += b"?" + request.query
        return FileResponse(ResponseHead(301, [(b"location", place), (b"content-length", b"0")]))

    def _directory(self, request: Request, found: OpenedPath, names: list[bytes]) -> FileResponse:
        if self.index:
            try:
                index = open_below(found.fd, self.index, follow=self.follow)
            except OSError as error:
                http_error = error_for(error)
                if http_error.status != 404:
                    raise http_error from error
            else:
                try:
                    if not index.is_directory:
                        return self._file(request, index, [*names[:-1], self.index])
                finally:
                    if index.fd >= 0:
                        os.close(index.fd)
        if not self.listing:
            raise HTTPError(403, "")
        page = render_listing(found.fd, names, follow=self.follow, dot_files=self.dot_files)
        headers = [
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-length", b"%d" % len(page)),
            (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'"),
            *self._common(),
        ]
        return FileResponse(ResponseHead(200, headers), page)

    # Files ------------------------------------------------------------------------------------------

    def _common(self) -> Headers:
        return [(b"cache-control", self.cache_control)] if self.cache_control else []

    def _file(self, request: Request, found: OpenedPath, names: list[bytes]) -> FileResponse:
        kind = content_type(names[-1], self.charset)
        path = os.path.join(self.root, *names)
        checks: Checks = [(path, file_signature(found.stat))]
        headers = self._common()
        coding = b""
        if self.precompressed:
            headers.append((b"vary", b"accept-encoding"))
            coding = self._choose(request, found, names, checks)
            if coding:
                headers.append((b"content-encoding", coding))
        validators = Validators(found.stat, coding)
        headers += [
            (b"last-modified", validators.last_modified),
            (b"etag", validators.etag),
            (b"accept-ranges", b"bytes"),
        ]
        status = failed_precondition(request.fields, validators)
        if status == 304:
            return FileResponse(ResponseHead(304, headers))
        if status is not None:
            return FileResponse(ResponseHead(status, [*headers, (b"content-length", b"0")]))
        size = found.stat.st_size
        asked = request.fields.get(b"range")
        if asked is not None and request.method == "GET" and is_range_applicable(request.fields, validators):
            regions = parse_ranges(asked, size)
            if regions is not None:
                return self._part(found, headers, kind, regions)
        head = ResponseHead(200, [(b"content-type", kind), (b"content-length", b"%d" % size), *headers])
        if size > MAX_FILE_SIZE:
            return self._open(found, head, [(0, size)])
        return self._whole(request, found, head, checks)

    def _choose(self, request: Request, found: OpenedPath, names: list[bytes], checks: Checks) -> bytes:
        """Replace *found* by a precompressed file that the client accepts; return its coding, or b""."""
        for coding in accepted_codings(request.fields.get(b"accept-encoding", b"")):
            name = names[-1] + CODINGS[coding]
            path = os.path.join(self.root, *names[:-1], name)
            try:
                packed = open_path(self.root, [*names[:-1], name], follow=self.follow)
            except HTTPError:
                checks.append((path, None))
                continue
            checks.append((path, file_signature(packed.stat)))
            # An older one belongs to an earlier version of the file.
            if packed.is_directory or packed.stat.st_mtime_ns < found.stat.st_mtime_ns:
                os.close(packed.fd)
                continue
            os.close(found.fd)
            found.fd, found.stat = packed.fd, packed.stat
            return coding
        return b""

    def _part(self, found: OpenedPath, headers: Headers, kind: bytes, regions: list[Region]) -> FileResponse:
        size = found.stat.st_size
        if not regions:
            unsatisfied = (b"content-range", b"bytes */%d" % size)
            return FileResponse(ResponseHead(416, [*headers, unsatisfied, (b"content-length", b"0")]))
        if len(regions) == 1:
            offset, count = regions[0]
            pieces: list[bytes | Region] = [regions[0]]
            span = b"bytes %d-%d/%d" % (offset, offset + count - 1, size)
            headers = [*headers, (b"content-type", kind), (b"content-range", span)]
        else:
            kind, pieces, count = multipart_body(regions, size, kind)
            headers = [*headers, (b"content-type", kind)]
        head = ResponseHead(206, [*headers, (b"content-length", b"%d" % count)])
        return self._open(found, head, pieces)

    def _open(self, found: OpenedPath, head: ResponseHead, pieces: list[bytes | Region]) -> FileResponse:
        fd, found.fd = found.fd, -1
        return FileResponse(head, fd=fd, pieces=pieces)

    def _whole(self, request: Request, found: OpenedPath, head: ResponseHead, checks: Checks) -> FileResponse:
        """Read a small file, and cache it if it did not change meanwhile."""
        content = os.pread(found.fd, found.stat.st_size, 0)
        if len(content) != found.stat.st_size:
            raise HTTPError(503, "the file is being changed")
        is_unchanged = file_signature(os.fstat(found.fd)) == file_signature(found.stat)
        if is_unchanged and self.cache.can_store(found.stat):
            file = CachedFile(head, content, checks, self.follow)
            self.cache.put(self.key(request), file)
        return FileResponse(head, content)

    def key(self, request: Request) -> object:
        """Return the cache key: the parts of an unconditional request that the response depends on."""
        if self.precompressed:
            return (request.path, accepted_codings(request.fields.get(b"accept-encoding", b"")))
        return request.path
