"""Information about TLS connections for applications: Apache's variables for WSGI, the ASGI extension."""

from __future__ import annotations

import ssl
from typing import Any, Protocol

__all__ = ["TLSConnection", "tls_environ", "tls_extension"]

#: The short names of attribute types (RFC 4514, 3), by their names in the ssl module.
_MAX_CACHED_LINE = {
    "commonName": "CN",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "streetAddress": "STREET",
    "domainComponent": "DC",
    "userId": "UID",
}
#: The escapes of RFC 4514, 2.4, and of all control characters, because names get into logs and headers.
_ESCAPED = str.maketrans(
    {each: "\\" + each for each in '"+,;<>\\'} | {chr(code): f"\\{code:02X}" for code in (*range(32), 127)}
)
#: Tags of DER.
_BIT_STRING, _UTF8_STRING = 0x03, 0x0C
_VERSIONS = {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}
#: The IANA numbers of cipher suites by their OpenSSL names: a cache.
_suites: dict[str, int] = {}


class TLSConnection(Protocol):
    """A TLS connection after its handshake: an ssl.SSLSocket, an ssl.SSLObject, or the like."""

    @property
    def context(self) -> ssl.SSLContext:
        """The context of the connection."""

    def version(self) -> str | None:
        """Return the protocol version: "TLSv1.3"."""

    def cipher(self) -> tuple[str, str, int] | None:
        """Return (name, protocol, secret bits)."""

    def getpeercert(self, binary_form: bool = False, /) -> Any:
        """Return the client's certificate, as a dict or in DER, or nothing if there is none."""


def tls_environ(tls: TLSConnection) -> dict[str, str]:
    """Return the environ variables of Apache's mod_ssl. (PEP 3333, environ Variables)

    Variables of the client's certificate, except SSL_CLIENT_VERIFY, are there if the client has sent one; its
    names only if OpenSSL can read them. Names are UTF-8 bytes decoded as Latin-1, like all WSGI strings.
    """
    version, cipher = tls.version(), tls.cipher()
    assert version is not None
    assert cipher is not None
    environ = {
        "SSL_PROTOCOL": version,
        "SSL_CIPHER": cipher[0],
        "SSL_CLIENT_VERIFY": "NONE",
    }
    pem = _pem(tls)
    if pem is not None:
        environ["SSL_CLIENT_VERIFY"] = "SUCCESS"  # else the handshake would have failed
        environ["SSL_CLIENT_CERT"] = pem
        names = _names(tls)
        if names:
            environ["SSL_CLIENT_S_DN"] = _distinguished_name(names["subject"]).encode().decode("latin-1")
            environ["SSL_CLIENT_I_DN"] = _distinguished_name(names["issuer"]).encode().decode("latin-1")
            environ["SSL_CLIENT_M_SERIAL"] = names["serialNumber"]
    return environ


def tls_extension(tls: TLSConnection) -> dict[str, Any]:
    """Return the value of the scope's extension "tls". (ASGI TLS Extension 0.2)

    The client's chain is its first certificate only, and the server's certificate is None: the ssl module
    does not provide more. The client's name is None if OpenSSL can't read it.
    """
    pem = _pem(tls)
    version = tls.version()
    names = _names(tls) if pem is not None else {}
    return {
        "server_cert": None,
        "client_cert_chain": () if pem is None else (pem,),
        "client_cert_name": _distinguished_name(names["subject"]) if names else None,
        "client_cert_error": None,  # else the handshake would have failed
        "tls_version": None if version is None else _VERSIONS.get(version),
        "cipher_suite": _suite(tls),
    }


def _pem(tls: TLSConnection) -> str | None:
    """Return the client's certificate in PEM, or None."""
    der = tls.getpeercert(True)
    return ssl.DER_cert_to_PEM_cert(der) if der else None


def _names(tls: TLSConnection) -> dict[str, Any]:
    """Return the decoded certificate of the client, or {} if OpenSSL can't read it."""
    try:
        return tls.getpeercert() or {}
    except (ssl.SSLError, ValueError):  # a name is not text, or damaged
        return {}


def _suite(tls: TLSConnection) -> int | None:
    """Return the IANA number of the cipher suite."""
    cipher = tls.cipher()
    if cipher is None:
        return None
    name = cipher[0]
    if name not in _suites:
        # The lower two bytes of OpenSSL's id are the IANA number.
        _suites.update({each["name"]: each["id"] & 0xFFFF for each in tls.context.get_ciphers()})
    return _suites.get(name)


def _distinguished_name(name: tuple[tuple[tuple[str, str], ...], ...]) -> str:
    """Return a name of getpeercert() in the format of RFC 4514: the last part first."""
    return ",".join("+".join(_attribute(*each) for each in part) for part in reversed(name))


def _attribute(kind: str, value: str | bytes) -> str:
    # RFC 4514, 2.4: values that are not text, and values of types without a name, are written in DER.
    # getpeercert() returns bytes for a BIT STRING; it does not tell the encoding of other values.
    if isinstance(value, bytes):
        return f"{_MAX_CACHED_LINE.get(kind, kind)}={_encoded(_BIT_STRING, bytes(1) + value)}"
    if kind[:1].isdigit():
        return f"{kind}={_encoded(_UTF8_STRING, value.encode())}"
    text = value.translate(_ESCAPED)
    if text.startswith(("#", " ")):
        text = "\\" + text
    if value.endswith(" ") and len(value) > 1:
        text = text[:-1] + "\\ "
    return f"{_MAX_CACHED_LINE.get(kind, kind)}={text}"


def _encoded(tag: int, content: bytes) -> str:
    """Return DER in the hexadecimal form of RFC 4514. (X.690, 8.1.3: lengths above 127 take several bytes)"""
    size = len(content)
    length = size.to_bytes((size.bit_length() + 7) // 8)
    if size > 127:
        length = bytes([0x80 | len(length)]) + length
    return "#" + (bytes([tag]) + (length or b"\0") + content).hex().upper()
