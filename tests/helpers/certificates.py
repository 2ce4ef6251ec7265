"""Certificates for tests, of an authority that is made for them; and clients that trust it."""

from __future__ import annotations

import socket
import ssl
from functools import cache
from pathlib import Path
from typing import Any

import trustme
from cryptography.hazmat.primitives import serialization
from patience import PATIENCE

__all__ = ["Authority", "HalfClosing", "authority"]


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
            private = serialization.load_pem_private_key(pem, None)
            pem = private.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(password.encode()),
            )
        key.write_bytes(pem)

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


@cache
def authority() -> Authority:
    """The authority of this run."""
    return Authority()
