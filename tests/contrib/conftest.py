"""The wheels of plugport and of the example, built once, and of what the pages have their readers install."""

from pathlib import Path

import pytest
from environments import build_wheel, collect_wheels

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def plugport_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(ROOT, tmp_path_factory.mktemp("plugport"))


@pytest.fixture(scope="session")
def example_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(ROOT / "contrib" / "plugport-example", tmp_path_factory.mktemp("plugport-example"))


@pytest.fixture(scope="session")
def offline(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which pip has all that the pages install, and waits for no network."""
    tools = ("hatchling", "editables", "pytest", "build")
    return collect_wheels(tmp_path_factory.mktemp("wheels"), ROOT, *tools)
