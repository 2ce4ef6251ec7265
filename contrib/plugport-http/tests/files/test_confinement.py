"""Nothing outside the root is sent, and inside it only the allowed files."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from plugport_testing.waiting import PATIENCE, within

OUTSIDE = [
    "/../outside.txt",
    "/%2e%2e/outside.txt",
    "/.%2e/outside.txt",
    "/%2e%2e%2foutside.txt",
    "/sub/../../outside.txt",
    "/sub/..%2f..%2foutside.txt",
    "/..%5coutside.txt",
    "/..\\outside.txt",
    "/..%c0%afoutside.txt",
    "/%252e%252e/outside.txt",
    "//../outside.txt",
    "/./../outside.txt",
    "/link.txt",
    "/linked/outside.txt",
    "/sub/up/outside.txt",
    "/absolute",
    "/a.txt%00.html",
    "/a.txt/",
    "/a.txt/../../outside.txt",
    "/%",
    "/%zz",
    "/%u002e%u002e/outside.txt",
    "//etc/passwd",
    "/sub//b.html",
]


@pytest.fixture
def linked(root: Path) -> Path:
    (root / "link.txt").symlink_to("../outside.txt")
    (root / "linked").symlink_to("..")
    (root / "sub/up").symlink_to("../..")
    (root / "absolute").symlink_to(root.parent / "outside.txt")
    (root / "inner.txt").symlink_to("a.txt")
    return root


@pytest.mark.parametrize("path", OUTSIDE)
def test_paths_are_confined_to_root(site: Any, linked: Path, path: str) -> None:
    response = site().get(path)
    assert response.status in (400, 404)
    assert b"outside" not in response.body


@pytest.mark.parametrize("path", ["/link.txt", "/linked/outside.txt", "/sub/up/outside.txt", "/absolute"])
def test_links_are_followed_with_option(site: Any, linked: Path, path: str) -> None:
    assert site(follow_symlinks=True).get(path).body == b"outside"


def test_link_inside_root_is_not_followed(site: Any, linked: Path) -> None:
    assert site().get("/inner.txt").status == 404


def test_circular_link_is_not_found(site: Any, root: Path) -> None:
    (root / "circle").symlink_to("circle")
    assert site(follow_symlinks=True).get("/circle").status == 404


@pytest.mark.parametrize("path", ["/.secret", "/.git/config", "/.git/", "/%2esecret"])
def test_dot_files_are_not_found_without_option(site: Any, path: str) -> None:
    assert site().get(path).status == 404
    if not path.endswith("/"):
        assert site(dot_files=True).get(path).body == b"secret"


@pytest.mark.parametrize("index", ["", "/pipe"])
def test_special_files_are_not_opened(site: Any, root: Path, index: str) -> None:
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(root / "socket"))
        place = site(index="pipe") if index else site()
        for path in ("/pipe", "/socket", *(["/"] if index else [])):
            assert within(PATIENCE, path, place.get, path).status == 403
    (root / "socket").unlink()


def test_unreadable_file_is_refused(site: Any, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may read anything: so the refusal is the test's.
    place = site()
    opened = os.open

    def refuse(path: Any, *arguments: Any, **options: Any) -> int:
        if path == b"a.txt":
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    assert place.get("/a.txt").status == 403


def test_exhausted_descriptors_are_answered_with_503(
    site: Any, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = site()
    opened = os.open

    def refuse(path: Any, *arguments: Any, **options: Any) -> int:
        if path == os.fsencode(root):
            raise OSError(24, "Too many open files")
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    assert place.get("/a.txt").status == 503
    monkeypatch.undo()
    assert place.get("/a.txt").status == 200


def test_directory_replaced_by_link_is_not_followed(site: Any, root: Path) -> None:
    place = site()
    assert place.get("/sub/b.html").status == 200
    (root / "sub").rename(root.parent / "moved")
    (root / "sub").symlink_to("../moved")
    (root.parent / "moved/b.html").write_bytes(b"outside")
    assert place.get("/sub/b.html").status == 404


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/sub", "/sub/"),
        ("/sub?a=b&c", "/sub/?a=b&c"),
        ("/sub/deep", "/sub/deep/"),
        ("/%73ub", "/sub/"),
        ("/host.example", "/host.example/"),
        ("/a:b", "/a%3Ab/"),
    ],
)
def test_directory_without_slash_is_redirected(site: Any, root: Path, path: str, place: str) -> None:
    (root / "host.example").mkdir()
    (root / "a:b").mkdir()
    response = site().get(path)
    assert response.status == 301
    assert response.fields["location"] == place


@pytest.mark.parametrize("path", ["//host.example", "//host.example/", "/\\host.example", "/%2fhost.example"])
def test_redirect_stays_on_host(site: Any, root: Path, path: str) -> None:
    (root / "host.example").mkdir()
    response = site().get(path)
    assert response.status == 404
    assert "location" not in response.fields
