from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest
from fakes import SitePackages

from plugport.errors import TargetError
from plugport.plugin.targets import resolve_target


@pytest.fixture(autouse=True)
def _here(site: SitePackages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(site.path.parent)


def test_dotted_attributes() -> None:
    assert resolve_target("os:path.join") is __import__("os").path.join


def test_a_file_is_loaded_once_and_its_classes_can_be_pickled(site: SitePackages) -> None:
    file = site.write(
        "lib/my-shapes.py", "class Shape:\n    def __eq__(self, other): return type(other) is Shape\n"
    )
    shape = resolve_target(f"{file}:Shape")
    assert resolve_target("site/lib/my-shapes.py:Shape") is shape
    assert pickle.loads(pickle.dumps(shape())) == shape()


def test_two_files_of_one_name_are_two_modules(site: SitePackages) -> None:
    site.write("a/same.py", "x = 1")
    site.write("b/same.py", "x = 2")
    assert resolve_target("site/a/same.py:x") == 1
    assert resolve_target("site/b/same.py:x") == 2


def test_the_current_directory_is_importable(tmp_path: Path) -> None:
    (tmp_path / "module_right_here.py").write_text("x = 5")
    assert resolve_target("module_right_here:x") == 5
    del sys.modules["module_right_here"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing", "neither package.module:attribute nor path/to/file.py:attribute"),
        (":x", "neither"),
        ("json:", "neither"),
        ("..json:x", "'..json' is not the name of a module"),
        ("no_such_thing:x", "no module named 'no_such_thing'"),
        ("json.no_such_thing:x", "no module named 'json.no_such_thing'"),
        ("no_such_thing.sub:x", "no module named 'no_such_thing.sub': there is no 'no_such_thing'"),
        (
            "needs_more:x",
            "module 'needs_more' fails to import: ModuleNotFoundError: "
            "No module named 'more_of_it' (needs_more.py, line 1)",
        ),
        (
            "raises:x",
            "module 'raises' fails to import: ZeroDivisionError: division by zero (raises.py, line 2)",
        ),
        ("leaves:x", "module 'leaves' fails to import: SystemExit: 3"),
        ("slip:x", "module 'slip' fails to import: SyntaxError: invalid syntax (slip.py, line 1)"),
        ("json:dunps", "module 'json' has no attribute 'dunps'; did you mean 'dumps'"),
        ("json:JSONDecoder.decoed", "has no attribute 'decoed'; did you mean 'decode'"),
        ("site/nothing.py:x", "no file '"),
        ("site/raises.py:x", "fails to import: ZeroDivisionError"),
        ("site/fine.py:y", "file 'site/fine.py' has no attribute 'y'"),
        ("site/note.txt:y", "its name must end in .py"),
    ],
)
def test_what_does_not_resolve_says_why(site: SitePackages, text: str, message: str) -> None:
    for name, source in {
        "needs_more.py": "import more_of_it",
        "raises.py": "\n1 / 0",
        "leaves.py": "raise SystemExit(3)",
        "slip.py": "x = = 3",
        "fine.py": "x = 1",
        "note.txt": "",
    }.items():
        site.write(name, source)
    with pytest.raises(TargetError) as raised:
        resolve_target(text)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
