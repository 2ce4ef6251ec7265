"""What the figures depend on besides: the Python, the machine, the versions of the peers."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from accounts import Processors
from errors import BenchmarkError

REQUIREMENTS = Path(__file__).with_name("requirements.txt")


def required(requirements: Path = REQUIREMENTS) -> list[str]:
    """The packages of requirements.txt."""
    lines = requirements.read_text().splitlines()
    return [line.partition("==")[0] for line in lines if line and not line.startswith("#")]


def versions(names: list[str], requirements: Path = REQUIREMENTS) -> dict[str, str]:
    """The versions of packages. Raises BenchmarkError for those that are not installed."""
    found, missing = {}, []
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        raise BenchmarkError(
            f"not installed: {', '.join(missing)}; pip install -r {os.path.relpath(requirements)}"
        )
    return found


def surroundings(where: Processors, requirements: Path = REQUIREMENTS) -> dict[str, Any]:
    """A description for people and for JSON."""
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in cpuinfo if line.startswith("model name")]
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": models[0] if models else platform.machine(),
        "processors": os.cpu_count(),
        "server_on": where.server,
        "load_on": where.load,
        "load_average": os.getloadavg()[0],
        "versions": versions(["plugport", *required(requirements)], requirements),
    }


def in_words(facts: dict[str, Any]) -> str:
    """The same in two lines."""
    packages = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    place = f"{facts['python']}, {facts['system']}, {facts['processors']} x {facts['processor']}"
    return f"{place}; server on processor {facts['server_on']}, load on {facts['load_on']}\n{packages}"
