"""What the tutorial has its reader write is the example; that it can be done is tested with all pages."""

from pathlib import Path

import pytest
from pages import ROOT, files_of

#: The plugin of messages, which the tutorial leaves to the README of the example.
FURTHER = {f"src/plugport_example/{name}.py" for name in ("ask", "messages", "reverse", "slip")}
ENTRY_POINT = 'messages = "plugport_example.messages"\n'
EXAMPLE = ROOT / "contrib" / "plugport-example"
FILES = files_of(ROOT / "docs" / "tutorial.md")


@pytest.mark.parametrize("path", sorted(FILES.keys() - {Path("README.md")}), ids=str)
def test_what_it_has_written_is_the_example(path: Path) -> None:
    written, example = FILES[path], (EXAMPLE / path).read_text()
    # The example's pyproject.toml goes on with the settings of its linters.
    example = example.replace(ENTRY_POINT, "")
    assert example.startswith(written) if path.name == "pyproject.toml" else example == written


def test_it_has_all_of_the_example_written() -> None:
    files = {path.relative_to(EXAMPLE) for path in EXAMPLE.glob("src/**/*.py")}
    assert FILES.keys() >= files - set(map(Path, FURTHER))
    assert set(map(Path, FURTHER)) < files
