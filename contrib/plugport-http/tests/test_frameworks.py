"""Flask, Django and Starlette from PyPI, served by the command, requested by curl and a browser."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from served import APPLICATIONS, command, curl

FLASK = ("wsgi", f"{APPLICATIONS / 'flask_app.py'}:app")
DJANGO = ("wsgi", f"{APPLICATIONS / 'django_app.py'}:app")
DJANGO_ASGI = ("asgi", f"{APPLICATIONS / 'django_app.py'}:asgi")
STARLETTE = ("asgi", f"{APPLICATIONS / 'starlette_app.py'}:app")

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "chromium")
BROWSER_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--timeout=15000",
    "--virtual-time-budget=10000",
    "--dump-dom",
)


def serving(application: tuple[str, str], strategy: str):  # type: ignore[no-untyped-def]
    handler, app = application
    return command(handler, "tcp://127.0.0.1:0", "-c", strategy, "-o", f"app={app}")


def browse(url: str, profile: Path) -> str:
    """Return the document of a page after its scripts have run."""
    done = subprocess.run(
        [BROWSER, *BROWSER_OPTIONS, f"--user-data-dir={profile}", url],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.tools("curl")
@pytest.mark.parametrize(
    ("application", "strategy"),
    [
        (FLASK, "threading"),
        (FLASK, "select"),
        (FLASK, "forking"),
        (FLASK, "asyncio"),
        (DJANGO, "thread-pool"),
        (DJANGO, "select"),
        (DJANGO_ASGI, "asyncio"),
        (STARLETTE, "asyncio"),
    ],
    ids=lambda value: value if isinstance(value, str) else Path(value[1]).name.replace(".py", ""),
)
def test_framework_serves_curl(application: tuple[str, str], strategy: str, tmp_path: Path) -> None:
    upload = tmp_path / "upload"
    upload.write_bytes(b"x" * 300_000)
    cookies = str(tmp_path / "cookies")
    with serving(application, strategy) as service:
        url = service.wait_for_url()
        assert "<p id=answer>" in curl(url)
        post = ("-X", "POST", "--json", '{"name": "curl"}') if application is not DJANGO_ASGI else ()
        assert '"hello' in curl(*post, f"{url}/json").replace(" ", "")
        form = ("-F", "field=value", "-F", f"file=@{upload}", "-b", cookies, "-c", cookies, f"{url}/form")
        assert curl(*form).startswith("value 300000 ")
        if application is not STARLETTE:
            assert curl(*form) == f"value 300000 2 {url}/"
        assert curl(f"{url}/stream") == "line 0\nline 1\nline 2\n"
        if application is DJANGO_ASGI:
            assert curl(f"{url}/astream") == "line 0\nline 1\nline 2\n"
        assert curl(f"{url}/file") == Path(application[1].rpartition(":")[0]).read_text()
        head = curl("--head", f"{url}/file")
        assert head.startswith("HTTP/1.1 200 OK")
        assert "content-length" in head.lower()
        assert curl("-o", str(tmp_path / "body"), "-w", "%{http_code}", f"{url}/fail") == "500"
        assert curl(f"{url}/stream", f"{url}/stream").count("line") == 6  # kept alive


@pytest.mark.slow
@pytest.mark.tools(BROWSER)
@pytest.mark.parametrize(
    ("application", "strategy"),
    [(FLASK, "threading"), (DJANGO, "select"), (DJANGO_ASGI, "asyncio")],
    ids=["flask", "django", "django-asgi"],
)
def test_framework_serves_browser(application: tuple[str, str], strategy: str, tmp_path: Path) -> None:
    with serving(application, strategy) as service:
        page = browse(service.wait_for_url(), tmp_path)
    assert '<p id="answer">hello, browser</p>' in page


@pytest.mark.slow
@pytest.mark.tools(BROWSER)
def test_page_uses_websocket(tmp_path: Path) -> None:
    with serving(STARLETTE, "asyncio") as service:
        page = browse(service.wait_for_url(), tmp_path)
    assert '<p id="answer">shout: HELLO, bytes 3; closed 3001</p>' in page
