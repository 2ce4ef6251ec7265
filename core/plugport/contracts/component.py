"""Components: the servers, strategies, handlers and framings that plugins register under a name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

__all__ = ["KINDS", "PARTS", "Component", "Kind", "Part"]

#: The parts of a combination. An option may have the part that it belongs to as its prefix.
Part = Literal["server", "concurrency", "handler"]
PARTS: tuple[Part, ...] = get_args(Part)
#: The kinds of components: the parts, and the framings that message handlers choose by name.
Kind = Literal["server", "concurrency", "handler", "framing"]
KINDS: tuple[Kind, ...] = get_args(Kind)

# The grammar of a URL scheme (RFC 3986, 3.1): a server's name is one.
_NAME = re.compile(r"[a-z][a-z0-9+.-]*\Z")


@dataclass(frozen=True, slots=True)
class Component:
    """A named server, strategy, handler or framing, as a plugin's register hook returns it.

    ``name``
        what users select it by; the grammar of a URL scheme (RFC 3986): a lower-case letter,
        then letters, digits, ``+``, ``-`` and ``.``. For a server it is the scheme.
    ``target``
        the class or function, or an import string ``package.module:attribute`` that is
        imported only when the component is selected.
    ``summary``
        one line for listings.
    ``requires``
        distributions that the target needs beyond its own (``"uvloop"``, ``"uvloop>=0.19"``);
        while one is missing the component is listed as unavailable, with the pip command.
    ``unavailable``
        the reason why this platform can't have it (``"needs os.fork"``), or "" where it can.

    Raises ValueError for a name outside the grammar or an import string without ``:``.
    """

    name: str
    target: object
    summary: str = ""
    requires: tuple[str, ...] = ()
    unavailable: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.match(self.name):
            raise ValueError(
                f"component name {self.name!r} is not a lower-case letter followed by "
                "letters, digits, '+', '-' or '.'"
            )
        if isinstance(self.target, str) and not all(self.target.partition(":")):
            raise ValueError(
                f"target {self.target!r} of component {self.name!r} is not 'package.module:attribute'"
            )
