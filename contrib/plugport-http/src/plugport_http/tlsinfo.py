"""What applications are told of a connection over TLS: the variables of Apache, and ASGI's extension.

*tls*, everywhere here, is an ssl.SSLSocket, an ssl.SSLObject or what has their methods, once its
handshake is over.
"""

from __future__ import annotations

import ssl
from typing import Any

__all__ = ["tls_environ", "tls_extension"]

#: Attribute types that RFC 4514, 3, has short names for, as the ssl module has them.
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
#: What RFC 4514, 2.4, has escaped; and all control characters, for names are put into logs and headers.
_ESCAPED = str.maketrans(
    {each: "\\" + each for each in '"+,;<>\\'} | {chr(code): f"\\{code:02X}" for code in (*range(32), 127)}
)
#: Tags of DER.
_BIT_STRING, _UTF8_STRING = 0x03, 0x0C
_VERSIONS = {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}
#: The numbers of cipher suites by OpenSSL's names, as far as they were asked for.
_suites: dict[str, int] = {}


def tls_environ(tls: Any) -> dict[str, str]:
    """Return the variables that Apache's mod_ssl sets, as PEP 3333 wants it. (environ Variables)

    Those of the client's certificate, SSL_CLIENT_VERIFY apart, are there if it has shown one, and those
    of its names if OpenSSL can read them. Names are in UTF-8, its bytes read as Latin-1 as all texts are.
    """
    environ = {
        "SSL_PROTOCOL": tls.version(),
        "SSL_CIPHER": tls.cipher()[0],
        "SSL_CLIENT_VERIFY": "NONE",
    }
    pem = _pem(tls)
    if pem is not None:
        environ["SSL_CLIENT_VERIFY"] = "SUCCESS"  # else there were no connection
        environ["SSL_CLIENT_CERT"] = pem
        names = _names(tls)
        if names:
            environ["SSL_CLIENT_S_DN"] = _distinguished_name(names["subject"]).encode().decode("latin-1")
            environ["SSL_CLIENT_I_DN"] = _distinguished_name(names["issuer"]).encode().decode("latin-1")
            environ["SSL_CLIENT_M_SERIAL"] = names["serialNumber"]
    return environ


def tls_extension(tls: Any) -> dict[str, Any]:
    """Return the value of the extension "tls" of a scope. (ASGI, TLS Extension 0.2)

    Of the client's chain it has the first certificate; the server's own the ssl module does not tell.
    The name is None, too, if OpenSSL can't read it.
    """
    pem = _pem(tls)
    names = _names(tls) if pem is not None else {}
    return {
        "server_cert": None,
        "client_cert_chain": () if pem is None else (pem,),
        "client_cert_name": _distinguished_name(names["subject"]) if names else None,
        "client_cert_error": None,  # else there were no connection
        "tls_version": _VERSIONS.get(tls.version()),
        "cipher_suite": _suite(tls),
    }


def _pem(tls: Any) -> str | None:
    """Return the client's certificate; None if it has shown none."""
    der = tls.getpeercert(True)
    return ssl.DER_cert_to_PEM_cert(der) if der else None


def _names(tls: Any) -> dict[str, Any]:
    """Return what getpeercert() says; {} for a certificate that it can't read."""
    try:
        return tls.getpeercert() or {}
    except (ssl.SSLError, ValueError):  # a name that is no text, or is damaged
        return {}


def _suite(tls: Any) -> int | None:
    """Return the number that IANA has given to the cipher suite."""
    name = tls.cipher()[0]
    if name not in _suites:
        # OpenSSL has it in the lower two bytes.
        _suites.update({each["name"]: each["id"] & 0xFFFF for each in tls.context.get_ciphers()})
    return _suites.get(name)


def _distinguished_name(name: tuple[tuple[tuple[str, str], ...], ...]) -> str:
    """Write a name, as getpeercert() has it, as RFC 4514 wants it: the last part first."""
    return ",".join("+".join(_attribute(*each) for each in part) for part in reversed(name))


def _attribute(kind: str, value: str | bytes) -> str:
    # What is no text, and what has no name, is written by its encoding. (RFC 4514, 2.4) Bytes are those
    # of a BIT STRING; how the others were encoded getpeercert() does not tell.
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
    """Write DER in hexadecimal, as RFC 4514 has it. (X.690, 8.1.3: a length above 127 has one of its own)"""
    size = len(content)
    length = size.to_bytes((size.bit_length() + 7) // 8)
    if size > 127:
        length = bytes([0x80 | len(length)]) + length
    return "#" + (bytes([tag]) + (length or b"\0") + content).hex().upper()
