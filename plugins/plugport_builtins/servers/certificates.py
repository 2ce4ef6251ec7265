"""Certificate: the ssl.SSLContext of a certificate chain and its key, made again when the files change."""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from plugport.errors import OptionError

__all__ = ["Certificate", "Settings", "bare_context", "signature_of"]

logger = logging.getLogger("plugport.tls")

#: For each file its modification time in ns, inode and size; None if it can't be read.
Signature = tuple[tuple[int, int, int] | None, ...]

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_VERIFY = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}

#: OpenSSL's reasons for a key that does not belong to the certificate: of the same type, of another type.
_MISMATCHES = {"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"}


@dataclass(frozen=True, slots=True)
class Settings:
    """The options that all contexts of a server share."""

    password: str | None = field(repr=False)
    password_file: str | None
    minimum_version: str
    ciphers: str | None
    alpn: tuple[str, ...]
    client_ca: str | None
    client_certificates: str


class _PasswordMissingError(Exception):
    """The key is encrypted, and no password is set."""


def bare_context(settings: Settings) -> ssl.SSLContext:
    """Return a context without a certificate. Raises OptionError for invalid settings."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[settings.minimum_version]
    context.options |= ssl.OP_NO_RENEGOTIATION
    if settings.ciphers is not None:
        try:
            context.set_ciphers(settings.ciphers)
        except ssl.SSLError:
            raise OptionError(
                f"ciphers: OpenSSL has no cipher suite {settings.ciphers!r}; see openssl ciphers -v"
            ) from None
    if settings.alpn:
        try:
            context.set_alpn_protocols(list(settings.alpn))
        except (ssl.SSLError, UnicodeEncodeError):
            raise OptionError(f"alpn: a name has 1 to 255 ASCII characters, not {settings.alpn!r}") from None
    context.verify_mode = _VERIFY[settings.client_certificates]
    if settings.client_ca is not None:
        _read("client_ca", settings.client_ca, b"CERTIFICATE-----")
        try:
            context.load_verify_locations(cafile=settings.client_ca)
        except (ssl.SSLError, OSError):
            raise OptionError(f"client_ca: the certificates in {settings.client_ca} can't be read") from None
    return context


def _read(option: str, path: str, wanted: bytes) -> bytes:
    """Return the content of the file *path*. Raises OptionError if it does not contain *wanted*."""
    try:
        text = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise OptionError(f"{option}: can't read {path}: {getattr(error, 'strerror', error)}") from None
    if wanted not in text:
        what = "private key" if b"KEY" in wanted else "certificate"
        raise OptionError(f"{option}: {path} has no {what} in PEM format")
    return text


def signature_of(*paths: str | None) -> Signature:
    """Return a value that changes when one of the files changes. Links are followed."""
    return tuple(_stat(path) for path in paths if path is not None)


def _stat(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


class Certificate:
    """A certificate chain and its key; without *keyfile* both are in *certfile*.

    ``context`` is the ssl.SSLContext of the files as they were last read. *prepare* is called with each new
    context.
    """

    def __init__(
        self,
        settings: Settings,
        certfile: str,
        keyfile: str | None = None,
        prepare: Callable[[ssl.SSLContext], None] | None = None,
    ) -> None:
        self.files = (certfile, keyfile)
        self._settings = settings
        self._prepare = prepare
        self._signature: Signature = ()
        self.context = self._load()

    def refresh(self) -> None:
        """Read the files again if they have changed. Files that can't be used are logged, and not used."""
        if self._current_signature() == self._signature:
            return
        try:
            self.context = self._load()
        except OptionError as error:
            logger.warning("%s; the previous certificate stays in use", error)
        else:
            logger.info("read %s again: it has changed", self.files[0])

    def _current_signature(self) -> Signature:
        settings = self._settings
        return signature_of(*self.files, settings.client_ca, settings.password_file)

    def _load(self) -> ssl.SSLContext:
        # Before reading: a file that changes meanwhile is then read again.
        self._signature = self._current_signature()
        certfile, keyfile = self.files
        _read("certfile", certfile, b"CERTIFICATE-----")
        _read("keyfile" if keyfile else "certfile", keyfile or certfile, b"PRIVATE KEY-----")
        context = bare_context(self._settings)
        try:
            context.load_cert_chain(certfile, keyfile, self._password)
        except _PasswordMissingError:
            raise OptionError(
                f"password: the key in {keyfile or certfile} is encrypted; "
                "set password_file to a file with its password"
            ) from None
        except (ssl.SSLError, OSError, ValueError) as error:
            raise OptionError(self._explain(error)) from None
        if self._prepare is not None:
            self._prepare(context)
        return context

    def _password(self) -> str:
        settings = self._settings
        if settings.password_file is not None:
            text = _read("password_file", settings.password_file, b"")
            return text.decode("utf-8", "surrogateescape").rstrip("\r\n")
        if settings.password is None:
            raise _PasswordMissingError
        return settings.password

    def _explain(self, error: Exception) -> str:
        certfile, keyfile = self.files
        key = keyfile or certfile
        if getattr(error, "reason", None) in _MISMATCHES:
            return f"keyfile: the key in {key} does not belong to the certificate in {certfile}"
        encrypted = b"ENCRYPTED" in _read("keyfile", key, b"")
        if encrypted and (self._settings.password is not None or self._settings.password_file is not None):
            return f"password: it is wrong for the key in {key}, or the key is damaged"
        if not isinstance(error, ssl.SSLError):
            return f"certfile: {certfile} and its key in {key} can't be used: {error}"
        if error.library == "SSL" and error.reason:
            reason = error.reason.lower().replace("_", " ")
            return f"certfile: OpenSSL rejects {certfile} and its key in {key}: {reason}"
        if keyfile is None:
            return f"certfile: {certfile} is damaged or incomplete"
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cafile=certfile)
        except (ssl.SSLError, OSError):
            return f"certfile: the certificates in {certfile} are damaged or incomplete"
        return f"keyfile: the key in {keyfile} is damaged or incomplete"
