"""render_listing: the HTML page that lists a directory."""

from __future__ import annotations

import html
import os
import stat
from datetime import UTC, datetime
from typing import NamedTuple

from plugport_http.files.paths import quote_path

__all__ = ["render_listing"]

#: Entries on a page.
_MAX_ENTRIES = 10_000
_STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.25rem; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .5rem; white-space: nowrap; border-bottom: 1px solid #8884; }
th:first-child, td:first-child { overflow-wrap: anywhere; white-space: normal; width: 100%; }
.size { text-align: right; }
tbody tr:hover { background: #8882; }
a { text-decoration: none; } a:hover, a:focus-visible { text-decoration: underline; }
""".strip()


class _Entry(NamedTuple):
    name: bytes
    is_directory: bool
    size: int
    modified: float


def render_listing(fd: int, names: list[bytes], *, follow: bool, dot_files: bool) -> bytes:
    """Return the page, in UTF-8, for the open directory *fd* with the path *names*.

    It lists all that is served: directories and regular files, and symbolic links and dot files if allowed.
    """
    entries, more = _entries(fd, follow, dot_files)
    place = quote_path(names).rstrip(b"/") + b"/"
    title = html.escape("/" + "".join(f"{_display_name(name)}/" for name in names if name))
    rows = []
    if place != b"/":
        rows.append('<tr><td><a href="../">../</a></td><td class="size"></td><td></td></tr>')
    rows += [_row(entry) for entry in entries]
    if more:
        rows.append(f'<tr><td colspan="3">and {more} more, which are not listed</td></tr>')
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Index of {title}</title>
<style>
{_STYLE}
</style>
</head>
<body>
<main>
<h1>Index of {title}</h1>
<table>
<thead>
<tr><th scope="col">Name</th><th scope="col" class="size">Size</th><th scope="col">Modified (UTC)</th></tr>
</thead>
<tbody>
{chr(10).join(rows)}
</tbody>
</table>
</main>
</body>
</html>
"""
    return page.encode("utf-8", "replace")


def _entries(fd: int, follow: bool, dot_files: bool) -> tuple[list[_Entry], int]:
    """Return the entries to list, directories first, and the number of further entries."""
    found = []
    with os.scandir(fd) as scanned:
        names = sorted(os.fsencode(entry.name) for entry in scanned)
    if not dot_files:
        names = [name for name in names if not name.startswith(b".")]
    for name in names[:_MAX_ENTRIES]:
        if b"\\" in name:
            continue
        try:
            status = os.stat(name, dir_fd=fd, follow_symlinks=follow)
        except OSError:
            continue  # removed meanwhile, or a broken link
        if stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode):
            found.append(_Entry(name, stat.S_ISDIR(status.st_mode), status.st_size, status.st_mtime))
    found.sort(key=lambda entry: (not entry.is_directory, entry.name.lower(), entry.name))
    return found, max(len(names) - _MAX_ENTRIES, 0)


def _row(entry: _Entry) -> str:
    slash = "/" if entry.is_directory else ""
    link = quote_path([entry.name])[1:].decode() + slash
    size = "" if entry.is_directory else f'<data value="{entry.size}">{_size(entry.size)}</data>'
    return (
        f'<tr><td><a href="./{link}">{html.escape(_display_name(entry.name))}{slash}</a></td>'
        f'<td class="size">{size}</td><td>{_time(entry.modified)}</td></tr>'
    )


def _display_name(name: bytes) -> str:
    return name.decode("utf-8", "replace")


def _size(size: int) -> str:
    number, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if number < 1000:
            break
        number, unit = number / 1024, larger
    return f"{size} B" if unit == "B" else f"{number:.1f} {unit}"


def _time(modified: float) -> str:
    try:
        when = datetime.fromtimestamp(modified, UTC)
    except (ValueError, OverflowError, OSError):
        return ""
    return f'<time datetime="{when:%Y-%m-%dT%H:%M:%SZ}">{when:%Y-%m-%d %H:%M}</time>'
