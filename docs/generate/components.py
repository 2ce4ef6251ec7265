"""The reference of components: servers, strategies, handlers and framings, with their options."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator

from installed import registry
from prose import first_paragraph, markdown, page, table

from plugport.combination.conversion import type_name
from plugport.combination.options import Option, collect
from plugport.contracts.traits import STYLES, strategy_traits
from plugport.handlers.styles import style_of, transports_of
from plugport.plugin.registry import Entry

__all__ = ["components", "options_table"]


def components() -> str:
    """Return the page."""
    return page(
        "Components and their options",
        "Set an option with `-o KEY=VALUE` of `plugport serve`, or as a class attribute in code. "
        "`plugport show NAME` prints the same for each installed component, of other packages too.",
        *_servers(),
        *_strategies(),
        *_handlers(),
        *_framings(),
    )


def _servers() -> Iterator[str]:
    entries = list(registry().entries("server"))
    yield "## Servers\n\nThe name of a server is the scheme of its URLs."
    yield _overview(entries)
    common: dict[str, Option] = {}
    for entry in entries:
        common |= {name: option for name, option in _options(entry).items() if _is_of_core(option)}
    yield f"### Options of every server\n\n{options_table(common.values())}"
    for entry in entries:
        yield from _section(entry, [each for each in _options(entry).values() if not _is_of_core(each)])


def _strategies() -> Iterator[str]:
    yield "## Concurrency strategies"
    entries = list(registry().entries("concurrency"))
    yield _overview(entries)
    yield "Their traits, from which verdicts on combinations follow:"
    names = ("drives", "isolates_memory", "parallel", "shares_thread", "serial")
    rows = []
    for entry in entries:
        traits = strategy_traits(registry().load(entry))
        rows.append([f"`{entry.name}`", *(_trait(getattr(traits, name)) for name in names)])
    yield table(
        ["name", "drives", "isolates memory", "parallel in threads", "shares one thread", "serial"], rows
    )
    for entry in entries:
        yield from _section(entry, _options(entry).values())


def _handlers() -> Iterator[str]:
    yield "## Handlers"
    entries = list(registry().entries("handler"))
    yield _overview(entries)
    for entry in entries:
        target = registry().load(entry)
        transports = " and ".join(sorted(transports_of(target)))
        yield from _section(
            entry, _options(entry).values(), f"Style: {style_of(target)}. Serves: {transports}."
        )


def _framings() -> Iterator[str]:
    yield (
        "## Framings\n\nA message handler selects its framing by the option `framing`. The options of a "
        "framing are attributes of the handler: a handler may set them, and `-o` sets them."
    )
    entries = list(registry().entries("framing"))
    yield _overview(entries)
    for entry in entries:
        yield from _section(entry, _options(entry).values())


def _section(entry: Entry, options: Iterable[Option], note: str = "") -> Iterator[str]:
    yield f"### {entry.name}"
    yield markdown(registry().load(entry).__doc__)
    yield note
    yield options_table(options)


def _overview(entries: Iterable[Entry]) -> str:
    return table(["name", "summary"], ([f"`{entry.name}`", entry.summary] for entry in entries))


def _options(entry: Entry) -> dict[str, Option]:
    return collect(registry().load(entry))


def _is_of_core(option: Option) -> bool:
    module: str = option.owner.__module__
    return module.partition(".")[0] == "plugport"


def options_table(options: Iterable[Option]) -> str:
    """Return a table of *options*; "" if there are none."""
    rows = [
        [f"`{each.name}`", type_name(each.type, each.note), f"`{_default(each)}`", first_paragraph(each.help)]
        for each in options
    ]
    return table(["option", "type", "default", "meaning"], rows)


def _default(option: Option) -> str:
    """Return the default as it is written after ``-o``."""
    value = option.default
    if isinstance(value, bytes):
        return repr(value)[2:-1]
    return str(value) if isinstance(value, str) else json.dumps(value, default=repr)


def _trait(value: bool | Collection[str]) -> str:
    """A flag as yes or no, a set of styles by their names."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "all" if len(value) == len(STYLES) else ", ".join(sorted(value)) or "no"
