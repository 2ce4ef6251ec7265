"""combine() and serve(): compose a handler, a server and a strategy, and serve them in a thread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from plugport import BaseServer
from plugport.combination import assign_framing, assign_options, check, compose, is_plugin_key
from plugport.contracts import Handler, Kind, Part, configure
from plugport.errors import IncompatibleError
from plugport.plugin import default_registry
from plugport.serving import adopt, is_foreign_server
from plugport_testing.served import ServedService
from plugport_testing.waiting import PATIENCE

__all__ = ["Combination", "combine", "resolve", "scheme_of", "serve"]


class Combination(NamedTuple):
    """The arguments of ServedService.add(), except the URL."""

    server_class: type[BaseServer]
    handler: Handler
    handler_name: str


def resolve(kind: Kind, what: object) -> Any:
    """Return the installed component named *what*; *what* itself if it is no string."""
    return default_registry().get(kind, what) if isinstance(what, str) else what


def combine(
    handler: str | Handler,
    server: str | type,
    concurrency: str | type | None,
    options: Mapping[str, object],
) -> Combination:
    """Compose the three, and set their options; see serve().

    With None for *concurrency* the server class has no strategy.
    """
    names: dict[Part, str] = {"handler": _name_of(handler), "server": _name_of(server)}
    plain: type = resolve("server", server)
    target, options = assign_framing(resolve("handler", handler), options)
    parts: dict[Part, Any] = {"handler": target, "server": plain}
    if concurrency is None:
        server_class = adopt(plain) if is_foreign_server(plain) else plain
    else:
        names["concurrency"] = _name_of(concurrency)
        strategy: type = resolve("concurrency", concurrency)
        parts["concurrency"] = strategy
        verdict = check(target, plain, strategy)
        if not verdict.legal:
            raise IncompatibleError(
                f"{names['handler']} can't be served by {names['server']} under {names['concurrency']}: "
                f"{verdict.reason}"
            )
        server_class = compose(plain, concurrency)
    members = assign_options(options, parts, names)
    server_class = configure(server_class, {**members["server"], **members["concurrency"]})
    return Combination(server_class, configure(target, members["handler"]), names["handler"])


def serve(
    handler: str | Handler,
    url: str = "tcp://127.0.0.1:0",
    concurrency: str | type | None = None,
    *,
    server: str | type | None = None,
    plugins: Iterable[object] = (),
    patience: float = PATIENCE,
    options: Mapping[str, object] | None = None,
) -> ServedService:
    """Serve *handler* on *url* in a thread; the caller must call stop() of the result.

    *handler*, *concurrency*: a registered name, an import string, or the class or function itself. With None
    for *concurrency* it is "threading". *url*: ``{folder}`` in it stands for a new folder; a scheme alone
    gets a free address. *server*: the class, if it is not the one that the scheme names. *plugins*: objects
    or modules whose hookimpls are called, or names of installed plugins. *patience*: the longest wait in
    seconds. *options*: of the three as in ``plugport serve -o``, but with objects as values; of *plugins* as
    ``NAME.KEY``.

    Raises IncompatibleError for a combination that is refused, OptionError, AddressError, ListenError, and
    the errors of looking up a name. No socket is left bound then.
    """
    server = url.partition("://")[0] if server is None else server
    options = options or {}
    plugin_options = {key: value for key, value in options.items() if is_plugin_key(key)}
    options = {key: value for key, value in options.items() if key not in plugin_options}
    combination = combine(handler, server, concurrency or "threading", options)
    served = ServedService(patience, plugins, plugin_options)
    try:
        served.add(combination.server_class, url, combination.handler, combination.handler_name)
        served.start()
    except BaseException:
        served.abandon()
        raise
    return served


def scheme_of(server: str | type) -> str:
    """Return the scheme of a server's URLs: its name, or for a class the attribute ``scheme``."""
    scheme: str = server if isinstance(server, str) else getattr(server, "scheme", BaseServer.scheme)
    return scheme


def _name_of(component: object) -> str:
    return component if isinstance(component, str) else getattr(component, "__name__", repr(component))
