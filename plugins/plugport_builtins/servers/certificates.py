"""Certificate: a chain and its key, made into an ssl.SSLContext, and again when its files change."""

from __future__ import annotations

import logging
import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plugport.errors import OptionError

__all__ = ["Certificate", "Settings", "bare_context", "signature_of"]

logger = logging.getLogger("plugport.tls")

#: By which a file is known to be what it was: its time of change, inode and size; None if there is none.
Signature = tuple[tuple[int, int, int] | None, ...]

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_VERIFY = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}

#: OpenSSL's words for a key that is another's: of the same type, of another type.
_MISMATCHES = {"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the contexts of one server have in common; the names are those of its options."""

    password: str | None = field(repr=False)
    password_file: str | None
    minimum_version: str
    ciphers: str | None
    alpn: tuple[str, ...]
    client_ca: str | None
    client_certificates: str


class _PasswordMissingError(Exception):
    """The key is encrypted, and there is no password for it."""


def bare_context(settings: Settings) -> ssl.SSLContext:
    """Return a context without a certificate. Raises OptionError for settings that make no sense."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[settings.minimum_version]
    context.options |= ssl.OP_NO_RENEGOTIATION
    if settings.ciphers is not None:
        try:
            context.set_ciphers(settings.ciphers)
        except ssl.SSLError:
            raise OptionError(
                f"ciphers: OpenSSL knows none by {settings.ciphers!r}; see openssl ciphers -v"
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
    """Return what is in a file of an option. Raises OptionError unless *wanted* is in it."""
    try:
        text = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise OptionError(f"{option}: can't read {path}: {getattr(error, 'strerror', error)}") from None
    if wanted not in text:
        what = "private key" if b"KEY" in wanted else "certificate"
        raise OptionError(f"{option}: {path} has no {what} in it, in PEM")
    return text


def signature_of(*paths: str | None) -> Signature:
    """Return what changes when one of the files does; links are followed."""
    return tuple(_stat(path) for path in paths if path is not None)


def _stat(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


class Certificate:
    """A certificate chain and its key; without *keyfile* both are in *certfile*.

    ``context`` is the ssl.SSLContext of what its files held when they were last read.
    """

    def __init__(
        self, settings: Settings, certfile: str, keyfile: str | None = None, prepare: Any = None
    ) -> None:
        self.files = (certfile, keyfile)
        self._settings = settings
        self._prepare = prepare
        self._signature: Signature = ()
        self.context = self._load()

    def refresh(self) -> None:
        """Read the files again if they have changed; what can't be used is warned of, and changes nothing."""
        if self._look() == self._signature:
            return
        try:
            self.context = self._load()
        except OptionError as error:
            logger.warning("%s; the certificate that was read before stays in use", error)
        else:
            logger.info("read %s again: it has changed", self.files[0])

    def _look(self) -> Signature:
        settings = self._settings
        return signature_of(*self.files, settings.client_ca, settings.password_file)

    def _load(self) -> ssl.SSLContext:
        # Taken first: what changes while it is read is read again.
        self._signature = self._look()
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
            raise OptionError(self._fault(error)) from None
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

    def _fault(self, error: Exception) -> str:
        certfile, keyfile = self.files
        key = keyfile or certfile
        if getattr(error, "reason", None) in _MISMATCHES:
            return f"keyfile: the key in {key} is not that of the certificate in {certfile}"
        encrypted = b"ENCRYPTED" in _read("keyfile", key, b"")
        if encrypted and (self._settings.password is not None or self._settings.password_file is not None):
            return f"password: it is not that of the key in {key}, or the key is damaged"
        if not isinstance(error, ssl.SSLError):
            return f"certfile: {certfile} and its key in {key} can't be used: {error}"
        if error.library == "SSL" and error.reason:
            reason = error.reason.lower().replace("_", " ")
            return f"certfile: OpenSSL does not take {certfile} and its key in {key}: {reason}"
        if keyfile is None:
            return f"certfile: what is in {certfile} is damaged, or not whole"
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cafile=certfile)
        except (ssl.SSLError, OSError):
            return f"certfile: the certificates in {certfile} are damaged, or not whole"
        return f"keyfile: the key in {keyfile} is damaged, or not whole"
