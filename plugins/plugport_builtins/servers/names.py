"""CertificateNames: a directory of certificates, for server name indication (RFC 6066)."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

from plugport.errors import OptionError
from plugport_builtins.servers.certificates import Certificate, Settings, signature_of

__all__ = ["CertificateNames"]

logger = logging.getLogger("plugport.tls")

_SUFFIX = ".pem"
_CHAIN, _KEY = "fullchain.pem", "privkey.pem"
#: The prefixes of file names of wildcard certificates; the second needs no quoting in a shell.
_WILDCARDS = ("*.", "_.")


class CertificateNames:
    """The certificates of a directory: NAME.pem, or NAME/fullchain.pem with NAME/privkey.pem.

    ``*.example.org.pem`` or ``_.example.org.pem`` is a wildcard: it is for all names with one more label.
    """

    def __init__(self, settings: Settings, directory: str) -> None:
        self._settings = settings
        self._directory = directory
        #: By name, the state of files that could not be used, so that each is logged once.
        self._logged: dict[str, object] = {}
        try:
            self._certificates = {
                _host_name(stem): Certificate(settings, *files) for stem, files in self._found()
            }
        except OSError as error:
            raise OptionError(f"sni_directory: can't read {directory}: {error.strerror}") from None
        if not self._certificates:
            raise OptionError(f"sni_directory: {directory} has neither NAME.pem nor NAME/{_CHAIN}")

    def get(self, name: str | None) -> Certificate | None:
        """Return the certificate for the server name of a client, None if there is none."""
        if not name:
            return None
        name = name.lower().rstrip(".")
        return self._certificates.get(name) or self._certificates.get("*." + name.partition(".")[2])

    def refresh(self) -> None:
        """Read new files, and those that have changed."""
        found: dict[str, tuple[str, str | None]] = {}
        try:
            for stem, files in self._found():
                try:
                    found[_host_name(stem)] = files
                except OptionError as error:
                    self._warn(stem, "", str(error))
        except OSError as error:
            self._warn("", error.errno, f"sni_directory: can't read {self._directory}: {error.strerror}")
            return
        known = self._certificates
        certificates: dict[str, Certificate] = {}
        for name, files in found.items():
            certificate = known.get(name)
            if certificate is not None and certificate.files == files:
                certificate.refresh()
                certificates[name] = certificate
                continue
            try:
                certificates[name] = Certificate(self._settings, *files)
                logger.info("read the certificate of %s: %s", name, files[0])
            except OptionError as error:
                self._warn(name, signature_of(*files), str(error))
                if certificate is not None:
                    certificates[name] = certificate
        self._certificates = certificates

    def _warn(self, name: str, state: object, message: str) -> None:
        if self._logged.get(name) != state:
            self._logged[name] = state
            logger.warning("%s; the previous certificates stay in use", message)

    def _found(self) -> Iterator[tuple[str, tuple[str, str | None]]]:
        """Yield (file name, (certfile, keyfile or None)) of each certificate in the directory."""
        with os.scandir(self._directory) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name.startswith("."):
                    continue
                chain = os.path.join(entry.path, _CHAIN)
                if entry.is_dir() and os.path.exists(chain):
                    yield entry.name, (chain, os.path.join(entry.path, _KEY))
                elif entry.name.endswith(_SUFFIX) and entry.is_file():
                    yield entry.name.removesuffix(_SUFFIX), (entry.path, None)


def _host_name(file_name: str) -> str:
    """Return the server name of a file name, as clients send it: in lower case, encoded by IDNA."""
    name = file_name.lower()
    prefix = ""
    if name.startswith(_WILDCARDS):
        prefix, name = "*.", name[2:]
    if not name.isascii():
        try:
            name = name.encode("idna").decode()
        except UnicodeError:
            raise OptionError(f"sni_directory: {file_name!r} is not a host name") from None
    return prefix + name
