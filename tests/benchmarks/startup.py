"""Compares the start of ``plugport list`` with the import of what it depends on: startup.py [ROUNDS].

Run by the Python of an environment that has plugport. It is given 20 plugins more, each a distribution
that registers a handler. Rounds of all commands are interleaved, and their medians compared; the exit
status is 1 if the CPU time of ``plugport list`` is more than 1.5 x that of the imports.

``import rich`` imports next to nothing of rich; what a table needs comes with rich.console and
rich.table. So a list on a terminal, which is a table, has a row of its own, and so has that import.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

sys.path.append(str(Path(__file__).parents[1] / "helpers"))

from fakes import SitePackages

PLUGINS = 20
BAR = 1.5

PLUGIN = """
    @plugport.hookimpl
    def plugport_register_handlers():
        yield plugport.Component("bench-{number}", "bench_{number}_plugin.handler:Handler", "Number {number}")
"""
PYTHON = sys.executable
PLUGPORT = str(Path(sys.executable).with_name("plugport"))
IMPORTS = "import pluggy, importlib_metadata, click, rich"

BARE, REFERENCE, TABLE_REFERENCE, LIST, LIST_JSON, LIST_TERMINAL = (
    "python -c pass",
    "import the four packages",
    "the same, rich.console and rich.table",
    f"plugport list, {PLUGINS} plugins more",
    f"plugport list --json, {PLUGINS} plugins more",
    f"plugport list on a terminal, {PLUGINS} plugins more",
)
COMMANDS = {
    BARE: [PYTHON, "-c", "pass"],
    REFERENCE: [PYTHON, "-c", IMPORTS],
    TABLE_REFERENCE: [PYTHON, "-c", f"{IMPORTS}, rich.console, rich.table"],
    LIST: [PLUGPORT, "list"],
    LIST_JSON: [PLUGPORT, "list", "--json"],
    LIST_TERMINAL: [PLUGPORT, "list"],
}


class Cost(NamedTuple):
    """What one run took, in milliseconds."""

    cpu: float
    wall: float


def run(name: str, environ: dict[str, str]) -> Cost:
    """Run a command to its end."""
    master, output = os.openpty() if name is LIST_TERMINAL else (None, subprocess.DEVNULL)
    begin = time.perf_counter()
    process = subprocess.Popen(COMMANDS[name], env=environ, stdout=output)
    if master is not None:
        os.close(output)
        reader = threading.Thread(target=drain, args=(master,))
        reader.start()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if master is not None:
        reader.join()
        os.close(master)
    if process.returncode:
        sys.exit(f"{name} exited with {process.returncode}")
    return Cost(1000 * (usage.ru_utime + usage.ru_stime), 1000 * wall)


def drain(fd: int) -> None:
    """Read to the end."""
    try:
        while os.read(fd, 65536):
            pass
    except OSError:
        pass  # how a terminal on Linux says that nobody writes to it any more


def main(rounds: int) -> int:
    """Measure and print; return the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        site = SitePackages(Path(folder))
        for number in range(PLUGINS):
            site.add(f"bench-{number}", PLUGIN.format(number=number))
        environ = os.environ | {"PYTHONPATH": folder, "TERM": "xterm", "COLUMNS": "120"}
        listed = subprocess.run(
            COMMANDS[LIST], env=environ, check=True, capture_output=True, text=True
        ).stdout
        assert listed.count("Number ") == PLUGINS, listed
        for name in COMMANDS:
            run(name, environ)  # writes the byte code
        costs: dict[str, list[Cost]] = {name: [] for name in COMMANDS}
        for _ in range(rounds):
            for name in COMMANDS:
                costs[name].append(run(name, environ))
    medians = {name: Cost(*map(statistics.median, zip(*found, strict=True))) for name, found in costs.items()}
    reference = medians[REFERENCE]
    print(f"medians of {rounds} rounds, Python {sys.version.split()[0]}")
    print(f"{'':<48}{'CPU ms':>8}{'x':>6}{'wall ms':>9}{'x':>6}")
    for name, (cpu, wall) in medians.items():
        print(f"{name:<48}{cpu:>8.1f}{cpu / reference.cpu:>6.2f}{wall:>9.1f}{wall / reference.wall:>6.2f}")
    ratio = medians[LIST].cpu / reference.cpu
    met = ratio <= BAR
    print(
        f"plugport list takes {ratio:.2f} x the imports; the bar of {BAR} x is {'met' if met else 'missed'}"
    )
    return not met


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if sys.argv[1:] else 30))
