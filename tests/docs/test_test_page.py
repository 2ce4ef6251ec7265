"""The page on testing: its files are what it says they are, and its runs of pytest come out as it shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from doctest import ELLIPSIS, OutputChecker
from pathlib import Path

from patience import PATIENCE

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "test.md"
BLOCK = re.compile(r"(?:^`(\S+)`:\n\n)?^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_the_page_does_what_it_says(tmp_path: Path) -> None:
    names = {name for name in os.environ if name.startswith(("PYTEST_", "COV_"))}
    environ = {name: value for name, value in os.environ.items() if name not in names}
    runs = 0
    for file, language, text in BLOCK.findall(PAGE.read_text()):
        if language == "python":
            assert file, text
            (tmp_path / file).write_text(text)
            continue
        assert language == "console"
        command, _, shown = text.removeprefix("$ pytest ").partition("\n")
        result = subprocess.run(
            [sys.executable, "-m", "pytest", "-W", "error", *command.split()],
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            text=True,
            timeout=12 * PATIENCE,
        )
        assert OutputChecker().check_output(shown, result.stdout, ELLIPSIS), result.stdout + result.stderr
        runs += 1
    assert runs == 3
