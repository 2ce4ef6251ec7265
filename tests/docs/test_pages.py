"""Every page of the documentation does what it says: its commands are run, its programs too."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from environments import Environment
from pages import PAGES, ROOT, SHOWN, TYPED, Block, blocks_of
from reader import Reader

BLOCKS = {page: list(blocks_of(page)) for page in PAGES}
LEFT_OUT = [(page, block) for page, blocks in BLOCKS.items() for block in blocks if block.reason]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def is_to_do(block: Block) -> bool:
    """Whether anything is done with *block*."""
    return not block.reason and (block.file is not None or block.language in (*TYPED, "python"))


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder with a short path, for the sake of unix sockets."""
    with tempfile.TemporaryDirectory(prefix="docs") as path:
        yield Path(path).resolve()


@pytest.fixture
def environ(page: Path, tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment of these tests; for a page that installs something one of its own, with plugport."""
    if not any("pip install" in block.text for block in BLOCKS[page] if not block.reason):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PLUGPORT_")}
        return {**kept, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"}
    wheel: Path = request.getfixturevalue("plugport_wheel")
    environment = Environment(tmp_path / "environment", with_pip=True)
    environment.pip("install", wheel)
    links = f"{environment.environ.get('PIP_FIND_LINKS', '')} {wheel.parent}"
    return {**environment.environ, "PIP_FIND_LINKS": links.strip()}


@pytest.mark.parametrize("page", [page for page in PAGES if any(map(is_to_do, BLOCKS[page]))], ids=name_of)
def test_a_page_does_what_it_says(page: Path, folder: Path, environ: dict[str, str]) -> None:
    home = folder / "home"
    if page.parent.parent == ROOT / "contrib":  # its commands are to be run in its own folder
        shutil.copytree(page.parent, home, ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
    else:
        home.mkdir()
    with Reader(home, environ) as reader:
        reader.read(BLOCKS[page])


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_has_a_language_that_is_known(page: Path) -> None:
    for block in BLOCKS[page]:
        assert block.file or block.reason or block.language in (*TYPED, *SHOWN, "python"), block


@pytest.mark.parametrize(
    ("page", "block"), LEFT_OUT, ids=[f"{name_of(page)}: {block.reason}" for page, block in LEFT_OUT]
)
def test_what_is_not_run_says_why(page: Path, block: Block) -> None:
    assert len(block.reason.split()) > 2
    assert block.file or block.language in (*TYPED, "python"), "it would not be run in any case"
