"""AddressList: the networks of an option and of a file, which is read again when it changes."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence

from plugport.errors import OptionError

from plugport_access.addresses import Networks

__all__ = ["AddressList"]

logger = logging.getLogger("plugport.access-control")


class AddressList:
    """The list *name* ("allow" or "deny"): the networks *texts*, and those in the lines of the file *path*.

    A line of the file is an address or a network; a ``#`` begins a comment. Raises OptionError for any other
    text, and for a file that can't be read.
    """

    def __init__(self, name: str, texts: Sequence[str], path: str | None) -> None:
        self._name = name
        self._texts = texts
        self._path = path
        self._state = self._file_state()
        try:
            Networks(texts)
        except ValueError as error:
            raise OptionError(f"access.{name}: {error}") from None
        self.networks = self._read()

    def refresh(self) -> None:
        """Read the file again if it has changed. A file that can't be read leaves the list as it is."""
        state = self._file_state()
        if state == self._state:
            return
        self._state = state
        try:
            self.networks = self._read()
        except OptionError as error:
            logger.warning("%s; the list is unchanged", error)
        else:
            logger.info("access.%s_file: %s was read again", self._name, self._path)

    def _file_state(self) -> object:
        if self._path is None:
            return None
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _read(self) -> Networks:
        if self._path is None:
            return Networks(self._texts)
        what = f"access.{self._name}_file: {self._path}"
        try:
            with open(self._path, encoding="utf-8") as file:
                lines = file.read().splitlines()
        except OSError as error:
            raise OptionError(f"{what} can't be read: {error.strerror}") from error
        except UnicodeDecodeError:
            raise OptionError(f"{what} is not UTF-8 text") from None
        return Networks([*self._texts, *_checked(lines, what)])


def _checked(lines: Sequence[str], what: str) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if text:
            try:
                Networks([text])
            except ValueError as error:
                raise OptionError(f"{what}, line {number}: {error}") from None
            yield text
