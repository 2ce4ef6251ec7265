"""TLSServer: connections over TLS, with certificates that are read again when their files change."""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from typing import Annotated, Literal, Protocol, cast

from plugport import Help
from plugport.contracts import (
    ClientAddress,
    Handler,
    Request,
    ServerAddress,
    ServerTraits,
    handler_traits,
    one_of,
    unwrapped,
)
from plugport.errors import OptionError, TargetError
from plugport.serving import Prelude
from plugport_builtins.servers.certificates import Certificate, Settings, bare_context
from plugport_builtins.servers.hello import client_hello
from plugport_builtins.servers.names import CertificateNames
from plugport_builtins.servers.tcp import TCPServer

__all__ = ["TLSServer"]

#: Seconds between two checks of the files of certificates.
_CHECK_INTERVAL = 1.0


class TLSServer(TCPServer):
    """A server of connections over TLS; its handlers read and write plain data.

    A connection needs neither a thread nor a process until its ClientHello has come. The handshake then runs
    where the handler will, within ``handshake_timeout``. Certificates are read again when their files have
    changed, for later connections.
    """

    scheme = "tls"
    traits = ServerTraits(secure=True)

    certfile: Annotated[
        str | None, Help("file of the certificate and its chain, in PEM (null: only those of sni_directory)")
    ] = None
    keyfile: Annotated[str | None, Help("file of its private key, in PEM (null: certfile)")] = None
    password: Annotated[
        str | None,
        Help("password of an encrypted key; users can see it, so prefer password_file (null: none)"),
    ] = None
    password_file: Annotated[str | None, Help("file with the password of an encrypted key (null: none)")] = (
        None
    )
    minimum_version: Annotated[Literal["1.2", "1.3"], Help("oldest version of TLS that is accepted")] = "1.2"
    ciphers: Annotated[
        str | None, Help("cipher suites of TLS 1.2, in OpenSSL's format (null: its default)")
    ] = None
    alpn: Annotated[
        str,
        Help("protocols for ALPN, the preferred first: h2,http/1.1 (empty: those of the handler)"),
    ] = ""
    client_ca: Annotated[
        str | None, Help("file of the CA certificates for clients, in PEM, for mutual TLS (null: none)")
    ] = None
    client_certificates: Annotated[
        Literal["none", "optional", "required"] | None,
        Help("whether clients need a certificate (null: required with client_ca, else none)"),
    ] = None
    sni_directory: Annotated[
        str | None,
        Help("folder of certificates: NAME.pem, or NAME/fullchain.pem and privkey.pem (null: none)"),
    ] = None
    handshake_timeout: Annotated[float, Help("seconds that a client has for its TLS handshake", gt=0)] = 10.0

    @classmethod
    def check_options(cls) -> None:
        """Check that all certificates can be used. Raises OptionError."""
        super().check_options()
        Identity(cls)

    def __init__(
        self,
        server_address: ServerAddress,
        RequestHandlerClass: Handler,
        bind_and_activate: bool = True,
    ) -> None:
        """Read the certificates; then see TCPServer. Raises OptionError, TargetError."""
        self._identity = Identity(type(self), _alpn_protocols(RequestHandlerClass))
        super().__init__(server_address, RequestHandlerClass, bind_and_activate)

    def tls_context(self) -> ssl.SSLContext:
        """Return the context for the next connection."""
        return self._identity.context

    def preludes(self) -> Sequence[Prelude]:
        """Wait for the ClientHello before a request begins."""
        return (*super().preludes(), client_hello)

    def get_request(self) -> tuple[Request, ClientAddress]:
        """Accept a connection. At intervals, read certificates again that have changed.

        tls_context() does not do it: a forked child may call that, and only the child would have the result.
        """
        self._identity.refresh()
        return super().get_request()


class Identity:
    """The certificates of a server: the default one, and those for other names.

    *offered*: the handler's ``alpn_protocols``; () if it declares none, or is not known yet.
    """

    def __init__(self, options: type[TLSServer], offered: Sequence[str] = ()) -> None:
        settings = _settings(options, offered)
        if options.certfile is None and options.sni_directory is None:
            raise OptionError(
                "tls: no certificate; name one with -o certfile=FILE, or several with -o sni_directory=PATH"
            )
        if options.certfile is None and options.keyfile is not None:
            raise OptionError("keyfile: there is no certfile for this key; add -o certfile=FILE")
        self._names: CertificateNames | None = None
        if options.sni_directory is not None:
            self._names = CertificateNames(settings, options.sni_directory)
        self._default: Certificate | None = None
        if options.certfile is not None:
            self._default = Certificate(settings, options.certfile, options.keyfile, self._prepare)
        else:
            self._without_certificate = bare_context(settings)
            self._prepare(self._without_certificate)
        self._next_check = time.monotonic() + _CHECK_INTERVAL

    @property
    def context(self) -> ssl.SSLContext:
        """The context with which a handshake begins."""
        return self._without_certificate if self._default is None else self._default.context

    def refresh(self) -> None:
        """Read certificates again that have changed, if the last check was long enough ago."""
        now = time.monotonic()
        if now >= self._next_check:
            self._next_check = now + _CHECK_INTERVAL
            if self._default is not None:
                self._default.refresh()
            if self._names is not None:
                self._names.refresh()

    def _prepare(self, context: ssl.SSLContext) -> None:
        if self._names is not None:
            context.sni_callback = self._choose

    def _choose(self, tls: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> int | None:
        """Set the context of the certificate for *name*, or refuse the handshake. (sni_callback of ssl)"""
        certificate = self._names.get(name) if self._names is not None else None
        if certificate is not None:
            tls.context = certificate.context
        elif self._default is None:
            reason = f"there is no certificate for {name!r}" if name else "the client sent no server name"
            cast("RefusedHandshake", tls).refusal = f"{reason}, and no certfile is set"
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        return None


class RefusedHandshake(Protocol):
    """A handshake that was refused; the bridges log the reason."""

    refusal: str


def _settings(options: type[TLSServer], offered: Sequence[str]) -> Settings:
    """Return the settings of all contexts. Raises OptionError for options that exclude each other."""
    if options.password is not None and options.password_file is not None:
        raise OptionError("password: it is given twice; drop password or password_file")
    wanted = options.client_certificates or ("none" if options.client_ca is None else "required")
    if wanted != "none" and options.client_ca is None:
        raise OptionError(
            f"client_certificates: {wanted}, but there is no CA for them; add -o client_ca=FILE"
        )
    return Settings(
        options.password,
        options.password_file,
        options.minimum_version,
        options.ciphers,
        _protocols(options.alpn, offered),
        options.client_ca,
        wanted,
    )


def _alpn_protocols(handler: Handler) -> Sequence[str]:
    """Return the handler's ``alpn_protocols``. Raises TargetError for invalid names."""
    inner = unwrapped(handler)
    names = handler_traits(inner).alpn_protocols
    if not isinstance(names, (tuple, list)) or not all(
        isinstance(name, str) and name.isascii() and 0 < len(name) < 256 for name in names
    ):
        raise TargetError(
            f"{inner!r}: its alpn_protocols must be a tuple of names, of 1 to 255 ASCII characters each, "
            f"not {names!r}"
        )
    return names


def _protocols(alpn: str, offered: Sequence[str]) -> tuple[str, ...]:
    """Return the protocols for ALPN. Raises OptionError for one that is not in *offered*, unless empty."""
    names = tuple(name.strip() for name in alpn.split(",")) if alpn else ()
    for name in names:
        if not name:
            raise OptionError(f"alpn: a name is missing in {alpn!r}; write them as h2,http/1.1")
        if offered and name not in offered:
            raise OptionError(
                f"alpn: the handler does not speak {name}; name {one_of(offered)}, or drop the option"
            )
    return names or tuple(offered)
