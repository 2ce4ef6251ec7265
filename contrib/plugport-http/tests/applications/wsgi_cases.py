"""WSGI applications for the tests: one function for each path, all of them by one dispatcher."""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from typing import Any
from wsgiref.validate import validator

Environ = dict[str, Any]
TEXT = [("Content-Type", "text/plain")]

#: Set by the tests that wait for it.
gate = threading.Event()
#: Set by an application that is about to wait for it.
entered = threading.Event()
#: How often close() was called, and how many requests there were.
closed: list[str] = []
#: Bodies of requests that have been answered.
kept: list[Any] = []
#: The exceptions that the application got.
told: list[str] = []


def hello(environ: Environ, start_response: Any) -> list[bytes]:
    start_response("200 OK", TEXT)
    return [b"Hello, world!"]


def headless(environ: Environ, start_response: Any) -> list[bytes]:
    start_response("200 OK", TEXT)
    return []


def two(environ: Environ, start_response: Any) -> list[bytes]:
    start_response("200 OK", TEXT)
    return [b"Hello, ", b"world!"]


def nothing(environ: Environ, start_response: Any) -> list[bytes]:
    start_response("204 No Content", [])
    return []


def unchanged(environ: Environ, start_response: Any) -> list[bytes]:
    start_response("304 Not Modified", [("ETag", '"1"')])
    return []


def empty(environ: Environ, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", TEXT)
    yield b""
    yield b""


def describe(environ: Environ, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "application/json")])
    plain = {key: value for key, value in environ.items() if isinstance(value, (str, bool, tuple, int))}
    return [json.dumps(plain).encode()]


def keep(environ: Environ, start_response: Any) -> list[bytes]:
    kept.append(environ["wsgi.input"])
    start_response("200 OK", TEXT)
    return [b"kept"]


def kept_first(environ: Environ, start_response: Any) -> list[bytes]:
    body = kept.pop().read() + b" and " + environ["wsgi.input"].read()
    start_response("200 OK", TEXT)
    return [body]


def echo(environ: Environ, start_response: Any) -> list[bytes]:
    body = environ["wsgi.input"].read(-1)
    start_response("200 OK", TEXT)
    return [body]


def lines(environ: Environ, start_response: Any) -> list[bytes]:
    stream = environ["wsgi.input"]
    first, second = stream.readline(), stream.readline(4)
    rest = list(stream)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps([line.decode() for line in (first, second, *rest)]).encode()]


def digest(environ: Environ, start_response: Any) -> list[bytes]:
    digest, size, stream = sha256(), 0, environ["wsgi.input"]
    while piece := stream.read(65536):
        digest.update(piece)
        size += len(piece)
    start_response("200 OK", TEXT)
    return [f"{size} {digest.hexdigest()}".encode()]


def size(environ: Environ, start_response: Any) -> list[bytes]:
    count, stream = 0, environ["wsgi.input"]
    while piece := stream.read(65536):
        count += len(piece)
    start_response("200 OK", TEXT)
    return [b"%d" % count]


def generate(environ: Environ, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", TEXT)
    yield b"one "
    yield b""
    yield b"two "
    yield b"three"


def write(environ: Environ, start_response: Any) -> list[bytes]:
    send = start_response("200 OK", TEXT)
    send(b"written ")
    send(b"and ")
    return [b"returned"]


def big(environ: Environ, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [*TEXT, ("Content-Length", str(64 * 65536))])
    for _ in range(64):
        yield b"x" * 65536


def huge(environ: Environ, start_response: Any) -> Iterator[bytes]:
    """More than systems and servers keep of what a client does not take."""
    start_response("200 OK", [*TEXT, ("Content-Length", str(1024 * 65536))])
    for _ in range(1024):
        yield b"x" * 65536


class Closing:
    """An iterable that says when it is closed."""

    def __init__(self, pieces: Iterable[bytes], name: str) -> None:
        self._pieces, self._name = pieces, name

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)

    def close(self) -> None:
        closed.append(self._name)


def close(environ: Environ, start_response: Any) -> Closing:
    start_response("200 OK", TEXT)
    return Closing([b"to be ", b"closed"], environ["QUERY_STRING"])


def fail(environ: Environ, start_response: Any) -> list[bytes]:
    raise ValueError("failed on purpose")


def fail_late(environ: Environ, start_response: Any) -> Iterable[bytes]:
    def pieces() -> Iterator[bytes]:
        yield b"begun "
        raise ValueError("failed on purpose")

    start_response("200 OK", TEXT)
    return Closing(pieces(), environ["QUERY_STRING"])


def recover(environ: Environ, start_response: Any) -> list[bytes]:
    import sys

    start_response("200 OK", TEXT)
    try:
        raise ValueError("before anything was sent")
    except ValueError:
        start_response("503 Busy", TEXT, sys.exc_info())
    return [b"sorry"]


def recover_late(environ: Environ, start_response: Any) -> Iterator[bytes]:
    import sys

    start_response("200 OK", TEXT)
    yield b"begun "
    try:
        raise ValueError("too late")
    except ValueError as error:
        told.append(str(error))
        start_response("503 Busy", TEXT, sys.exc_info())
    yield b"never sent"


def twice(environ: Environ, start_response: Any) -> list[bytes]:
    start_response("200 OK", TEXT)
    start_response("200 OK", TEXT)
    return [b"never sent"]


def short(environ: Environ, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Length", "10")])
    yield b"short"


def long(environ: Environ, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Length", "4")])
    yield b"four"
    yield b"more"


def long_whole(environ: Environ, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Length", "4")])
    return [b"four and more"]


def text(environ: Environ, start_response: Any) -> list[str]:
    start_response("200 OK", TEXT)
    return ["no bytes"]


def crlf(environ: Environ, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("X-Evil", "a\r\nSet-Cookie: b")])
    return [b"never sent"]


def log(environ: Environ, start_response: Any) -> list[bytes]:
    print("the first line", file=environ["wsgi.errors"])
    environ["wsgi.errors"].write("the second ")
    environ["wsgi.errors"].writelines(["line\n", "the third"])
    environ["wsgi.errors"].flush()
    start_response("200 OK", TEXT)
    return [b"logged"]


def file(environ: Environ, start_response: Any) -> Iterable[bytes]:
    count = int(environ["QUERY_STRING"])
    content = tempfile.TemporaryFile()
    content.write(b"skipped" + bytes(range(256)) * (count // 256))
    content.seek(7)
    headers = (
        TEXT if environ.get("HTTP_X_NO_LENGTH") else [*TEXT, ("Content-Length", str(count // 256 * 256))]
    )
    start_response("200 OK", headers)
    return environ["wsgi.file_wrapper"](content)  # type: ignore[no-any-return]


def wait(environ: Environ, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", TEXT)
    yield b"waiting "
    gate.wait(30)
    yield b"done"


def late(environ: Environ, start_response: Any) -> list[bytes]:
    entered.set()
    gate.wait(30)
    start_response("200 OK", TEXT)
    return [b"late"]


def process(environ: Environ, start_response: Any) -> list[bytes]:
    start_response("200 OK", TEXT)
    return [f"{os.getpid()} {threading.current_thread() is threading.main_thread()}".encode()]


def ignore(environ: Environ, start_response: Any) -> list[bytes]:
    start_response("413 Too Large", TEXT)
    return [b"not interested"]


CASES: dict[str, Callable[..., Any]] = {
    name: case
    for name, case in list(globals().items())
    if callable(case) and getattr(case, "__module__", "") == __name__ and name[0].islower()
}


def app(environ: Environ, start_response: Any) -> Any:
    case = CASES.get(environ["PATH_INFO"].lstrip("/").split("/")[0], describe)
    return case(environ, start_response)


validated = validator(app)
