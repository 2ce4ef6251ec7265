"""The tutorial, done as it says: its files written, its commands run, its results as shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from environments import Environment
from pages import Reader, blocks_of, files_of

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "contrib" / "plugport-example"

BLOCKS = blocks_of(ROOT / "docs" / "tutorial.md")
FILES = list(files_of(BLOCKS))


@pytest.mark.parametrize(("path", "more", "text"), [each for each in FILES if each[0].name != "README.md"])
def test_what_it_has_written_is_the_example(path: Path, more: bool, text: str) -> None:
    assert text in (EXAMPLE / path).read_text()


def test_it_can_be_done(plugport_wheel: Path, offline: dict[str, str], tmp_path: Path) -> None:
    environment = Environment(tmp_path / "environment", with_pip=True)
    environment.pip("install", plugport_wheel)
    folder = tmp_path / "plugport-example"
    folder.mkdir()
    Reader(folder, environment.environ | offline).do(BLOCKS)
    # What the reader has now is the example, whose pyproject.toml goes on with the settings of its linters.
    for path in {path for path, _, _ in FILES} - {Path("README.md")}:
        written, example = (folder / path).read_text(), (EXAMPLE / path).read_text()
        assert example.startswith(written) if path.name == "pyproject.toml" else example == written
