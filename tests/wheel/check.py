"""Looks whether a wheel of plugport holds what it should, and nothing else: check.py WHEEL."""

import configparser
import sys
import zipfile
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "plugport": ROOT / "core",
    "plugport_builtins": ROOT / "plugins",
    "plugport_tools": ROOT / "plugins",
    "plugport_testing": ROOT / "plugins",
}
ENTRY_POINTS = [
    ("console_scripts", "plugport"),
    ("plugport", "builtins"),
    ("plugport", "tools"),
    ("pytest11", "plugport"),
]


def expected() -> set[str]:
    """The files of the packages in the tree."""
    return {
        path.relative_to(folder).as_posix()
        for package, folder in PACKAGES.items()
        for path in (folder / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def faults(wheel: Path) -> list[str]:
    found = []
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        about = next(name for name in names if name.endswith(".dist-info/METADATA")).partition("/")[0]
        entry_points = configparser.ConfigParser(delimiters="=")
        entry_points.read_string(archive.read(f"{about}/entry_points.txt").decode())
    code = {name for name in names if PurePosixPath(name).parts[0] != about}
    found += [f"not of this tree: {name}" for name in sorted(code - expected())]
    found += [f"left out: {name}" for name in sorted(expected() - code)]
    found += [f"no {name}/py.typed" for name in PACKAGES if f"{name}/py.typed" not in names]
    if f"{about}/licenses/LICENSE" not in names:
        found.append("no LICENSE")
    for group, name in (
        ("console_scripts", "plugport"),
        ("plugport", "builtins"),
        ("plugport", "tools"),
        ("pytest11", "plugport"),
    ):
        if not entry_points.has_option(group, name):
            found.append(f"no entry point {name!r} in group {group!r}")
    return found


if __name__ == "__main__":
    found = faults(Path(sys.argv[1]))
    print("\n".join(found) or f"{Path(sys.argv[1]).name}: what it should hold, and nothing else")
    sys.exit(bool(found))
