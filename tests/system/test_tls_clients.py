"""The server tls as clients that we did not write have it: openssl s_client and curl."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import authority
from command import Service, serving
from patience import PATIENCE

HANDLER = """
from http.server import SimpleHTTPRequestHandler

class Files(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
"""

pytestmark = pytest.mark.parametrize("strategy", ["threading", "select", "asyncio"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    authority().write(folder / "certificate.pem")
    authority().write_root(folder / "root.pem")
    authority().write_pair(folder / "client.pem", folder / "clientkey.pem", "client.example")
    (folder / "names").mkdir()
    authority().write(folder / "names" / "other.example.pem", "other.example")
    (folder / "files.py").write_text(HANDLER)
    (folder / "large").write_bytes(bytes(range(256)) * 20_000)
    return folder


@pytest.fixture
def service(strategy: str, folder: Path, tmp_path: Path) -> Iterator[Service]:
    """One that speaks HTTP, and asks for a certificate."""
    with serving(
        folder,
        *("files.py:Files", "tls://127.0.0.1:0", "-c", strategy, "--access-log"),
        *("-o", "certfile=certificate.pem", "-o", "alpn=http/1.1,other", "-o", "sni_directory=names"),
        *("-o", "client_ca=root.pem", "-o", "client_certificates=optional"),
    ) as service:
        yield service


def s_client(service: Service, folder: Path, *arguments: str, said: str = "") -> str:
    """What openssl s_client tells; it ends when the server does."""
    host, port = service.address.address
    command = ["openssl", "s_client", "-connect", f"{host}:{port}", "-CAfile", "root.pem", "-ign_eof"]
    result = subprocess.run(
        [*command, "-verify_return_error", *arguments],
        input=said,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        cwd=folder,
    )
    return result.stdout + result.stderr


def curl(service: Service, folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    port = service.address.address[1]
    command = ["curl", "-sS", "--max-time", "20", "--cacert", "root.pem", *arguments]
    command.append(f"https://localhost:{port}/large")
    command += ["--resolve", f"localhost:{port}:127.0.0.1"]
    return subprocess.run(command, capture_output=True, timeout=2 * PATIENCE, cwd=folder)


GET = "HEAD /large HTTP/1.0\r\n\r\n"


@pytest.mark.tools("openssl")
@pytest.mark.parametrize(
    ("version", "named"), [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")], ids=["1.2", "1.3"]
)
def test_s_client(version: str, named: str, service: Service, folder: Path) -> None:
    told = s_client(service, folder, version, "-servername", "localhost", "-alpn", "x,http/1.1", said=GET)
    assert f"New, {named}, Cipher is" in told
    assert "Verify return code: 0 (ok)" in told
    assert "ALPN protocol: http/1.1" in told
    assert "200 OK" in told
    # s_client says so only of an end by close_notify, and else that it was unexpected.
    assert "\nclosed\n" in told
    assert "unexpected eof" not in told


@pytest.mark.tools("openssl")
def test_what_s_client_is_refused(service: Service, folder: Path) -> None:
    told = s_client(service, folder, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    assert re.search("alert protocol version|no protocols available", told), told
    assert "Cipher is (NONE)" in told


@pytest.mark.tools("openssl")
def test_s_client_by_name(service: Service, folder: Path) -> None:
    told = s_client(
        service, folder, "-servername", "other.example", "-verify_hostname", "other.example", said=GET
    )
    assert "Verification: OK" in told
    assert "Verified peername: other.example" in told
    told = s_client(service, folder, "-noservername", "-verify_hostname", "localhost", said=GET)
    assert "Verified peername: localhost" in told


@pytest.mark.tools("openssl")
def test_s_client_resumes_its_session(service: Service, folder: Path, tmp_path: Path) -> None:
    session = str(tmp_path / "session")
    s_client(service, folder, "-tls1_3", "-sess_out", session, said=GET)
    told = s_client(service, folder, "-tls1_3", "-sess_in", session, said=GET)
    assert "Reused, TLSv1.3" in told
    assert "200 OK" in told


@pytest.mark.tools("curl")
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_curl(version: str, service: Service, folder: Path) -> None:
    result = curl(service, folder, f"--tlsv{version}", "--tls-max", version, "--http1.1")
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout == (folder / "large").read_bytes()
    result = curl(service, folder, "--cert", "client.pem", "--key", "clientkey.pem")
    assert (result.returncode, len(result.stdout)) == (0, 256 * 20_000)


@pytest.mark.tools("curl")
def test_curl_must_show_a_certificate(strategy: str, folder: Path) -> None:
    with serving(
        folder,
        *("files.py:Files", "tls://127.0.0.1:0", "-c", strategy, "--access-log"),
        *("-o", "certfile=certificate.pem", "-o", "client_ca=root.pem"),
    ) as service:
        result = curl(service, folder)
        # It has sent its request before it hears: what it tells is the alert, or that it could not send.
        assert result.returncode in (55, 56), result
        assert result.stdout == b""
        result = curl(service, folder, "--cert", "client.pem", "--key", "clientkey.pem")
        assert (result.returncode, len(result.stdout)) == (0, 256 * 20_000)
        # What speaks no TLS.
        port = service.address.address[1]
        plain = subprocess.run(
            ["curl", "-sS", "--max-time", "20", f"http://127.0.0.1:{port}/"], capture_output=True, timeout=30
        )
        assert plain.returncode in (52, 56), plain  # an empty reply, or a reset
    assert service.outcomes() == ["aborted", "completed"]
    assert " rejected: " in service.output
