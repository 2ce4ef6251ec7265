"""qotd: a quotation (RFC 865)."""

from __future__ import annotations

import logging
import random
from typing import Annotated, ClassVar

from plugport import Help
from plugport.errors import OptionError
from plugport_builtins.handlers.inet import InetHandler

__all__ = ["QotdHandler"]

logger = logging.getLogger("plugport.handlers.qotd")

#: RFC 865 wants fewer than 512 characters.
_MAX_SIZE = 511

_PROVERBS = (
    "Many hands make light work.",
    "A watched pot never boils.",
    "Look before you leap.",
    "Better late than never.",
    "The early bird catches the worm, but the second mouse gets the cheese.",
    "Still waters run deep.",
    "A stitch in time saves nine.",
    "Rome was not built in a day.",
)


class QotdHandler(InetHandler):
    """Sends a quotation, chosen at random (RFC 865)."""

    quotes_file: Annotated[
        str | None, Help("file of quotations, separated by lines '%' as for fortune(6) (null: proverbs)")
    ] = None

    _quotes: ClassVar[tuple[bytes, ...]] = tuple(f"{proverb}\r\n".encode() for proverb in _PROVERBS)

    @classmethod
    def check_options(cls) -> None:
        """Read the file. Raises OptionError if it can't be read or has no quotation that is short enough."""
        if cls.quotes_file is not None:
            cls._quotes = _read(cls.quotes_file)

    def reply(self, data: bytes) -> bytes:
        """Return a quotation."""
        return random.choice(self._quotes)


def _read(path: str) -> tuple[bytes, ...]:
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OptionError(f"quotes_file: can't read {path!r}: {reason}") from error
    quotes: list[list[str]] = [[]]
    for line in lines:
        if line.strip() == "%":
            quotes.append([])
        else:
            quotes[-1].append(line)
    texts = ["\r\n".join(quote).strip() for quote in quotes]
    found = tuple(f"{text}\r\n".encode() for text in texts if text)
    short = tuple(quote for quote in found if len(quote) <= _MAX_SIZE)
    if not short:
        limit = f" of at most {_MAX_SIZE} bytes (RFC 865)" if found else ""
        raise OptionError(f"quotes_file: {path!r} has no quotation{limit}; separate them by lines '%'")
    if len(short) < len(found):
        # The files of fortune(6) have long quotations too, which its option -s leaves out.
        logger.info("%s: left out %d quotations that are too long", path, len(found) - len(short))
    return short
