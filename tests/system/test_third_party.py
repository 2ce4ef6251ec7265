"""Handlers and servers of the standard library and of packages, unmodified, under every legal strategy."""

from __future__ import annotations

import hashlib
import mailbox
import random
import smtplib
import subprocess
import xmlrpc.client
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from clients import correspondent, read_all
from command import Service, serving
from fakes import SitePackages
from patience import PATIENCE
from pythonosc.osc_message import OscMessage
from pythonosc.osc_message_builder import build_msg

CODE = Path(__file__).with_name("third_party.py")
URL = "tcp://127.0.0.1:0"
#: Strategies, each as the arguments that choose it.
WITHOUT_LOOP: list[tuple[str, ...]] = [("sync",), ("threading",), ("forking",), ("thread-pool",)]
WITH_LOOP = [("asyncio",), ("asyncio", "-o", "loop_factory=uvloop:new_event_loop")]
under_every_strategy = pytest.mark.parametrize(
    "strategy", [*WITHOUT_LOOP, ("select",), ("asyncio",)], ids=" ".join
)
under_every_strategy_and_loop = pytest.mark.parametrize(
    "strategy", [*WITHOUT_LOOP, ("select",), *WITH_LOOP], ids=" ".join
)
under_all_but_select = pytest.mark.parametrize("strategy", [*WITHOUT_LOOP, *WITH_LOOP], ids=" ".join)

MEGABYTE = 1_000_000
LARGE = 100 * MEGABYTE

PLUGIN = f"""
    import sys

    @plugport.hookimpl
    def plugport_register_servers():
        yield plugport.Component("xmlrpc", "xmlrpc.server:SimpleXMLRPCServer", "Functions over HTTP")
        yield plugport.Component("wsgi", "wsgiref.simple_server:WSGIServer", "A WSGI application")

    @plugport.hookimpl
    def plugport_server_bound(server):
        if server.scheme == "xmlrpc":
            server.register_introspection_functions()
            server.register_function(pow)
            server.register_function(str.upper, "upper")
        elif server.scheme == "wsgi":
            from plugport import resolve_target

            server.set_app(resolve_target("{CODE}:application"))
"""


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which a plugin registers two servers of the standard library, and sets them up."""
    site = SitePackages(tmp_path_factory.mktemp("site"))
    site.add("stdlib-servers", PLUGIN)
    return {"PYTHONPATH": site.python_path}


@pytest.fixture(scope="module")
def website(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files, one of them of 100 MB."""
    folder = tmp_path_factory.mktemp("website")
    numbers = random.Random(1)
    (folder / "page.html").write_text("<p>Hello")
    (folder / "middling.bin").write_bytes(numbers.randbytes(5 * MEGABYTE))
    with open(folder / "large.bin", "wb") as file:
        for _ in range(LARGE // MEGABYTE):
            file.write(numbers.randbytes(MEGABYTE))
    return folder


@pytest.fixture(scope="module")
def checksum(website: Path) -> str:
    """The checksum of the large file."""
    with open(website / "large.bin", "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def http_url(service: Service, path: str = "/") -> str:
    return "http:" + service.urls[0].partition(":")[2] + path


def curl(*arguments: Any) -> subprocess.Popen[bytes]:
    """Start curl, whose output goes to a pipe."""
    patience = str(3 * PATIENCE)
    command = ["curl", "--silent", "--show-error", "--fail", "--max-time", patience, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def fetched(*arguments: Any) -> bytes:
    """What curl writes."""
    with curl("--noproxy", "*", *arguments) as process:
        output, _ = process.communicate(timeout=4 * PATIENCE)
    assert process.returncode == 0
    return output


# The standard library -------------------------------------------------------------------------


@pytest.mark.tools("curl")
@under_every_strategy
def test_http_keeps_alive_and_sends_100_megabytes(
    strategy: tuple[str, ...], website: Path, checksum: str
) -> None:
    arguments = [f"{CODE}:KeepAliveHandler", URL, "--access-log", "-c", *strategy]
    with serving(website, *arguments) as service:
        page = http_url(service, "/page.html")
        reports = ("--write-out", " %{http_code} %{num_connects};")
        assert fetched(*reports, page, page) == b"<p>Hello 200 1;<p>Hello 200 0;"
        with curl("--noproxy", "*", http_url(service, "/large.bin")) as process:
            assert process.stdout is not None
            assert hashlib.file_digest(process.stdout, "sha256").hexdigest() == checksum  # type: ignore[arg-type]
        assert process.returncode == 0
    assert service.outcomes() == ["completed"] * 2


@pytest.mark.tools("curl")
@under_every_strategy
def test_http_keeps_alive_and_takes_100_megabytes(
    strategy: tuple[str, ...], website: Path, checksum: str, tmp_path: Path
) -> None:
    with serving(tmp_path, f"{CODE}:UploadHandler", URL, "--access-log", "-c", *strategy) as service:
        url = http_url(service)
        answer = fetched(
            "--upload-file", website / "large.bin", url, "--upload-file", website / "page.html", url
        )
        assert answer.decode() == checksum + hashlib.sha256(b"<p>Hello").hexdigest()
    assert service.outcomes() == ["completed"]


@under_every_strategy
def test_xmlrpc(strategy: tuple[str, ...], environ: dict[str, str], tmp_path: Path) -> None:
    arguments = ["xmlrpc.server:SimpleXMLRPCRequestHandler", "xmlrpc://127.0.0.1:0", "-c", *strategy]
    with (
        serving(tmp_path, *arguments, env=environ) as service,
        xmlrpc.client.ServerProxy(http_url(service, "/RPC2")) as proxy,
    ):
        methods: Any = proxy.system.listMethods()
        assert {"pow", "upper"} <= set(methods)
        assert proxy.pow(2, 10) == 1024
        assert proxy.upper("many words " * 20_000) == "MANY WORDS " * 20_000
        with pytest.raises(xmlrpc.client.Fault, match="ZeroDivisionError"):
            proxy.pow(0, -1)
        assert proxy.pow(2, 11) == 2048


@pytest.mark.tools("curl")
@under_every_strategy
def test_wsgi(strategy: tuple[str, ...], website: Path, environ: dict[str, str], tmp_path: Path) -> None:
    arguments = ["wsgiref.simple_server:WSGIRequestHandler", "wsgi://127.0.0.1:0", "-c", *strategy]
    with serving(tmp_path, *arguments, env=environ) as service:
        for body in (b"", b"a few words", bytes(MEGABYTE)):
            (tmp_path / "body").write_bytes(body)
            answer = fetched(http_url(service, "/some/path"), "--data-binary", f"@{tmp_path}/body")
            assert answer.decode() == f"/SOME/PATH {hashlib.sha256(body).hexdigest()}"


# Packages -------------------------------------------------------------------------------------


@under_all_but_select
def test_the_protocol_of_aiosmtpd(strategy: tuple[str, ...], tmp_path: Path) -> None:
    def mail(number: int) -> EmailMessage:
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = "me@localhost", "you@localhost", f"mail {number}"
        message.set_content(f"This is mail {number}.\n" * 1000)
        return message

    with serving(tmp_path, f"{CODE}:smtp", URL, "--access-log", "-c", *strategy) as service:
        host, port = service.address.address
        for first in (1, 3):
            with smtplib.SMTP(host, port, "localhost", PATIENCE) as client:
                client.send_message(mail(first))
                client.send_message(mail(first + 1))
                assert client.verify("you@localhost")[0] == 252
    assert service.outcomes() == ["completed"] * 2
    kept = {message["Subject"]: message for message in mailbox.Maildir(tmp_path / "mail", create=False)}
    assert sorted(kept) == [f"mail {number}" for number in (1, 2, 3, 4)]
    for number in (1, 2, 3, 4):
        assert kept[f"mail {number}"].get_payload() == mail(number).get_payload()


@pytest.fixture(scope="module")
def origin(website: Path) -> Iterator[str]:
    """The URL of a web server."""
    with serving(website, f"{CODE}:KeepAliveHandler", URL) as service:
        yield http_url(service)


@pytest.mark.tools("curl")
@under_all_but_select
def test_the_callback_of_siosocks(
    strategy: tuple[str, ...], website: Path, origin: str, tmp_path: Path
) -> None:
    handler = "siosocks.io.asyncio:socks_server_handler"
    with serving(tmp_path, handler, URL, "--access-log", "-c", *strategy) as service:
        host, port = service.address.address
        for version in ("socks4", "socks5h"):
            proxy = ("--noproxy", "", "--proxy", f"{version}://{host}:{port}")
            with curl(*proxy, f"{origin}page.html", f"{origin}middling.bin") as process:
                answer, _ = process.communicate(timeout=4 * PATIENCE)
            assert process.returncode == 0
            assert answer == b"<p>Hello" + (website / "middling.bin").read_bytes()
    assert service.outcomes() == ["completed"] * 2


@under_every_strategy_and_loop
def test_the_protocol_of_python_osc(strategy: tuple[str, ...], tmp_path: Path) -> None:
    arguments = [f"{CODE}:open_sound_control", "udp://127.0.0.1:0", "-c", *strategy]
    with serving(tmp_path, *arguments) as service:
        family, _, address = service.address
        with correspondent(family, address, tmp_path / "peer") as client:
            for word in ("hello", "again"):
                client.send(build_msg("/capitals", word).dgram)
                answer = OscMessage(client.recv(65536))
                assert (answer.address, answer.params) == ("/answer", [word.upper()])


@under_every_strategy_and_loop
def test_the_protocol_of_the_documentation_of_asyncio(strategy: tuple[str, ...], tmp_path: Path) -> None:
    with serving(tmp_path, f"{CODE}:EchoServerProtocol", URL, "--access-log", "-c", *strategy) as service:
        for word in (b"Hello World!", b"again"):
            with service.connect() as client:
                client.sendall(word)
                assert read_all(client) == word
    assert service.outcomes() == ["completed"] * 2
