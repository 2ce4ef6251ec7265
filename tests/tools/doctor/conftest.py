"""Fixtures for tests of the doctor."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from diagnosed import found
from fakes import Run


@pytest.fixture
def doctor(run: Run) -> Callable[..., dict[str, list[tuple[str, str, str]]]]:
    """doctor(*arguments) is what each check found: status, message, remedy."""

    def see(*arguments: str, **env: str) -> dict[str, list[tuple[str, str, str]]]:
        by_check: dict[str, list[tuple[str, str, str]]] = {}
        for each in found(run("doctor", *arguments, "--json", **env)):
            told = (each["status"], each["message"], each["remedy"] or "")
            by_check.setdefault(each["check"], []).append(told)
        return by_check

    return see
