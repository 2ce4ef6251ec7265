"""combine() and serve(): a handler, a server and a strategy put together, and served in a thread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from plugport.combination import assign_framing, assign_options, check, compose, is_plugin_key
from plugport.contracts import Kind, Part, configure
from plugport.errors import IncompatibleError
from plugport.plugin import default_registry
from plugport.serving import adopt, is_foreign_server
from plugport_testing.served import ServedService
from plugport_testing.waiting import PATIENCE

__all__ = ["Combination", "combine", "resolve", "serve"]


class Combination(NamedTuple):
    """What ServedService.add() takes, besides the URL."""

    server_class: Any
    handler: Any
    handler_name: str


def resolve(kind: Kind, what: Any) -> Any:
    """Return the component *what*, which may be named, from the plugins that are installed."""
    return default_registry().get(kind, what) if isinstance(what, str) else what


def combine(handler: Any, server: Any, concurrency: Any, options: Mapping[str, Any]) -> Combination:
    """Put the three together, and set their member variables; see serve().

    With None for *concurrency* the server class has no strategy.
    """
    names: dict[Part, str] = {"handler": _name_of(handler), "server": _name_of(server)}
    handler, server = resolve("handler", handler), resolve("server", server)
    handler, options = assign_framing(handler, options)
    parts: dict[Part, Any] = {"handler": handler, "server": server}
    if concurrency is None:
        server_class = adopt(server) if is_foreign_server(server) else server
    else:
        names["concurrency"] = _name_of(concurrency)
        strategy = parts["concurrency"] = resolve("concurrency", concurrency)
        verdict = check(handler, server, strategy)
        if not verdict.legal:
            raise IncompatibleError(
                f"{names['handler']} can't be served by {names['server']} under {names['concurrency']}: "
                f"{verdict.reason}"
            )
        server_class = compose(server, concurrency)
    members = assign_options(options, parts, names)
    server_class = configure(server_class, {**members["server"], **members["concurrency"]})
    return Combination(server_class, configure(handler, members["handler"]), names["handler"])


def serve(
    handler: Any,
    url: str = "tcp://127.0.0.1:0",
    concurrency: Any = None,
    *,
    server: Any = None,
    plugins: Iterable[object] = (),
    patience: float = PATIENCE,
    options: Mapping[str, Any] | None = None,
) -> ServedService:
    """Serve *handler* on *url* in a thread; whoever calls this calls stop() of what it returns.

    *handler*, *concurrency*: a registered name, an import string, or the class or function itself.
    *concurrency* is "threading" if None. *url*: ``{folder}`` in it stands for a new folder; of a
    scheme alone the address is one that is free. *server*: the class, where it is not what the
    scheme names. *plugins*: objects or modules whose hookimpls are called, or the names of installed
    plugins. *patience*: seconds that anything may take. *options*: member variables of the three,
    as ``plugport serve -o`` takes them, but for the values, which are objects; and of the *plugins*,
    by ``NAME.KEY``.

    Raises IncompatibleError for a combination that is refused, OptionError, AddressError,
    ListenError, and what finding the names raises. Nothing is left bound then.
    """
    server = url.partition("://")[0] if server is None else server
    options = options or {}
    of_plugins = {key: value for key, value in options.items() if is_plugin_key(key)}
    options = {key: value for key, value in options.items() if key not in of_plugins}
    combination = combine(handler, server, concurrency or "threading", options)
    served = ServedService(patience, plugins, of_plugins)
    try:
        served.add(combination.server_class, url, combination.handler, combination.handler_name)
        served.start()
    except BaseException:
        served.abandon()
        raise
    return served


def _name_of(what: Any) -> str:
    return what if isinstance(what, str) else getattr(what, "__name__", repr(what))
