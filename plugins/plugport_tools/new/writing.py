"""Writing a project: all of its files, or none."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from plugport.errors import ScaffoldError

__all__ = ["write_project"]


def write_project(directory: Path, files: Mapping[str, str]) -> None:
    """Write *files*, texts by their paths, to *directory*, which must be new or empty.

    They are written beside it and renamed (rename(2) replaces an empty directory and no other), so
    that the project is there as a whole or not at all. Raises ScaffoldError.
    """
    try:
        place = Path(os.path.realpath(directory))
        _check(directory, place)
        with tempfile.TemporaryDirectory(prefix=".plugport-new-", dir=place.parent) as folder:
            # One level below: the temporary directory itself has mode 0700.
            project = Path(folder, "project")
            project.mkdir()
            for path, text in files.items():
                file = project / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8")
            project.rename(place)
    except OSError as error:
        raise ScaffoldError(f"can't make {str(directory)!r}: {error.strerror or error}") from error


def _check(directory: Path, place: Path) -> None:
    """Raise ScaffoldError, with a clearer message than the system, for what prevents the writing."""
    if not place.parent.is_dir():
        raise ScaffoldError(f"can't make {str(directory)!r}: there is no directory {str(place.parent)!r}")
    if place == Path.cwd():
        raise ScaffoldError(
            "a project can't take the place of the current directory; go up, and name it with --directory"
        )
    if place.is_dir():
        if any(place.iterdir()):
            raise ScaffoldError(
                f"directory {str(directory)!r} is not empty; name another one with --directory"
            )
    elif place.exists():
        raise ScaffoldError(f"{str(directory)!r} is a file; name a directory with --directory")
