"""The site: each page is in its navigation, and what checks it when it has been built finds faults."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
from pages import ROOT

DOCS = ROOT / "docs"


def test_every_page_is_in_the_navigation_once() -> None:
    navigation = re.findall(r"^ +- (?:[^:#]+: )?(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(navigation) == sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: str(page.relative_to(DOCS)))
def test_no_link_leads_out_of_the_site(page: Path) -> None:
    """The rest of the repository is not on it: name it as code."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        assert re.match(r"[a-z]+:", target) or (page.parent / target).resolve().is_relative_to(DOCS), target


def faults(folder: Path, **pages: str) -> list[str]:
    """What check_site says of a site of these pages."""
    spec = importlib.util.spec_from_file_location("check_site", Path(__file__).parent / "check_site.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, text in pages.items():
        file = folder / name / "index.html"
        file.parent.mkdir()
        file.write_text(text)
    return module.faults(folder)  # type: ignore[no-any-return]


def test_a_site_without_a_fault_has_none(tmp_path: Path) -> None:
    (tmp_path / "style.css").write_text("a { background: url(picture.png), url('data:image/png,') }")
    (tmp_path / "picture.png").write_bytes(b"")
    assert not faults(
        tmp_path,
        one='<h1 id="first">1</h1><a href="../two/">two</a><a href="#first">up</a><a href="http://else">else</a>',
        two='<img src="../picture.png" alt="a picture"><a href="../one/index.html#first">one</a>',
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('<a href="../three/">', "one/index.html: ../three/: leads nowhere"),
        ('<a href="../two/#last">', "one/index.html: ../two/#last: there is no such place on the page"),
        ('<a href="#last">', "one/index.html: #last: there is no such place on the page"),
        ('<a href="../../">', "one/index.html: ../../: leads out of the site"),
        ('<script src="https://else/x.js"></script>', "one/index.html: loads https://else/x.js"),
        ('<link rel="stylesheet" href="//else/x.css">', "one/index.html: loads //else/x.css"),
        ('<img src="../two/index.html">', "one/index.html: ../two/index.html has no alternative text"),
        ('<img alt="a" src="x.png">', "one/index.html: x.png: leads nowhere"),
    ],
)
def test_a_fault_is_found(tmp_path: Path, text: str, fault: str) -> None:
    assert faults(tmp_path, one=text, two="<p id='first'>2</p>") == [fault]


def test_a_style_that_loads_from_elsewhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "style.css").write_text("@import 'https://else/x.css';")
    assert faults(tmp_path, one="") == ["style.css: loads https://else/x.css"]


def test_a_site_without_pages_is_a_fault(tmp_path: Path) -> None:
    assert faults(tmp_path) == [f"no page in {tmp_path}"]
