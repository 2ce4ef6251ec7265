"""The reference of exceptions: the tree, from the classes themselves."""

from __future__ import annotations

from collections.abc import Iterator

from installed import modules
from prose import first_paragraph, page

from plugport.errors import PlugportError

__all__ = ["errors"]


def errors() -> str:
    """Return the page."""
    modules()  # so that all of them are there
    return page(
        "Errors",
        "Each error of plugport's own derives from `plugport.PlugportError`. A message is one line: "
        "the request, the reason, the remedy. The command line prints it on standard error, after "
        "`plugport: `, and exits with status 2; `--debug` prints the traceback first. "
        "See also [all exit statuses](command-line.md#exit-status).",
        "\n".join(_tree(PlugportError, "")),
    )


def _tree(error: type[BaseException], indent: str) -> Iterator[str]:
    also = [base.__name__ for base in error.__bases__ if not issubclass(base, PlugportError)]
    note = f", also an `{also[0]}`" if also and also != ["Exception"] else ""
    yield f"{indent}- `{error.__name__}` of `{error.__module__}`{note}: {first_paragraph(error.__doc__)}"
    for each in sorted(error.__subclasses__(), key=lambda one: one.__name__):
        if each.__module__.partition(".")[0] in ("plugport", "plugport_builtins"):
            yield from _tree(each, indent + "    ")
