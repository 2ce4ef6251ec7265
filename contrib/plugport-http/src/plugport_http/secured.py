"""What applications are told of a connection over TLS: the variables of Apache, and ASGI's extension.

*tls*, everywhere here, is an ssl.SSLSocket, an ssl.SSLObject or what has their methods, once its
handshake is over.
"""

from __future__ import annotations

import ssl
from typing import Any

__all__ = ["tls_environ", "tls_extension"]

#: Attribute types that RFC 4514, 3, has short names for, as the ssl module has them.
_SHORT = {
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
_ESCAPED = str.maketrans({"\0": "\\00", **{each: "\\" + each for each in '"+,;<>\\'}})
_VERSIONS = {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}
#: The numbers of cipher suites by OpenSSL's names, as far as they were asked for.
_suites: dict[str, int] = {}


def tls_environ(tls: Any) -> dict[str, str]:
    """Return the variables that Apache's mod_ssl sets, as PEP 3333 wants it. (environ Variables)

    Those of the client's certificate, SSL_CLIENT_VERIFY apart, are there if it has shown one.
    """
    environ = {
        "SSL_PROTOCOL": tls.version(),
        "SSL_CIPHER": tls.cipher()[0],
        "SSL_CLIENT_VERIFY": "NONE",
    }
    certificate = tls.getpeercert()
    if certificate:
        environ |= {
            "SSL_CLIENT_VERIFY": "SUCCESS",  # else there were no connection
            "SSL_CLIENT_CERT": _pem(tls),
            "SSL_CLIENT_S_DN": _distinguished_name(certificate["subject"]),
            "SSL_CLIENT_I_DN": _distinguished_name(certificate["issuer"]),
            "SSL_CLIENT_M_SERIAL": certificate["serialNumber"],
        }
    return environ


def tls_extension(tls: Any) -> dict[str, Any]:
    """Return the value of the extension "tls" of a scope. (ASGI, TLS Extension 0.2)

    Of the client's chain it has the first certificate; the server's own the ssl module does not tell.
    """
    certificate = tls.getpeercert()
    return {
        "server_cert": None,
        "client_cert_chain": (_pem(tls),) if certificate else (),
        "client_cert_name": _distinguished_name(certificate["subject"]) if certificate else None,
        "client_cert_error": None,  # else there were no connection
        "tls_version": _VERSIONS.get(tls.version()),
        "cipher_suite": _suite(tls),
    }


def _pem(tls: Any) -> str:
    return ssl.DER_cert_to_PEM_cert(tls.getpeercert(True))


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


def _attribute(kind: str, value: str) -> str:
    text = value.translate(_ESCAPED)
    if text.startswith(("#", " ")):
        text = "\\" + text
    if value.endswith(" ") and len(value) > 1:
        text = text[:-1] + "\\ "
    return f"{_SHORT.get(kind, kind)}={text}"
