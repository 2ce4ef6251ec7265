"""Certificates for tests, of an authority that is made for them; and clients that trust it."""

from __future__ import annotations

import socket
import ssl
from functools import cache
from pathlib import Path
from typing import Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from patience import PATIENCE

__all__ = ["Authority", "HalfClosing", "authority", "write_rsa_key"]


class HalfClosing(ssl.SSLSocket):
    """A client that can end its side as one on a plain connection does, and read on."""

    def shutdown(self, how: int) -> None:
        if how == socket.SHUT_WR:
            socket.socket.shutdown(self, how)
        else:
            super().shutdown(how)

    def close(self) -> None:
        """Close so that the peer sees it although a forked child holds a copy."""
        try:
            socket.socket.shutdown(self, socket.SHUT_RDWR)
        except OSError:
            pass
        super().close()


class Authority:
    """Who signs certificates."""

    def __init__(self) -> None:
        self._authority = trustme.CA()

    def issue(self, *names: str) -> trustme.LeafCert:
        """A certificate for *names*."""
        return self._authority.issue_cert(*names)

    def write_root(self, path: Path) -> Path:
        """Write the certificate of the authority itself."""
        self._authority.cert_pem.write_to_path(path)
        return path

    def write(self, path: Path, *names: str) -> Path:
        """Write a certificate with its key to one file."""
        self.issue(*(names or ("localhost", "127.0.0.1"))).private_key_and_cert_chain_pem.write_to_path(path)
        return path

    def write_pair(self, cert: Path, key: Path, *names: str, password: str | None = None) -> None:
        """Write a certificate, and its key, encrypted if there is a password."""
        leaf = self.issue(*(names or ("localhost", "127.0.0.1")))
        cert.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        pem = leaf.private_key_pem.bytes()
        if password is not None:
            encryption = serialization.BestAvailableEncryption(password.encode())
            pem = _pem_of(serialization.load_pem_private_key(pem, None), encryption)
        key.write_bytes(pem)

    def write_weak_pair(self, cert: Path, key: Path) -> None:
        """Write a certificate whose key is too short for OpenSSL, and the key."""
        leaf = self.issue("localhost")
        private = rsa.generate_private_key(public_exponent=65537, key_size=1024)
        key.write_bytes(_pem_of(private))
        old = x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes())
        builder = x509.CertificateBuilder(
            issuer_name=old.issuer,
            subject_name=old.subject,
            public_key=private.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=old.not_valid_before_utc,
            not_valid_after=old.not_valid_after_utc,
        )
        weak = builder.sign(private, hashes.SHA256())
        cert.write_bytes(weak.public_bytes(serialization.Encoding.PEM))

    def client(self, **members: Any) -> ssl.SSLContext:
        """The context of a client that trusts it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._authority.configure_trust(context)
        context.sslsocket_class = HalfClosing
        for name, value in members.items():
            setattr(context, name, value)
        return context

    def connect(
        self,
        address: Any,
        name: str = "localhost",
        context: ssl.SSLContext | None = None,
        *,
        timeout: float = PATIENCE,
        ragged: bool = False,
    ) -> ssl.SSLSocket:
        """A client's connection, after its handshake. Unless *ragged*, its end must come by close_notify."""
        plain = socket.create_connection(address, timeout)
        try:
            return (context or self.client()).wrap_socket(
                plain, server_hostname=name, suppress_ragged_eofs=ragged
            )
        except BaseException:
            plain.close()
            raise


def write_rsa_key(path: Path) -> None:
    """Write an RSA key that belongs to no certificate."""
    path.write_bytes(_pem_of(rsa.generate_private_key(public_exponent=65537, key_size=2048)))


def _pem_of(private: Any, encryption: Any = None) -> bytes:
    pem: bytes = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        encryption or serialization.NoEncryption(),
    )
    return pem


@cache
def authority() -> Authority:
    """The authority of this run."""
    return Authority()
