"""The wheels of plugport and of the example, built once."""

from pathlib import Path

import pytest
from environments import build_wheel

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def plugport_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(ROOT, tmp_path_factory.mktemp("plugport"))


@pytest.fixture(scope="session")
def example_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(ROOT / "contrib" / "plugport-example", tmp_path_factory.mktemp("plugport-example"))
