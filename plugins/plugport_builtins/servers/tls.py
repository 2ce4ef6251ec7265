"""TLSServer: connections over TLS, with certificates that may change while it serves."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from plugport import Help
from plugport.contracts import (
    ClientAddress,
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

#: Seconds between two looks at the files of certificates.
_LOOK_INTERVAL = 1.0


class TLSServer(TCPServer):
    """A server of connections over TLS; its handlers see what the client has sent inside.

    A connection takes neither a thread nor a process until its ClientHello is there; the handshake
    then runs where its handler will, within ``handshake_timeout``. Certificates are read again
    when their files have changed, for the connections that come then.
    """

    scheme = "tls"
    traits = ServerTraits(secure=True)

    certfile: Annotated[str | None, Help("the certificate and those that it rests on, in PEM")] = None
    keyfile: Annotated[str | None, Help("its private key, in PEM (null: it is in certfile)")] = None
    password: Annotated[
        str | None, Help("of an encrypted key; others can see it, better use password_file")
    ] = None
    password_file: Annotated[str | None, Help("a file with the password of an encrypted key")] = None
    minimum_version: Annotated[Literal["1.2", "1.3"], Help("the oldest version of TLS that is spoken")] = (
        "1.2"
    )
    ciphers: Annotated[
        str | None, Help("cipher suites of TLS 1.2, as OpenSSL names them (null: its choice)")
    ] = None
    alpn: Annotated[
        str,
        Help("protocols to choose from by ALPN, the best first: h2,http/1.1 (empty: what the handler says)"),
    ] = ""
    client_ca: Annotated[
        str | None, Help("certificates, in PEM, of who may sign those of clients (mutual TLS)")
    ] = None
    client_certificates: Annotated[
        Literal["none", "optional", "required"] | None,
        Help("whether clients must show one (null: with client_ca they must)"),
    ] = None
    sni_directory: Annotated[
        str | None, Help("certificates by name: NAME.pem, or NAME/fullchain.pem and NAME/privkey.pem")
    ] = None
    handshake_timeout: Annotated[float, Help("seconds that a client has for its TLS handshake", gt=0)] = 10.0

    @classmethod
    def check_options(cls) -> None:
        """Read all certificates, to see that they can be used. Raises OptionError."""
        super().check_options()
        _Identity(cls)

    def __init__(
        self,
        server_address: ServerAddress,
        RequestHandlerClass: Callable[..., Any],
        bind_and_activate: bool = True,
    ) -> None:
        """Read the certificates; then see TCPServer. Raises OptionError, TargetError."""
        self._identity = _Identity(type(self), _spoken(RequestHandlerClass))
        super().__init__(server_address, RequestHandlerClass, bind_and_activate)

    def tls_context(self) -> ssl.SSLContext:
        """Return the context for the next connection."""
        return self._identity.context

    def preludes(self) -> Sequence[Prelude]:
        """See the ClientHello before a request begins."""
        return (*super().preludes(), client_hello)

    def get_request(self) -> tuple[Request, ClientAddress]:
        """Accept a connection, and now and then see whether the certificates have changed.

        Here and not in tls_context(), which a forked child may call: what it read, no other would know.
        """
        self._identity.refresh()
        return super().get_request()


class _Identity:
    """Who the server is: its certificate, and those for other names.

    *spoken*: the handler's ``alpn_protocols``; () if it does not say, or there is none yet.
    """

    def __init__(self, options: type[TLSServer], spoken: Sequence[str] = ()) -> None:
        settings = _settings(options, spoken)
        if options.certfile is None and options.sni_directory is None:
            raise OptionError(
                "tls: no certificate; name one with -o certfile=FILE, or several with -o sni_directory=PATH"
            )
        if options.certfile is None and options.keyfile is not None:
            raise OptionError("keyfile: there is no certfile that it is the key of")
        self._names: CertificateNames | None = None
        if options.sni_directory is not None:
            self._names = CertificateNames(settings, options.sni_directory)
        self._default: Certificate | None = None
        if options.certfile is not None:
            self._default = Certificate(settings, options.certfile, options.keyfile, self._prepare)
        else:
            self._nobody = bare_context(settings)
            self._prepare(self._nobody)
        self._next_look = time.monotonic() + _LOOK_INTERVAL

    @property
    def context(self) -> ssl.SSLContext:
        """The context with which a handshake begins."""
        return self._nobody if self._default is None else self._default.context

    def refresh(self) -> None:
        """Read again what has changed, if the last look was long ago."""
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + _LOOK_INTERVAL
            if self._default is not None:
                self._default.refresh()
            if self._names is not None:
                self._names.refresh()

    def _prepare(self, context: ssl.SSLContext) -> None:
        if self._names is not None:
            context.sni_callback = self._choose

    def _choose(self, connection: Any, name: str | None, context: ssl.SSLContext) -> int | None:
        """Have the connection go on with the certificate of *name*; refuse one for which there is none."""
        certificate = self._names.get(name) if self._names is not None else None
        if certificate is not None:
            connection.context = certificate.context
        elif self._default is None:
            asked = f"there is no certificate for {name!r}" if name else "the client asks for no name"
            connection.refusal = f"{asked}, and no certfile is set"
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        return None


def _settings(options: type[TLSServer], spoken: Sequence[str]) -> Settings:
    """Return what the contexts have in common. Raises OptionError for what does not go together."""
    if options.password is not None and options.password_file is not None:
        raise OptionError("password: it is given twice, by password and by password_file")
    wanted = options.client_certificates or ("none" if options.client_ca is None else "required")
    if wanted != "none" and options.client_ca is None:
        raise OptionError(
            f"client_certificates: {wanted}, but there is nobody to sign them; set client_ca=FILE"
        )
    return Settings(
        options.password,
        options.password_file,
        options.minimum_version,
        options.ciphers,
        _protocols(options.alpn, spoken),
        options.client_ca,
        wanted,
    )


def _spoken(handler: Any) -> Sequence[str]:
    """Return the handler's ``alpn_protocols``. Raises TargetError if they are no names."""
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


def _protocols(alpn: str, spoken: Sequence[str]) -> tuple[str, ...]:
    """Return the protocols to choose from. Raises OptionError for one that is not among those *spoken*."""
    names = tuple(name.strip() for name in alpn.split(",")) if alpn else ()
    for name in names:
        if not name:
            raise OptionError(f"alpn: a name is missing in {alpn!r}; write one, or more with commas between")
        if spoken and name not in spoken:
            raise OptionError(f"alpn: the handler does not speak {name}; name {one_of(spoken)}, or nothing")
    return names or tuple(spoken)
