"""Every page of the documentation does what it says: its commands are run, its programs too."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from environments import Environment
from pages import PAGES, ROOT, SHOWN, TYPED, Block, blocks_of, copy_of, story_of
from reader import Reader

BLOCKS = {page: list(blocks_of(page)) for page in PAGES}
LEFT_OUT = [(page, block) for page, blocks in BLOCKS.items() for block in blocks if block.reason]
#: Each list of pages is read at once; one that another goes on from is read with that one.
STORIES = [
    story
    for page in PAGES
    if not any(page in story_of(other)[:-1] for other in PAGES)
    for story in [story_of(page)]
]
IGNORED = shutil.ignore_patterns(
    ".git", ".venv*", "__pycache__", ".*cache", "dist", "build", "site", "*.egg-info"
)
#: Programs that commands of the pages start.
TOOLS = ("curl", "haproxy", "nc", "nginx", "openssl", "socat", "systemd-socket-activate", "xinetd")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def is_to_do(block: Block) -> bool:
    """Whether anything is done with *block*."""
    return not block.reason and (block.file is not None or block.language in (*TYPED, "python"))


def tools_of(story: list[Path]) -> list[str]:
    """The programs that its commands need."""
    typed = [block.text for page in story for block in BLOCKS[page] if block.language in TYPED]
    return ["bash", *(tool for tool in TOOLS if any(re.search(rf"\b{tool}\b", text) for text in typed))]


@pytest.fixture
def folder(story: list[Path]) -> Iterator[Path]:
    """The folder that the pages begin in; its path is short, for the sake of unix sockets."""
    with tempfile.TemporaryDirectory(prefix="docs") as path:
        root, copy = Path(path).resolve(), copy_of(story[0])
        if copy is None:
            yield root
        else:
            yield Path(shutil.copytree(copy.original, root / copy.name, ignore=IGNORED))


@pytest.fixture
def environ(story: list[Path], tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment of these tests; for pages that install something one of their own."""
    typed = [block.text for page in story for block in BLOCKS[page] if not block.reason]
    if not any("pip install" in text for text in typed):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PLUGPORT_")}
        return {**kept, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"}
    copy = copy_of(story[0])
    alone = copy is not None and copy.original == ROOT
    original: Environment = request.getfixturevalue("with_pip" if alone else "with_plugport")
    environment = original.copy(tmp_path / "environment")
    # Half of what pip installs is never imported. (This is the option "compile", whatever its name says.)
    environ = {**environment.environ, "PIP_NO_COMPILE": "0"}
    if not alone:
        wheel: Path = request.getfixturevalue("plugport_wheel")
        # For what requires plugport, and is installed in an environment that the page makes.
        environ["PIP_FIND_LINKS"] = f"{environ.get('PIP_FIND_LINKS', '')} {wheel.parent}".strip()
    return environ


@pytest.mark.slow
@pytest.mark.parametrize(
    "story",
    [
        pytest.param(story, id=", ".join(map(name_of, story)), marks=pytest.mark.tools(*tools_of(story)))
        for story in STORIES
        if any(is_to_do(block) for page in story for block in BLOCKS[page])
    ],
)
def test_a_page_does_what_it_says(story: list[Path], folder: Path, environ: dict[str, str]) -> None:
    with Reader(folder, environ) as reader:
        for page in story:
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
