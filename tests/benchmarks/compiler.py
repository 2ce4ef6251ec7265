"""Builds the programs in native/ with ``cc``, once for each state of their source."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from errors import BenchmarkError

NATIVE = Path(__file__).with_name("native")
FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra")


@cache
def program(name: str) -> Path:
    """Return the program of native/NAME.c, built if it is not there yet.

    Raises BenchmarkError if there is no compiler, or it does not like the source.
    """
    source = NATIVE / f"{name}.c"
    state = hashlib.sha256(" ".join(FLAGS).encode())
    for part in [source, *sorted(NATIVE.glob("*.h"))]:
        state.update(part.read_bytes())
    path = _folder() / f"{name}-{state.hexdigest()[:16]}"
    if path.exists():
        return path
    compiler = shutil.which("cc")
    if compiler is None:
        raise BenchmarkError("no C compiler: install one that is called 'cc' (apt-get install gcc libc6-dev)")
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        built = Path(folder) / name
        command = [compiler, *FLAGS, str(source), "-o", str(built)]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            raise BenchmarkError(f"{' '.join(command)} failed:\n{result.stderr}")
        built.replace(path)  # at once, whoever else builds it
    return path


def _folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"plugport-benchmarks-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise BenchmarkError(f"{folder} belongs to somebody else; set TMPDIR to another folder")
    return folder
