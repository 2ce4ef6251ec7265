"""Fixtures for tests of the whole."""

from __future__ import annotations

import pytest
from fakes import SitePackages


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> SitePackages:
    """An empty directory for distributions of the test's own; ``PYTHONPATH`` leads a process there."""
    return SitePackages(tmp_path_factory.mktemp("site"))
