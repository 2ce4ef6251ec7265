"""The page on inspecting: its commands print what it shows, and its table is that of the checks."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from doctest import ELLIPSIS, OutputChecker
from pathlib import Path

import pytest
from environments import Process
from patience import PATIENCE

from plugport.plugin.manager import Plugins
from plugport_tools.doctor.checks import CHECKS

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "inspect.md"
SECTIONS = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)[1:]


class Terminal:
    """Types commands in *folder*, and holds what they print against what is shown."""

    def __init__(self, folder: Path) -> None:
        bin_folder = Path(sys.executable).parent
        self.options = {
            "cwd": folder,
            "env": {**os.environ, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"},
        }
        self.log = folder / "log"
        self.service: Process | None = None

    def type(self, command: str, shown: str) -> None:
        if command == "^C":
            assert self.service is not None
            assert self.service.stop() == 0
            compare(shown, self.service.output.partition("listening on ")[2].partition("\n")[2])
            self.service = None
        elif shown.splitlines()[-1].startswith("listening on "):
            self.service = Process(["bash", "-c", f"exec env {command}"], self.log, **self.options)
            self.service.wait_for("listening on [^\n]*\n")
            compare(shown, self.service.output)
        else:
            result = subprocess.run(
                ["bash", "-c", command],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=6 * PATIENCE,
                **self.options,  # type: ignore[call-overload]
            )
            compare(shown, result.stdout)


def compare(shown: str, written: str) -> None:
    written = re.sub(r" +$", "", written, flags=re.MULTILINE)
    assert OutputChecker().check_output(shown, written, ELLIPSIS), f"shown:\n{shown}\nwritten:\n{written}"


@pytest.mark.tools("bash", "nc")
@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.partition("\n")[0])
def test_its_commands_print_what_it_shows(section: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    terminal = Terminal(tmp_path)
    blocks = re.findall(r"^```console\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert len(blocks) == section.count("```console")
    try:
        for block in blocks:
            typed = re.split(r"^\$ |^(?=\^C$)", block.replace("9000", port), flags=re.MULTILINE)
            assert not typed[0]
            for each in typed[1:]:
                terminal.type(*each.split("\n", 1))
    finally:
        if terminal.service is not None:
            terminal.service.stop()


def test_its_table_is_that_of_the_checks() -> None:
    assert re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE) == [each.__name__ for each in CHECKS]


def test_its_hook_is_one() -> None:
    (source,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    module = type(sys)("page")
    exec(source, vars(module))
    Plugins().manager.register(module)
    assert list(module.plugport_doctor(())) == []
