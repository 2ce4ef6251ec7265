"""What the tutorial has its reader write is the example; that it can be done is tested with all pages."""

from pathlib import Path

import pytest
from pages import ROOT, files_of

EXAMPLE = ROOT / "contrib" / "plugport-example"
FILES = files_of(ROOT / "docs" / "tutorial.md")


@pytest.mark.parametrize("path", sorted(FILES.keys() - {Path("README.md")}), ids=str)
def test_what_it_has_written_is_the_example(path: Path) -> None:
    written, example = FILES[path], (EXAMPLE / path).read_text()
    # The example's pyproject.toml goes on with the settings of its linters.
    assert example.startswith(written) if path.name == "pyproject.toml" else example == written


def test_it_has_all_of_the_example_written() -> None:
    assert FILES.keys() >= {path.relative_to(EXAMPLE) for path in EXAMPLE.glob("src/**/*.py")}
