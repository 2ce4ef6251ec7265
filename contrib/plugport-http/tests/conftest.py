"""The marker "tools", and an environment without the plugins of other distributions."""

from __future__ import annotations

import os
import shutil
from importlib.metadata import entry_points

import pytest

# Other plugins may log lines or bring hooks of their own; the services that tests start read this too.
os.environ["PLUGPORT_DISABLE"] = ",".join(
    point.name
    for point in entry_points(group="plugport")
    if point.dist is not None and point.dist.name not in ("plugport", "plugport-http")
)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose tools are missing; fail it if PLUGPORT_TEST_TOOLS is ``required``."""
    names = [name for mark in item.iter_markers("tools") for name in mark.args]
    missing = [name for name in names if not shutil.which(name)]
    if missing:
        outcome = pytest.fail if os.environ.get("PLUGPORT_TEST_TOOLS") == "required" else pytest.skip
        outcome(f"needs {', '.join(missing)}")
