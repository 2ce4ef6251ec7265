"""Checks a built site without a network: ``python tests/docs/check_site.py site`` names what is wrong.

Every link leads to a page that is there, and to an anchor that it has; nothing is loaded from
elsewhere; every picture says in words what it shows.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

__all__ = ["faults"]

#: Attributes by which a page loads something; a link that is followed is not loaded.
_LOADING = {"link": "href", "script": "src", "img": "src", "source": "src", "iframe": "src", "object": "data"}
_CSS_URL = re.compile(r"(?:url\(|@import )\s*[\"']?(?!data:|#)([^\"')\s]+)")


class Page(HTMLParser):
    """What a page links to, loads and has: one that was read."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = {"", "top"}
        self.mute: list[str] = []
        self.feed(file.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of a tag."""
        given = {name: value or "" for name, value in attrs}
        self.anchors.update(given[name] for name in ("id", "name") if name in given)
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif _LOADING.get(tag) in given and given.get("rel") not in ("canonical", "next", "prev"):
            self.loaded.append(given[_LOADING[tag]])
        if tag == "img" and not given.get("alt"):
            self.mute.append(given.get("src", ""))


class Site:
    """A folder of pages."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        # That of errors is shown under any address: its links begin at a root that we don't know.
        self.files = [file for file in sorted(self.root.rglob("*.html")) if file.name != "404.html"]

    @cached_property
    def pages(self) -> dict[Path, Page]:
        """The pages by their files."""
        return {file: Page(file) for file in self.files}

    def faults(self) -> Iterator[str]:
        """Yield a line for each fault."""
        if not self.files:
            yield f"no page in {self.root}"
        for file, page in self.pages.items():
            name = file.relative_to(self.root)
            for link in page.links + page.loaded:
                fault = self._fault_of(file, link)
                if fault:
                    yield f"{name}: {link}: {fault}"
            for url in page.loaded:
                if _is_foreign(url):
                    yield f"{name}: loads {url}"
            for picture in page.mute:
                yield f"{name}: {picture} has no alternative text"
        for file in sorted(self.root.rglob("*.css")):
            for url in _CSS_URL.findall(file.read_text()):
                if _is_foreign(url):
                    yield f"{file.relative_to(self.root)}: loads {url}"

    def _fault_of(self, file: Path, link: str) -> str:
        if _is_foreign(link) or urlsplit(link).scheme:
            return ""
        url = urlsplit(link)
        target = (file.parent / unquote(url.path)).resolve() if url.path else file
        if target.is_dir():
            target /= "index.html"
        if not target.is_relative_to(self.root):
            return "leads out of the site"
        if not target.is_file():
            return "leads nowhere"
        if url.fragment and target in self.pages and unquote(url.fragment) not in self.pages[target].anchors:
            return "there is no such place on the page"
        return ""


def _is_foreign(url: str) -> bool:
    return bool(urlsplit(url).netloc)


def faults(root: Path) -> list[str]:
    """Return a line for each fault of the site in *root*."""
    return list(Site(root).faults())


if __name__ == "__main__":
    found = faults(Path(sys.argv[1]))
    print(*found, sep="\n", end="\n" if found else "")
    print(f"{len(found)} faults in {len(Site(Path(sys.argv[1])).files)} pages")
    sys.exit(bool(found))
