"""serve(): combines a handler, a server and a strategy, and serves them in a thread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from plugport.combination import check, compose
from plugport.component import Kind
from plugport.errors import IncompatibleError
from plugport.options import assign_options, configure
from plugport.registry import default_registry
from plugport.testing.served import ServedService
from plugport.testing.waiting import PATIENCE

__all__ = ["resolve", "serve"]


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
    scheme names. *plugins*: objects or modules whose hookimpls are called. *patience*: seconds that
    anything may take. *options*: member variables of the three, as ``plugport serve -o`` takes
    them, but for the values, which are objects.

    Raises IncompatibleError for a combination that is refused, OptionError, AddressError,
    ListenError, and what finding the names raises. Nothing is left bound then.
    """
    scheme = url.partition("://")[0]
    parts: dict[Kind, Any] = {
        "server": resolve("server", scheme if server is None else server),
        "concurrency": resolve("concurrency", concurrency or "threading"),
        "handler": resolve("handler", handler),
    }
    names: dict[Kind, str] = {
        "server": scheme,
        "concurrency": _name_of(concurrency or "threading"),
        "handler": _name_of(handler),
    }
    verdict = check(parts["handler"], parts["server"], parts["concurrency"])
    if not verdict.legal:
        raise IncompatibleError(
            f"{names['handler']} can't be served by {scheme} under {names['concurrency']}: {verdict.reason}"
        )
    members = assign_options(options or {}, parts, names)
    composed = compose(parts["server"], parts["concurrency"])
    composed = configure(composed, {**members["server"], **members["concurrency"]})
    configured = configure(parts["handler"], members["handler"])
    served = ServedService(patience, plugins)
    try:
        served.add(composed, url, configured, names["handler"])
        served.start()
    except BaseException:
        served.abandon()
        raise
    return served


def resolve(kind: Kind, what: Any) -> Any:
    """Return the component *what*, which may be named, from the plugins that are installed."""
    return default_registry().get(kind, what) if isinstance(what, str) else what


def _name_of(what: Any) -> str:
    return what if isinstance(what, str) else getattr(what, "__name__", repr(what))
