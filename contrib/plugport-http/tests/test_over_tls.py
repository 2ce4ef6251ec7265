"""Applications over TLS: the information they get, and requests by curl and over a WebSocket."""

from __future__ import annotations

import contextlib
import datetime
import json
import socketserver
import ssl
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from hypothesis import given, settings, strategies
from plugport.errors import OptionError
from served import APPLICATIONS, curl
from websockets.sync.client import connect

from plugport_http.tlsinfo import tls_environ, tls_extension

WSGI = f"{APPLICATIONS / 'wsgi_cases.py'}:app"
ASGI = f"{APPLICATIONS / 'asgi_cases.py'}:app"


COMBINATIONS = [
    ("wsgi", "sync"),
    ("wsgi", "threading"),
    ("wsgi", "thread-pool"),
    ("wsgi", "forking"),
    ("wsgi", "select"),
    ("wsgi", "asyncio"),
    ("asgi", "asyncio"),
    ("asgi", "sync"),
]
#: An RDN that has everything which RFC 4514 escapes.
NAME = x509.Name(
    [
        x509.NameAttribute(NameOID.COUNTRY_NAME, "XY"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, ' Lock, Stock + "Barrel" <1> '),
        x509.NameAttribute(NameOID.COMMON_NAME, "#alice;\\"),
    ]
)


@pytest.fixture
def issuer() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def certificates(issuer: trustme.CA, tmp_path: Path) -> tuple[str, str]:
    """The files of an authority's certificate, and of the server's with its key."""
    authority, server = tmp_path / "authority.pem", tmp_path / "server.pem"
    issuer.cert_pem.write_to_path(authority)
    issuer.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(server)
    return str(authority), str(server)


@pytest.mark.tools("curl")
@pytest.mark.parametrize(("handler", "strategy"), COMBINATIONS)
def test_applications_are_served_over_tls(
    plugport_serve: Any, certificates: tuple[str, str], handler: str, strategy: str, tmp_path: Path
) -> None:
    authority, server = certificates
    app = WSGI if handler == "wsgi" else ASGI
    served = plugport_serve(handler, "tls", strategy, app=app, certfile=server)
    url = f"https://127.0.0.1:{served.address[1]}"
    told = json.loads(curl("--cacert", authority, f"{url}/describe"))
    assert told.get("wsgi.url_scheme", told.get("scheme")) == "https"
    upload = tmp_path / "upload"
    upload.write_bytes(b"x" * 2_000_000)
    assert curl("--cacert", authority, "-T", str(upload), "-X", "POST", f"{url}/size") == "2000000"
    assert len(curl("--cacert", authority, f"{url}/big")) == 64 * 65536
    if handler == "wsgi":
        assert len(curl("--cacert", authority, f"{url}/file?100096", "-o", str(tmp_path / "file"))) == 0
        assert (tmp_path / "file").stat().st_size == 100096
    assert curl("--cacert", authority, f"{url}/hello", f"{url}/hello") == "Hello, world!" * 2


def test_websocket_over_tls(plugport_serve: Any, certificates: tuple[str, str]) -> None:
    authority, server = certificates
    served = plugport_serve("asgi", "tls", "asyncio", app=ASGI, certfile=server)
    context = ssl.create_default_context(cafile=authority)
    with connect(f"wss://127.0.0.1:{served.address[1]}/chat", ssl=context, proxy=None) as client:
        client.send("x" * 200_000)
        assert client.recv(10) == "x" * 200_000


# What TLS tells --------------------------------------------------------------------------------------


def client_certificate(name: x509.Name) -> tuple[x509.Certificate, bytes]:
    """Return a self-signed certificate of *name* and its key, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 0xA1B2C3)
    builder = builder.not_valid_before(now - datetime.timedelta(hours=1))
    builder = builder.not_valid_after(now + datetime.timedelta(hours=1))
    certificate = builder.sign(key, hashes.SHA256())
    encoded = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate, certificate.public_bytes(serialization.Encoding.PEM) + encoded


def of_tls(environ: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in environ.items() if key.startswith("SSL_") or key == "HTTPS"}


@pytest.mark.tools("curl")
@pytest.mark.parametrize(("handler", "strategy"), COMBINATIONS)
def test_application_gets_tls_information(
    plugport_serve: Any, certificates: tuple[str, str], handler: str, strategy: str, tmp_path: Path
) -> None:
    authority, server = certificates
    alice, pem = client_certificate(NAME)
    (tmp_path / "alice.pem").write_bytes(pem)
    served = plugport_serve(
        handler,
        "tls",
        strategy,
        app=WSGI if handler == "wsgi" else ASGI,
        certfile=server,
        client_ca=str(tmp_path / "alice.pem"),
        client_certificates="optional",
    )
    url = f"https://127.0.0.1:{served.address[1]}"
    path = "/describe" if handler == "wsgi" else "/extensions"
    options = ("--cacert", authority, "--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256")
    with_alice = ("--cert", str(tmp_path / "alice.pem"))
    forged = ("-H", "HTTPS: off", "-H", "SSL-CLIENT-S-DN: CN=mallory", "-H", "SSL_CLIENT_VERIFY: SUCCESS")
    nobody = json.loads(curl(*options, *forged, f"{url}{path}"))
    told = json.loads(curl(*options, *with_alice, f"{url}{path}"))
    newer = json.loads(curl("--cacert", authority, "--tlsv1.3", *with_alice, f"{url}{path}"))
    certificate = alice.public_bytes(serialization.Encoding.PEM).decode()
    subject = alice.subject.rfc4514_string()
    assert subject == r"""CN=\#alice\;\\,O=\ Lock\, Stock \+ \"Barrel\" \<1\>\ ,C=XY"""
    twice = curl(*options, "-w", ",", f"{url}{path}", f"{url}{path}")
    assert twice == f"{json.dumps(nobody)}," * 2 or handler == "wsgi"
    if handler == "wsgi":
        connection = {
            "HTTPS": "on",
            "SSL_PROTOCOL": "TLSv1.2",
            "SSL_CIPHER": "ECDHE-ECDSA-AES128-GCM-SHA256",
        }
        assert of_tls(nobody) == {**connection, "SSL_CLIENT_VERIFY": "NONE"}
        assert of_tls(told) == {
            **connection,
            "SSL_CLIENT_VERIFY": "SUCCESS",
            "SSL_CLIENT_CERT": certificate,
            "SSL_CLIENT_S_DN": subject,
            "SSL_CLIENT_I_DN": subject,
            "SSL_CLIENT_M_SERIAL": "A1B2C3",
        }
        assert (newer["SSL_PROTOCOL"], newer["SSL_CLIENT_S_DN"]) == ("TLSv1.3", subject)
    else:
        connection = {
            "server_cert": None,
            "client_cert_error": None,
            "tls_version": 0x0303,
            "cipher_suite": 0xC02B,  # TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 (RFC 5289, 3.2)
        }
        none = {"client_cert_chain": [], "client_cert_name": None}
        some = {"client_cert_chain": [certificate], "client_cert_name": subject}
        assert nobody == {"tls": {**connection, **none}}
        assert told == {"tls": {**connection, **some}}
        assert newer["tls"]["tls_version"] == 0x0304
        assert newer["tls"]["cipher_suite"] in (0x1301, 0x1302, 0x1303)  # RFC 8446, B.4
        assert newer["tls"]["client_cert_name"] == subject


class ShakesHandsLater(socketserver.TCPServer):
    """A standard library server with TLS of its own: the handshake takes place when a handler reads."""

    allow_reuse_address = True
    context: ssl.SSLContext

    def get_request(self) -> Any:
        connection, address = super().get_request()
        wrapped = self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return wrapped, address


@pytest.mark.tools("curl")
@pytest.mark.parametrize("strategy", ["threading", "asyncio"])
def test_foreign_tls_is_not_inspected(
    plugport_serve: Any, issuer: trustme.CA, certificates: tuple[str, str], strategy: str
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issuer.issue_cert("127.0.0.1").configure_cert(context)
    server = type("Server", (ShakesHandsLater,), {"context": context})
    served = plugport_serve("wsgi", "tcp", strategy, server=server, app=WSGI)
    url = f"https://127.0.0.1:{served.address[1]}/describe"
    told = json.loads(curl("--cacert", certificates[0], url))
    assert (told["wsgi.url_scheme"], of_tls(told)) == ("http", {})


@pytest.mark.tools("curl")
def test_plain_connection_has_no_tls_information(plugport_serve: Any) -> None:
    served = plugport_serve("wsgi", "tcp", "threading", app=WSGI)
    assert of_tls(json.loads(curl(f"http://127.0.0.1:{served.address[1]}/describe"))) == {}
    served = plugport_serve("asgi", "tcp", "asyncio", app=ASGI)
    assert json.loads(curl(f"http://127.0.0.1:{served.address[1]}/extensions")) == {}


def after_a_handshake(issuer: trustme.CA, folder: Path, name: x509.Name) -> ssl.SSLObject:
    """Return the server side of a connection whose client has a certificate of *name*."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issuer.issue_cert("localhost").configure_cert(server)
    _, pem = client_certificate(name)
    (folder / "client.pem").write_bytes(pem)
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(cafile=folder / "client.pem")
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    issuer.configure_trust(client)
    client.load_cert_chain(folder / "client.pem")
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = client.wrap_bio(back, there, server_hostname="localhost"), server.wrap_bio(there, back, True)
    for side in sides * 2:
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    return sides[1]


@pytest.mark.parametrize(
    ("parts", "written"),
    [
        ([[("COMMON_NAME", "alice"), ("USER_ID", "7")], [("LOCALITY_NAME", "X")]], "L=X,UID=7+CN=alice"),
        ([[("COMMON_NAME", "a\nb\x7f\t")]], r"CN=a\0Ab\7F\09"),
        ([[("COMMON_NAME", "\u0141ukasz")]], "CN=\u0141ukasz"),
        ([[("SURNAME", "Ng"), ("STREET_ADDRESS", "1 Way")]], "STREET=1 Way+surname=Ng"),
        ([[("X500_UNIQUE_IDENTIFIER", b"\0abc")]], "x500UniqueIdentifier=#030400616263"),
        ([[("1.2.3.4.5", "hi")]], "1.2.3.4.5=#0C026869"),
        ([[("1.2.3.4.5", "x" * 300)]], "1.2.3.4.5=#0C82012C" + "78" * 300),
    ],
)
def test_unusual_name(issuer: trustme.CA, parts: Any, written: str, tmp_path: Path) -> None:
    attributes = [[attribute(*each) for each in part] for part in parts]
    name = x509.Name([x509.RelativeDistinguishedName(part) for part in attributes])
    tls = after_a_handshake(issuer, tmp_path, name)
    assert in_any_order(tls_extension(tls)["client_cert_name"]) == in_any_order(written)
    environ = tls_environ(tls)
    for key in ("SSL_CLIENT_S_DN", "SSL_CLIENT_I_DN"):
        assert in_any_order(environ[key].encode("latin-1").decode()) == in_any_order(written)


def attribute(kind: str, value: Any) -> x509.NameAttribute[Any]:
    oid = getattr(NameOID, kind) if kind[0].isalpha() else x509.ObjectIdentifier(kind)
    if isinstance(value, bytes):
        return x509.NameAttribute(oid, value, _ASN1Type.BitString)
    return x509.NameAttribute(oid, value)


def in_any_order(name: str) -> list[list[str]]:
    """DER sorts the attributes of one part."""
    return [sorted(part.split("+")) for part in name.split(",")]


def test_unreadable_certificate_is_still_passed_on(issuer: trustme.CA, tmp_path: Path) -> None:
    real = after_a_handshake(issuer, tmp_path, NAME)
    der = real.getpeercert(True)

    def getpeercert(binary_form: bool = False) -> Any:
        if not binary_form:
            raise ssl.SSLError("unknown error")  # what it says of a name that is a SEQUENCE
        return der

    tls = SimpleNamespace(
        version=real.version, cipher=real.cipher, context=real.context, getpeercert=getpeercert
    )
    pem = ssl.DER_cert_to_PEM_cert(der or b"")
    told = tls_extension(tls)
    assert (told["client_cert_chain"], told["client_cert_name"]) == ((pem,), None)
    environ = tls_environ(tls)
    assert (environ["SSL_CLIENT_VERIFY"], environ["SSL_CLIENT_CERT"]) == ("SUCCESS", pem)
    assert "SSL_CLIENT_S_DN" not in environ


def texts() -> Any:
    """Characters that RFC 4514 leaves unchanged or escapes."""
    return strategies.text(strategies.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=8)


@settings(deadline=None)
@given(strategies.lists(texts(), min_size=1, max_size=3))
def test_any_name_is_formatted_by_rfc_4514(values: list[str]) -> None:
    """As the package cryptography formats it, with the names of attributes instead of numbers."""
    kinds = [("commonName", NameOID.COMMON_NAME), ("localityName", NameOID.LOCALITY_NAME)]
    parts = [(*kinds[place % 2], value) for place, value in enumerate(values)]
    name = tuple(((long, value),) for long, _, value in parts)
    tls = SimpleNamespace(
        version=lambda: "TLSv1.3",
        cipher=lambda: ("TLS_AES_128_GCM_SHA256", "TLSv1.3", 128),
        context=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
        getpeercert=lambda binary_form=False: (
            b"certificate" if binary_form else {"subject": name, "issuer": name, "serialNumber": "01"}
        ),
    )
    expected = x509.Name([x509.NameAttribute(oid, value, _validate=False) for _, oid, value in parts])
    assert tls_extension(tls)["client_cert_name"] == expected.rfc4514_string()
    assert tls_environ(tls)["SSL_CLIENT_S_DN"] == expected.rfc4514_string().encode().decode("latin-1")


@pytest.mark.tools("curl")
@pytest.mark.parametrize(("handler", "strategy"), [("wsgi", "threading"), ("asgi", "asyncio")])
def test_alpn_selects_http_only(
    plugport_serve: Any, certificates: tuple[str, str], handler: str, strategy: str
) -> None:
    authority, server = certificates
    app = WSGI if handler == "wsgi" else ASGI
    served = plugport_serve(handler, "tls", strategy, app=app, certfile=server)
    told = curl(
        "--http2",
        "-w",
        " %{http_version}",
        "--cacert",
        authority,
        f"https://127.0.0.1:{served.address[1]}/hello",
    )
    assert told == "Hello, world! 1.1"
    with pytest.raises(OptionError, match=r"alpn: the handler does not speak h2"):
        plugport_serve(handler, "tls", strategy, app=app, certfile=server, alpn="h2,http/1.1")
