"""Certificates of the server tls: what is wrong with them, by name, by client, and how they change."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import authority, write_rsa_key
from command import error_of, plugport
from cryptography import x509
from patience import PATIENCE, wait_until

from plugport import BaseRequestHandler
from plugport.errors import OptionError
from plugport_builtins.servers import tls
from plugport_builtins.servers.certificates import Settings
from plugport_builtins.servers.tls import TLSServer
from plugport_testing.serving import serve

URL = "tls://127.0.0.1:0"


class Hello(BaseRequestHandler):
    def handle(self) -> None:
        self.request.sendall(b"hello")


@pytest.fixture
def start(no_leaks: None) -> Iterator[Callable[..., Any]]:
    with contextlib.ExitStack() as stack:

        def start(strategy: str = "threading", **options: Any) -> Any:
            served = serve(Hello, URL, strategy, options={name: str(each) for name, each in options.items()})
            stack.callback(served.stop)
            return served

        yield start


def shown(served: Any, name: str = "localhost") -> list[str]:
    """The names in the certificate that a client is shown who asks for *name*."""
    with authority().connect(served.address, name) as client:
        der = client.getpeercert(binary_form=True)
        assert client.recv(10) == b"hello"
        assert client.recv(10) == b""
    assert der is not None
    return names_in(der)


def names_in(der: bytes) -> list[str]:
    found = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    return [str(name.value) for name in found.value]


# What is wrong at the start ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good and bad ones."""
    folder = tmp_path_factory.mktemp("files")
    authority().write(folder / "good.pem")
    authority().write_root(folder / "root.pem")
    authority().write_pair(folder / "cert.pem", folder / "key.pem")
    authority().write_pair(folder / "other.pem", folder / "otherkey.pem")
    write_rsa_key(folder / "rsakey.pem")
    authority().write_pair(folder / "secret.pem", folder / "secretkey.pem", password="open sesame")
    (folder / "password").write_text("open sesame\n")
    (folder / "noise.pem").write_text("noise")
    (folder / "broken.pem").write_text(
        "-----BEGIN CERTIFICATE-----\nbm9uc2Vuc2U=\n-----END CERTIFICATE-----\n"
        "-----BEGIN PRIVATE KEY-----\nbm9uc2Vuc2U=\n-----END PRIVATE KEY-----\n"
    )
    for name in ("good.pem", "cert.pem", "key.pem"):
        text = (folder / name).read_text()
        (folder / f"cut-{name}").write_text(text[: len(text) - 100])
    authority().write_weak_pair(folder / "weak.pem", folder / "weakkey.pem")
    (folder / "empty").mkdir()
    return folder


FAULTS = {
    "": "tls: no certificate; name one with -o certfile=FILE, or several with -o sni_directory=PATH",
    "certfile=nowhere.pem": "certfile: can't read nowhere.pem: No such file or directory",
    "certfile=empty": "certfile: can't read empty: Is a directory",
    "certfile=noise.pem": "certfile: noise.pem has no certificate in PEM format",
    "certfile=broken.pem": "certfile: broken.pem is damaged or incomplete",
    "certfile=cut-good.pem": "certfile: cut-good.pem is damaged or incomplete",
    "certfile=cut-cert.pem keyfile=key.pem": (
        "certfile: the certificates in cut-cert.pem are damaged or incomplete"
    ),
    "certfile=cert.pem keyfile=cut-key.pem": "keyfile: the key in cut-key.pem is damaged or incomplete",
    "certfile=weak.pem keyfile=weakkey.pem": (
        "certfile: OpenSSL rejects weak.pem and its key in weakkey.pem: ee key too small"
    ),
    "certfile=cert.pem": "certfile: cert.pem has no private key in PEM format",
    "certfile=cert.pem keyfile=nowhere.pem": "keyfile: can't read nowhere.pem: No such file or directory",
    "certfile=cert.pem keyfile=cert.pem": "keyfile: cert.pem has no private key in PEM format",
    "certfile=cert.pem keyfile=otherkey.pem": (
        "keyfile: the key in otherkey.pem does not belong to the certificate in cert.pem"
    ),
    "certfile=cert.pem keyfile=rsakey.pem": (
        "keyfile: the key in rsakey.pem does not belong to the certificate in cert.pem"
    ),
    "keyfile=key.pem sni_directory=empty": "keyfile: there is no certfile for this key; add -o certfile=FILE",
    "certfile=secret.pem keyfile=secretkey.pem": (
        "password: the key in secretkey.pem is encrypted; set password_file to a file with its password"
    ),
    "certfile=secret.pem keyfile=secretkey.pem password=wrong": (
        "password: it is wrong for the key in secretkey.pem, or the key is damaged"
    ),
    "certfile=secret.pem keyfile=secretkey.pem password_file=nowhere": (
        "password_file: can't read nowhere: No such file or directory"
    ),
    "certfile=secret.pem keyfile=secretkey.pem password=x password_file=password": (
        "password: it is given twice; drop password or password_file"
    ),
    "certfile=good.pem minimum_version=1.1": "option server.minimum_version: expected ",
    "certfile=good.pem ciphers=NONSENSE": (
        "ciphers: OpenSSL has no cipher suite 'NONSENSE'; see openssl ciphers -v"
    ),
    f"certfile=good.pem alpn={'x' * 256}": "alpn: a name has 1 to 255 ASCII characters, not ",
    "certfile=good.pem alpn=,": "alpn: a name is missing in ','; write them as h2,http/1.1",
    "certfile=good.pem client_ca=nowhere.pem": (
        "client_ca: can't read nowhere.pem: No such file or directory"
    ),
    "certfile=good.pem client_ca=broken.pem": "client_ca: the certificates in broken.pem can't be read",
    "certfile=good.pem client_certificates=required": (
        "client_certificates: required, but there is no CA for them; add -o client_ca=FILE"
    ),
    "sni_directory=nowhere": "sni_directory: can't read nowhere: No such file or directory",
    "sni_directory=empty": "sni_directory: empty has neither NAME.pem nor NAME/fullchain.pem",
    "certfile=good.pem handshake_timeout=0": "option server.handshake_timeout: expected ",
}


@pytest.mark.parametrize("options", FAULTS)
def test_what_is_wrong_is_one_line(options: str, files: Path) -> None:
    arguments = [word for option in options.split() for word in ("-o", option)]
    result = plugport(files, "serve", "echo", URL, *arguments)
    assert error_of(result).startswith(FAULTS[options])


def test_a_server_in_code_reads_its_certificate(files: Path, no_leaks: None) -> None:
    with pytest.raises(OptionError, match=r"no certificate"):
        TLSServer(("127.0.0.1", 0), Hello)
    configured = type("Configured", (TLSServer,), {"certfile": str(files / "good.pem")})
    with configured(("127.0.0.1", 0), Hello) as server:
        served = threading.Thread(target=server.handle_request)
        served.start()
        with authority().connect(server.server_address) as client:
            assert client.recv(10) == b"hello"
        served.join(PATIENCE)


@pytest.mark.parametrize(
    "options", [{"password": "open sesame"}, {"password_file": "password"}], ids=["given", "file"]
)
def test_an_encrypted_key(options: dict[str, str], files: Path, start: Callable[..., Any]) -> None:
    options = {name: str(files / each) if "file" in name else each for name, each in options.items()}
    served = start(certfile=files / "secret.pem", keyfile=files / "secretkey.pem", **options)
    assert shown(served) == ["localhost", "127.0.0.1"]


def test_a_password_is_in_no_repr() -> None:
    assert "secret" not in repr(Settings("secret", None, "1.2", None, (), None, "none"))


def test_minimum_version_and_ciphers(files: Path, start: Callable[..., Any]) -> None:
    served = start(certfile=files / "good.pem", minimum_version="1.3")
    old = authority().client(maximum_version=ssl.TLSVersion.TLSv1_2)
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
        authority().connect(served.address, context=old)
    served = start(certfile=files / "good.pem", ciphers="ECDHE-ECDSA-AES256-GCM-SHA384")
    with authority().connect(served.address, context=old) as client:
        assert client.cipher()[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"  # type: ignore[index]


# Clients' certificates ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "own", "answered"),
    [
        ("null", True, True),
        ("null", False, False),
        ("required", False, False),
        ("optional", False, True),
        ("optional", True, True),
        ("none", False, True),
    ],
)
def test_client_certificates(
    wanted: str, own: bool, answered: bool, files: Path, start: Callable[..., Any]
) -> None:
    options = {} if wanted == "null" else {"client_certificates": wanted}
    served = start(certfile=files / "good.pem", client_ca=files / "root.pem", **options)
    context = authority().client()
    if own:
        authority().issue("client.example").configure_cert(context)
    assert answer(served, context) == (b"hello" if answered else b"")
    served.wait_for_event("request_finished")


def test_a_client_whose_certificate_somebody_else_signed(files: Path, start: Callable[..., Any]) -> None:
    served = start(certfile=files / "good.pem", client_ca=files / "root.pem")
    context = authority().client()
    type(authority())().issue("client.example").configure_cert(context)
    assert answer(served, context) == b""
    assert served.wait_for_event("request_failed")["context"].outcome == "aborted"


def answer(served: Any, context: ssl.SSLContext) -> bytes:
    """What a client gets; nothing if it is refused, which it may hear of late."""
    with (
        contextlib.suppress(ssl.SSLError, ConnectionError),
        authority().connect(served.address, context=context) as client,
    ):
        return client.recv(10)
    return b""


# By name -----------------------------------------------------------------------------------------


@pytest.fixture
def names(tmp_path: Path) -> Path:
    folder = tmp_path / "names"
    folder.mkdir()
    authority().write(folder / "One.Example.pem", "one.example")
    authority().write(folder / "_.two.example.pem", "*.two.example")
    authority().write(folder / "*.three.example.pem", "*.three.example")
    authority().write(folder / "bücher.example.pem", "xn--bcher-kva.example")
    (folder / "four.example").mkdir()
    authority().write_pair(
        folder / "four.example" / "fullchain.pem", folder / "four.example" / "privkey.pem", "four.example"
    )
    (folder / "README").write_text("not a certificate")
    (folder / ".hidden.pem").write_text("neither")
    return folder


@pytest.mark.parametrize(
    ("asked", "is_shown"),
    [
        ("one.example", "one.example"),
        ("ONE.example", "one.example"),
        ("a.two.example", "*.two.example"),
        ("b.three.example", "*.three.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("four.example", "four.example"),
    ],
)
@pytest.mark.parametrize("strategy", ["threading", "select", "asyncio"])
def test_a_certificate_by_name(
    asked: str, is_shown: str, strategy: str, names: Path, start: Callable[..., Any]
) -> None:
    assert shown(start(strategy, sni_directory=names), asked) == [is_shown]


@pytest.mark.parametrize("strategy", ["threading", "select", "asyncio"])
def test_a_name_that_is_not_there(strategy: str, names: Path, files: Path, start: Callable[..., Any]) -> None:
    careless = authority().client(check_hostname=False)
    served = start(strategy, sni_directory=names, certfile=files / "good.pem")
    for name in ("elsewhere.example", "a.b.two.example", "two.example"):
        with authority().connect(served.address, name, careless) as client:
            assert names_in(client.getpeercert(binary_form=True) or b"") == ["localhost", "127.0.0.1"]
    served = start(strategy, sni_directory=names)
    with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
        authority().connect(served.address, "elsewhere.example", careless)
    with pytest.raises((ssl.SSLError, ConnectionError)):  # nor without a name
        authority().connect(served.address, None, careless)  # type: ignore[arg-type]
    assert shown(served, "one.example") == ["one.example"]


def test_a_name_that_can_not_be(tmp_path: Path) -> None:
    authority().write(tmp_path / f"{'ü' * 70}.pem")
    result = plugport(tmp_path, "serve", "echo", URL, "-o", f"sni_directory={tmp_path}")
    assert error_of(result).endswith("is not a host name")


# Rotation ----------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks at the files at each connection, not once a second."""
    monkeypatch.setattr(tls, "_CHECK_INTERVAL", 0.0)


def replace(path: Path, *names: str) -> None:
    """Put a new certificate in the place of one, at once."""
    authority().write(path.with_suffix(".new"), *names)
    os.replace(path.with_suffix(".new"), path)


@pytest.mark.parametrize("strategy", ["sync", "threading", "forking", "select", "asyncio"])
def test_a_new_certificate_is_shown_and_connections_go_on(
    strategy: str, tmp_path: Path, start: Callable[..., Any], quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = authority().write(tmp_path / "certificate.pem", "localhost")
    served = start(strategy, certfile=path)
    assert shown(served) == ["localhost"]
    replace(path, "localhost", "new.example")
    assert shown(served) == ["localhost", "new.example"]
    assert f"read {path} again: it has changed" in caplog.text
    # A broken one is warned of once, and the old one stays.
    path.write_text(path.read_text()[:300])
    for _ in range(3):
        assert shown(served) == ["localhost", "new.example"]
    assert caplog.text.count("the previous certificate stays in use") == 1
    path.unlink()
    assert shown(served) == ["localhost", "new.example"]
    assert caplog.text.count("the previous certificate stays in use") == 2
    replace(path, "localhost", "newer.example")
    assert shown(served) == ["localhost", "newer.example"]


def test_names_come_and_go(
    names: Path, start: Callable[..., Any], quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    served = start(sni_directory=names)
    authority().write(names / "five.example.pem", "five.example")
    assert shown(served, "five.example") == ["five.example"]
    replace(names / "one.example.pem", "one.example", "also.example")
    (names / "One.Example.pem").unlink()
    assert shown(served, "one.example") == ["one.example", "also.example"]
    (names / "six.example.pem").write_text("noise")
    for _ in range(3):
        assert shown(served, "five.example") == ["five.example"]
    assert (
        caplog.text.count(
            "six.example.pem has no certificate in PEM format; the previous certificates stay in use"
        )
        == 1
    )
    shutil.rmtree(names)
    assert shown(served, "five.example") == ["five.example"]
    names.mkdir()
    authority().write(names / "seven.example.pem", "seven.example")
    assert shown(served, "seven.example") == ["seven.example"]
    with pytest.raises(ssl.SSLError):
        shown(served, "five.example")


def test_a_name_that_can_not_be_comes_while_it_serves(
    names: Path, start: Callable[..., Any], quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    served = start(sni_directory=names)
    authority().write(names / f"{'ü' * 70}.pem")
    authority().write(names / "five.example.pem", "five.example")
    for _ in range(3):
        assert shown(served, "five.example") == ["five.example"]
    assert caplog.text.count("is not a host name; the previous certificates stay in use") == 1


def test_files_are_looked_at_once_a_second(
    tmp_path: Path, start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = authority().write(tmp_path / "certificate.pem", "localhost")
    served = start(certfile=path)
    looks: list[float] = []
    certificate = served.server._identity._default
    refresh = certificate.refresh
    monkeypatch.setattr(certificate, "refresh", lambda: (looks.append(time.monotonic()), refresh()))
    for _ in range(5):
        shown(served)
    assert len(looks) <= 2
    wait_until(lambda: shown(served) and looks, 2 * PATIENCE)


@pytest.mark.parametrize("strategy", ["threading", "select", "asyncio"])
def test_rotation_under_load_fails_no_request(
    strategy: str, tmp_path: Path, start: Callable[..., Any], quick: None
) -> None:
    path = authority().write(tmp_path / "certificate.pem", "localhost")
    served = start(strategy, certfile=path)
    failures: list[BaseException] = []
    seen: set[str] = set()
    ended = threading.Event()
    count = 0

    def reconnect() -> None:
        nonlocal count
        while not ended.is_set():
            try:
                seen.update(shown(served))
            except BaseException as error:
                failures.append(error)
                return
            count += 1

    clients = [threading.Thread(target=reconnect) for _ in range(3)]
    for client in clients:
        client.start()
    try:
        for number in range(8):
            before = count
            replace(path, "localhost", f"n{number}.example")
            wait_until(lambda before=before: count >= before + 6 or failures)
    finally:
        ended.set()
        for client in clients:
            client.join(PATIENCE)
    assert not failures
    assert {f"n{number}.example" for number in range(8)} <= seen
    assert {
        event.arguments["context"].outcome for event in served.events if event.hook == "request_finished"
    } == {"completed"}


def test_a_plain_socket_is_what_hooks_see(files: Path, start: Callable[..., Any]) -> None:
    served = start(certfile=files / "good.pem")
    shown(served)
    assert type(served.wait_for_event("request_started")["context"].request) is socket.socket
    context = served.wait_for_event("request_finished")["context"]
    assert context.bytes_sent > len(b"hello")  # what went over the wire
