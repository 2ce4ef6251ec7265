"""Virtual environments of their own, and what is installed in them, run as a user runs it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from patience import PATIENCE, wait_until

__all__ = ["Environment", "Process", "build_wheel"]

#: Seconds that pip may take to build or to install.
PIP_PATIENCE = 18 * PATIENCE


def build_wheel(project: Path, folder: Path) -> Path:
    """Build the wheel of *project* in *folder*, which must hold no other; return its path."""
    _pip("wheel", "--no-deps", "--wheel-dir", folder, project)
    (wheel,) = folder.glob("*.whl")
    return wheel


def _pip(*arguments: Any) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check", *arguments],
        env=_clean_environ(),
        capture_output=True,
        text=True,
        timeout=PIP_PATIENCE,
    )
    assert result.returncode == 0, f"{result.args}: {result.stdout}{result.stderr}"


def _clean_environ() -> dict[str, str]:
    """The environment without what would lead Python or plugport astray."""
    astray = ("PYTHON", "PLUGPORT_", "PYTEST_", "COV_", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(astray)}
    return {**kept, "PLUGPORT_TEST_PATIENCE": str(PATIENCE)}


class Process:
    """A command that runs, its output in a file."""

    def __init__(self, command: list[Any] | str, log: Path, **options: Any) -> None:
        self._log = log
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **options,
            )

    @property
    def output(self) -> str:
        """What it has written."""
        return self._log.read_text()

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until the output has a match of *pattern*."""
        found = wait_until(
            lambda: re.search(pattern, self.output) or self._process.poll() is not None, what=pattern
        )
        assert isinstance(found, re.Match), f"ended with {self._process.returncode}: {self.output}"
        return found

    def end(self) -> int:
        """Wait for its end, which comes by itself; return its exit status."""
        return self._process.wait(PATIENCE)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it by a signal; return its exit status."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            return self._process.wait(PATIENCE)
        finally:
            self._process.kill()


class Environment:
    """A virtual environment in *folder*, made if it is not there yet, with a pip of its own or none."""

    def __init__(self, folder: Path, *, with_pip: bool = False) -> None:
        if not (folder / "pyvenv.cfg").exists():
            venv.create(folder, with_pip=with_pip, symlinks=True)
        self._folder = folder
        self.bin = folder / "bin"
        self.environ = _clean_environ()
        self.environ["PATH"] = f"{self.bin}{os.pathsep}{self.environ['PATH']}"
        self._logs = 0

    def copy(self, folder: Path) -> Environment:
        """Copy it to *folder*, as if it had been made there: much quicker than to make and fill another."""
        shutil.copytree(self._folder, folder, symlinks=True, dirs_exist_ok=True)
        for file in (folder / "pyvenv.cfg", *(folder / "bin").iterdir()):
            if not file.is_symlink():
                file.write_bytes(file.read_bytes().replace(bytes(self._folder), bytes(folder)))
        return Environment(folder)

    def pip(self, *arguments: Any) -> None:
        """Run pip on this environment."""
        _pip("--python", self.bin / "python", *arguments)

    def run(self, *command: Any, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program of this environment in its folder, or in *cwd*."""
        return subprocess.run(
            [self.bin / command[0], *command[1:]],
            env=self.environ,
            cwd=cwd or self._folder,
            capture_output=True,
            text=True,
            timeout=6 * PATIENCE,
        )

    @contextmanager
    def running(self, *command: Any) -> Iterator[Process]:
        """Start a program of this environment, which is ended by SIGTERM, and must exit with 0."""
        self._logs += 1
        log = self._folder / f"log-{os.getpid()}-{self._logs}.txt"
        process = Process([self.bin / command[0], *command[1:]], log, env=self.environ, cwd=self._folder)
        try:
            yield process
        finally:
            status = process.stop()
        assert status == 0, process.output
