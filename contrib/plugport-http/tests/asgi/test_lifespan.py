"""The lifespan: startup, shutdown, and failures that prevent the start of a service."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from plugport.errors import StartupError
from plugport_testing.serving import serve
from served import APPLICATIONS, Client

FILE = APPLICATIONS / "lifespans.py"


def ask(served: Any) -> bytes:
    with served.connect() as sock:
        content: bytes = Client(sock).ask("GET", "/")[2]
    return content


@pytest.mark.parametrize("mode", ["auto", "off"])
def test_application_can_lack_lifespan(plugport_serve: Any, mode: str) -> None:
    assert ask(plugport_serve("asgi", concurrency="asyncio", app=f"{FILE}:none", lifespan=mode)) == b"served"


@pytest.mark.parametrize(
    ("app", "mode", "reason"),
    [
        ("failing", "auto", "the application's startup failed: the database is not there"),
        ("raising", "auto", r"the application's startup failed: ValueError: no \(--log-level debug"),
        ("none", "on", "lifespan=on, but the application has no lifespan: AssertionError: no lifespan here"),
    ],
)
@pytest.mark.usefixtures("plugport_leaks")
def test_startup_failure_prevents_start(app: str, mode: str, reason: str) -> None:
    with pytest.raises(StartupError, match=reason):
        serve("asgi", concurrency="asyncio", options={"app": f"{FILE}:{app}", "lifespan": mode})


@pytest.mark.parametrize(
    ("app", "said"),
    [
        ("failing_late", "the application's shutdown failed: the database is gone"),
        ("ending", "the application's lifespan failed between startup and shutdown"),
    ],
)
def test_late_lifespan_failure_is_logged(plugport_serve: Any, app: str, said: str, caplog: Any) -> None:
    served = plugport_serve("asgi", concurrency="asyncio", app=f"{FILE}:{app}")
    assert ask(served) == b"served"
    served.stop()
    assert said in caplog.text


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ([f"app={FILE}:failing"], "the application's startup failed: the database is not there"),
        ([], "app: no ASGI application is given; "),
        ([f"app={FILE}:nobody"], "app: file "),
        ([f"app={FILE}:FILE.missing"], "app: file "),
        ([f"app={FILE}:__name__"], "is a str, which can't be called; name the"),
        ([f"app={APPLICATIONS / 'wsgi_cases.py'}:app"], "serve WSGI applications with the handler wsgi"),
        ([f"app={FILE}:none", "root_path=shop"], "root_path: 'shop' is not a path prefix"),
    ],
)
def test_command_reports_error_in_one_line(options: list[str], line: str) -> None:
    arguments = [part for option in options for part in ("-o", option)]
    done = subprocess.run(
        [sys.executable, "-m", "plugport", "serve", "asgi", "tcp://127.0.0.1:0", "-c", "asyncio", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert line in done.stderr
    assert done.stderr.count("\n") == 1
    assert "listening" not in done.stderr
