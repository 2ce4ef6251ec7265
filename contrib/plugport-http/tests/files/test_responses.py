"""Responses of http-files: methods, fields, conditions, ranges, precompressed files, directories, changes."""

from __future__ import annotations

import os
import re
from email.utils import formatdate
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from plugport.errors import OptionError

from plugport_http.engine import Request
from plugport_http.files.cache import FileCache
from plugport_http.files.site import Site

LONG_AGO = 1_000_000_000
DATE = formatdate(LONG_AGO, usegmt=True)
BEFORE, AFTER = formatdate(LONG_AGO - 1, usegmt=True), formatdate(LONG_AGO + 1, usegmt=True)
TEXT = b"0123456789" * 10
ETAG = f'"{LONG_AGO * 10**9:x}-{100:x}"'


def test_file_response_has_header_fields(site: Any) -> None:
    for _ in range(2):  # from the disk, and from memory
        response = (place := site(cache_control="max-age=60")).get("/a.txt")
        response = place.get("/a.txt")
        assert response.status == 200
        assert response.body == TEXT
        assert response.fields["content-type"] == "text/plain; charset=utf-8"
        assert response.fields["content-length"] == "100"
        assert response.fields["last-modified"] == DATE
        assert response.fields["etag"] == ETAG
        assert response.fields["accept-ranges"] == "bytes"
        assert response.fields["cache-control"] == "max-age=60"
        assert response.fields["server"] == "plugport"
        assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", response.fields["date"])
        assert response.fields["connection"] == "close"


def test_server_field_can_be_omitted(site: Any) -> None:
    assert "server" not in site(server_header="").get("/a.txt").fields


@pytest.mark.parametrize("path", ["/a.txt", "/large.bin", "/missing", "/sub"])
def test_head_is_get_without_the_body(site: Any, path: str) -> None:
    place = site()
    get, head = place.get(path), place.get(path, method="HEAD")
    assert head.status == get.status
    assert head.body == b""
    assert {**head.fields, "date": ""} == {**get.fields, "date": ""}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"])
def test_other_methods_are_not_allowed(site: Any, method: str) -> None:
    response = site().get("/a.txt", "Content-Length: 0", method=method)
    assert response.status == 405
    assert response.fields["allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("path", ["/a.txt", "*"])
def test_options_method_lists_allowed_methods(site: Any, path: str) -> None:
    response = site().get(path, method="OPTIONS")
    assert (response.status, response.body) == (200, b"")
    assert response.fields["allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.html", "text/html; charset=utf-8"),
        ("a.css", "text/css; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.json", "application/json"),
        ("a.png", "image/png"),
        ("a.svg", "image/svg+xml"),
        ("a.tar.gz", "application/gzip"),
        ("a.unheard-of", "application/octet-stream"),
        ("a", "application/octet-stream"),
    ],
)
def test_content_type_follows_from_name(site: Any, root: Path, name: str, kind: str) -> None:
    (root / name).write_bytes(b"x")
    assert site().get(f"/{name}").fields["content-type"] == kind


@pytest.mark.parametrize(
    ("conditions", "status"),
    [
        ([f"If-None-Match: {ETAG}"], 304),
        ([f"If-None-Match: W/{ETAG}"], 304),
        ([f'If-None-Match: "x", {ETAG}'], 304),
        (['If-None-Match: "x"', f"If-None-Match: {ETAG}"], 304),
        (["If-None-Match: *"], 304),
        (['If-None-Match: "x"'], 200),
        (['If-None-Match: "x"', f"If-Modified-Since: {DATE}"], 200),
        ([f"If-Modified-Since: {DATE}"], 304),
        ([f"If-Modified-Since: {AFTER}"], 304),
        ([f"If-Modified-Since: {BEFORE}"], 200),
        (["If-Modified-Since: Sunday"], 200),
        ([f"If-Match: {ETAG}"], 200),
        (["If-Match: *"], 200),
        (['If-Match: "x"'], 412),
        ([f"If-Match: W/{ETAG}"], 412),
        ([f"If-Unmodified-Since: {DATE}"], 200),
        ([f"If-Unmodified-Since: {BEFORE}"], 412),
        ([f"If-Match: {ETAG}", f"If-Unmodified-Since: {BEFORE}"], 200),
        ([f"If-Match: {ETAG}", f"If-None-Match: {ETAG}"], 304),
        (["Range: bytes=0-1", f"If-Range: {ETAG}"], 206),
        (["Range: bytes=0-1", f"If-Range: {DATE}"], 206),
        (["Range: bytes=0-1", 'If-Range: "x"'], 200),
        (["Range: bytes=0-1", f"If-Range: W/{ETAG}"], 200),
        (["Range: bytes=0-1", f"If-Range: {AFTER}"], 200),
        (["Range: bytes=0-1", f"If-None-Match: {ETAG}"], 304),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_conditions(site: Any, conditions: list[str], status: int, method: str) -> None:
    if method == "HEAD" and status == 206:
        status = 200  # ranges are of GET alone
    response = site().get("/a.txt", *conditions, method=method)
    assert response.status == status
    assert response.fields["etag"] == ETAG
    if status in (304, 412):
        assert response.body == b""
    if status == 304:
        assert "content-length" not in response.fields


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-9", 0, 9),
        ("bytes=5-", 5, 99),
        ("bytes=-7", 93, 99),
        ("bytes=-200", 0, 99),
        ("bytes=90-200", 90, 99),
        ("BYTES=0-0", 0, 0),
        ("bytes= 1-2 ", 1, 2),
        ("bytes=0-1,200-300", 0, 1),
    ],
)
def test_single_range(site: Any, asked: str, first: int, last: int) -> None:
    response = site().get("/a.txt", f"Range: {asked}")
    assert response.status == 206
    assert response.body == TEXT[first : last + 1]
    assert response.fields["content-range"] == f"bytes {first}-{last}/100"
    assert response.fields["content-length"] == str(last + 1 - first)


def test_several_ranges(site: Any) -> None:
    response = site().get("/a.txt", "Range: bytes=0-9, 50-54, -3")
    assert response.status == 206
    kind, _, boundary = response.fields["content-type"].partition("; boundary=")
    assert kind == "multipart/byteranges"
    assert int(response.fields["content-length"]) == len(response.body)
    parts = (b"\r\n" + response.body).split(b"\r\n--" + boundary.encode())
    assert parts[0] == b""
    assert parts[-1] == b"--\r\n"
    spans = []
    for part in parts[1:-1]:
        head, _, body = part.partition(b"\r\n\r\n")
        assert b"content-type: text/plain; charset=utf-8" in head
        span = re.search(rb"content-range: bytes (\d+)-(\d+)/100", head)
        assert span is not None
        assert body == TEXT[int(span[1]) : int(span[2]) + 1]
        spans.append((int(span[1]), int(span[2])))
    assert spans == [(0, 9), (50, 54), (97, 99)]


@pytest.mark.parametrize("asked", ["bytes=100-", "bytes=200-300", "bytes=-0", "bytes=100-,200-"])
def test_unsatisfiable_range(site: Any, asked: str) -> None:
    response = site().get("/a.txt", f"Range: {asked}")
    assert response.status == 416
    assert response.fields["content-range"] == "bytes */100"


@pytest.mark.parametrize(
    "asked",
    [
        "bytes=9-0",
        "bytes=a-b",
        "bytes=",
        "bytes",
        "lines=0-1",
        "bytes=0-1;2",
        "bytes=--1",
        "bytes=0-99,0-99",
        "bytes=" + ",".join(["0-0"] * 17),
    ],
)
def test_ignored_range(site: Any, asked: str) -> None:
    response = site().get("/a.txt", f"Range: {asked}")
    assert (response.status, response.body) == (200, TEXT)


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("gzip, br", "br"),
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("br;q=0.5, gzip;q=0.9", "gzip"),
        ("br;q=0, gzip;q=0.1", "gzip"),
        ("*", "br"),
        ("br;q=0, *;q=0.5", "gzip"),
        ("GZIP;Q=1.0", "gzip"),
        ("gzip;q=0", ""),
        ("gzip;q=x", ""),
        ("identity, gzip;q=0.5", ""),
        ("deflate", ""),
        ("", ""),
    ],
)
def test_precompressed_files_are_sent_to_clients_that_accept_them(
    site: Any, root: Path, accept: str, coding: str
) -> None:
    (root / "a.txt.br").write_bytes(b"br")
    (root / "a.txt.gz").write_bytes(b"gzip")
    place = site(precompressed=True)
    for _ in range(2):
        response = place.get("/a.txt", f"Accept-Encoding: {accept}")
        assert response.body == (coding.encode() or TEXT)
        assert response.fields.get("content-encoding", "") == coding
        assert response.fields["vary"] == "accept-encoding"
        assert response.fields["content-type"] == "text/plain; charset=utf-8"
        assert (response.fields["etag"] == ETAG) is not bool(coding)


def test_older_precompressed_files_are_not_sent(site: Any, root: Path) -> None:
    (root / "a.txt.gz").write_bytes(b"old")
    os.utime(root / "a.txt.gz", (LONG_AGO - 1, LONG_AGO - 1))
    place = site(precompressed=True)
    for _ in range(2):
        assert place.get("/a.txt", "Accept-Encoding: gzip").body == TEXT
    (root / "a.txt.gz").write_bytes(b"new")
    assert place.get("/a.txt", "Accept-Encoding: gzip").body == b"new"
    (root / "a.txt.gz").unlink()
    assert place.get("/a.txt", "Accept-Encoding: gzip").body == TEXT


def test_precompressed_files_are_not_used_without_option(site: Any, root: Path) -> None:
    (root / "a.txt.gz").write_bytes(b"gzip")
    response = site().get("/a.txt", "Accept-Encoding: gzip")
    assert response.body == TEXT
    assert "vary" not in response.fields


def test_changed_file_is_sent_at_once(site: Any, root: Path) -> None:
    place, path = site(), root / "a.txt"
    assert place.get("/a.txt").body == TEXT
    for number in range(20):
        path.write_bytes(b"%02d" % number)
        assert place.get("/a.txt").body == b"%02d" % number
    other = root / "other"
    other.write_bytes(b"other")
    other.replace(path)
    assert place.get("/a.txt").body == b"other"
    path.unlink()
    assert place.get("/a.txt").status == 404


def test_cache_size_is_limited(site: Any, root: Path) -> None:
    for number in range(8):
        path = root / f"file{number}"
        path.write_bytes(bytes([number]) * 1000)
        os.utime(path, (LONG_AGO, LONG_AGO))
    place = site(cache_size=5000)
    for number in [*range(8), *range(8)]:
        assert place.get(f"/file{number}").body == bytes([number]) * 1000


def test_index_is_sent_for_directory(site: Any) -> None:
    place = site()
    assert place.get("/").body == b"<h1>home</h1>"
    assert place.get("/sub/deep/?query").body == b"deep"
    assert place.get("/sub/").status == 403
    assert site(index="a.txt").get("/").body == TEXT
    assert site(index="").get("/").status == 403


class Page(HTMLParser):
    """Parses a listing: its links and their texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.shown: list[str] = []
        self.tags: set[str] = set()
        self._in_link = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self._in_link = tag == "a"
        if self._in_link:
            self.links.append(dict(attrs)["href"] or "")

    def handle_data(self, data: str) -> None:
        if self._in_link:
            self.shown.append(data)
            self._in_link = False


ODD = "<b>&\"'%20 ä.txt"


def test_directory_is_listed_with_option(site: Any, root: Path) -> None:
    (root / "sub" / ODD).write_bytes(b"odd")
    (root / "sub" / ".hidden").write_bytes(b"")
    (root / "sub" / "link").symlink_to("b.html")
    os.mkfifo(root / "sub/pipe")
    (root / "sub" / os.fsdecode(b"latin-\xe4")).write_bytes(b"latin")
    place = site(listing=True)
    response = place.get("/sub/")
    assert response.status == 200
    assert response.fields["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in response.fields["content-security-policy"]
    page = Page(response.body.decode())
    assert page.shown == ["../", "deep/", ODD, "b.html", "latin-\N{REPLACEMENT CHARACTER}"]
    assert {"main", "h1", "table", "th", "time"} <= page.tags
    assert not {"script", "b"} & page.tags
    assert "color-scheme: light dark" in response.body.decode()
    bodies = [place.get("/sub/" + link.removeprefix("./")).body for link in page.links[2:]]
    assert bodies == [b"odd", b"<p>b</p>", b"latin"]
    assert place.get("/sub/", method="HEAD").body == b""
    assert Page(place.get("/sub/deep/").body.decode()).tags == set()  # it has an index


def test_listing_shows_allowed_entries(site: Any, root: Path) -> None:
    (root / "sub" / ".hidden").write_bytes(b"")
    (root / "sub" / "link").symlink_to("b.html")
    place = site(listing=True, dot_files=True, follow_symlinks=True, index="")
    assert Page(place.get("/sub/").body.decode()).shown == ["../", "deep/", ".hidden", "b.html", "link"]
    assert "../" not in Page(place.get("/").body.decode()).shown


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"root": ""}, "no directory is given"),
        ({"root": "/nowhere/at/all"}, "No such file or directory"),
        ({"root": __file__}, "is not a directory"),
        ({"root": "a\0b"}, "null"),
        ({"index": "a/b"}, "not a file name"),
        ({"cache_control": "a\nb"}, "can't be a header value"),
        ({"charset": "utf 8"}, "'utf 8' is not a charset name; write one like utf-8"),
        ({"charset": "utf-8; a=b"}, "is not a charset name"),
        ({"server_header": "a\nb"}, "can't be a header value"),
        ({"max_line_size": 100, "max_head_size": 50}, "exceeds max_head_size"),
    ],
)
def test_invalid_option_is_error_of_one_line(
    plugport_serve: Any, root: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(OptionError, match=said) as caught:
        plugport_serve("http-files", **{"root": str(root), **options})
    assert "\n" not in str(caught.value).replace("a\nb", "")


def test_caches_of_client_input_are_limited(root: Path) -> None:
    place = Site(os.fsencode(root), b"", False, False, False, True, b"", "", FileCache(1 << 20))
    request = Request()
    request.path = b"/a.txt"
    keys = set()
    for accept in (b"", b"x" * 30000, b"y;q=0.1", b"gzip", b"GZIP ;q=1, z", b"br, gzip", b"gzip, br"):
        request.fields = {b"accept-encoding": accept}
        keys.add(place.key(request))
    assert len(keys) == 3
